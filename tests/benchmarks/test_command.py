"""What the commands that look at one trained model refuse."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.command import held_out_splits, read_config, run
from catalog import ConfigError, ModelError, Side, SplitConfig
from moon.config import MoonConfig
from tests.models import shop


def _config(**split: Any) -> MoonConfig:
    return MoonConfig.model_validate({"catalog": {"split": split}})


def _encoder(lineage: dict[str, str]) -> Any:
    return SimpleNamespace(name="a model", lineage=lineage)


def test_a_model_is_judged_on_what_it_was_not_trained_on(tmp_path: Path) -> None:
    catalog = shop.make_shop(tmp_path)
    recipe = _config(test_frac=0.5, val_frac=0.0)
    own = SplitConfig(test_frac=0.5, val_frac=0.2).model_dump_json()
    # Another validation side is no harm: the test side is the same.
    splits = held_out_splits(_encoder({"split": own}), catalog, recipe)
    assert 0 < len(splits.product_ids(Side.TEST)) < len(catalog.products)
    other = SplitConfig(test_frac=0.5, val_frac=0.0, offset_frac=0.5).model_dump_json()
    with pytest.raises(ModelError, match="trained on products that it would be judged on") as caught:
        held_out_splits(_encoder({"split": other}), catalog, recipe)
    assert caught.value.got.startswith(f"{len(splits.product_ids(Side.TEST))} of them")
    with pytest.raises(ModelError, match="does not tell") as caught:
        held_out_splits(_encoder({"commit": "abc"}), catalog, recipe)
    assert caught.value.got == "commit"


def test_a_recipe_without_a_configuration_is_all_defaults(tmp_path: Path) -> None:
    (tmp_path / "plain.yaml").write_text("enable_cache: false\n")
    assert read_config(tmp_path / "plain.yaml") == MoonConfig()
    with pytest.raises(ConfigError, match="no such recipe"):
        read_config(tmp_path / "none.yaml")


def test_an_error_that_a_user_can_cause_has_no_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["command"])

    def main() -> None:
        raise ModelError("no such model", fix="name one")

    with pytest.raises(SystemExit) as caught:
        run(main)
    assert caught.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("Error: no such model")
    assert "Traceback" not in said
