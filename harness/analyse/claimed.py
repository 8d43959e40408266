"""Claims with their verdicts: every ratio that a results folder has for each of them, and the one that counts most."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.analyse.at_scale import Predicted, predicted
from harness.analyse.evidence import Evidence, evidence, measured
from harness.analyse.verdicts import DECISIVE, Judgement, all_of, judge
from harness.claims import Claim


@dataclass(frozen=True)
class Judged:
    """A claim, its verdict, the ratio that it rests on, and every other ratio with its own verdict.

    ``sides`` has the ratio that counts most of each pair of methods that was measured, in the claim's order.
    """

    claim: Claim
    judgement: Judgement
    chosen: Evidence | None
    others: tuple[tuple[Evidence, Judgement], ...]
    sides: tuple[tuple[Evidence, Judgement], ...] = ()

    @cached_property
    def at_scale(self) -> Predicted | None:
        """What the memory model says at the claim's scale, where it is asked."""
        return None if self.claim.at_scale is None else predicted(self.claim.at_scale)

    def to_dict(self) -> dict[str, Any]:
        """As ``--json`` shows it; a ratio's ``records`` are ids of steps, under which its rows are found."""
        claim = self.claim
        return {
            "id": claim.id, "technique": claim.technique, "statement": claim.statement, "published": claim.published,
            "source": claim.source, "verified": claim.verified, "metric": claim.metric,
            "bounds": claim.bounds, "counter": list(claim.counter),
            "verdict": self.judgement.verdict, "why": self.judgement.why,
            "evidence": None if self.chosen is None else _evidence(self.chosen),
            "at_scale": None if self.at_scale is None else self.at_scale.to_dict(),
            "others": [_evidence(one) | {"verdict": judgement.verdict} for one, judgement in self.others],
        }  # fmt: skip


def judged(
    claims: Iterable[Claim], results: Path | str, suites: Sequence[str] | None = None,
    unreadable: list[str] | None = None,
) -> list[Judged]:
    """Every claim with its verdict from what ``results`` holds; ``unreadable`` gets what could not be read."""
    every = list(claims)
    found: dict[str, list[Evidence]] = {claim.id: [] for claim in every}
    for suite in measured(results, suites, unreadable):
        for claim in every:
            found[claim.id] += evidence(claim, suite)
    return [_judged(claim, found[claim.id]) for claim in every]


def _judged(claim: Claim, found: Sequence[Evidence]) -> Judged:
    told = sorted(((one, _of(claim, one)) for one in found), key=lambda pair: _weight(pair[0]), reverse=True)
    if not told:
        why = claim.needs or f"no suite has both {_name(claim.of)} and {_name(claim.over)} with {claim.metric}"
        return Judged(claim, Judgement("not testable here", why), None, ())
    first = {one.side: (one, judgement) for one, judgement in reversed(told)}
    present = tuple(first[side] for side in sorted(first))
    if claim.every:
        verdict = all_of([judgement for _, judgement in present])
        if verdict.verdict == "confirmed" and len(present) < len(claim.sides):
            said = f"{len(present)} of {len(claim.sides)} ratios were measured, and hold"
            verdict = Judgement("inconclusive", said)
        of_verdict = [one for one, judgement in present if judgement.verdict == verdict.verdict]
        chosen = of_verdict[0] if of_verdict else present[0][0]
    else:
        chosen, verdict = told[0]
        verdict = _unless_others_disagree(verdict, [judgement for _, judgement in told[1:]])
    return Judged(claim, verdict, chosen, tuple(pair for pair in told if pair[0] is not chosen), present)


def _of(claim: Claim, one: Evidence) -> Judgement:
    return judge(
        claim, one.ratio, parameters=one.parameters, pairs=one.pairs, device=one.hardware.partition("(")[0],
        of_share=claim.over == 1,
    )  # fmt: skip


def _unless_others_disagree(verdict: Judgement, others: Sequence[Judgement]) -> Judgement:
    """A verdict that other ratios turn round decides nothing."""
    opposite = ("confirmed", "direction only") if verdict.verdict == "contradicted" else ("contradicted",)
    against = sum(one.verdict in opposite for one in others)
    if verdict.verdict in DECISIVE and against:
        said = f"this ratio says {verdict.verdict}, {against} of {len(others)} others the opposite"
        return Judgement("inconclusive", said)
    return verdict


def _weight(one: Evidence) -> tuple[Any, ...]:
    """What counts more, whatever it says: of times more pairs of runs, a larger model, more items or seeds."""
    return (one.pairs or 0, one.parameters or 0.0, one.ratio.n, one.suite)


def _name(side: Any) -> str:
    if side is None or isinstance(side, int | float):
        return str(side)
    return f"{side.method}{f' at {side.precision}' if side.precision else ''}"


def _evidence(one: Evidence) -> dict[str, Any]:
    return {
        "suite": one.suite, "of": one.of, "over": one.over, "model": one.model, "data": one.data,
        "hardware": one.hardware, "precision": one.precision, "ratio": one.ratio.estimate, "low": one.ratio.low,
        "high": one.ratio.high, "n": one.ratio.n, "basis": one.basis, "parameters": one.parameters,
        "records": list(one.steps),
    }  # fmt: skip


