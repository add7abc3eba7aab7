"""Is the data good enough to train on? Great Expectations suites over rows and photographs, one page."""

from validation.data.checking import check_catalog
from validation.data.quarantine import write_quarantine
from validation.data.verdict import DataCheckFailed, DataVerdict, Finding

__all__ = ["DataCheckFailed", "DataVerdict", "Finding", "check_catalog", "write_quarantine"]
