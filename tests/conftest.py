"""Settings that hold for every test."""

from __future__ import annotations

import os

from hypothesis import settings

# No test asserts a time.
settings.register_profile("local", deadline=None)
settings.load_profile("local")
# On CI the same examples every time: a newly found counter-example belongs to whoever works on the code, not to whoever
# happens to submit something else. Elsewhere every run looks at new ones.
settings.register_profile("ci", deadline=None, derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")
