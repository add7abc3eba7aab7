"""What a training's pictures cost before its first step: decoding, a pass of the vision tower, and disk.

Whatever is on disk already costs nothing.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from catalog import StorageError
from models.devices import product_rate
from models.training.estimate import duration, in_words

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kept:
    """Bytes that are still to be written into one folder."""

    what: str
    """For a person."""
    folder: Path
    """May be missing yet."""
    least: int
    most: int
    """More than `least` where it shows only later what is kept already."""
    given_back: int = 0
    """Bytes of it that replace what lies there now."""


@dataclass(frozen=True)
class Outlay:
    """Of one training."""

    photographs: int
    """Still to be decoded before the first step, and kept."""
    workers: int | None
    """Data workers that decode what a batch draws; None: all is decoded before the first step."""
    least: int
    most: int
    """Pictures that the tower is still to see, every variant counted."""
    variants: int
    """Of a picture."""
    tower_flops: int
    """Operations of the tower on one picture; 0 where it sees none."""
    kept: tuple[Kept, ...]

    def lines(self, flops_per_s: float | None = None) -> list[str]:
        """For a person, before anything of it is spent.

        Args:
            flops_per_s: As `product_rate` gives it, in float32.
        """
        lines = []
        if self.photographs:
            lines.append(f"before the first step {self.photographs:,} photographs are decoded")
        if self.workers is not None:
            who = f"{self.workers} data workers" if self.workers else "this process (train.num_workers: 0)"
            lines.append(f"photographs are decoded when they are drawn, by {who}")
        if self.most:
            each = f" (each in {self.variants} variants)" if self.variants > 1 else ""
            flops = self.most * self.tower_flops
            time = f", at least {duration(flops / flops_per_s)}" if flops_per_s else ""
            lines.append(
                f"before the first step the vision tower sees {self._range()} pictures{each}: "
                f"{'at most ' if self.least < self.most else ''}{in_words(flops)}FLOP{time}"
            )
        wanted = [one for one in self.kept if one.most]
        if wanted:
            free = dict.fromkeys(f"{in_bytes(_free(some))} free" for some in _by_disk(wanted))
            told = (f"{one.what} {_amount(one)} in {one.folder}" for one in wanted)
            lines.append(f"disk: {', '.join(told)}; {', '.join(free)}")
        return lines

    def _range(self) -> str:
        if self.least == self.most:
            return f"{self.most:,}"
        return f"{self.least:,} to {self.most:,}" if self.least else f"at most {self.most:,}"


def tell_outlay(outlay: Outlay, device: torch.device) -> None:
    """Log it, and refuse what cannot fit.

    Args:
        outlay: Before anything of it is spent.
        device: Where the tower will look.

    Raises:
        StorageError: As `check_disk`.
    """
    for line in outlay.lines(product_rate(device, "fp32") if outlay.most else None):
        _log.info(line)
    check_disk(outlay)


def check_disk(outlay: Outlay) -> None:
    """Refuse what cannot fit, before anything is decoded, and warn of what may not.

    Raises:
        StorageError: A disk has less free than is certainly needed.
    """
    for some in _by_disk(outlay.kept):
        free = _free(some)
        least, most = sum(one.least for one in some), sum(one.most for one in some)
        folders = ", ".join(dict.fromkeys(str(one.folder) for one in some if one.most))
        told = ", ".join(f"{one.what} {_amount(one)}" for one in some if one.most)
        if least > free:
            raise StorageError(
                "the disk has no room for what a training keeps of its pictures",
                where=folders,
                got=f"{least:,} bytes needed: {told}",
                allowed=f"{free:,} bytes free ({in_bytes(free)})",
                fix="free space, or choose another working folder; train.decode: drawn keeps no decoded photographs, a "
                "lower train.feature_variants fewer features (0: none), and a smaller model.image_side_px less of both",
            )
        if most > free:
            _log.warning("the disk may not have the room: %s in %s, %s free", told, folders, in_bytes(free))


def in_bytes(number: int) -> str:
    """A number of bytes with its unit."""
    for size, unit in ((2**40, "TiB"), (2**30, "GiB")):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number / 2**20:.1f} MiB"


def _amount(one: Kept) -> str:
    return f"{'at most ' if one.least < one.most else ''}{in_bytes(one.most)}"


def _free(some: Sequence[Kept]) -> int:
    """Bytes on the disk of these folders."""
    return shutil.disk_usage(_existing(some[0].folder)).free + sum(one.given_back for one in some)


def _by_disk(kept: Sequence[Kept]) -> list[list[Kept]]:
    found: dict[int, list[Kept]] = {}
    for one in kept:
        found.setdefault(os.stat(_existing(one.folder)).st_dev, []).append(one)
    return list(found.values())


def _existing(folder: Path) -> Path:
    return next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
