"""What the model may cost: time an item, size, memory."""

from __future__ import annotations

import math

from validation.benchmark.record import BenchmarkRecord
from validation.gate.decision import RuleResult
from validation.gate.evidence import finite, unknown

_UNITS = {
    "product_ms": "ms",
    "query_ms": "ms",
    "label_ms": "ms",
    "model_bytes": "bytes",
    "num_parameters": "parameters",
    "dims": "dimensions",
    "peak_memory_mib": "MiB",
}


def limit(record: BenchmarkRecord, name: str, bound: float) -> RuleResult:
    """One cost is measured and is at most `bound`."""
    rule, value = f"limit/{name}", _measured(record, name)
    if value is None or not math.isfinite(value) or value < 0:
        return unknown(rule, f"{name} was not measured", value=None if value is None else finite(value), bound=bound)
    passed, unit = value <= bound, _UNITS[name]
    reason = f"{value:,.4g} {unit}" + ("" if passed else f", more than the {bound:,.4g} allowed")
    return RuleResult(rule, passed, reason, float(value), float(bound))


def _measured(record: BenchmarkRecord, name: str) -> float | None:
    if name.endswith("_ms"):
        return record.timings.get(name)
    others = {
        "model_bytes": record.model_bytes,
        "num_parameters": record.num_parameters,
        "dims": record.dims,
        "peak_memory_mib": record.peak_memory_mib,
    }
    return others[name]
