"""Where all fetched and converted weights lie on this machine."""

from __future__ import annotations

import os
from pathlib import Path

ROOT_VARIABLE = "MOON_WEIGHTS"


def weights_root() -> Path:
    """The folder of all fetched weights: `MOON_WEIGHTS`, else `~/.cache/moon/weights`."""
    chosen = os.environ.get(ROOT_VARIABLE)
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "moon" / "weights"
