"""What train_moon refuses before it begins: a prefix that the gate never saw, a policy that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from catalog import ConfigError
from moon.cli import app
from moon.config import MoonConfig
from pipelines.training import check_fits, train_moon

POLICY = {"required_tasks": ["image_to_product"]}


@pytest.mark.parametrize("dims", [None, 64])
def test_whole_vectors_are_served(dims: int | None) -> None:
    check_fits(
        MoonConfig.model_validate(
            {"model": {"embedding_dims": 64}, "serving": {"dims": dims}, "gate": {"policy": POLICY}}
        )
    )


def test_a_prefix_that_the_gate_never_saw_is_refused() -> None:
    config = MoonConfig.model_validate(
        {
            "model": {"embedding_dims": 64, "matryoshka_dims": [32]},
            "serving": {"dims": 32},
            "gate": {"policy": POLICY},
        }
    )
    with pytest.raises(ConfigError) as caught:
        check_fits(config)
    assert (caught.value.where, caught.value.got) == ("serving.dims", "32")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "gate policy cannot be read"),
        ("flours: {image_to_product/recall@10: 0.5}\n", "did you mean floors?"),
        ("- floors\n", "gate policy must be a mapping of rules"),
    ],
)
def test_a_policy_file_is_read_before_the_run(tmp_path: Path, text: str | None, said: str) -> None:
    policy, recipe = tmp_path / "gate.yaml", tmp_path / "recipe.yaml"
    if text is not None:
        policy.write_text(text, encoding="utf-8")
    recipe.write_text(f"parameters:\n  config:\n    gate: {{policy: {policy}}}\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        train_moon.with_options(config_path=str(recipe))
    assert said in str(caught.value)
    done = CliRunner().invoke(app, ["check-config", str(recipe)])
    assert done.exit_code == 1
    assert said in " ".join(done.output.split())
