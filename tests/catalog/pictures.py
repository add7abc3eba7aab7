"""Pictures and folders made for the tests of this room."""

import io
import json
import struct
import zlib

import numpy as np
from PIL import Image


def picture_bytes(seed=0, size=(24, 18), mode="RGB", kind="PNG", **options):
    """A noisy picture, different for each seed."""
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.fromarray(values).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def bomb_bytes(side=60_000):
    """A PNG whose header promises side x side pixels and which holds none."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def write_folder(folder, products=None, queries=None, images=None):
    """A catalogue folder of JSON lines; `images` maps names below it to bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("products", products), ("queries", queries)):
        if rows is not None:
            lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
            (folder / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    for name, data in (images or {}).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def product(number=0, **fields):
    """A small product row."""
    return {"product_id": f"p{number}", "title": f"Product {number}", **fields}
