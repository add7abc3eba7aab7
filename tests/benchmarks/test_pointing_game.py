"""The pointing game's table, and what the page of cases says of it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from benchmarks.case_study.__main__ import _pointing
from benchmarks.pointing_game import GROUPS, as_table, kept_or_temporary
from models.inside.pointing import PRODUCT, QUERY, Shot, score

SHOTS = [
    Shot(PRODUCT, "text", "a", 0.4, True, 0.7, False, 0.4, True, 0.1),
    Shot(PRODUCT, "photo", "b", 0.5, True, 0.9, True, 0.5, True, 0.3),
    Shot(QUERY, "photo", "c", 0.3, False, 0.2, True, 0.3, True, 0.2),
]


def test_groups_part_the_photographs() -> None:
    sides = [keys for keys in GROUPS.values() if set(keys) == {"side"}]
    assert sorted(keys["side"] for keys in sides) == [PRODUCT, QUERY]
    assert {keys["asked"] for keys in GROUPS.values() if "asked" in keys} == {"text", "photo", "both"}


def test_the_table_shows_shares_in_per_cent() -> None:
    console = Console(width=200)
    with console.capture() as shown:
        console.print(as_table({"all": score(SHOTS)}))
    text = shown.get()
    for value in ("66.7", "40.0", "1.67", "60.0", "+0.20"):
        assert value in text


def test_the_page_tells_the_game_of_its_own_model_only(tmp_path: Path) -> None:
    path = tmp_path / "pointing_game.json"
    assert _pointing(path, "mine") == ""
    path.write_text(json.dumps({"model": "mine", "scores": {"all": asdict(score(SHOTS))}}), encoding="utf-8")
    assert "1.67 times" in _pointing(path, "mine")
    assert _pointing(path, "another") == ""


def test_a_working_folder_is_kept_only_where_asked(tmp_path: Path) -> None:
    with kept_or_temporary(tmp_path / "kept") as kept:
        assert kept.is_dir()
    assert kept.is_dir()
    with kept_or_temporary(None) as gone:
        assert gone.is_dir()
    assert not gone.exists()
