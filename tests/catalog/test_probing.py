"""Ingestion's look at the photographs: records, reasons, order, and memory that stays flat."""

import tracemalloc

import pytest

from catalog import CatalogConfig, ImageLimits, ImageRecord, sha256_hex
from catalog.parallel import map_in_order
from catalog.sources import load_catalog
from catalog.sources.probing import probe_images
from tests.catalog.pictures import bomb_bytes, picture_bytes, product, write_folder

FILES = {
    "good.png": picture_bytes(0),
    "zero.png": b"",
    "text.jpg": b"hello, I am text",
    "cut.jpg": picture_bytes(1, kind="JPEG")[:-150],
    "bomb.png": bomb_bytes(),
    "big.bmp": picture_bytes(2, size=(100, 100), kind="BMP"),
}
REASONS = {
    "good.png": "ok",
    "zero.png": "image file is empty",
    "text.jpg": "file is not a picture",
    "cut.jpg": "image is truncated or damaged",
    "bomb.png": "image promises more pixels than allowed (decompression bomb)",
    "big.bmp": "image file is too large",
    "absent.png": "image file is missing",
}


def test_records_and_reasons(tmp_path):
    write_folder(tmp_path, images=FILES)
    records = probe_images(list(REASONS), str(tmp_path), ImageLimits(max_bytes=20_000))
    assert {ref: record.status for ref, record in records.items()} == REASONS
    good = FILES["good.png"]
    assert records["good.png"] == ImageRecord("good.png", sha256_hex(good), 24, 18, len(good))
    assert records["cut.jpg"].digest == sha256_hex(FILES["cut.jpg"])
    assert records["big.bmp"].digest == ""


def test_size_is_that_of_the_upright_picture(tmp_path):
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    write_folder(tmp_path, images={"a.jpg": picture_bytes(0, size=(40, 20), kind="JPEG", exif=exif)})
    record = probe_images(["a.jpg"], str(tmp_path), ImageLimits())["a.jpg"]
    assert (record.width_px, record.height_px) == (20, 40)


def test_loading_records_faults_and_does_not_stop(tmp_path):
    folder = write_folder(tmp_path, [product(0, images=list(FILES))], images=FILES)
    config = CatalogConfig(source="folder", path=str(folder), max_image_bytes=20_000)
    seen = []
    catalog = load_catalog(config, work_dir="", progress=lambda done, total: seen.append((done, total)))
    assert [record.status for record in catalog.images.values()] == [REASONS[name] for name in FILES]
    assert seen == [(number, len(FILES)) for number in range(1, len(FILES) + 1)]


@pytest.mark.parametrize("num_workers", [2, 7])
def test_workers_change_nothing(tmp_path, num_workers):
    images = {f"{number}.png": picture_bytes(number, size=(number + 1, 3)) for number in range(40)}
    write_folder(tmp_path, images=images)
    one = probe_images(list(images), str(tmp_path), ImageLimits(), num_workers=1)
    assert list(probe_images(list(images), str(tmp_path), ImageLimits(), num_workers=num_workers).items()) == list(
        one.items()
    )


def test_digest_says_nothing_of_the_machine(tmp_path):
    digests = []
    for place in ("here", "there"):
        folder = write_folder(tmp_path / place, [product(0, images=["absent.png", "cut.jpg"])], images=FILES)
        config = CatalogConfig(source="folder", path=str(folder))
        digests.append(load_catalog(config, work_dir="").digest)
    assert digests[0] == digests[1]


def test_memory_does_not_grow_with_the_number_of_images(tmp_path):
    size = 400_000
    for number in range(60):
        (tmp_path / f"{number}.bmp").write_bytes(picture_bytes(number, size=(365, 365), kind="BMP"))

    def peak(count):
        refs = [f"{number}.bmp" for number in range(count)]
        tracemalloc.start()
        probe_images(refs, str(tmp_path), ImageLimits(), num_workers=2)
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    peak(2)
    # Two workers hold a picture each, with its copies; sixty pictures together would be six times as much.
    assert peak(60) < 10 * size


def test_map_in_order_keeps_order_bounds_what_waits_and_raises_in_place():
    taken = []

    def values():
        for number in range(100):
            taken.append(number)
            yield number

    results = map_in_order(lambda number: 10 // (50 - number), values(), num_workers=3)
    assert [next(results) for _ in range(5)] == [0, 0, 0, 0, 0]
    assert len(taken) <= 5 + 3 * 4
    with pytest.raises(ZeroDivisionError):
        list(results)
    assert taken[-1] < 99
