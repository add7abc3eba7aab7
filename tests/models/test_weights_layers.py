"""`keep_layers` leaves out later decoder layers, and those alone: tensors of a tower that have no place are named."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from catalog import ModelError
from models.backbones import qwen, smolvlm
from models.backbones.pretrained import put_weights

KEPT, STORED = 2, 4
"""Layers that `keep_layers` lets be, and layers that config.json counts."""
LISTS = [
    (qwen.rename, "language_model.layers", "visual.blocks"),
    (smolvlm.rename, "text_model.layers", "vision_model.encoder.layers"),
]
"""How names are brought into the model, its decoder's layer list, the tower's; both lists count from 0."""


class _Part(nn.Module):
    """Modules under a dotted name, each a linear map of one number."""

    def __init__(self, lists: dict[str, int]) -> None:
        super().__init__()
        for name, length in lists.items():
            inside: nn.Module = self
            *outer, last = name.split(".")
            for part in outer:
                if not hasattr(inside, part):
                    inside.add_module(part, nn.Module())
                inside = getattr(inside, part)
            inside.add_module(last, nn.ModuleList(nn.Linear(1, 1, bias=False) for _ in range(length)))


def stored(lists: dict[str, int]) -> dict[str, torch.Tensor]:
    return {f"{name}.{row}.weight": torch.full((1, 1), float(row)) for name, n in lists.items() for row in range(n)}


@pytest.mark.parametrize(("rename", "decoder", "tower"), LISTS)
def test_a_tower_deeper_than_its_config_is_told(rename: Callable[[str], str | None], decoder: str, tower: str) -> None:
    module = _Part({decoder: KEPT, tower: STORED})
    layers = module.get_submodule(decoder)
    assert isinstance(layers, nn.ModuleList)
    module.get_submodule(decoder.rpartition(".")[0]).config = SimpleNamespace(num_stored_layers=STORED)  # type: ignore[assignment]
    whole = {f"model.{name}": tensor for name, tensor in stored({decoder: STORED, tower: STORED}).items()}
    put_weights(module, whole, rename, "here", layers)
    assert [value.item() for value in layers.state_dict().values()] == [0.0, 1.0]
    # Numbers from `KEPT` on and below, of the tower and of a part that has no place at all; a decoder layer too many.
    surplus = [f"model.{tower}.{STORED}.weight", f"model.{tower}.{KEPT}.extra", f"model.{tower}.0.extra"]
    surplus.append(f"model.{decoder}.{STORED}.weight")
    with pytest.raises(ModelError, match="do not fit") as caught:
        put_weights(module, whole | dict.fromkeys(surplus, torch.zeros(1)), rename, "here", layers)
    assert caught.value.got == "unknown: " + ", ".join(sorted(surplus))


@pytest.mark.parametrize(("rename", "decoder", "tower"), LISTS)
def test_a_decoder_deeper_than_its_config_is_told_where_nothing_was_cut(
    rename: Callable[[str], str | None], decoder: str, tower: str
) -> None:
    module = _Part({decoder: KEPT, tower: STORED})
    layers = module.get_submodule(decoder)
    assert isinstance(layers, nn.ModuleList)
    whole = {f"model.{name}": tensor for name, tensor in stored({decoder: STORED, tower: STORED}).items()}
    with pytest.raises(ModelError, match="do not fit") as caught:
        put_weights(module, whole, rename, "here", layers)
    assert caught.value.got == f"unknown: model.{decoder}.2.weight, model.{decoder}.3.weight"


def test_what_transformers_says_a_class_has_no_use_for_is_left_out() -> None:
    module = _Part({"layers": KEPT})
    module._keys_to_ignore_on_load_unexpected = [r"model\.layers\.2\.", "inv_freq"]  # type: ignore[assignment]
    given = {f"model.{name}": tensor for name, tensor in stored({"layers": KEPT + 1}).items()}
    layers = module.get_submodule("layers")
    assert isinstance(layers, nn.ModuleList)
    put_weights(module, given, lambda name: name.removeprefix("model."), "here", layers)
    with pytest.raises(ModelError, match=r"unknown: model\.layers\.3\.weight"):
        put_weights(
            module,
            given | {"model.layers.3.weight": torch.zeros(1)},
            lambda name: name.removeprefix("model."),
            "here",
            layers,
        )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_tensor_that_is_not_finite_is_named(value: float) -> None:
    module = _Part({"layers": KEPT})
    given = stored({"layers": KEPT})
    given["layers.1.weight"][0] = value
    with pytest.raises(ModelError, match="not finite") as caught:
        put_weights(module, given, lambda name: name, "here")
    assert caught.value.got == "layers.1.weight"
