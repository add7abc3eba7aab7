"""Every kind of picture a shop has comes out RGB and upright; everything else is refused with its reason."""

import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from catalog import Catalog, ImageError, ImageLimits, ImageRecord, Photo, decode_image, sha256_hex
from catalog.images import thumbnail_jpeg
from tests.catalog.pictures import bomb_bytes, picture_bytes


def saved(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def decoded(data, **limits):
    return np.asarray(decode_image(data, "x", ImageLimits(**limits)))


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("RGB", "JPEG"),
        ("RGB", "PNG"),
        ("RGB", "WEBP"),
        ("RGB", "BMP"),
        ("RGB", "TIFF"),
        ("L", "PNG"),
        ("1", "PNG"),
        ("P", "PNG"),
        ("P", "GIF"),
        ("LA", "PNG"),
        ("CMYK", "JPEG"),
        ("CMYK", "TIFF"),
        ("YCbCr", "JPEG"),
        ("LAB", "TIFF"),
    ],
)
def test_modes_and_types(mode, kind):
    image = decode_image(picture_bytes(0, mode=mode, kind=kind), "x")
    assert (image.mode, image.size) == ("RGB", (24, 18))


def test_cmyk_keeps_its_colours():
    red = saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=95)
    np.testing.assert_allclose(decoded(red)[4, 4], (255, 0, 0), atol=6)


def test_sixteen_bits_scale_and_do_not_clip():
    values = np.array([[0, 32768, 65535]], dtype=np.uint16)
    data = saved(Image.fromarray(values), "PNG")
    np.testing.assert_allclose(decoded(data)[0, :, 0], (0, 127, 255), atol=1)


def test_float_grey():
    data = saved(Image.fromarray(np.array([[0.0, 100.0, 255.0]], dtype=np.float32)), "TIFF")
    np.testing.assert_allclose(decoded(data)[0, :, 2], (0, 100, 255), atol=1)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_on_white(mode):
    clear = Image.new(mode, (4, 4), 0)
    assert (decoded(saved(clear, "PNG")) == 255).all()


def test_transparent_palette_colour_is_laid_on_white():
    image = Image.new("P", (4, 4), 0)
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.putpixel((1, 1), 1)
    pixels = decoded(saved(image, "PNG", transparency=0))
    assert tuple(pixels[1, 1]) == (255, 0, 0)
    assert tuple(pixels[0, 0]) == (255, 255, 255)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_animation_gives_its_first_frame(kind):
    frames = [Image.new("RGB", (6, 6), colour) for colour in ((250, 0, 0), (0, 250, 0))]
    data = saved(
        frames[0], kind, save_all=True, append_images=frames[1:], **({"lossless": True} if kind == "WEBP" else {})
    )
    np.testing.assert_allclose(decoded(data)[3, 3], (250, 0, 0), atol=4)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation):
    # A picture whose top left corner is dark when upright, stored as each orientation says.
    upright = Image.new("L", (40, 20), 255)
    ImageDraw.Draw(upright).rectangle((0, 0, 9, 4), fill=0)
    inverse = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(inverse[orientation]) if orientation in inverse else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = decode_image(saved(stored, "JPEG", exif=exif, quality=95), "x")
    assert image.size == (40, 20)
    assert image.getpixel((2, 1))[0] < 60
    assert min(image.getpixel(corner)[0] for corner in ((38, 1), (2, 18), (38, 18))) > 200


REFUSED = {
    "zero bytes": (b"", "image file is empty"),
    "text named jpg": (b"this is no picture, whatever its name says", "file is not a picture"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "file is not a picture"),
    "truncated jpeg": (picture_bytes(0, kind="JPEG")[:-200], "truncated or damaged"),
    "truncated png": (picture_bytes(0)[:-300], "truncated or damaged"),
    "bomb": (bomb_bytes(), "decompression bomb"),
    "small bomb": (bomb_bytes(8_000), "decompression bomb"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n", "file is not a picture"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_its_reason(name):
    data, reason = REFUSED[name]
    with pytest.raises(ImageError) as caught:
        decode_image(data, "images/7.jpg")
    assert reason in str(caught.value)
    assert "images/7.jpg" in str(caught.value)
    assert caught.value.fix


def test_byte_limit():
    data = picture_bytes()
    assert decoded(data, max_bytes=len(data)).shape == (18, 24, 3)
    with pytest.raises(ImageError, match="too large"):
        decoded(data, max_bytes=len(data) - 1)


def test_pixel_limit_is_exact():
    data = picture_bytes(size=(10, 10))
    assert decoded(data, max_pixels=100).shape == (10, 10, 3)
    with pytest.raises(ImageError, match="bomb"):
        decoded(data, max_pixels=99)


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([picture_bytes(0, kind=kind) for kind in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP")]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=12),
    st.floats(0.2, 1),
)
def test_damaged_bytes_are_decoded_or_refused_and_never_crash(data, flips, keep):
    damaged = bytearray(data)
    for place, value in flips:
        damaged[int(place * len(damaged))] = value
    try:
        image = decode_image(bytes(damaged[: int(keep * len(damaged))]), "x", ImageLimits(max_pixels=1_000_000))
    except ImageError:
        return
    assert image.mode == "RGB"


def test_photo_is_verified_when_read(tmp_path):
    data = picture_bytes(1)
    (tmp_path / "a.png").write_bytes(data)
    photo = Photo("a.png", str(tmp_path), sha256_hex(data))
    assert photo.read_bytes() == data
    assert photo.load().size == (24, 18)
    (tmp_path / "a.png").write_bytes(picture_bytes(2))
    with pytest.raises(ImageError, match="changed since"):
        photo.read_bytes()
    (tmp_path / "a.png").unlink()
    with pytest.raises(ImageError, match="missing"):
        photo.load()


def test_photo_in_memory_needs_no_file():
    assert Photo("upload", data=picture_bytes()).load().size == (24, 18)


def test_huge_file_is_not_read_whole(tmp_path):
    with open(tmp_path / "huge.png", "wb") as stream:
        stream.truncate(50_000_000)
    assert len(Photo("huge.png", str(tmp_path)).read_bytes(1000)) == 1001
    with pytest.raises(ImageError, match="too large"):
        Photo("huge.png", str(tmp_path)).load(ImageLimits(max_bytes=1000))


def test_reference_is_never_a_url_of_its_own(tmp_path):
    data = picture_bytes()
    (tmp_path / "a::b.png").write_bytes(data)
    assert Photo("a::b.png", str(tmp_path)).read_bytes() == data
    with pytest.raises(ImageError):
        Photo("memory://x.png", str(tmp_path)).read_bytes()


def test_what_ingestion_accepted_is_accepted_by_everyone_after(tmp_path):
    data = picture_bytes()
    (tmp_path / "a.png").write_bytes(data)
    tight = ImageLimits(max_bytes=8, max_pixels=8)
    record = ImageRecord("a.png", sha256_hex(data), 24, 18, len(data))
    catalog = Catalog("shop", (), images={"a.png": record}, root=str(tmp_path))
    assert catalog.photo("a.png").load(tight).size == (24, 18)
    with pytest.raises(ImageError, match="too large"):
        Photo("a.png", str(tmp_path), sha256_hex(data)).load(tight)
    # Another file in its place is held against its digest before it is decoded.
    (tmp_path / "a.png").write_bytes(picture_bytes(3))
    with pytest.raises(ImageError, match=r"changed since|too large"):
        catalog.photo("a.png").load(tight)
    # A file that was refused when it was looked at costs what the caller allows and no more.
    refused = replace(catalog, images={"a.png": replace(record, digest="", status="file is not a picture")})
    with pytest.raises(ImageError, match="too large"):
        refused.photo("a.png").load(tight)


@pytest.mark.parametrize(("size", "small"), [((40, 20), (20, 10)), ((1, 400), (1, 20)), ((8, 6), (8, 6))])
def test_a_thumbnail_keeps_its_shape_and_leaves_the_picture_alone(size, small):
    image = Image.new("RGB", size, (200, 30, 30))
    with Image.open(io.BytesIO(thumbnail_jpeg(image, 20))) as made:
        assert (made.format, made.size) == ("JPEG", small)
        np.testing.assert_allclose(np.asarray(made)[0, 0], (200, 30, 30), atol=3)
    assert image.size == size
