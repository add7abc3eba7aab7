"""`moon evaluate`: one encoder, judged by itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from catalog.errors import ConfigError

MODEL_HELP = (
    "A MOON model folder; bm25, title_words, colour, colour_hash, random, constant, majority; or KIND:FOLDER_OR_ID "
    "with a kind of clip, siglip, open_clip, st, text, vision, untrained."
)
# Options that `moon leaderboard` has too.
Data = Annotated[
    str, typer.Option(help="demo, a catalogue folder, a recipe in YAML, or the folder of a frozen evaluation set.")
]
Cache = Annotated[
    Path | None, typer.Option(help="Folder to keep vectors in: each is computed once. Times are then not told.")
]
Side = Annotated[str | None, typer.Option(help="Side of the split: test, which is taken where none is named, or val.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Numbers = Annotated[Literal["fp32", "bf16"], typer.Option(help="Numbers a rival's weights are held in.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Texts or photos a forward pass of a rival.")]
LabelPrompt = Annotated[
    str | None,
    typer.Option(help="What a rival is asked a label in, with {} for it; each family's own where not given."),
]
Fetch = Annotated[bool, typer.Option("--fetch", help="Download hub ids that are not in the local cache.")]
TrustRemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run Python code of a model folder, or of module:attr.")
]


def evaluate(
    model: Annotated[str, typer.Option(help=MODEL_HELP)],
    data: Data,
    out: Annotated[
        Path | None, typer.Option(help="JSON to write the record to; every item's result goes beside it.")
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
    """Judge one encoder on held-out products: retrieval, categories and attributes, with intervals.

    Nothing is fetched and no code of others is run unless you say so.

    Example: moon evaluate --model bm25 --data demo
    """
    from moon.encoders import EncoderOptions, check_name
    from moon.evaluation_data import open_evaluation
    from moon.judging import judge_named, write_whole
    from validation.benchmark import score_table
    from validation.statistics import outcomes_to_dict

    options = EncoderOptions(device, dtype, batch_size, check_prompt(label_prompt), fetch, trust_remote_code)
    check_name(model, options)
    if out is not None:
        if out.is_dir():
            raise ConfigError("--out names a folder", got=str(out), fix=f"name a file, such as {out / 'record.json'}")
        check_folder(out.parent)
    with open_evaluation(data, side, tell) as opened:
        entry = judge_named(model, opened, options, tell, cache=cache)
    typer.echo(score_table([entry.record]))
    for task, reason in sorted(entry.record.not_applicable.items()):
        typer.echo(f"not asked: {task}: {reason}")
    for note in entry.record.notes:
        typer.echo(f"note: {note}")
    if out is not None:
        items = out.with_name(f"{out.stem}.outcomes.json")
        write_whole(out, entry.record.to_json())
        write_whole(items, json.dumps(outcomes_to_dict(entry.outcomes), ensure_ascii=False, allow_nan=False))
        typer.echo(f"record: {out}, every item: {items}")


def tell(text: str) -> None:
    """Progress goes to the terminal's error stream: the table alone can be piped."""
    typer.echo(text, err=True)


def check_folder(folder: Path) -> None:
    """Whether something can be written below a folder, found out before hours are spent on what it shall hold.

    Raises:
        ConfigError: It, or what should hold it, is a file.
    """
    file = next((place for place in (folder, *folder.parents) if place.exists() and not place.is_dir()), None)
    if file is not None:
        raise ConfigError(
            "no folder can be made there", where="--out", got=f"{file} is a file", fix="name another place"
        )


def check_prompt(prompt: str | None) -> str | None:
    """The label prompt, if it can hold a label.

    Raises:
        ConfigError: Not exactly one {}.
    """
    if prompt is not None and (prompt.count("{}") != 1 or prompt.count("{") != 1 or prompt.count("}") != 1):
        raise ConfigError(
            "label prompt has no place for the label",
            where="--label-prompt",
            got=prompt,
            allowed="one {} and no other brace",
        )
    return prompt
