"""What a training's section refuses, and which of its fields leave the weights as they are."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from models.config import TrainConfig
from models.config.train import DECIDES_NO_WEIGHT

CHANGES: dict[str, object] = {
    "num_workers": 3,
    "num_threads": 2,
    "checkpoint_every_steps": 7,
    "log_every_steps": 7,
    "max_seconds": 60.0,
    "decode": "drawn",
}


def test_a_temperature_below_its_floor_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"min_temperature \(0\.5\) is above temperature \(0\.05\)"):
        TrainConfig.model_validate({"temperature": 0.05, "min_temperature": 0.5})
    TrainConfig.model_validate({"temperature": 0.05, "min_temperature": 0.05})


def test_what_decides_no_weight_leaves_the_training_the_same() -> None:
    assert set(CHANGES) == DECIDES_NO_WEIGHT <= set(TrainConfig.model_fields)
    one = TrainConfig()
    assert TrainConfig.model_validate(CHANGES).deciding_json() == one.deciding_json()
    for changed in ({"seed": 2}, {"steps": 7}, {"batch_size": 8}, {"preset": "profile"}, {"stop": {"patience": 9}}):
        assert TrainConfig.model_validate(changed).deciding_json() != one.deciding_json()
