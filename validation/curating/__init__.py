"""From a shop's catalogue and log to the products and queries that an evaluation may use, with all that was found."""

from validation.curating.asking import build_curated_set
from validation.curating.config import CuratingConfig
from validation.curating.curate import Curated, curate
from validation.curating.findings import Found, Rule

__all__ = ["Curated", "CuratingConfig", "Found", "Rule", "build_curated_set", "curate"]
