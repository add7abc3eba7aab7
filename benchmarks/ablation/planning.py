"""From a recipe and names of arms to the list of runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.ablation.arms import BASELINES, DUAL, FULL, Arm
from benchmarks.ablation.matching import Match
from benchmarks.ablation.protocol import (
    Protocol,
    Recipe,
    Setup,
    arm_setup,
    base_setup,
    differences,
    lr_setup,
    new_since,
)
from benchmarks.ablation.results import Row
from benchmarks.ablation.runs import Job
from catalog import ConfigError

Matcher = Callable[[Setup, Setup, Arm], Match]
LR_SEED = 1


@dataclass(frozen=True)
class Origin:
    """A recipe on its data, as rows know it."""

    recipe: Recipe
    protocol: Protocol
    data_digest: str
    digest: str
    """Of recipe and data."""
    new_keys: frozenset[str] = frozenset()
    """Keys of the configuration that are younger than the rows of this recipe."""


def origin_of(recipe: Recipe, protocol: Protocol, data_digest: str, known: Mapping[str, Mapping[str, Any]]) -> Origin:
    """Find the recipe among those that rows stand under, or give it a digest of its own.

    Args:
        recipe: As read now.
        protocol: Of the data.
        data_digest: Of the catalogue.
        known: Digest -> what was written down of a recipe: `data_digest` and `setup`.
    """
    setup = recipe_setup(recipe, protocol)
    found = {
        digest: new
        for digest, record in known.items()
        if record["data_digest"] == data_digest and (new := new_since(record["setup"], setup)) is not None
    }
    if not found:
        return Origin(recipe, protocol, data_digest, setup.digest(data_digest))
    digest = min(found, key=lambda one: len(found[one]))
    return Origin(recipe, protocol, data_digest, digest, found[digest])


def recipe_setup(recipe: Recipe, protocol: Protocol) -> Setup:
    """What all arms and seeds start from; its digest is the recipe's."""
    return base_setup(recipe, protocol, protocol.seeds[0]).with_seed(0)


def chosen_rates(rows: Iterable[Row], recipe_digest: str) -> dict[str, tuple[float, int]]:
    """Factor of the learning rates, and how many were tried, for full and the dual encoder.

    The best main score on the validation side wins, the smaller factor of equals.

    Raises:
        ConfigError: The two were not tried at the same factors.
    """
    tried: dict[str, dict[float, float]] = {FULL: {}, DUAL: {}}
    for row in rows:
        if row.recipe_digest == recipe_digest and row.arm in tried:
            tried[row.arm][row.lr_factor] = -1.0 if row.main_score is None else row.main_score
    if tried[FULL].keys() != tried[DUAL].keys():
        raise ConfigError(
            "full and the dual encoder were not tried at the same learning rates",
            got="; ".join(f"{arm}: {', '.join(f'{one:g}' for one in sorted(own))}" for arm, own in tried.items()),
            allowed="the same factors for both",
            fix="run `python -m benchmarks.ablation lr` with the same grid until it is through",
        )
    if not tried[FULL]:
        return {FULL: (1.0, 1), DUAL: (1.0, 1)}
    return {arm: (max(own, key=lambda one: (own[one], -one)), len(own)) for arm, own in tried.items()}


def arm_jobs(
    origin: Origin,
    arms: Sequence[Arm],
    seeds: Sequence[int],
    rates: Mapping[str, tuple[float, int]],
    match: Matcher,
    *,
    named: bool = False,
    say: Callable[[str], None] = print,
) -> list[Job]:
    """Every arm once for every seed, seed by seed.

    Args:
        origin: What full is, and on which data.
        arms: To be run.
        seeds: Of training, or folds.
        rates: Factor of the learning rates and number of tries, for full (and all arms like it) and the dual encoder.
        match: Counts parameters of arms that are held to full's.
        named: The arms were asked for by name: one that changes nothing is then an error.
        say: Told of arms left out.

    Raises:
        ConfigError: An arm changes nothing in this recipe although it was named, or does not fit it.
        ModelError: An arm cannot be given full's number of parameters.
    """
    recipe, protocol = origin.recipe, origin.protocol
    kept = _with_effect(base_setup(recipe, protocol, seeds[0]), arms, named, say) if seeds else []
    jobs = []
    for seed in seeds:
        base = base_setup(recipe, protocol, seed)
        for arm in kept:
            factor, tried = rates[DUAL if arm.parameters == "fitted" else FULL]
            own, expected = _matched(base, arm, recipe, protocol, match)
            own = own.with_lr_factor(factor)
            jobs.append(_job(origin, "arm", arm.name, arm.title, seed, base, own, (factor, tried), expected))
    return jobs


def lr_jobs(origin: Origin, arms: Sequence[Arm], factors: Sequence[float], match: Matcher) -> list[Job]:
    """The same learning rates for full and the dual encoder, factor by factor, judged on a validation side."""
    recipe, protocol = origin.recipe, origin.protocol
    base = lr_setup(recipe, protocol, LR_SEED)
    jobs = []
    for factor in factors:
        for arm in (arm for arm in arms if arm.name in (FULL, DUAL)):
            own, expected = _matched(base, arm, recipe, protocol, match)
            own = own.with_lr_factor(factor)
            rate = (factor, len(factors))
            jobs.append(_job(origin, "lr", arm.name, arm.title, LR_SEED, base, own, rate, expected))
    return jobs


def baseline_jobs(origin: Origin, seeds: Sequence[int]) -> list[Job]:
    """Every baseline on every fold; without folds, those that know no seed once."""
    bases = {seed: base_setup(origin.recipe, origin.protocol, seed) for seed in seeds}
    return [
        _job(origin, "baseline", one.name, one.title, seed, base, base, (1.0, 1), None)
        for seed, base in bases.items()
        for one in BASELINES
        if origin.protocol.num_folds > 1 or one.seeded or seed == seeds[0]
    ]


def _job(
    origin: Origin,
    kind: Literal["arm", "baseline", "lr"],
    name: str,
    title: str,
    seed: int,
    base: Setup,
    own: Setup,
    rate: tuple[float, int],
    expected: int | None,
) -> Job:
    return Job(
        kind=kind,
        data=origin.protocol.data,
        arm=name,
        title=title,
        seed=seed,
        fold=origin.protocol.fold_of(seed),
        side="val" if kind == "lr" else "test",
        recipe=origin.recipe.path,
        recipe_digest=origin.digest,
        data_digest=origin.data_digest,
        setup=own,
        changes=differences(base.plain(), own.plain()),
        lr_factor=rate[0],
        lr_tried=rate[1],
        new_keys=tuple(sorted(origin.new_keys)),
        expected_parameters=expected,
    )


def _with_effect(base: Setup, arms: Sequence[Arm], named: bool, say: Callable[[str], None]) -> list[Arm]:
    kept = []
    for arm in arms:
        if arm.name == FULL or arm_setup(base, arm) != base:
            kept.append(arm)
        elif named:
            raise ConfigError(
                f"arm {arm.name} changes nothing in this recipe",
                got=f"{arm.title}: the recipe is that already",
                fix="leave it out, or use a recipe that has the part",
            )
        else:
            say(f"{arm.name} is left out: the recipe is that already")
    return kept


def _matched(base: Setup, arm: Arm, recipe: Recipe, protocol: Protocol, match: Matcher) -> tuple[Setup, int | None]:
    """The arm's configuration, brought to full's number of parameters where it wants that, and that number."""
    own = arm_setup(base, arm)
    if arm.parameters == "free":
        return own, None
    # Only a tokenizer that is trained on the fold makes one fold's count differ from another's.
    split = base.split if base.model.backbone == "nano" else recipe_setup(recipe, protocol).split
    plain = {"split": split}
    found = match(base.model_copy(update=plain).with_seed(0), own.model_copy(update=plain).with_seed(0), arm)
    if found.late_hidden_size is not None:
        model = own.model.model_copy(update={"late_hidden_size": found.late_hidden_size})
        own = own.model_copy(update={"model": model})
    return own, found.own.trainable
