"""The gate: every rule must hold or be answered for, and whatever cannot be known refuses."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from validation.benchmark.record import BenchmarkRecord
from validation.benchmark.table import main_score
from validation.gate.basics import all_finite, enough, pinned, policy_judges, required
from validation.gate.champion import against_champion, comparable
from validation.gate.config import GatePolicy
from validation.gate.decision import Decision, RuleResult
from validation.gate.evidence import Scored, digest_of, finite
from validation.gate.floors import ceiling, floor
from validation.gate.limits import limit
from validation.gate.rivals import beat
from validation.gate.slices import slice_bounds, slice_losses
from validation.gate.waivers import waive
from validation.statistics import Outcome


def decide(
    policy: GatePolicy,
    candidate: BenchmarkRecord,
    rivals: Mapping[str, BenchmarkRecord],
    champion: BenchmarkRecord | None = None,
    champion_digest: str | None = None,
    *,
    outcomes: Mapping[str, Outcome] | None = None,
    rival_outcomes: Mapping[str, Mapping[str, Outcome]] | None = None,
    champion_outcomes: Mapping[str, Outcome] | None = None,
    today: date | None = None,
) -> Decision:
    """Judge `candidate` by `policy`.

    A pure function: no clock, no file, no randomness but the paired test's fixed seed. The order of rules never
    matters. A metric, slice, rival or champion's record that is not there refuses, and so does a policy that judges no
    score.

    Args:
        policy: The rules.
        candidate: Scores of the model that asks.
        rivals: Name -> scores of the baselines on the same evaluation set.
        champion: Scores of the incumbent on the same evaluation set by the same code; None where there is none.
        champion_digest: Digest of the registered champion; None where there is none. One without a record refuses:
            the incumbent has not been scored.
        outcomes: `task/metric`, or a slice of one, -> the candidate's value for each item. Without them every paired
            rule refuses.
        rival_outcomes: The same of each rival.
        champion_outcomes: The same of the champion.
        today: The day expiries are counted from. Without it whatever can expire has expired.

    Returns:
        The decision, its rules sorted by name.
    """
    own = Scored(candidate, outcomes or {})
    theirs = {name: Scored(record, (rival_outcomes or {}).get(name, {}), name) for name, record in rivals.items()}
    incumbent = Scored(champion, champion_outcomes or {}, "champion") if champion is not None else None
    rules = _rules(policy, own, theirs, incumbent, champion_digest, today)
    waivers = {waiver.rule: waiver for waiver in policy.waivers}
    held = tuple(sorted((waive(rule, waivers.get(rule.name), today) for rule in rules), key=lambda rule: rule.name))
    return Decision(
        passed=all(rule.verdict != "NO" for rule in held),
        rules=held,
        candidate_digest=candidate.encoder_digest,
        champion_digest=champion_digest or (champion.encoder_digest if champion else None),
        eval_set_digest=candidate.eval_set_digest,
        main_score=finite(main_score(candidate)),
        champion_main_score=finite(main_score(champion)) if champion else None,
        policy_digest=digest_of(policy),
        today=f"{today:%Y-%m-%d}" if today else None,
    )


def _rules(
    policy: GatePolicy,
    own: Scored,
    rivals: Mapping[str, Scored],
    champion: Scored | None,
    champion_digest: str | None,
    today: date | None,
) -> list[RuleResult]:
    incumbent = comparable(own, champion, champion_digest)
    peers = [side for side in rivals.values() if not own.not_comparable(side.record)]
    rules = [
        policy_judges(policy),
        all_finite(own),
        incumbent,
        *(required(own, task) for task in set(policy.required_tasks)),
        *(floor(own, metric, bound) for metric, bound in policy.floors.items()),
        *(ceiling(own, metric, bound) for metric, bound in policy.ceilings.items()),
        *(row for name, rule in policy.beat.items() for row in beat(own, name, rivals.get(name), rule, policy.level)),
        *(enough(own, key, least) for key, least in policy.min_n.items()),
        *(limit(own.record, name, bound) for name, bound in policy.limits.asked().items()),
        *(pinned(own.record, policy.benchmark, today) if policy.benchmark else ()),
    ]
    if champion is not None and incumbent.passed:
        rules += against_champion(policy, own, champion)
        rules += slice_losses(policy, own, champion, peers)
        peers.append(champion)
    return rules + list(slice_bounds(policy.slices, own, peers))
