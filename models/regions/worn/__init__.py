"""From a person to the garment that is asked for: a detector stage without weights or hand-drawn boxes."""

from models.regions.worn.detector import WornDetector
from models.regions.worn.kinds import WordReader

__all__ = ["WordReader", "WornDetector"]
