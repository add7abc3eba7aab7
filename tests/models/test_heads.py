"""The heads: residuals, where each signal goes, late fusion, Matryoshka prefixes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from models.colours import NUM_CELLS
from models.heads import FusedHead, PartsHead, matryoshka
from models.raw_signals import RawSignal, Signals, code_width, head_widths, names_of_raw
from tests.models import shop

WIDTH, VISION, CODES = 6, 4, 24


def _signals(seed: int = 0, has_picture: bool = True, has_words: bool = True) -> Signals:
    draw = torch.Generator().manual_seed(seed)
    return Signals(
        *(torch.randn(3, WIDTH, generator=draw) for _ in range(4)),
        torch.randn(3, VISION, generator=draw),
        torch.rand(3, NUM_CELLS, generator=draw),
        torch.full((3,), has_picture),
        torch.randn(3, WIDTH, generator=draw),
        torch.randn(3, CODES, generator=draw),
        torch.full((3,), has_words),
    )


def _plain(head: FusedHead, signals: Signals) -> torch.Tensor:
    return F.normalize(head.project(head.norm(signals.hidden_BD))[:, head.order], dim=-1)


@pytest.mark.parametrize("kind", ["sum", "heads"])
def test_the_gate_decides_about_the_vision_residual(kind: str) -> None:
    torch.manual_seed(0)
    head = FusedHead(WIDTH, VISION, shop.tiny_model(head=kind, word_residual=False))
    signals = _signals()
    assert not torch.allclose(head(signals), _plain(head, signals), atol=1e-3)
    nowhere = replace(signals, has_picture_B=torch.tensor([False] * 3))
    assert torch.allclose(head(nowhere), _plain(head, signals), atol=1e-6)
    with torch.no_grad():
        head.residuals["vision"].gate.zero_()
    assert torch.allclose(head(signals), _plain(head, signals), atol=1e-6)


@pytest.mark.parametrize("start", ["zero", "open"])
def test_the_word_residual_starts_as_configured_and_only_where_words_are(start: str) -> None:
    torch.manual_seed(0)
    head = FusedHead(WIDTH, VISION, shop.tiny_model(vision_residual=False, residual_start=start))
    signals = replace(_signals(), has_words_B=torch.tensor([True, False, True]))
    heard = (head(signals) - _plain(head, signals)).abs().amax(dim=-1) > 1e-3
    assert heard.tolist() == [start == "open", False, start == "open"]


@pytest.mark.parametrize("kind", ["sum", "heads"])
def test_codes_reach_the_embedding_where_words_are(kind: str) -> None:
    torch.manual_seed(0)
    config = shop.tiny_model(
        head=kind,
        vision_residual=False,
        word_residual=False,
        residual_start="open",
        code_residual=True,
        head_shares={"fused": 2, "codes": 2},
    )
    head = FusedHead(WIDTH, VISION, config)
    signals = _signals()
    codes_BC = signals.codes_BC[:, : code_width(config)]
    signals = replace(signals, codes_BC=codes_BC, has_words_B=torch.tensor([True, False, True]))
    heard = (head(signals) - _plain(head, signals)).abs().amax(dim=-1) > 1e-3
    assert heard.tolist() == [True, False, True]
    assert code_width(config) == (24 if kind == "sum" else 12)
    assert code_width(config.model_copy(update={"code_residual": False})) == 0


def test_heads_have_dimensions_of_their_own_and_each_prefix_its_share() -> None:
    torch.manual_seed(0)
    head = FusedHead(
        WIDTH,
        VISION,
        shop.tiny_model(
            head="heads", embedding_dims=24, residual_start="open", head_shares={"fused": 2, "vision": 2, "words": 2}
        ),
    )
    one, other = _signals(1), replace(_signals(1), vision_BP=_signals(2).vision_BP)
    raw_one, raw_other = (head.residuals["vision"](*s.raw("vision")) for s in (one, other))
    assert not torch.allclose(raw_one, raw_other)
    # Undo the normalisation by a dimension that the pictures cannot reach: the first of the fused head.
    a, b = (head(s) / head(s)[:, :1] for s in (one, other))
    moved = ((a - b).abs() > 1e-4).any(dim=0)
    # Two parts fused, two vision, two words.
    assert int(moved.sum()) == 8
    assert [int(moved[:prefix].sum()) for prefix in (6, 12, 18)] == [2, 4, 6]


def test_without_residuals_raw_signals_change_nothing() -> None:
    torch.manual_seed(0)
    head = FusedHead(WIDTH, VISION, shop.tiny_model(vision_residual=False, word_residual=False))
    assert torch.equal(head(_signals(1)), head(replace(_signals(1), vision_BP=_signals(2).vision_BP)))


def test_late_fusion_is_the_weighted_sum_of_the_towers_present() -> None:
    torch.manual_seed(0)
    head = PartsHead(WIDTH, VISION, shop.tiny_model(fusion="late", word_residual=False))
    with torch.no_grad():
        head.log_weights.copy_(torch.tensor([0.4, -0.3]))
    both = _signals()
    no = torch.tensor([False] * 3)
    pictures = head(replace(both, has_words_B=no))
    words = head(replace(both, has_picture_B=no))
    weights = head.log_weights.detach().exp()
    assert torch.allclose(head(both), F.normalize(weights[0] * pictures + weights[1] * words, dim=-1), atol=1e-6)
    assert torch.allclose(words, F.normalize(head.states["of_words"](both.hidden_BD), dim=-1), atol=1e-6)


def test_parts_are_added_as_unit_vectors_and_absent_ones_are_not() -> None:
    torch.manual_seed(0)
    head = PartsHead(WIDTH, VISION, shop.tiny_model(head="parts", residual_start="open", colour_residual=True))
    with torch.no_grad():
        head.log_weights.copy_(torch.tensor([0.4, -0.3, 0.2]))
        for one in (*head.vision_change.parameters(), *head.states["of_pictures"].parameters()):  # type: ignore[union-attr]
            one.add_(0.1)
    signals = replace(
        _signals(), has_picture_B=torch.tensor([True, False, True]), has_words_B=torch.tensor([True, True, False])
    )
    a, b, c = head.log_weights.detach().exp()
    everywhere = torch.ones(3, dtype=torch.bool)
    raw = {name: one(signals.raw(name)[0], everywhere) for name, one in head.residuals.items()}
    made = {name: path(getattr(signals, f"{name}_BD")) for name, path in head.states.items()}
    pictures = raw["vision"] + raw["colours"] + head.vision_change(signals.vision_BP) + made["of_pictures"]  # type: ignore[misc]
    pictures, words, fused = (
        F.normalize(one, dim=-1) for one in (pictures, raw["words"] + made["of_words"], made["of_slots"])
    )
    expected = [
        a * pictures[0] + b * words[0] + c * fused[0],
        b * words[1] + c * fused[1],
        a * pictures[2] + c * fused[2],
    ]
    assert torch.allclose(head(signals), F.normalize(torch.stack(expected), dim=-1), atol=1e-6)


@pytest.mark.parametrize("start", [0.1, 0.25, 2.0])
def test_the_slots_start_with_the_weight_asked_for(start: float) -> None:
    head = PartsHead(WIDTH, VISION, shop.tiny_model(head="parts", slot_weight=start))
    assert head.gates() == pytest.approx({"weight/pictures": 1.0, "weight/words": 1.0, "weight/slots": start})


def test_parts_start_with_their_shares_of_the_squared_length() -> None:
    config = shop.tiny_model(
        head="parts", colour_residual=True, code_residual=True, head_shares={"vision": 1, "colours": 3}
    )
    head = PartsHead(WIDTH, VISION, config)
    gates = {name: float(one.gate.detach()) ** 2 for name, one in head.residuals.items()}  # type: ignore[arg-type]
    assert gates == pytest.approx({"vision": 0.5, "colours": 1.5, "words": 1.0, "codes": 1.0})
    assert float(head.vision_change(torch.randn(2, VISION)).abs().max()) == 0.0  # type: ignore[misc]


def test_matryoshka_prefixes_are_unit_vectors() -> None:
    vectors = F.normalize(torch.randn(5, 16), dim=-1)
    short = matryoshka(vectors, 4)
    assert short.shape == (5, 4)
    assert torch.allclose(short.norm(dim=-1), torch.ones(5))
    assert torch.allclose(F.cosine_similarity(short, vectors[:, :4]), torch.ones(5))


def test_a_whitened_start_gives_uncorrelated_dimensions_of_unit_variance() -> None:
    torch.manual_seed(0)
    raw = RawSignal(20, 6, "whitened")
    signals = torch.randn(400, 20) @ torch.randn(20, 20) + 3.0
    raw.start_whitened(signals, ridge=0.0)
    with torch.no_grad():
        made = raw(signals, torch.ones(400, dtype=torch.bool))
    assert torch.allclose(made.mean(dim=0), torch.zeros(6), atol=1e-4)
    assert torch.allclose(made.T @ made / 400, torch.eye(6), atol=1e-3)
    raw.start_whitened(signals, ridge=1e9)
    with torch.no_grad():
        made = raw(signals, torch.ones(400, dtype=torch.bool))
    covariance = made.T @ made / 400
    assert float(covariance.trace()) == pytest.approx(6.0, rel=1e-4)
    spread = torch.linalg.svdvals(raw.norm(signals) - raw.norm(signals).mean(dim=0))[:6].square()
    assert torch.allclose(covariance, torch.diag(6.0 * spread / spread.sum()), atol=1e-3)


@pytest.mark.parametrize("dims", [8, 24, 256])
@pytest.mark.parametrize("shares", [{}, {"vision": 0.01}, {"fused": 0.01, "colours": 0.01, "codes": 100}])
def test_heads_fill_the_embedding_whatever_their_shares(dims: int, shares: dict[str, float]) -> None:
    config = shop.default_model(
        head="heads", vision_residual=True, word_residual=True, embedding_dims=dims, head_shares=shares
    )
    widths = head_widths(config, names_of_raw(config))
    assert len(widths) == 5
    assert min(widths) >= 1
    assert sum(widths) == dims


def test_signals_that_are_all_the_same_leave_the_random_start() -> None:
    raw = RawSignal(20, 8, "whitened")
    before = raw.project.weight.clone()
    for constant in (torch.zeros(6, 20), torch.randn(20, generator=torch.Generator().manual_seed(2)).repeat(6, 1)):
        assert not raw.start_whitened(constant)
        assert torch.equal(raw.project.weight, before)


def test_fewer_signals_than_dimensions_leave_the_rest_silent() -> None:
    raw = RawSignal(20, 8, "whitened")
    signals = torch.randn(4, 20, generator=torch.Generator().manual_seed(1))
    raw.start_whitened(signals)
    with torch.no_grad():
        made = raw(signals, torch.ones(4, dtype=torch.bool))
    assert torch.isfinite(made).all()
    assert float(made[:, 4:].abs().max()) == 0.0


def test_colours_are_heard_where_the_model_takes_them() -> None:
    torch.manual_seed(0)
    for fusion, kind in (("decoder", FusedHead), ("late", PartsHead)):
        for on in (False, True):
            head = kind(WIDTH, VISION, shop.tiny_model(fusion=fusion, colour_residual=on))
            other = replace(_signals(), colours_BC=_signals(5).colours_BC)
            assert torch.equal(head(_signals()), head(other)) is not on


def test_dimensions_are_shared_out_as_configured() -> None:
    shares = {"fused": 2, "vision": 2, "colours": 1, "words": 3}
    head = FusedHead(
        WIDTH, VISION, shop.tiny_model(head="heads", embedding_dims=64, colour_residual=True, head_shares=shares)
    )
    widths = {name: raw.project.out_features for name, raw in head.residuals.items()}
    assert widths == {"vision": 16, "colours": 8, "words": 24}
    assert head.spans["words"] == slice(40, 64)
