"""Writing a frozen evaluation set and reading it back, proven to be the one it says it is.

evalset.json   schema_version, eval_set_version, digest, and the set itself; photographs by digest
photos/        <first two>/<digest>.<ext>
findings.json  what was found while it was built
CARD.md        the same for people
DIGEST         the set's digest, and the SHA-256 of evalset.json
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from catalog.errors import ImageError, StorageError
from catalog.images import ImageLimits, Photo, probe_image, sha256_hex
from catalog.items import ProductItem
from catalog.rows import Product
from validation.benchmark.evalset import EVAL_SET_VERSION, EvalSet
from validation.errors import BenchmarkError
from validation.freezing.card import SetCard, card_text
from validation.freezing.plain import from_plain, to_plain

SCHEMA_VERSION = 1
SET_FILE, DIGEST_FILE, CARD_FILE, FINDINGS_FILE, PHOTOS = "evalset.json", "DIGEST", "CARD.md", "findings.json", "photos"

_IS_DIGEST = re.compile("[0-9a-f]{64}")
_SUFFIX = {"JPEG": "jpg", "MPO": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "BMP": "bmp", "TIFF": "tif"}


def save_eval_set(eval_set: EvalSet, folder: str | Path, card: SetCard, *, overwrite: bool = False) -> Path:
    """Write the set with copies of all its photographs; it then needs no catalogue any more.

    Written beside `folder` and renamed, so that a folder of this name is always whole. A set of the same digest is
    written over: only its card can differ. A process killed on the way leaves what it had under a name that begins with
    a dot, beside the folder.

    Args:
        eval_set: Every photo with its digest.
        folder: Where; its parents are made.
        card: What the set says of itself.
        overwrite: Also replace a set of another digest.

    Returns:
        The folder.

    Raises:
        BenchmarkError: Another set, or something that is none, lies there; or the set does not come back as it went.
        ImageError: A photo is missing or changed since it was ingested.
        StorageError: The folder cannot be written.
    """
    target = Path(folder).absolute()
    _refuse_to_replace(target, eval_set.digest, overwrite)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        try:
            _write(eval_set, beside, card)
            load_eval_set(beside)
            _put_in_place(beside, target)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    except OSError as error:
        raise StorageError(
            "the evaluation set cannot be written",
            where=error.filename or str(target),
            got=error.strerror or str(error),
            fix="make room, or choose another folder",
        ) from None
    return target


def load_eval_set(folder: str | Path, *, check_photos: bool = False) -> EvalSet:
    """Read a frozen set and prove that it is the one its digest names.

    Args:
        folder: As `save_eval_set` wrote it, wherever it lies now.
        check_photos: Read every photograph at once. Otherwise each is held against its digest whenever it is read.

    Raises:
        BenchmarkError: Not a frozen set; another schema or version; changed since it was frozen; answers that point
            nowhere; a photo that is missing or, with `check_photos`, changed.
    """
    root = Path(folder).absolute()
    digest, file_digest = _read_digests(root)
    content = _read_set(root / SET_FILE, file_digest)
    for key, known in (("schema_version", SCHEMA_VERSION), ("eval_set_version", EVAL_SET_VERSION)):
        if content.get(key) != known:
            raise BenchmarkError(
                "evaluation set has another schema version",
                where=f"{root / SET_FILE}: {key}",
                got=str(content.get(key)),
                allowed=str(known),
                fix="build it again with this version, or judge with the version it was built with",
            )
    try:
        eval_set: EvalSet = from_plain(
            EvalSet, content["eval_set"], {Photo: lambda row: _photo(row, root), Product: Product.model_validate}
        )
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise BenchmarkError(
            "evaluation set is damaged", where=str(root / SET_FILE), got=f"{error}"[:300], fix="copy it again"
        ) from None
    for found in (content.get("digest"), eval_set.digest):
        if found != digest:
            raise _changed(root, str(found), digest)
    _check_photos(eval_set, root, check_photos)
    return eval_set


def read_digest(folder: str | Path) -> str:
    """The digest a frozen set goes by, as its folder says; `load_eval_set` proves it.

    Raises:
        BenchmarkError: Not a frozen set.
    """
    return _read_digests(Path(folder).absolute())[0]


def read_findings(folder: str | Path) -> list[dict[str, Any]]:
    """Rule, count, told and the first names of everything that was found while the set was built.

    Raises:
        BenchmarkError: The folder has no findings that can be read.
    """
    path = Path(folder) / FINDINGS_FILE
    try:
        rows: list[dict[str, Any]] = json.loads(path.read_bytes())["findings"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BenchmarkError(
            "no findings of an evaluation set", where=str(path), got=f"{error}"[:200], fix="copy the folder again"
        ) from None
    return rows


def read_card(folder: str | Path) -> str:
    """The card of a frozen set, Markdown."""
    return (Path(folder) / CARD_FILE).read_text(encoding="utf-8")


def photos_of(eval_set: EvalSet) -> dict[str, Photo]:
    """Every photograph of the set by digest, wherever in it."""
    found: dict[str, Photo] = {}

    def keep(photo: Photo) -> None:
        found.setdefault(photo.digest, photo)

    to_plain(eval_set, {Photo: keep})
    return found


def _write(eval_set: EvalSet, folder: Path, card: SetCard) -> None:
    files, sizes = {}, {}
    for digest, photo in sorted(photos_of(eval_set).items()):
        limits = photo.accepted or ImageLimits()
        data = photo.read_bytes(limits.max_bytes)
        if not digest or sha256_hex(data) != digest:
            raise ImageError(
                "a photo without its digest cannot be frozen",
                where=photo.ref,
                got=digest or "no digest",
                fix="load the catalogue with load_catalog, which takes every image's digest",
            )
        image = probe_image(data, photo.ref, limits)
        files[digest] = f"{PHOTOS}/{digest[:2]}/{digest}.{_SUFFIX[image.format or 'JPEG']}"
        sizes[digest] = {"num_bytes": len(data), "num_pixels": image.width * image.height}
        path = folder / files[digest]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def plain_photo(photo: Photo) -> dict[str, Any]:
        own = {"digest": photo.digest, "file": files[photo.digest], "role": photo.role, "box": photo.box}
        return own | sizes[photo.digest]

    def plain_item(item: ProductItem) -> dict[str, Any]:
        # References are those of the folder: what a shop calls its files is neither needed nor told.
        row = item.product.model_dump(mode="json") | {"images": [files[photo.digest] for photo in item.photos]}
        return {"product": row, "photos": [plain_photo(photo) for photo in item.photos]}

    content = {
        "schema_version": SCHEMA_VERSION,
        "eval_set_version": EVAL_SET_VERSION,
        "digest": eval_set.digest,
        "eval_set": to_plain(eval_set, {Photo: plain_photo, ProductItem: plain_item}),
    }
    data = json.dumps(content, ensure_ascii=False, allow_nan=False, sort_keys=True, indent=0).encode()
    (folder / SET_FILE).write_bytes(data)
    findings = {"schema_version": SCHEMA_VERSION, "digest": eval_set.digest, "findings": card.findings_data()}
    (folder / FINDINGS_FILE).write_text(json.dumps(findings, ensure_ascii=False, indent=1), encoding="utf-8")
    (folder / CARD_FILE).write_text(card_text(card, eval_set), encoding="utf-8")
    (folder / DIGEST_FILE).write_text(f"{eval_set.digest}  set\n{sha256_hex(data)}  {SET_FILE}\n", encoding="utf-8")


def _refuse_to_replace(target: Path, digest: str, overwrite: bool) -> None:
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not (target / DIGEST_FILE).is_file() or not (target / SET_FILE).is_file():
        raise BenchmarkError(
            "something that is no evaluation set lies where one is to be written",
            where=str(target),
            fix="choose another folder",
        )
    known = read_digest(target)
    if known != digest and not overwrite:
        raise BenchmarkError(
            "another evaluation set lies there: results name its digest",
            where=str(target),
            got=f"digest {known[:12]}",
            allowed=f"digest {digest[:12]}",
            fix="choose another folder, or say overwrite (freezing.overwrite: true)",
        )


def _put_in_place(beside: Path, target: Path) -> None:
    # mkdtemp keeps others out; a set is made to be passed on.
    beside.chmod(0o755)
    if target.exists():
        aside = Path(mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        os.replace(target, aside / target.name)
        try:
            os.replace(beside, target)
        except OSError:
            os.replace(aside / target.name, target)
            raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    else:
        os.replace(beside, target)


def _read_digests(root: Path) -> tuple[str, str]:
    path = root / DIGEST_FILE
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        rows = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
        return rows["set"], rows[SET_FILE]
    except (OSError, ValueError, KeyError) as error:
        raise BenchmarkError(
            "not a frozen evaluation set",
            where=str(path),
            got=f"{error}"[:200],
            allowed=f"a folder with {SET_FILE}, {DIGEST_FILE} and {PHOTOS}/",
            fix="zenml pipeline run build_benchmark makes one",
        ) from None


def _read_set(path: Path, file_digest: str) -> dict[str, Any]:
    try:
        data = path.read_bytes()
        if sha256_hex(data) != file_digest:
            raise _changed(path, sha256_hex(data), file_digest)
        content = json.loads(data)
    except (OSError, ValueError, RecursionError) as error:
        raise BenchmarkError(
            "evaluation set is damaged", where=str(path), got=f"{error}"[:200], fix="copy it again"
        ) from None
    if not isinstance(content, dict):
        raise BenchmarkError("evaluation set is damaged", where=str(path), got=type(content).__name__)
    return content


def _photo(row: Any, root: Path) -> Photo:
    name, digest = str(row["file"]), str(row["digest"])
    # A name that leads out of the folder, or to another photo, must not be followed.
    if not _IS_DIGEST.fullmatch(digest) or not re.fullmatch(rf"{PHOTOS}/{digest[:2]}/{digest}\.[a-z]+", name):
        raise ValueError(f"photo {digest[:12]} lies at {name}")
    box = tuple(row["box"]) if row["box"] else None
    accepted = ImageLimits(int(row["num_bytes"]), int(row["num_pixels"]))
    return Photo(ref=name, root=str(root), digest=digest, box=box, role=str(row["role"]), accepted=accepted)


def _check_photos(eval_set: EvalSet, root: Path, wholly: bool) -> None:
    for digest, photo in photos_of(eval_set).items():
        if not (root / photo.ref).is_file():
            raise BenchmarkError(
                "a photo of the evaluation set is missing", where=str(root / photo.ref), fix="copy the folder again"
            )
        if wholly and sha256_hex((root / photo.ref).read_bytes()) != digest:
            raise _changed(root / photo.ref, "other bytes", digest)


def _changed(where: Path, got: str, digest: str) -> BenchmarkError:
    return BenchmarkError(
        "the evaluation set was changed since it was frozen: it is another benchmark",
        where=str(where),
        got=got[:12],
        allowed=digest[:12],
        fix="copy the folder again; to ask something else, build another set, with a digest of its own",
    )
