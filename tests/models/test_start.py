"""Published weights are known by content: other weights under the same name make another training."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from catalog import ModelError
from models.backbones import weights_digest
from models.config import ModelConfig
from models.training import TrainingRecord, train
from tests.models import composed_models, shop
from tests.models.test_backbone_composed_weights import write_folders


def test_nano_starts_from_no_weights() -> None:
    assert ModelConfig().weights_names == ()
    assert weights_digest(ModelConfig()) == ""


def test_changed_weights_are_not_trained_on_from_the_others_checkpoint(tmp_path: Path) -> None:
    catalog = shop.make_shop(tmp_path / "shop")
    language, vision = write_folders(tmp_path / "weights")
    config = composed_models.config(
        language=str(language), vision=str(vision), keep_layers=1, max_images=1, embedding_dims=16
    )

    def go(work: str) -> TrainingRecord:
        return train(
            catalog,
            shop.all_train(catalog),
            model=config,
            train=shop.tiny_train(steps=2, batch_size=4),
            regions=shop.regions(),
            regions_config=shop.REGIONS,
            work_dir=tmp_path / work,
            out_dir=tmp_path / f"{work}-model",
        )

    before, record = weights_digest(config), go("work")
    tensors = load_file(language / "model.safetensors")
    save_file({name: tensor + 1 for name, tensor in tensors.items()}, language / "model.safetensors")
    assert weights_digest(config) != before
    with pytest.raises(ModelError, match="another configuration"):
        go("work")
    assert go("new").digest != record.digest
