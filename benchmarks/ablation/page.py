"""The page that results are written into: what stands between two markers is the program's, the rest a person's."""

from __future__ import annotations

import hashlib
from pathlib import Path

from catalog import ConfigError, StorageError

BEGIN, END = "<!-- ablation: begin -->", "<!-- ablation: end -->"
HEAD = f"""# Results

What each part of the model is worth. `python -m benchmarks.ablation report` writes what stands between the markers
from the rows below `benchmarks/results/ablation`; what stands outside them is written by hand.

{BEGIN}
{END}

## How it is measured

- **Arms** are the recipe with one part taken out, everything else equal; `python -m benchmarks.ablation arms` lists
  them. An arm whose part the recipe has not is left out.
- **Without guided MoE** means a dense change of the same FFNs with as many trainable parameters (within 2 %).
- **The dual encoder** has the same towers, data, steps and losses, and the same dense change in its text tower; its
  pictures and words meet in a weighted sum. The width of its map of pictures is set so that its trainable parameters
  meet full's (within 10 %); a width below 64 is raised to it, and the dual encoder then has more parameters than full.
  Parameters that no embedding depends on are not counted for it.
- **Learning rates**: the same factors are tried for full and the dual encoder on a validation side, each takes its
  best, and arms that lack a part take full's. On folds that validation side is held out by another fold, so that this
  one choice has seen what another fold judges.
- **Labels** have no classifier head: leaf and attributes are texts, seen in training on other products
  (`train.label_weight`), and the answer is the nearest text.
- **Pooling** is by metric: an attribute's accuracy is taken over all folds together, then the mean over attributes.
- **Rows** stay. A changed recipe begins a new table, and the rows of other recipes are listed below it.
"""


def told_of(results: Path) -> str:
    """A line that names the rows that a page was written from, so that a page older than its rows is found out."""
    total = hashlib.sha256()
    for file in sorted(results.glob("*.jsonl")):
        total.update(file.name.encode() + hashlib.sha256(file.read_bytes()).digest())
    return f"<!-- rows {total.hexdigest()[:16]} -->\n"


def write_page(path: Path, body: str) -> None:
    """Put `body` between the markers of the page, which is begun where it is not there.

    Raises:
        ConfigError: The page has not both markers, in their order.
        StorageError: It cannot be written.
    """
    page = path.read_text(encoding="utf-8") if path.exists() else HEAD
    start, stop = page.find(BEGIN), page.find(END)
    if start < 0 or stop < start:
        raise ConfigError(
            "the page has no place for the results",
            where=str(path),
            allowed=f"one line {BEGIN} and below it one line {END}",
            fix="put both in, or move the page away to have it begun anew",
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{page[: start + len(BEGIN)]}\n{body}{page[stop:]}", encoding="utf-8")
    except OSError as error:
        raise StorageError("the page cannot be written", where=str(path), got=str(error)) from None
