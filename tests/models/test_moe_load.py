"""Looking at experts: the load table, its figure, and what fired for each token."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from models.moe import (
    GuidedMoe,
    LoadTotal,
    TypesInView,
    draw_load,
    expert_load,
    load_table,
    plain_load,
    recording,
    table_of_plain,
)
from models.tokens import ATTRIBUTE_TYPES, CATEGORY_TYPES, TokenType
from tests.models.moe_layers import WIDTH, make, shake, some_types


@pytest.mark.parametrize("combination", ["switch", "additive"])
def test_the_table_counts_what_the_recording_saw(combination: str) -> None:
    _, moe, in_view = make({"combination": combination, "expert": "full"}, num_experts=5)
    shake(moe)
    types = some_types()
    with recording([moe]) as layers, in_view.showing(types):
        moe(torch.randn(2, 8, WIDTH))
        moe(torch.randn(2, 8, WIDTH))
    table = load_table([moe])
    assert table.shape == (1, len(TokenType), 5)
    counted = torch.zeros(len(TokenType), 5, dtype=torch.int64)
    for fired in layers[0]:
        for kind, experts in zip(types.flatten().tolist(), fired.expert_BLK.flatten(0, 1).tolist(), strict=True):
            for expert in experts:
                if expert >= 0:
                    counted[kind, expert] += 1
    assert torch.equal(table[0], counted)


@pytest.mark.parametrize("combination", ["switch", "additive"])
def test_the_recording_tells_who_worked_where(combination: str) -> None:
    _, moe, in_view = make({"combination": combination, "expert": "low_rank"})
    shake(moe)
    types = some_types()
    moe.eval()
    with recording([moe]) as layers, in_view.showing(types):
        moe(torch.randn(2, 8, WIDTH))
    (fired,) = layers[0]
    guided = torch.isin(types, torch.tensor([*CATEGORY_TYPES, *ATTRIBUTE_TYPES]))
    routed = (types != TokenType.PAD) & ~(guided & torch.tensor(combination == "switch"))
    assert fired.expert_BLK.shape == fired.gate_BLK.shape == (2, 8, 2)
    assert (fired.expert_BLK[routed] >= 0).all()
    assert (fired.expert_BLK[~routed] == -1).all()
    assert torch.allclose(fired.gate_BLK.sum(-1), routed.float())
    assert not fired.gate_BLK.requires_grad
    assert (fired.guided_BL[torch.isin(types, torch.tensor(CATEGORY_TYPES))] == 0).all()
    assert (fired.guided_BL[torch.isin(types, torch.tensor(ATTRIBUTE_TYPES))] == 1).all()
    assert (fired.guided_BL[~guided] == -1).all()
    assert moe.recorder is None


def test_two_recordings_at_once_are_a_mistake_of_ours() -> None:
    _, moe, _ = make({"combination": "additive", "expert": "low_rank"})
    with recording([moe]), pytest.raises(AssertionError), recording([moe]):
        pass
    assert moe.recorder is None


def test_shares_leave_out_types_that_were_not_routed() -> None:
    _, moe, in_view = make({"combination": "switch", "expert": "full"})
    with in_view.showing(some_types()):
        moe(torch.randn(2, 8, WIDTH))
    shares = expert_load([moe])
    kinds = {name.split("/")[1] for name in shares}
    assert kinds == {"image", "title", "other"}
    assert {name.split("/")[0] for name in shares} == {"moe_0"}


@pytest.mark.parametrize(("num_layers", "num_experts"), [(1, 4), (3, 16), (2, 128)])
def test_the_figure_has_a_panel_a_layer_and_a_row_a_type_that_was_routed(
    tmp_path: Path, num_layers: int, num_experts: int
) -> None:
    table = torch.zeros(num_layers, len(TokenType), num_experts, dtype=torch.int64)
    table[:, TokenType.TITLE] = torch.arange(num_experts)
    table[0, TokenType.IMAGE, 2] = 7
    figure = draw_load(table)
    panels = [axes for axes in figure.axes if axes.get_images()]
    assert len(panels) >= num_layers
    labels = [label.get_text() for label in panels[0].get_yticklabels()]
    assert labels == ["image (7)", f"title ({num_experts * (num_experts - 1) // 2:,})"]
    drawn = panels[0].get_images()[0].get_array()
    assert float(drawn[0, 2]) == 100.0
    assert float(drawn[1].sum()) == pytest.approx(100.0)
    figure.savefig(tmp_path / "load.png")
    assert (tmp_path / "load.png").stat().st_size > 1000


def test_a_figure_without_choices_says_so() -> None:
    figure = draw_load(torch.zeros(1, len(TokenType), 4, dtype=torch.int64))
    assert [text.get_text() for text in figure.texts if "routed" in text.get_text()] == ["no token was routed"]
    assert load_table([]).shape == (0, len(TokenType), 0)


def _pass(moe: GuidedMoe, in_view: TypesInView) -> torch.Tensor:
    """One forward pass of what is to be counted, and what a naive loop counts of it."""
    types = some_types()
    with recording([moe]) as layers, in_view.showing(types):
        moe(torch.randn(2, 8, WIDTH))
    counted = torch.zeros(1, len(TokenType), 3, dtype=torch.int64)
    for kind, experts in zip(types.flatten().tolist(), layers[0][0].expert_BLK.flatten(0, 1).tolist(), strict=True):
        for expert in experts:
            if expert >= 0:
                counted[0, kind, expert] += 1
    return counted


def test_a_total_outlives_the_counters_and_goes_on_from_an_earlier_run() -> None:
    _, moe, in_view = make({"combination": "additive", "expert": "low_rank"}, num_experts=3)
    shake(moe)
    total = LoadTotal([moe])
    first = _pass(moe, in_view)
    shares = total.take()
    assert shares
    assert not load_table([moe]).any()
    second = _pass(moe, in_view)
    # Also what no point was logged of.
    assert torch.equal(total.table(), first + second)
    assert torch.equal(total.table(), first + second)
    kept = total.table()
    moe.load = torch.zeros_like(moe.load)
    again = LoadTotal([moe], kept)
    third = _pass(moe, in_view)
    again.take()
    assert torch.equal(again.table(), first + second + third)


def test_a_total_shares_as_the_counters_do() -> None:
    _, moe, in_view = make({"combination": "additive", "expert": "low_rank"}, num_experts=3)
    _pass(moe, in_view)
    counters = moe.load.clone()
    expected = expert_load([moe])
    moe.load = counters
    assert LoadTotal([moe], torch.ones_like(load_table([moe]))).take() == expected


def test_a_table_as_plain_data_comes_back() -> None:
    table = torch.zeros(2, len(TokenType), 4, dtype=torch.int64)
    table[0, TokenType.TITLE] = torch.tensor([1, 0, 2, 3])
    table[1, TokenType.IMAGE, 3] = 5
    plain = plain_load(table)
    assert plain == [{"title": [1, 0, 2, 3]}, {"image": [0, 0, 0, 5]}]
    assert json.loads(json.dumps(plain)) == plain
    assert torch.equal(table_of_plain(plain), table)
    assert table_of_plain([]).shape == (0, len(TokenType), 0)
    # A record of types that are gone still gives the others.
    assert torch.equal(table_of_plain([plain[0] | {"gone": [1, 1, 1, 1]}, plain[1]]), table)
