"""May this model be registered? A pure function of a policy and of measured scores that fails closed."""

from validation.gate.config import BeatRule, GateConfig, GatePolicy, Limits, NoLoss, Pin, SliceRules, Waiver
from validation.gate.decide import decide
from validation.gate.decision import Decision, RuleResult, UsedWaiver
from validation.gate.explain import explained
from validation.gate.policy import load_policy

__all__ = [
    "BeatRule",
    "Decision",
    "GateConfig",
    "GatePolicy",
    "Limits",
    "NoLoss",
    "Pin",
    "RuleResult",
    "SliceRules",
    "UsedWaiver",
    "Waiver",
    "decide",
    "explained",
    "load_policy",
]
