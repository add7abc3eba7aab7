"""Scenes on disk in the format of YOLO data sets: pictures, a text file of boxes for each, and one YAML.

A scene is a function of composer and number, so a folder that was left half-written is filled up where it ended.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from joblib.externals.loky import ProcessPoolExecutor
from PIL import Image

from catalog import Box, ModelError, StorageError
from models.regions.detector import PRODUCT
from models.regions.yolo import DISTRACTOR
from models.scenes import Backgrounds, CutoutSet, Scene, SceneComposer, SceneConfig

CLASSES = (PRODUCT, DISTRACTOR)
"""Class numbers of the text files. Which of them are trained on is the training's choice, not the folder's."""
SCHEMA_VERSION = 1
MANIFEST, DATA_YAML = "manifest.json", "data.yaml"
_CHUNK_SCENES = 16


@dataclass(frozen=True)
class ScenePart:
    """Scenes of one kind: `train`, `val`, or the name of a preset that is judged."""

    name: str
    num_scenes: int
    cutouts: CutoutSet
    config: SceneConfig
    backgrounds: Backgrounds | None = None

    @property
    def digest(self) -> str:
        """SHA-256 over whatever decides its scenes, not over how many there are."""
        total = hashlib.sha256(f"{self.cutouts.digest}\0{self.config.model_dump_json()}\0".encode())
        if self.backgrounds:
            total.update(f"{self.backgrounds.hide_content}\0".encode())
        for photo in self.backgrounds.photos if self.backgrounds else ():
            total.update(f"{photo.size}\0".encode() + photo.tobytes())
        return total.hexdigest()

    def composer(self) -> SceneComposer:
        """Draws its scenes by number."""
        return SceneComposer(self.cutouts.cutouts, self.config, self.backgrounds)


@dataclass(frozen=True)
class SceneTruth:
    """One scene on disk with its true boxes, in pixels."""

    path: Path
    size_px: tuple[int, int]
    core: tuple[Box, ...]
    """Empty where there is no product; several in a collage."""
    distractors: tuple[Box, ...]


class SceneSet:
    """A folder of scenes.

    Args:
        folder: As `write_scene_set` left it.

    Raises:
        ModelError: Not such a folder, of another schema, or not complete.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        fix = "compose the scenes again: run the pipeline, or delete the folder first"
        try:
            manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ModelError("no set of scenes", where=str(folder), got=str(error), fix=fix) from None
        if not isinstance(manifest, dict) or manifest.get("schema_version") != SCHEMA_VERSION:
            raise ModelError("set of scenes is of another schema", where=str(folder / MANIFEST), fix=fix)
        self.manifest: dict[str, Any] = manifest
        self.digest: str = manifest["digest"]
        self.parts: dict[str, int] = manifest["parts"]

    def image_folder(self, part: str) -> Path:
        """Where the pictures of `part` lie."""
        return self.folder / "images" / part

    def truths(self, part: str) -> list[SceneTruth]:
        """Every scene of `part`, by number.

        Raises:
            ModelError: A picture or its boxes are missing or damaged.
        """
        return [
            read_truth(self.image_folder(part) / _image_name(number), self.folder / "labels" / part)
            for number in range(self.parts[part])
        ]


def read_truth(path: Path, label_folder: Path) -> SceneTruth:
    """A scene's size and boxes.

    Raises:
        ModelError: A file is missing, or a line is no class and box.
    """
    label_path = label_folder / f"{path.stem}.txt"
    try:
        with Image.open(path) as image:
            width, height = image.size
        lines = label_path.read_text(encoding="utf-8").splitlines()
        rows = [[float(word) for word in line.split()] for line in lines]
    except (OSError, ValueError) as error:
        raise ModelError("scene cannot be read", where=str(path), got=str(error)) from None
    boxes: tuple[list[Box], list[Box]] = ([], [])
    for row in rows:
        if len(row) != 5 or row[0] not in (0.0, 1.0):
            raise ModelError("scene's boxes are damaged", where=str(label_path), got=str(row))
        boxes[int(row[0])].append(_corners(row[1:], width, height))
    return SceneTruth(path, (width, height), tuple(boxes[0]), tuple(boxes[1]))


def scene_lines(scene: Scene) -> list[str]:
    """Lines of YOLO's text format: class, then centre and size as shares of the picture.

    Six decimals: a thousandth of a pixel.
    """
    width, height = scene.image.size
    lines = []
    for one in scene.boxes:
        x0, y0, x1, y1 = one.box
        shares = ((x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height)
        lines.append(f"{CLASSES.index(one.role)} " + " ".join(f"{share:.6f}" for share in shares))
    return lines


def write_scene_set(
    folder: Path,
    parts: Sequence[ScenePart],
    version: str = "",
    *,
    notes: Mapping[str, Any] | None = None,
    jpeg_quality: int = 88,
    num_workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> SceneSet:
    """Compose every part's scenes into `folder`; scenes that are there already are kept.

    Args:
        folder: Its scenes are thrown away when they were composed otherwise.
        parts: Names differ; a part that grows keeps its scenes.
        version: Of the code that composes; another version composes anew.
        notes: Kept in the manifest, for the card.
        jpeg_quality: Of the pictures.
        num_workers: Processes; the scenes are the same for any number.
        progress: Called with (scenes there, scenes in all).

    Raises:
        StorageError: The folder cannot be written.
        ModelError: A composing process died.
    """
    digest = _digest(parts, version, jpeg_quality)
    try:
        _keep_or_clear(folder, digest)
        jobs = []
        for part in parts:
            for kind in ("images", "labels"):
                (folder / kind / part.name).mkdir(parents=True, exist_ok=True)
            # The boxes are written after the picture: where they are, both are.
            there = {path.stem for path in (folder / "labels" / part.name).iterdir()}
            wanted = {f"{number:06d}": number for number in range(part.num_scenes)}
            missing = [number for name, number in wanted.items() if name not in there]
            _remove_others(folder, part.name, wanted)
            jobs += [
                _Job(part.name, tuple(missing[start : start + _CHUNK_SCENES]))
                for start in range(0, len(missing), _CHUNK_SCENES)
            ]
        total = sum(part.num_scenes for part in parts)
        done = total - sum(len(job.numbers) for job in jobs)
        work = _Work(folder, {part.name: part.composer() for part in parts}, jpeg_quality)
        for written in _run(work, jobs, num_workers):
            done += written
            if progress is not None:
                progress(done, total)
        _write_manifest(folder, parts, digest, notes or {})
    except OSError as error:
        raise StorageError(
            "scenes cannot be written", where=str(folder), got=str(error), fix="free space or choose another place"
        ) from None
    return SceneSet(folder)


@dataclass(frozen=True)
class _Job:
    part: str
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class _Work:
    folder: Path
    composers: dict[str, SceneComposer]
    jpeg_quality: int

    def do(self, job: _Job) -> int:
        for number in job.numbers:
            scene = self.composers[job.part].scene(number)
            pixels = io.BytesIO()
            scene.image.save(pixels, "JPEG", quality=self.jpeg_quality)
            _replace(self.folder / "images" / job.part / _image_name(number), pixels.getvalue())
            text = "".join(f"{line}\n" for line in scene_lines(scene))
            _replace(self.folder / "labels" / job.part / f"{number:06d}.txt", text.encode())
        return len(job.numbers)


def _run(work: _Work, jobs: list[_Job], num_workers: int) -> Iterator[int]:
    num_workers = min(num_workers, len(jobs))
    if num_workers <= 1:
        yield from map(work.do, jobs)
        return
    # Loky, for the reasons that models.regions.detect gives.
    with ProcessPoolExecutor(num_workers, initializer=_start_worker, initargs=(work,)) as pool:
        try:
            yield from pool.map(_do, jobs)
        except BrokenProcessPool:
            raise ModelError(
                "a composing process died", got="most often out of memory", fix="run it with scenes.num_workers 1"
            ) from None


_worker: _Work | None = None


def _start_worker(work: _Work) -> None:
    global _worker
    _worker = work


def _do(job: _Job) -> int:
    assert _worker is not None, "the pool's initializer ran"
    return _worker.do(job)


def _digest(parts: Sequence[ScenePart], version: str, jpeg_quality: int) -> str:
    """SHA-256 over whatever decides a scene, not over how many there are: a set that grows keeps what it has."""
    told = {part.name: part.digest for part in parts}
    text = json.dumps([SCHEMA_VERSION, version, jpeg_quality, told], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _keep_or_clear(folder: Path, digest: str) -> None:
    mark = folder / "composed.txt"
    if mark.is_file() and mark.read_text(encoding="utf-8") == digest:
        return
    for name in ("images", "labels"):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    _replace(mark, digest.encode())


def _remove_others(folder: Path, part: str, wanted: Collection[str]) -> None:
    # Whoever trains on the folder takes every picture in it; a smaller set must not hold those of a larger.
    for kind in ("images", "labels"):
        for path in (folder / kind / part).iterdir():
            if path.stem not in wanted:
                path.unlink()


def _write_manifest(folder: Path, parts: Sequence[ScenePart], digest: str, notes: Mapping[str, Any]) -> None:
    numbers = {part.name: part.num_scenes for part in parts}
    whole = hashlib.sha256(json.dumps([digest, numbers], sort_keys=True).encode()).hexdigest()
    manifest = {"schema_version": SCHEMA_VERSION, "digest": whole, "parts": numbers, "notes": dict(notes)}
    data = {"path": ".", "names": dict(enumerate(CLASSES))}
    data |= {name: f"images/{name}" for name in numbers}
    _replace(folder / DATA_YAML, yaml.safe_dump(data, sort_keys=False).encode())
    _replace(folder / MANIFEST, (json.dumps(manifest, indent=1) + "\n").encode())


def _replace(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(content)
    os.replace(partial, path)


def _image_name(number: int) -> str:
    return f"{number:06d}.jpg"


def _corners(shares: Sequence[float], width: int, height: int) -> Box:
    x, y, w, h = shares
    return ((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)
