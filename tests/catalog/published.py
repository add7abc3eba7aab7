"""Small files in the shape that published data has, written by the tests that read them."""

import csv
import gzip
import hashlib
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq

from catalog import CatalogConfig
from catalog.fetched import Row
from catalog.fetching.manifest import Manifest
from catalog.sources import load_catalog
from tests.catalog.pictures import picture_bytes

SHOPIFY_HEADER = [
    *("Handle", "Title", "Body (HTML)", "Vendor", "Product Category", "Type", "Tags", "Published"),
    *(f"Option{number} {part}" for number in (1, 2, 3) for part in ("Name", "Value")),
    *("Variant SKU", "Variant Grams", "Variant Price", "Image Src", "Image Position", "Image Alt Text"),
    *("Gift Card", "Variant Image", "Status"),
]
HITS_HEADER = ("image", "item_ID", "query", "title", "position")
CDN = "https://cdn.shop.example/files/"


def load(source, path, work_dir, on_error="stop", max_rows=None, **config):
    section = CatalogConfig(source=source, path=str(path), **config)
    return load_catalog(section, work_dir=str(work_dir), on_error=on_error, max_rows=max_rows)


def mbe_row(number=0, **fields):
    """A document as MBE has it; a field given as ... is left out."""
    row = {
        "id": str(600000 + number),
        "doc_title": f"夏季新款碎花连衣裙 {number}",
        "doc_image": f"https://img.example.com/{number}.jpg",
        "doc_industry_name": "服饰",
        "doc_cate1_name": "女装",
        "doc_cate2_name": "裙装",
        "doc_cate3_name": "连衣裙",
        "doc_cate4_name": "碎花连衣裙",
        "doc_attributes": "颜色:红色,,尺码:S!!!M!!!L,,材质:棉",
    } | fields
    return {name: value for name, value in row.items() if value is not ...}


def write_lines(path, rows, bom=False):
    """JSON lines, packed where the name ends in .gz; a row given as text is written as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    data = (b"\xef\xbb\xbf" if bom else b"") + "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogatepass")
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def write_fetched(folder, pictures):
    """What `moon data fetch-images` leaves: `pictures` maps URLs to bytes, or to a reason for a failure."""
    folder.mkdir(parents=True, exist_ok=True)
    manifest = Manifest(folder)
    with manifest.appending():
        for url, data in pictures.items():
            path, digest, size, status, reason = None, None, None, "failed", data
            if isinstance(data, bytes):
                name = hashlib.sha256(url.encode()).hexdigest()
                path, digest, size = f"{name[:2]}/{name}.png", hashlib.sha256(data).hexdigest(), len(data)
                status, reason = "ok", ""
                (folder / name[:2]).mkdir(exist_ok=True)
                (folder / path).write_bytes(data)
            manifest.append(Row(url, path, digest, size, None, None, status, reason, "", 1, None))
    return folder


def hit(item, query, position, seed=None, title=None, image=...):
    """One row of a Marqo set: a product that a search showed for a query."""
    seed = item if seed is None else seed
    return {
        "image": {"bytes": picture_bytes(seed), "path": f"{item}.jpg"} if image is ... else image,
        "item_ID": str(item),
        "query": query,
        "title": title or f"Item {item}",
        "position": position,
    }


IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def write_parquet(path, rows, **types):
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows)
    for name, kind in types.items():
        column = pa.array([row.get(name) for row in rows], kind)
        table = table.set_column(table.schema.get_field_index(name), name, column)
    pq.write_table(table, path)
    return path


def write_arrow(path, rows, schema=None):
    """An Arrow shard as Hugging Face's save_to_disk writes it, with its other files beside."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows, schema=schema)
    with pa.ipc.new_stream(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    (path.parent / "state.json").write_text(json.dumps({"_data_files": [{"filename": path.name}]}))
    (path.parent / "dataset_info.json").write_text("{}")
    return path


def shopify_row(handle, **cells):
    """One row of an export by its column names, underscores for spaces."""
    names = {name.replace(" ", "_").replace("(", "").replace(")", ""): name for name in SHOPIFY_HEADER}
    return {"Handle": handle} | {names.get(key, key): value for key, value in cells.items()}


def write_shopify(path, rows, header=SHOPIFY_HEADER, bom=False, line_end="\r\n", delimiter=","):
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, header, lineterminator=line_end, delimiter=delimiter, extrasaction="raise")
    writer.writeheader()
    writer.writerows(rows)
    path.write_bytes((b"\xef\xbb\xbf" if bom else b"") + buffer.getvalue().encode())
    return path


def write_csv(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path
