"""train_moon ships what its gate has judged: vectors of no other length."""

from __future__ import annotations

import pytest

from catalog import ConfigError
from moon.config import MoonConfig
from pipelines.training import check_served_is_judged


@pytest.mark.parametrize("dims", [None, 64])
def test_whole_vectors_are_served(dims: int | None) -> None:
    check_served_is_judged(MoonConfig.model_validate({"model": {"embedding_dims": 64}, "serving": {"dims": dims}}))


def test_a_prefix_that_the_gate_never_saw_is_refused() -> None:
    config = MoonConfig.model_validate(
        {"model": {"embedding_dims": 64, "matryoshka_dims": [32]}, "serving": {"dims": 32}}
    )
    with pytest.raises(ConfigError) as caught:
        check_served_is_judged(config)
    assert (caught.value.where, caught.value.got) == ("serving.dims", "32")
