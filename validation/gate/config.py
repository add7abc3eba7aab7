"""The policy language: what a model must show before it may be registered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date
from difflib import get_close_matches
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from catalog.config import Fraction, Section
from validation.benchmark.metrics import lower_is_better

Level = Annotated[float, Field(gt=0.0, lt=0.5)]
Ceiling = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]

BASICS = ("benchmark/digest", "champion", "finite", "policy")
"""Rules without which a decision means nothing: no waiver may name them."""


class BeatRule(Section):
    """A baseline that must be beaten, and on what."""

    metrics: tuple[str, ...] = Field(min_length=1, description="`task/metric` names.")
    by: Fraction = Field(
        default=0.0, description="Least lead: a share (0.05 is 5 points); for mean_rank a share of the rival's."
    )
    shown: bool = Field(
        default=False, description="The lower end of the paired interval, not the lead itself, must be above `by`."
    )


class NoLoss(Section):
    """No regression against the champion, judged by a paired test on the same items."""

    level: Level | None = Field(
        default=None, description="Chance of a false alarm between equal models; the policy's `level` where empty."
    )
    drop: float = Field(
        default=0.05,
        gt=0.0,
        le=1.0,
        description="The loss one wants to catch: a share; for mean_rank a share of the champion's.",
    )
    power: Fraction | None = Field(
        default=None,
        description="Least chance to catch a true loss of `drop`; `min_power` where empty, not asked where both are.",
    )


class SliceRules(Section):
    """What must hold in every part of the items: `category` stands for all its slices, `category=Hats` for one."""

    min_n: Count = Field(default=1, description="Slices with fewer items decide nothing.")
    small: Literal["refuse", "skip"] = Field(
        default="refuse", description="What a slice below min_n does. Where every one is skipped, the rule refuses."
    )
    floors: dict[str, dict[str, Fraction]] = Field(
        default_factory=dict, description="Metric -> slice or kind of slice -> least value."
    )
    ceilings: dict[str, dict[str, Ceiling]] = Field(
        default_factory=dict, description="Metric of which less is better -> slice or kind -> largest value."
    )
    champion: dict[str, dict[str, NoLoss]] = Field(
        default_factory=dict,
        description="Metric -> slice or kind -> no regression. The level is shared out among the slices of a kind.",
    )


class Limits(Section):
    """What the model may cost. A number that was not measured refuses."""

    product_ms: Ceiling | None = Field(default=None, description="Milliseconds to embed a product.")
    query_ms: Ceiling | None = Field(default=None, description="Milliseconds to embed a query.")
    label_ms: Ceiling | None = Field(default=None, description="Milliseconds to embed a label.")
    model_bytes: Count | None = Field(default=None, description="Size of the model's files.")
    num_parameters: Count | None = Field(default=None, description="Parameters of the model.")
    dims: Count | None = Field(default=None, description="Length of a vector.")
    peak_memory_mib: Ceiling | None = Field(default=None, description="Peak memory of the judgement, MiB.")

    def asked(self) -> dict[str, float]:
        """The limits that are set."""
        return {name: bound for name, bound in self if bound is not None}


class Pin(Section):
    """The evaluation set this policy was written for."""

    digest: str = Field(min_length=1, description="Its digest; scores on any other set refuse.")
    expires: date | None = Field(default=None, description="Last day on which the set is fresh enough to decide.")


class Waiver(Section):
    """Somebody answers for a rule that does not hold, with a reason, and not forever."""

    rule: Annotated[str, StringConstraints(min_length=1, max_length=200)] = Field(
        description="Full name of one rule, as `moon gate explain` prints it."
    )
    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)] = Field(
        description="Who answers for it."
    )
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000)] = Field(
        description="Why the model may pass all the same."
    )
    expires: date = Field(description="Last day on which it holds.")


class GatePolicy(Section):
    """What a model must show before it may be registered. Rules are joined by `and`; their order means nothing."""

    required_tasks: tuple[str, ...] = Field(default=(), description="Tasks that must have a score.")
    floors: dict[str, Fraction] = Field(default_factory=dict, description="Metric -> least value.")
    ceilings: dict[str, Ceiling] = Field(
        default_factory=dict, description="Metric of which less is better (mean_rank) -> largest value."
    )
    beat: dict[str, BeatRule] = Field(default_factory=dict, description="Name of a rival -> where it must be beaten.")
    champion: dict[str, NoLoss] = Field(default_factory=dict, description="Metric -> no loss may be shown.")
    gain: Literal["any", "shown", "none"] = Field(
        default="any",
        description="What the main score must be against the champion's: higher, higher by its paired interval, or "
        "nothing. A tie keeps the champion unless nothing is asked.",
    )
    slices: SliceRules = SliceRules()
    limits: Limits = Limits()
    min_n: dict[str, Count] = Field(
        default_factory=dict, description="Task or metric -> least number of queries or products behind it."
    )
    min_power: Fraction | None = Field(default=None, description="`power` of every champion rule that names none.")
    level: Level = Field(default=0.05, description="`level` of every paired rule that names none.")
    benchmark: Pin | None = Field(default=None, description="The evaluation set the numbers here were chosen for.")
    waivers: tuple[Waiver, ...] = Field(default=(), description="Rules that somebody answers for, each by its name.")

    @field_validator("champion", mode="before")
    @classmethod
    def _is_no_point_estimate(cls, rules: object) -> object:
        if isinstance(rules, Mapping):
            for metric, rule in rules.items():
                if isinstance(rule, int | float):
                    raise ValueError(
                        f"{metric}: a bare number was a margin between two point estimates, which is no longer asked; "
                        f"write {{level: 0.05, drop: {rule}}}"
                    )
        return rules

    @model_validator(mode="after")
    def _directions(self) -> GatePolicy:
        for metric in (*self.floors, *self.slices.floors):
            if lower_is_better(metric):
                raise ValueError(f"a floor on {metric} would ask for a bad value: less is better; put it in ceilings")
        for metric in (*self.ceilings, *self.slices.ceilings):
            if not lower_is_better(metric):
                raise ValueError(f"a ceiling on {metric} would ask for a bad value: more is better; put it in floors")
        return self

    @model_validator(mode="after")
    def _has_effect(self) -> GatePolicy:
        if self.min_power is not None and not (self.champion or self.slices.champion):
            raise ValueError("min_power speaks of champion rules and there is none; add champion or leave it out")
        return self

    @model_validator(mode="after")
    def _waivers_fit(self) -> GatePolicy:
        known = self.rule_names()
        for rule, count in Counter(waiver.rule for waiver in self.waivers).items():
            if rule in BASICS:
                raise ValueError(f"{rule} cannot be waived, and neither can any of {', '.join(BASICS)}")
            if rule not in known:
                near = get_close_matches(rule, known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(sorted(known - set(BASICS)))}"
                raise ValueError(f"a waiver names {rule}, which is no rule of this policy; {hint}")
            if count > 1:
                raise ValueError(f"{rule} is waived {count} times; keep one waiver")
        judging = self._judging()
        if judging and judging <= {waiver.rule for waiver in self.waivers}:
            raise ValueError("every rule that judges a score is waived, so anything would pass; keep one unwaived")
        return self

    def judges_scores(self) -> bool:
        """Whether any rule asks for a score by itself; those about a champion ask nothing while there is none."""
        return bool(self._judging())

    def _judging(self) -> set[str]:
        return {
            *(f"floor/{metric}" for metric in self.floors),
            *(f"ceiling/{metric}" for metric in self.ceilings),
            *(f"beat/{rival}/{metric}" for rival, rule in self.beat.items() for metric in rule.metrics),
            *_slice_names("slice_floor", self.slices.floors),
            *_slice_names("slice_ceiling", self.slices.ceilings),
        }

    def is_paired(self) -> bool:
        """Whether any rule compares with the champion item by item."""
        return bool(self.champion or self.slices.champion) or self.gain == "shown"

    def rule_names(self) -> set[str]:
        """Every rule that this policy can apply; those about a champion are applied only where there is one."""
        return {
            "policy",
            "finite",
            "champion",
            *self._judging(),
            *(f"required/{task}" for task in self.required_tasks),
            *(["champion/gain"] if self.gain != "none" else []),
            *(f"champion/{metric}" for metric in self.champion),
            *_slice_names("slice_champion", self.slices.champion),
            *(f"limit/{name}" for name in self.limits.asked()),
            *(f"min_n/{key}" for key in self.min_n),
            *(["benchmark/digest"] if self.benchmark else []),
            *(["benchmark/expiry"] if self.benchmark and self.benchmark.expires else []),
        }


def _slice_names(prefix: str, rules: Mapping[str, Iterable[str]]) -> list[str]:
    return [f"{prefix}/{metric}[{kind}]" for metric, kinds in rules.items() for kind in kinds]


class GateConfig(Section):
    """Which policy decides about promotion."""

    policy: str | GatePolicy = Field(
        default="configs/gates/demo.yaml", description="Path of a policy in YAML, or the policy itself."
    )
