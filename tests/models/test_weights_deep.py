"""What the deep checks measure, against closed forms; and the real weights on real photographs, where at hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import timm
import torch
from PIL import Image
from torch import nn

from catalog import ModelError
from models.weights import check_manifest, weights_folder
from models.weights.folder import missing_files, weights_root
from models.weights.photos import (
    IMAGENET_CLASSES,
    agreement,
    compare_preparations,
    exchange_norms,
    labelled_photos,
    logits_and_drifts,
)
from models.weights.words import MAX_PERPLEXITY, Fluency

REAL = Path(__file__).resolve().parents[1] / "real"


def at_hand(name: str) -> Path:
    folder = weights_root() / name
    if not folder.is_dir() or missing_files(folder):
        pytest.skip(f"weights {name} are not at hand: moon weights fetch {name}")
    return weights_folder(name)


def test_agreement_and_chance_worked_out_by_hand() -> None:
    labels = ["t-shirt", "pants", "pants", "shorts"]
    named = torch.tensor([[610], [608], [1], [608]])
    frac, chance = agreement(named, labels)
    assert frac == 2 / 4
    # Two answers of "jean" meet two pants in four, one of "jersey" one t-shirt in four, one nothing.
    assert chance == pytest.approx((2 * 2 / 4 + 1 / 4) / 4)
    assert agreement(torch.tensor([[5, 610], [608, 5], [5, 6], [842, 1]]), labels)[0] == 3 / 4


def test_every_label_names_classes_of_imagenet() -> None:
    from timm.data import ImageNetInfo

    info = ImageNetInfo()
    said = {label: " ".join(info.index_to_description(k) for k in ks) for label, ks in IMAGENET_CLASSES.items()}
    words = {
        "t-shirt": ("T-shirt",),
        "longsleeve": ("sweatshirt", "cardigan"),
        "outwear": ("trench coat", "fur coat", "poncho", "cloak", "lab coat"),
        "pants": ("jean",),
        "shoes": ("running shoe", "Loafer", "sandal", "clog", "boot"),
        "shorts": ("trunks",),
        "skirt": ("miniskirt", "overskirt", "hoopskirt", "sarong"),
        "dress": ("gown", "hoopskirt", "overskirt", "abaya", "kimono"),
        "hat": ("cowboy hat", "sombrero", "bearskin"),
    }
    assert said.keys() == words.keys()
    assert all(word in said[label] for label, those in words.items() for word in those)


def test_drift_is_nought_on_what_was_seen_and_the_divergence_else() -> None:
    torch.manual_seed(0)
    pixels = torch.randn(64, 3, 16, 16)
    mean, std = pixels.mean((0, 2, 3), keepdim=True), pixels.std((0, 2, 3), correction=0, keepdim=True)
    pixels = (pixels - mean) / std
    net = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3)).eval()
    out, drifts = logits_and_drifts(net, pixels)
    # More than one batch, gathered as if it were one.
    assert drifts == pytest.approx([0, 0], abs=1e-5)
    torch.testing.assert_close(out, net(pixels))
    _, (first, _) = logits_and_drifts(net, 2 * pixels + 1)
    # Normal(1, 4) from Normal(0, 1).
    assert first == pytest.approx(0.5 * (math.log(1 / 4) + 4 + 1 - 1), abs=1e-4)
    assert logits_and_drifts(nn.Sequential(nn.Identity()), pixels)[1] == []
    assert not net[0]._forward_pre_hooks


def test_exchanged_norms_keep_shapes_and_change_places() -> None:
    own = timm.create_model("tf_efficientnet_lite0", pretrained=False).state_dict()
    other = exchange_norms(own)
    assert other.keys() == own.keys()
    assert all(other[name].shape == own[name].shape for name in own)
    assert other["blocks.4.1.bn1.weight"] is own["blocks.4.1.bn2.weight"]
    assert other["blocks.4.1.bn2.weight"] is own["blocks.4.1.bn1.weight"]
    assert other["blocks.0.0.bn1.weight"] is own["blocks.0.0.bn1.weight"]
    assert other["bn1.weight"] is own["bn1.weight"]


def test_a_folder_without_labelled_photographs_is_told(tmp_path: Path) -> None:
    Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
    row = '{"query_id": "q", "kind": "photo_label", "image": "a.png", "label": "shirt"}\n'
    (tmp_path / "queries.jsonl").write_text(row)
    with pytest.raises(ModelError, match="no labelled photographs"):
        labelled_photos(tmp_path)


def test_fluency_needs_both_directions() -> None:
    assert Fluency(MAX_PERPLEXITY, 800.0, "").knows_english
    assert not Fluency(MAX_PERPLEXITY + 1, 800.0, "").knows_english
    assert not Fluency(math.nan, 800.0, "").knows_english
    # A model that finds anything likely knows nothing.
    assert not Fluency(5.0, 5.0, "").knows_english


def test_the_real_tower_knows_what_real_photographs_show() -> None:
    folder = at_hand("efficientnet-lite0")
    check_manifest(folder)
    photos = labelled_photos(REAL)
    assert len(photos) == 11
    rows = {row.how: row for row in compare_preparations(folder, photos)}
    stored = next(iter(rows.values()))
    assert stored.how.startswith("as stored")
    assert stored.top1_frac > 3 * stored.top1_chance_frac
    assert stored.top5_frac > 2 * stored.top5_chance_frac
    # Eleven photographs cannot tell the scale of pixels by accuracy; what batch norm remembers can.
    assert stored.first_drift < 0.2
    for how in ("ImageNet's mean and std", "pixels of 0..1", "pixels of 0..255"):
        assert rows[how].first_drift > 4 * stored.first_drift
    for how in ("pixels of 0..255", "batch norms of a block exchanged"):
        assert rows[how].top5_frac < stored.top5_frac
    for how in ("pixels of 0..1", "symmetric padding", "batch norms of a block exchanged"):
        assert rows[how].mean_drift > 1.1 * stored.mean_drift


def test_the_real_language_model_knows_english() -> None:
    from models.weights.words import measure_fluency

    found = measure_fluency(at_hand("smollm2-135m"))
    assert found.knows_english
    assert found.continuation.startswith("Paris")
