"""Decoded squares are made once, and again where their index was cut by a machine that went down."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.regions import Wanted
from models.training.picture_store import PictureStore, Shot, ShotSet, fill_picture_store, replaced_bytes
from tests.models import shop

SHOTS = [Shot(shop.photo_of(shop.noise(number), f"photo-{number}"), Wanted("a mug"), 1) for number in range(3)]


class Maker:
    """One flat square a photograph; counts them."""

    side_px = 4

    def __init__(self) -> None:
        self.made = 0

    def squares(self, photo: object, wanted: Wanted, views: int) -> np.ndarray:
        self.made += 1
        return np.full((views, self.side_px, self.side_px, 3), int(photo.ref[-1]), dtype=np.uint8)  # type: ignore[attr-defined]


def _fill(folder: Path, digest: str = "regions") -> tuple[PictureStore, int]:
    maker = Maker()
    return fill_picture_store(folder, _wanted(digest), maker), maker.made  # type: ignore[arg-type]


def _wanted(digest: str) -> ShotSet:
    return ShotSet([*SHOTS, SHOTS[0]], Maker.side_px, digest)


def test_squares_are_made_once(tmp_path: Path) -> None:
    assert _fill(tmp_path)[1] == 3
    store, made = _fill(tmp_path)
    assert made == 0
    assert [int(store.squares(shot).max()) for shot in SHOTS] == [0, 1, 2]
    assert _fill(tmp_path, "other regions")[1] == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pictures.json", "pictures.npy"]


@pytest.mark.parametrize("text", ["", '{"digest": "0', "null", "[]", "{}"])
def test_a_cut_index_is_no_index(tmp_path: Path, text: str) -> None:
    _fill(tmp_path)
    (tmp_path / "pictures.json").write_text(text)
    assert _fill(tmp_path)[1] == 3
    assert _fill(tmp_path)[1] == 0


def test_an_index_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(self: Path, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", die)
    with pytest.raises(KeyboardInterrupt):
        _fill(tmp_path)
    monkeypatch.undo()
    assert not (tmp_path / "pictures.json").exists()
    assert _fill(tmp_path)[1] == 3


def test_what_is_to_be_decoded_is_known_before(tmp_path: Path) -> None:
    wanted = _wanted("regions")
    assert wanted.num_bytes == 3 * 4 * 4 * 3
    assert (wanted.is_decoded(tmp_path), replaced_bytes(tmp_path)) == (False, 0)
    _fill(tmp_path)
    assert wanted.is_decoded(tmp_path)
    assert not _wanted("other regions").is_decoded(tmp_path)
    # Other squares take the place of these.
    assert replaced_bytes(tmp_path) >= wanted.num_bytes
