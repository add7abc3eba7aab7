"""What a frozen vision tower makes of the training's pictures, seen once and kept on disk.

A frozen tower gives the same features at every step, so each picture is encoded in a handful of variants before the
training starts: variant 0 plain, the others augmented by a draw that depends on seed, picture and variant alone. The
folder is shared by all trainings whose plan is the same; pictures are added to it, and never encoded twice. A tower
answers in other last digits when its batch has another size, so every batch is filled up to the same one: what is kept
of a picture does not hang on what else was missing when it was seen.

    <folder>/<digest of the plan>/000000/   keys.json, grid.npy, pooled.npy, deep0.npy, ...
                                  000001/   one folder a shard; renamed into place when it is whole

Shape suffixes: N pictures, V variants, and those of `SeenPictures`.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch

from catalog import ModelError, StorageError
from models.backbones.base import PictureLayout, SeenPictures
from models.config.train import AugmentConfig
from models.training.augment import augment

FORMAT = 2
_KEYS, _LOCK, _PARTIAL = "keys.json", "lock", "partial"


@dataclass(frozen=True)
class FeaturePlan:
    """Everything but the pictures that decides the features."""

    tower: str
    """Digest of the tower, as `tower_digest` gives it."""
    layout: PictureLayout
    augment: AugmentConfig
    variants: int = 4
    """Features kept a picture; 1: the plain picture alone."""
    strong: bool = False
    """Augmented variants are the much smaller crops that stand in for a second photograph, and none is plain."""
    seed: int = 1
    dtype: Literal["float16", "float32"] = "float16"
    """float16 halves the folder and rounds each number by at most a 2048th of itself; beyond 65,504 it is refused."""

    @property
    def digest(self) -> str:
        """Of the plan."""
        parts = {"format": FORMAT, **asdict(self), "augment": self.augment.model_dump(mode="json")}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def tower_digest(tensors: Iterable[torch.Tensor], spec: dict[str, Any]) -> str:
    """Digest of a vision tower.

    Args:
        tensors: Its parameters and buffers, in a fixed order.
        spec: What else decides its features, as JSON.
    """
    total = hashlib.sha256(json.dumps(spec, sort_keys=True).encode())
    for one in tensors:
        total.update(f"{one.dtype} {tuple(one.shape)}".encode())
        total.update(one.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


class FeatureStore:
    """Features by picture key; picklable, so that data workers open the maps themselves.

    Args:
        folder: Shared by plans; the store's own folder is inside it.
        plan: What the features are made of.

    Attributes:
        rows: Row of each key that is there; stays the same when pictures are added.
    """

    def __init__(self, folder: str | Path, plan: FeaturePlan) -> None:
        self.plan = plan
        self.folder = Path(folder) / plan.digest[:16]
        self.rows: dict[str, int] = {}
        self._starts: list[int] = []
        self._shards: list[Path] = []
        self._maps: dict[int, list[np.ndarray]] = {}
        self._scan()

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "_maps": {}}

    def fill(
        self,
        keys: Iterable[str],
        squares: Callable[[str], np.ndarray],
        see: Callable[[torch.Tensor], SeenPictures],
        normalised: Callable[[torch.Tensor], torch.Tensor],
        *,
        batch: int = 64,
        shard_pictures: int = 1024,
        progress: Callable[[int, int], None] | None = None,
        named: Callable[[str], str] = str,
    ) -> int:
        """Encode the pictures that are not there yet; what a killed run had finished stays.

        Another process that fills the same folder is waited for, and what it encoded is taken over.

        Args:
            keys: Pictures wanted; the same key, the same square.
            squares: (side, side, 3) uint8 of a key.
            see: The frozen tower in evaluation mode, on as many normalised pixels as it is given.
            normalised: Pixels in [0, 1] to what the tower expects.
            batch: Squares a call of `see`, and never fewer: the same for all who share the folder.
            shard_pictures: Pictures written together; as many are lost at most when the run is killed.
            progress: Called with (done, all) of the pictures to encode.
            named: What a person calls the picture of a key.

        Returns:
            Pictures encoded.

        Raises:
            ModelError: A feature is not finite, or too large for float16.
            StorageError: No space, or a read-only folder.
        """
        wanted = list(dict.fromkeys(keys))
        self._scan()
        if all(key in self.rows for key in wanted):
            return 0
        try:
            with self._locked():
                self._scan()
                missing = sorted(key for key in wanted if key not in self.rows)
                for start in range(0, len(missing), shard_pictures):
                    shard = missing[start : start + shard_pictures]

                    def tell(done: int, before: int = start) -> None:
                        if progress is not None:
                            progress(before + done, len(missing))

                    self._write(shard, self._encode(shard, squares, see, normalised, batch, tell, named))
                    self._scan()
        except OSError as error:
            raise StorageError(
                "features of the pictures cannot be kept",
                where=str(self.folder),
                got=str(error),
                fix="free space, or set train.feature_variants: 0; the tower then runs every time and none are kept",
            ) from None
        return len(missing)

    def take(self, rows: Sequence[int] | np.ndarray, variants: Sequence[int] | np.ndarray) -> SeenPictures:
        """Features of N pictures, one variant each.

        Args:
            rows: Values of `rows`.
            variants: 0 to `plan.variants` - 1.

        Returns:
            float32, on the CPU.
        """
        assert self._shards, "an empty store does not know the shape of a feature"
        row_N, variant_N = np.asarray(rows, dtype=np.int64), np.asarray(variants, dtype=np.int64)
        shard_N = np.searchsorted(self._starts, row_N, side="right") - 1
        made = [
            torch.empty((len(row_N), *one.shape[2:]), dtype=torch.float32)
            for one in self._open(int(shard_N.max(initial=0)))
        ]
        for shard in np.unique(shard_N):
            at = np.flatnonzero(shard_N == shard)
            inside = row_N[at] - self._starts[shard]
            for column, one in zip(made, self._open(int(shard)), strict=True):
                column[torch.from_numpy(at)] = torch.from_numpy(one[inside, variant_N[at]]).float()
        return SeenPictures(made[0], made[1], tuple(made[2:]))

    def pixels(self, key: str, square: np.ndarray) -> torch.Tensor:
        """(V, 3, side, side) in [0, 1]: the variants of a picture, before normalisation."""
        plain = torch.from_numpy(np.array(square)).permute(2, 0, 1).float().div_(255.0).unsqueeze(0)
        first = 0 if self.plan.strong else 1
        made = [plain][:first]
        for variant in range(first, self.plan.variants):
            draw = hashlib.sha256(json.dumps([self.plan.seed, key, variant]).encode()).digest()[:8]
            generator = torch.Generator().manual_seed(int.from_bytes(draw, "little") >> 1)
            strong = torch.tensor([self.plan.strong])
            made.append(augment(plain * 2.0 - 1.0, strong, self.plan.augment, generator).add_(1.0).div_(2.0))
        return torch.cat(made)

    def _encode(
        self,
        keys: Sequence[str],
        squares: Callable[[str], np.ndarray],
        see: Callable[[torch.Tensor], SeenPictures],
        normalised: Callable[[torch.Tensor], torch.Tensor],
        batch: int,
        tell: Callable[[int], None],
        named: Callable[[str], str],
    ) -> list[np.ndarray]:
        parts: list[list[np.ndarray]] = []
        step = max(1, batch // self.plan.variants)
        for start in range(0, len(keys), step):
            names = keys[start : start + step]
            pixels = normalised(torch.cat([self.pixels(key, squares(key)) for key in names]))
            count = len(pixels)
            short = step * self.plan.variants - count
            with torch.no_grad():
                seen = see(torch.cat([pixels, pixels[:1].expand(short, -1, -1, -1)]) if short else pixels)
            columns = [one[:count].float().cpu().numpy() for one in (seen.grid_NKV, seen.pooled_NP, *seen.deep)]
            parts.append([self._rounded(one, names, named) for one in columns])
            tell(start + len(names))
        return [np.concatenate(column) for column in zip(*parts, strict=True)]

    def _rounded(self, values: np.ndarray, names: Sequence[str], named: Callable[[str], str]) -> np.ndarray:
        by_picture = values.reshape(len(names), self.plan.variants, *values.shape[1:])
        with np.errstate(over="ignore"):
            rounded = by_picture.astype(self.plan.dtype)
        good = np.isfinite(rounded).reshape(len(names), -1).all(axis=1)
        if not good.all():
            bad = int(np.flatnonzero(~good)[0])
            raise ModelError(
                "a feature of the vision tower is not finite, or too large to be kept",
                where=f"picture {named(names[bad])}",
                got=f"{np.abs(by_picture[bad]).max():.4g}",
                allowed=f"at most {np.finfo(self.plan.dtype).max:.4g} as {self.plan.dtype}",
                fix="set train.feature_variants: 0, so that the tower runs every time and nothing is rounded"
                if np.isfinite(by_picture[bad]).all()
                else "look at this picture; where others fail too, the tower's weights are damaged or overflow",
            )
        return rounded

    def _write(self, keys: Sequence[str], columns: Sequence[np.ndarray]) -> None:
        partial = self.folder / _PARTIAL
        partial.mkdir()
        for name, column in zip(_names(len(columns)), columns, strict=True):
            with (partial / name).open("wb") as stream:
                np.save(stream, column)
                stream.flush()
                os.fsync(stream.fileno())
        (partial / _KEYS).write_text(json.dumps({"keys": list(keys), "tensors": len(columns)}), encoding="utf-8")
        partial.rename(self.folder / f"{len(self._shards):06d}")

    def _scan(self) -> None:
        """Take in the shards that were added since."""
        while (shard := self.folder / f"{len(self._shards):06d}").is_dir():
            keys = _said(shard)["keys"]
            self._starts.append(len(self.rows))
            self._shards.append(shard)
            self.rows |= {key: self._starts[-1] + number for number, key in enumerate(keys)}

    def _open(self, shard: int) -> list[np.ndarray]:
        if shard not in self._maps:
            folder = self._shards[shard]
            try:
                self._maps[shard] = [np.load(folder / name, mmap_mode="r") for name in _names(_said(folder)["tensors"])]
            except (OSError, ValueError) as error:
                raise _damaged(folder, error) from None
        return self._maps[shard]

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / _LOCK).open("a+") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            # Whoever left it behind is dead: it would hold the lock otherwise.
            shutil.rmtree(self.folder / _PARTIAL, ignore_errors=True)
            yield


class _Shot(Protocol):
    @property
    def key(self) -> str: ...


class _Picture(Protocol):
    @property
    def shot(self) -> _Shot: ...
    @property
    def view(self) -> int: ...
    @property
    def strong(self) -> bool: ...


def picture_key(shot_key: str, view: int) -> str:
    """Key of one square of a shot."""
    return f"{shot_key}/{view}"


class StoredFeatures:
    """Features of a step's pictures out of the stores; picklable.

    Args:
        mild: Plain and mildly augmented variants.
        strong: Variants of the pictures that stand in for a second photograph; None where no step has such.
        keys: Key in the stores of each picture, by `picture_key`. Many pictures are one square: a photograph without
            and with its title, a core region that is the whole picture.
    """

    def __init__(self, mild: FeatureStore, strong: FeatureStore | None, keys: Mapping[str, str]) -> None:
        self.mild, self.strong, self.keys = mild, strong, keys

    def __call__(self, pictures: Sequence[_Picture], picks: np.ndarray) -> SeenPictures:
        """Features of N pictures.

        Args:
            pictures: With the keys that the stores were filled with.
            picks: N numbers from 0 on; each picks a variant.
        """
        is_strong = np.array([self.strong is not None and one.strong for one in pictures], dtype=bool)
        made: list[tuple[np.ndarray, SeenPictures]] = []
        for store, chosen in ((self.mild, ~is_strong), (self.strong, is_strong)):
            at = np.flatnonzero(chosen)
            if store is not None and (len(at) or store is self.mild):
                rows = [store.rows[self.keys[picture_key(pictures[i].shot.key, pictures[i].view)]] for i in at.tolist()]
                made.append((at, store.take(rows, picks[at] % store.plan.variants)))
        if len(made) == 1:
            return made[0][1]
        order = torch.from_numpy(np.argsort(np.concatenate([at for at, _ in made])))
        first, second = made[0][1], made[1][1]
        return SeenPictures(
            torch.cat([first.grid_NKV, second.grid_NKV])[order],
            torch.cat([first.pooled_NP, second.pooled_NP])[order],
            tuple(torch.cat(pair)[order] for pair in zip(first.deep, second.deep, strict=True)),
        )


def _said(shard: Path) -> dict[str, Any]:
    try:
        said: dict[str, Any] = json.loads((shard / _KEYS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(shard, error) from None
    return said


def _damaged(shard: Path, error: Exception) -> StorageError:
    return StorageError(
        "kept features of the pictures cannot be read",
        where=str(shard),
        got=str(error),
        fix=f"delete {shard.parent}; they are made again",
    )


def _names(count: int) -> list[str]:
    return ["grid.npy", "pooled.npy", *(f"deep{number}.npy" for number in range(count - 2))]
