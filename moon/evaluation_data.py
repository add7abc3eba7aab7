"""What encoders are judged on, from the name a user gives: the demo shop, a catalogue, a recipe's, a frozen set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from catalog.errors import ConfigError

if TYPE_CHECKING:
    from catalog import CatalogConfig, Product
    from validation.benchmark import EvalSet
    from validation.config import BenchmarkConfig

DEMO = "demo"


@dataclass(frozen=True)
class EvalData:
    """An evaluation set with all that a judgement needs beside it."""

    eval_set: EvalSet
    products: Sequence[Product]
    """What word rivals index: the whole catalogue, or the frozen gallery."""
    benchmark: BenchmarkConfig
    split: str | None
    """JSON of the split, to hold a model's lineage against; None for a frozen set."""


@contextmanager
def open_evaluation(data: str, side: str | None, say: Callable[[str], None]) -> Iterator[EvalData]:
    """Build or read the evaluation set; photographs stay readable inside the block.

    Args:
        data: `demo`, a folder with evalset.json, a catalogue folder, or a recipe in YAML.
        side: `test` or `val`, test where not given; a frozen set has its own.
        say: Told what is being done.

    Raises:
        ConfigError: Nothing of that kind there, or a side that is not judged.
        CatalogError, BenchmarkError: The catalogue or the frozen set cannot be used.
    """
    from catalog import resolve_root
    from validation.freezing.folder import SET_FILE

    folder = Path(resolve_root(data)) if "://" not in data else Path(data)
    if (folder / SET_FILE).is_file():
        yield _frozen(folder, side)
        return
    catalog_config, benchmark = _configs(data, folder)
    from catalog import Side, split_catalog
    from catalog.sources import load_catalog
    from validation.benchmark import build_eval_set

    with TemporaryDirectory() as work:
        say(f"reading {data}")
        catalog = load_catalog(catalog_config, work_dir=work, on_error="quarantine")
        say(f"{len(catalog.products)} products, {len(catalog.queries)} queries; digest {catalog.digest[:12]}")
        splits = split_catalog(catalog, catalog_config.split)
        eval_set = build_eval_set(catalog, splits, benchmark, _side(Side, side or "test"))
        yield EvalData(eval_set, catalog.products, benchmark, catalog_config.split.model_dump_json())


def _side(sides: Any, name: str) -> Any:
    judged = [str(side) for side in sides if str(side) != "train"]
    if name not in judged:
        raise ConfigError("no such side to judge on", where="--side", got=name, allowed=", ".join(judged))
    return sides(name)


def _frozen(folder: Path, side: str | None) -> EvalData:
    from validation.config import BenchmarkConfig
    from validation.freezing import load_eval_set

    eval_set = load_eval_set(folder)
    if side not in (None, eval_set.side):
        raise ConfigError(
            "a frozen evaluation set has one side", where="--side", got=side, allowed=eval_set.side, fix="leave it away"
        )
    return EvalData(eval_set, [item.product for item in eval_set.gallery], BenchmarkConfig(), None)


def _configs(data: str, folder: Path) -> tuple[CatalogConfig, BenchmarkConfig]:
    from catalog import CatalogConfig
    from validation.config import BenchmarkConfig

    if data == DEMO:
        return CatalogConfig(), BenchmarkConfig()
    if folder.is_dir():
        return CatalogConfig(source="folder", path=data), BenchmarkConfig()
    if folder.is_file() and folder.suffix in (".yaml", ".yml"):
        return _recipe(folder)
    raise ConfigError(
        "nothing there to judge on",
        where="--data",
        got=data,
        allowed="demo, a catalogue folder, a frozen evaluation set, or a recipe in YAML",
        fix="moon data inspect PATH says which source reads published data; a recipe with that `catalog` is judged on",
    )


def _recipe(path: Path) -> tuple[CatalogConfig, BenchmarkConfig]:
    from moon.config import MoonConfig
    from moon.yaml_lines import read_yaml

    content, _ = read_yaml(path)
    parameters = content.get("parameters") or {}
    config = parameters.get("config") if isinstance(parameters, dict) else None
    try:
        tree = MoonConfig.model_validate(config or {})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ConfigError(
            "recipe has a mistake",
            where=f"{path}: parameters.config.{'.'.join(map(str, first['loc']))}",
            got=first["msg"],
            fix=f"moon check-config {path}",
        ) from None
    return tree.catalog, tree.benchmark
