"""Bytes to pixels, once for the whole house: limits before decoding, one orientation, one colour space."""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
import zlib
from dataclasses import dataclass, field
from typing import BinaryIO

import fsspec
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from catalog.errors import ImageError
from catalog.rows import Box

ALLOWED_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "MPO")

_PIECE_BYTES = 1 << 18
_THUMBNAIL_QUALITY = 82

# What Pillow's readers raise on damaged files, beside their documented OSError: found by flipping bytes.
_DECODE_FAULTS = (
    OSError,
    ValueError,
    SyntaxError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    OverflowError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


@dataclass(frozen=True)
class ImageLimits:
    """What an image may cost before a single pixel of it is decoded."""

    max_bytes: int = 32 * 1024 * 1024
    max_pixels: int = 50_000_000
    """Width x height. A header that promises more is refused as a decompression bomb."""

    def or_more(self, other: ImageLimits) -> ImageLimits:
        """The wider of the two in each respect."""
        return ImageLimits(max(self.max_bytes, other.max_bytes), max(self.max_pixels, other.max_pixels))


def sha256_hex(data: bytes) -> str:
    """Digest of `data` as 64 hexadecimal characters."""
    return hashlib.sha256(data).hexdigest()


def probe_image(data: bytes, where: str, limits: ImageLimits = ImageLimits()) -> Image.Image:
    """Open an image lazily and check it against the limits; nothing is decoded yet.

    Raises:
        ImageError: Zero bytes, too many bytes or pixels, or a type that is not an allowed picture.
    """
    if not data:
        raise ImageError("image file is empty", where=where, got="0 bytes", fix="replace the file or drop the row")
    if len(data) > limits.max_bytes:
        raise ImageError(
            "image file is too large",
            where=where,
            got=f"{len(data):,} bytes",
            allowed=f"at most {limits.max_bytes:,} bytes",
            fix="shrink the picture",
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=ALLOWED_FORMATS)
    except (UnidentifiedImageError, Image.DecompressionBombError, *_DECODE_FAULTS) as error:
        bomb = isinstance(error, Image.DecompressionBombError)
        raise ImageError(
            "image promises more pixels than allowed (decompression bomb)" if bomb else "file is not a picture",
            where=where,
            got=str(error) if bomb else f"starts with {data[:12]!r}",
            allowed=f"at most {limits.max_pixels:,} pixels" if bomb else ", ".join(ALLOWED_FORMATS),
            fix="replace the file or drop the row",
        ) from None
    if image.width * image.height > limits.max_pixels:
        raise ImageError(
            "image promises more pixels than allowed (decompression bomb)",
            where=where,
            got=f"{image.width} x {image.height} = {image.width * image.height:,} pixels",
            allowed=f"at most {limits.max_pixels:,} pixels",
            fix="shrink the picture",
        )
    return image


def decode_image(data: bytes, where: str, limits: ImageLimits = ImageLimits()) -> Image.Image:
    """Decode to 8-bit RGB, upright.

    First frame of an animation; EXIF orientation applied; transparency laid on white; 16-bit, palette and CMYK
    converted. Boxes anywhere in the project are pixels of the picture this returns.

    Args:
        data: The file's bytes.
        where: Name for error messages: the reference, with the product where known.
        limits: Checked before decoding.

    Returns:
        A PIL image of mode RGB.

    Raises:
        ImageError: As `probe_image`, and truncated or damaged data.
    """
    image = probe_image(data, where, limits)
    try:
        image.seek(0)
        image.load()
        image = ImageOps.exif_transpose(image)
        if image.mode in ("I;16", "I;16B", "I;16L", "I", "F"):
            image = _to_eight_bits(image)
        if image.mode in ("La", "RGBa"):
            image = image.convert(image.mode.upper())
        if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
            image = image.convert("RGBA")
            white = Image.new("RGBA", image.size, (255, 255, 255, 255))
            image = Image.alpha_composite(white, image)
        return image.convert("RGB")
    except _DECODE_FAULTS as error:
        raise ImageError(
            "image is truncated or damaged",
            where=where,
            got=str(error),
            fix="replace the file or drop the row; `on_error: quarantine` sets such rows aside",
        ) from None


def thumbnail_jpeg(image: Image.Image, side_px: int) -> bytes:
    """A small JPEG of a decoded picture, which stays as it is.

    Args:
        image: As `decode_image` returns it.
        side_px: Longest side of the thumbnail; a smaller picture is not enlarged.
    """
    small = image.copy()
    small.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=_THUMBNAIL_QUALITY)
    return buffer.getvalue()


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Scale 16-bit and float grey to 0..255; a plain convert would clip everything above 255 to white."""
    values = np.asarray(image).astype(np.float64)
    top = 65535.0 if values.max(initial=0) > 255 else 255.0
    return Image.fromarray(np.clip(values * (255.0 / top), 0, 255).astype(np.uint8), mode="L")


def _read_up_to(stream: BinaryIO, max_bytes: int | None) -> bytes:
    """All of `stream`, or one byte more than `max_bytes`.

    In pieces, because asking a file for its limit at once reserves that much memory, however small the file is.
    """
    if max_bytes is None:
        return stream.read()
    pieces: list[bytes] = []
    left = max_bytes + 1
    while left > 0 and (piece := stream.read(min(left, _PIECE_BYTES))):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


@dataclass(frozen=True)
class Photo:
    """One photograph: where its bytes are, what they must hash to, and its true core box where known.

    Picklable, so that decoding happens in workers. Give `data` for a picture held in memory (serving, tests), or
    `root` and `ref` for one that is read through fsspec when needed.
    """

    ref: str
    root: str = ""
    digest: str = ""
    """SHA-256 of the bytes; checked on every read when not empty."""
    box: Box | None = None
    role: str = ""
    data: bytes | None = field(default=None, repr=False, compare=False)
    accepted: ImageLimits | None = field(default=None, repr=False, compare=False)
    """What it cost when ingestion accepted it under the configured limits; with its digest, it may cost that again."""

    def read_bytes(self, max_bytes: int | None = None) -> bytes:
        """The file's bytes, verified against `digest`.

        Args:
            max_bytes: Stop reading one byte after so many, so that a huge file costs no memory; `probe_image` then
                refuses what was read.

        Raises:
            ImageError: The file is missing, unreadable, or changed since it was ingested.
        """
        if self.data is not None:
            return self.data
        try:
            # The reference is joined on the file system and never parsed as a URL of its own.
            fs, base = fsspec.url_to_fs(self.root or ".")
            with fs.open(f"{base.rstrip('/')}/{self.ref}" if self.root else self.ref, "rb") as stream:
                data = _read_up_to(stream, max_bytes)
        except FileNotFoundError:
            raise ImageError(
                "image file is missing",
                where=self.ref,
                got=f"nothing below {self.root or 'the working folder'}",
                fix="restore the file or drop the reference",
            ) from None
        except (OSError, ValueError) as error:
            raise ImageError(
                "image file cannot be read", where=self.ref, got=str(error), fix="check that you may read the file"
            ) from None
        if max_bytes is not None and len(data) > max_bytes:
            return data
        if self.digest and sha256_hex(data) != self.digest:
            raise ImageError(
                "image changed since the catalogue was ingested",
                where=self.ref,
                got=sha256_hex(data)[:12],
                allowed=self.digest[:12],
                fix="run the pipeline again: ingestion looks at the source anew",
            )
        return data

    def load(self, limits: ImageLimits = ImageLimits()) -> Image.Image:
        """The decoded picture, RGB and upright.

        Args:
            limits: What it may cost; a picture that ingestion accepted may cost what it did then, whoever loads it.
        """
        if self.accepted is not None and self.digest:
            limits = limits.or_more(self.accepted)
        return decode_image(self.read_bytes(limits.max_bytes), self.ref, limits)
