"""`moon leaderboard`: encoders beside each other, on the same split and pool."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moon.commands.evaluate import (
    MODEL_HELP,
    BatchSize,
    Cache,
    Data,
    Device,
    Fetch,
    LabelPrompt,
    Numbers,
    Side,
    TrustRemoteCode,
    check_folder,
    check_prompt,
    tell,
)

if TYPE_CHECKING:
    from validation.rivals.leaderboard import Entry

ENTRIES = "entries"


def leaderboard(
    data: Data,
    model: Annotated[list[str], typer.Option(help=f"Give it once an encoder. {MODEL_HELP}")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for board.md, board.html, board.json and what each encoder scored.")
    ] = None,
    cache: Cache = None,
    side: Side = None,
    device: Device = "auto",
    dtype: Numbers = "fp32",
    batch_size: BatchSize = 32,
    label_prompt: LabelPrompt = None,
    fetch: Fetch = False,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Judge several encoders on the same questions and rank them by the main score.

    With --out, an encoder that the same code has asked the same before is not run again.

    Example: moon leaderboard --data demo --model random --model bm25 --model colour_hash --out board
    """
    from moon.encoders import EncoderOptions, check_name
    from moon.evaluation_data import open_evaluation
    from moon.judging import judge_named, write_whole
    from validation.benchmark import harness_digest
    from validation.rivals.leaderboard_page import board_markdown

    options = EncoderOptions(device, dtype, batch_size, check_prompt(label_prompt), fetch, trust_remote_code)
    for name in model:
        check_name(name, options)
    if out is not None:
        check_folder(out)
    entries = []
    with open_evaluation(data, side, tell) as opened:
        settings = opened.benchmark.model_dump_json()
        for name in dict.fromkeys(model):
            place = None if out is None else out / ENTRIES / f"{_file_name(name)}.json"

            def known(digest: str, place: Path | None = place) -> Entry | None:
                entry = _kept(place) if place is not None else None
                asked = (digest, opened.eval_set.digest, harness_digest(), settings)
                return entry if entry is not None and entry.answers(*asked) else None

            entry = judge_named(name, opened, options, tell, known=known, cache=cache)
            if place is not None:
                write_whole(place, entry.to_json())
            entries.append(entry)
    typer.echo(board_markdown(entries))
    if out is not None:
        _write_board(out, entries, data)


def _write_board(out: Path, entries: list[Entry], data: str) -> None:
    import json

    from moon.judging import write_whole
    from validation.rivals.leaderboard import board_to_dict
    from validation.rivals.leaderboard_page import board_html, board_markdown

    write_whole(out / "board.md", board_markdown(entries))
    write_whole(out / "board.html", board_html(entries, f"Encoders on {Path(data).name}"))
    write_whole(out / "board.json", json.dumps(board_to_dict(entries), ensure_ascii=False, indent=1, allow_nan=False))
    typer.echo(f"written to {out}: board.md, board.html, board.json")


def _kept(place: Path) -> Entry | None:
    """An entry written before; one of another version or damaged is made anew."""
    from validation.errors import BenchmarkError
    from validation.rivals.leaderboard import Entry

    if not place.is_file():
        return None
    try:
        return Entry.from_json(place.read_text(encoding="utf-8"))
    except BenchmarkError as error:
        tell(f"{place.name}: {error.problem}; scored anew")
        return None


def _file_name(model: str) -> str:
    plain = re.sub(r"[^\w.-]+", "_", model).strip("_")[-60:]
    return f"{plain}-{hashlib.sha256(model.encode()).hexdigest()[:8]}"
