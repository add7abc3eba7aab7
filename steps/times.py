"""How long the steps of a run took, and which were served from the cache."""

from __future__ import annotations

from zenml.enums import ExecutionStatus
from zenml.models import PipelineRunResponse


def seconds_by_step(run: PipelineRunResponse) -> dict[str, float]:
    """Seconds of every step that has ended, in order; 0 for one that was served from the cache."""
    cached = cached_steps(run)
    ended = {name: row for name, row in run.steps.items() if row.start_time and row.end_time}
    ordered = sorted(ended.items(), key=lambda pair: (pair[1].start_time, pair[0]))
    return {
        name: 0.0 if name in cached else (row.end_time - row.start_time).total_seconds()  # type: ignore[operator]
        for name, row in ordered
    }


def cached_steps(run: PipelineRunResponse) -> dict[str, str]:
    """Steps served from the cache, and the id of the step run each was taken from."""
    return {
        name: str(row.original_step_run_id) for name, row in run.steps.items() if row.status is ExecutionStatus.CACHED
    }
