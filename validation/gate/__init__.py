"""May this model be registered? A pure function of a policy and of measured scores that fails closed."""

from validation.config import BeatRule, GatePolicy
from validation.gate.decide import decide
from validation.gate.decision import Decision, RuleResult
from validation.gate.policy import load_policy

__all__ = ["BeatRule", "Decision", "GatePolicy", "RuleResult", "decide", "load_policy"]
