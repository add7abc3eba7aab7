"""The pointing game's table, and what the page of cases says of it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from benchmarks.case_study.__main__ import _pointing
from benchmarks.pointing_game import ALL, GROUPS, SMALL, as_data, as_table, gain, gain_lines, hits, kept_or_temporary
from models.inside import HeatMap
from models.inside.pointing import PRODUCT, QUERY, Shot, score, shot_of
from tests.models import shop

SHOTS = [
    Shot(PRODUCT, "text", "a", "g", 0.4, True, 0.7, False, 0.4, True, 0.1),
    Shot(PRODUCT, "photo", "b", "g", 0.5, True, 0.9, True, 0.5, True, 0.3),
    Shot(QUERY, "photo", "c", "h", 0.3, False, 0.2, True, 0.3, True, 0.2),
]


def test_groups_part_the_photographs() -> None:
    sides = [keys for keys in GROUPS.values() if set(keys) == {"side"}]
    assert sorted(keys["side"] for keys in sides) == [PRODUCT, QUERY]
    assert {keys["asked"] for keys in GROUPS.values() if "asked" in keys} == {"text", "photo", "both"}


def test_the_table_shows_shares_in_per_cent() -> None:
    console = Console(width=200)
    with console.capture() as shown:
        console.print(as_table({"all": score(SHOTS)}, {"all": gain(SHOTS)}, {"all": hits(SHOTS)}))
    text = shown.get()
    for value in ("66.7", "40.0", "1.67", "60.0", "+0.20", "+0.0 (-100.0 to +50.0)"):
        assert value in text


def test_the_page_tells_the_game_of_its_own_model_only(tmp_path: Path) -> None:
    path = tmp_path / "pointing_game.json"
    assert _pointing(path, "mine") == ""
    told = as_data({"all": score(SHOTS)}, {"all": gain(SHOTS)}, {"all": hits(SHOTS)})
    path.write_text(json.dumps({"model": "mine", "scores": told}), encoding="utf-8")
    assert "1.67 times" in _pointing(path, "mine")
    assert _pointing(path, "another") == ""


def test_a_working_folder_is_kept_only_where_asked(tmp_path: Path) -> None:
    with kept_or_temporary(tmp_path / "kept") as kept:
        assert kept.is_dir()
    assert kept.is_dir()
    with kept_or_temporary(None) as gone:
        assert gone.is_dir()
    assert not gone.exists()


PHOTO = shop.photo_of(shop.noise(0))


def _hot(row: int, column: int) -> HeatMap:
    """A map of a picture of 40 x 40 pixels, four by four cells of which one is hot."""
    values = np.zeros((4, 4))
    values[row, column] = 1.0
    return HeatMap(PHOTO, 0, (40, 40), None, 10.0, values, {})


CORNER, AWAY = _hot(0, 0), _hot(3, 3)
PLAYED = [
    shot_of(PRODUCT, "text", "mugs", CORNER, AWAY, (0, 0, 10, 10)),  # small; the trained one alone hits
    shot_of(PRODUCT, "text", "mugs", CORNER, CORNER, (0, 0, 10, 10)),  # small; both hit
    shot_of(PRODUCT, "photo", "bags", CORNER, CORNER, (0, 0, 40, 20)),  # large; both hit
    shot_of(QUERY, "photo", "hats", AWAY, CORNER, (0, 0, 20, 20)),  # a quarter, and so not small; the random one alone
]


ONE_ALONE = 1.959964**2 / (1 + 1.959964**2)
"""Wilson's edge of none among one, at 95 %."""


def test_what_training_adds_is_paired_and_resampled_by_product() -> None:
    found = gain(PLAYED)
    assert (found.value, found.n) == (0.0, 4)
    # Of the 27 resamples of three products each stands for 3.7 %: the ends are three times hats, three times mugs.
    # Four photographs taken for independent would give [-0.75, 0.75].
    assert (found.low, found.high) == (-1.0, 0.5)
    # One product alone has nothing to be resampled with: half a point, less and plus Wilson of none among one.
    two = gain(PLAYED[:2])
    assert (two.value, two.low, two.high) == pytest.approx((0.5, 0.5 - ONE_ALONE, 1.0), abs=1e-6)


def test_hits_are_resampled_by_product() -> None:
    found = hits(PLAYED)
    assert (found.value, found.n) == (0.75, 4)
    # Of the three products mugs and bags hit always and hats never: one resample in 27 is hats alone.
    assert (found.low, found.high) == (0.0, 1.0)


def test_no_difference_anywhere_is_no_certainty() -> None:
    same = gain(PLAYED[1:3])
    assert same.value == 0.0
    # Wilson of none among two products: z^2 / (n + z^2).
    edge = 1.959964**2 / (2 + 1.959964**2)
    assert (same.low, same.high) == pytest.approx((-edge, edge), abs=1e-6)


def test_small_boxes_are_told_apart() -> None:
    small = [shot for shot in PLAYED if all(getattr(shot, key) == value for key, value in GROUPS[SMALL].items())]
    assert small == PLAYED[:2]
    parts = {ALL: PLAYED, SMALL: small}
    found = {name: score(rows) for name, rows in parts.items()}
    gains = {name: gain(rows) for name, rows in parts.items()}
    rows = [asdict(shot) for shot in PLAYED]
    assert json.loads(json.dumps(rows)) == rows
    told = json.loads(json.dumps(as_data(found, gains, {name: hits(PLAYED) for name in found})))
    assert told[SMALL]["n"] == 2
    assert (told[SMALL]["hit_frac"], told[SMALL]["random_hit_frac"]) == (1.0, 0.5)
    ends = [told[SMALL][key] for key in ("hit_gain", "hit_gain_low", "hit_gain_high")]
    assert ends == pytest.approx([0.5, 0.5 - ONE_ALONE, 1.0], abs=1e-6)
    assert [told[ALL][key] for key in ("hit_gain", "hit_gain_low", "hit_gain_high")] == [0.0, -1.0, 0.5]
    assert told[ALL]["ratio"] == found[ALL].ratio
    every, few = gain_lines(found, gains)
    assert every.startswith("hits on all boxes (n = 4): 75.0 %, random weights 75.0 %")
    assert every.endswith("+0.0 (-100.0 to +50.0) points, interval not over 0")
    assert few.startswith("hits on boxes under 25 % of the picture (n = 2): 100.0 %, random weights 50.0 %")
    assert few.endswith("+50.0 (-29.3 to +100.0) points, interval not over 0")
    assert gain_lines({ALL: found[ALL]}, {ALL: gains[ALL]})[1].endswith("there are none")
