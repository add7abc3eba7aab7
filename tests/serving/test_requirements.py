"""The Bento's packages: the lock's pins, all that is needed and nothing that is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from serving.errors import ServingError
from serving.requirements import ROOTS, closure, service_requirements

LOCK = Path(__file__).parent.parent.parent / "requirements.lock"


def names(lines: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(line).name) for line in lines}


def test_every_line_is_pinned_as_the_lock_has_it() -> None:
    lock = set(LOCK.read_text().splitlines())
    lines = service_requirements(LOCK, include_ultralytics=False)
    assert set(lines) <= lock
    assert lines == sorted(lines)


def test_training_tools_stay_outside() -> None:
    found = names(service_requirements(LOCK, include_ultralytics=False))
    assert {"bentoml", "torch", "lancedb", "transformers", "starlette", "pydantic-core"} <= found
    assert not found & {"zenml", "mlflow", "great-expectations", "ultralytics", "pytest"}


def test_ultralytics_only_when_asked() -> None:
    without = names(service_requirements(LOCK, include_ultralytics=False))
    assert names(service_requirements(LOCK, include_ultralytics=True)) - without >= {"ultralytics"}


def test_closure_is_closed() -> None:
    whole = closure(ROOTS)
    assert closure(whole) == whole


def test_a_lock_that_lacks_a_package_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ServingError, match="lock is missing"):
        service_requirements(tmp_path / "requirements.lock", include_ultralytics=False)
    (tmp_path / "requirements.lock").write_text("torch==2.14.1\n")
    with pytest.raises(ServingError, match="bentoml"):
        service_requirements(tmp_path / "requirements.lock", include_ultralytics=False)
