"""Runs and counts in processes of their own."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import models
from benchmarks.ablation import matching
from benchmarks.ablation.arms import Arm
from benchmarks.ablation.matching import Match
from benchmarks.ablation.places import Places
from benchmarks.ablation.protocol import Setup
from benchmarks.ablation.results import unpack, write_json
from benchmarks.ablation.runs import Job, Measured
from benchmarks.ablation.sources import source_digest
from benchmarks.ablation.worker import FAILED, read_match
from catalog import ModelError
from moon.quiet import CONSIDERATE, QUIET

_GRACE_S = 120.0
"""Time for a training to write its checkpoint when the harness is told to stop."""


class Children:
    """Starts one process at a time and waits for it.

    Args:
        places: What all runs share.
        keep_models: Leave the model folder of each run in the working folder.
    """

    def __init__(self, places: Places, keep_models: bool = False) -> None:
        self.places, self.keep_models = places, keep_models

    def __call__(self, job: Job) -> Measured:
        """Do a job.

        Raises:
            ModelError: The run failed; its own words.
        """
        asked = {"what": "run", "job": job.model_dump(mode="json"), "keep_model": self.keep_models}
        answer = self._ask(asked, job.name)
        return Measured(
            **answer
            | {
                "outcomes": unpack(answer["outcomes"]),
                "scores": {name: (value, n) for name, (value, n) in answer["scores"].items()},
            }
        )

    def match(self, full: Setup, own: Setup, arm: Arm) -> Match:
        """Count full and an arm, and fit the arm where it wants to be; remembered by both configurations.

        Raises:
            ModelError: They cannot be matched.
        """
        asked = {
            "what": "match",
            "full": full.model_dump(mode="json"),
            "own": own.model_dump(mode="json"),
            "arm": arm.name,
            "fitted": arm.parameters == "fitted",
            "tolerance_frac": arm.tolerance_frac,
        }
        place = [str(self.places.catalog), source_digest(models, matching)]
        digest = hashlib.sha256(json.dumps([asked, place], sort_keys=True).encode()).hexdigest()[:16]
        known = self.places.root / "matches" / f"{digest}.json"
        if not known.exists():
            write_json(known, self._ask(asked, f"parameters of {arm.name}"))
        return read_match(json.loads(known.read_text(encoding="utf-8")))

    def _ask(self, asked: Mapping[str, Any], name: str) -> dict[str, Any]:
        question, answer = (self.places.root / f"{word}-{os.getpid()}.json" for word in ("asked", "answer"))
        folders = {"root": str(self.places.root), "catalog": str(self.places.catalog)}
        write_json(question, {**asked, **folders})
        answer.unlink(missing_ok=True)
        environment = {**QUIET, **CONSIDERATE, **os.environ}
        command = [sys.executable, "-m", "benchmarks.ablation.worker", str(question), str(answer)]
        try:
            status = _wait(subprocess.Popen(command, env=environment, start_new_session=True))
            if status not in (0, FAILED) or not answer.exists():
                raise ModelError(
                    "the process of a run died",
                    where=name,
                    got=f"exit status {status}",
                    fix="its last words stand above; the same command starts it again where its checkpoint stands",
                )
            said: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
        finally:
            question.unlink(missing_ok=True)
            answer.unlink(missing_ok=True)
        if "error" in said:
            raise ModelError(**said["error"])
        return said


def _wait(child: subprocess.Popen[bytes]) -> int:
    """Wait for a child; when this process is told to stop, the child is too, in time for its checkpoint."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        return child.wait()
    except KeyboardInterrupt:
        child.terminate()
        try:
            child.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
