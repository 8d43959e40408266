"""What a measured ratio with its interval says of a claim. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from harness.analyse.statistics import Interval
from harness.claims import Claim

Verdict = Literal["confirmed", "direction only", "contradicted", "inconclusive", "not testable here"]
DECISIVE = frozenset({"confirmed", "direction only", "contradicted"})
PAIRS = 10
"""Interleaved pairs of runs that a verdict on time takes."""


@dataclass(frozen=True)
class Judgement:
    """A verdict and, in words, why it is not another one."""

    verdict: Verdict
    why: str = ""


def judge(
    claim: Claim, ratio: Interval, *, parameters: float | None = None, pairs: int | None = None, device: str = "",
    of_share: bool = False,
) -> Judgement:  # fmt: skip
    """The verdict of one ratio.

    ``confirmed`` where the whole interval lies within what is claimed, ``direction only`` where it lies on the claimed
    side of 1 and outside of it, ``contradicted`` where it lies on the other side of 1 (or, of ``no_worse_than`` and
    ``of_share``, of which every value is below 1, beyond the bound), else ``inconclusive``. A ratio of times from fewer
    than ``PAIRS`` pairs decides nothing. At fewer ``parameters`` than the claim speaks of, or on another ``device``,
    nothing is contradicted, and no more than its direction confirmed.
    """
    if not claim.bounds:
        return Judgement("not testable here", claim.needs)
    if ratio.low is None or ratio.high is None:
        return Judgement("inconclusive", "one run each, and no interval")
    if pairs is not None and pairs < PAIRS:
        return Judgement("inconclusive", f"{pairs} interleaved pairs of runs, a verdict on time takes {PAIRS}")
    found = _of_interval(claim, ratio.low, ratio.high, of_share)
    return _within_what_it_speaks_of(claim, found, parameters, device)


def all_of(judgements: Sequence[Judgement]) -> Judgement:
    """The verdict of a claim about several ratios: contradicted by one, confirmed by all alone."""
    for verdict in ("contradicted", "not testable here", "inconclusive", "direction only"):
        found = [one for one in judgements if one.verdict == verdict]
        if found:
            return Judgement(found[0].verdict, f"{len(found)} of {len(judgements)} ratios{_because(found[0])}")
    return judgements[0]


def _because(one: Judgement) -> str:
    return f": {one.why}" if one.why else ""


def _within_what_it_speaks_of(claim: Claim, found: Judgement, parameters: float | None, device: str) -> Judgement:
    limits = []
    if parameters is not None and parameters < claim.scale:
        limits.append(f"{claim.scale:.0e} parameters or more")
    if claim.device is not None and device and claim.device != device:
        limits.append({"cuda": "GPUs", "cpu": "CPUs"}[claim.device])
    if not limits or found.verdict not in ("confirmed", "contradicted"):
        return found
    spoken = f"the claim speaks of {' and of '.join(limits)}"
    if found.verdict == "contradicted":
        return Judgement("not testable here", spoken)
    return Judgement("direction only", f"so it is here; {spoken}")


def _of_interval(claim: Claim, low: float, high: float, of_share: bool) -> Judgement:
    least, most = claim.at_least or 0.0, claim.at_most or float("inf")
    if claim.no_worse_than is not None:
        if claim.lower_is_claimed:
            least, most = 0.0, claim.no_worse_than
        else:  # of a metric of which more is better the bound is the least that counts as no worse
            least, most = min(claim.no_worse_than, 1.0), float("inf")
    if least <= low and high <= most:
        return Judgement("confirmed")
    if not (high < least or low > most):
        return Judgement("inconclusive", "the interval contains the end of what is claimed")
    if claim.no_worse_than is not None or of_share:
        return Judgement("contradicted")
    if claim.lower_is_claimed:
        if high < 1:
            return Judgement("direction only")
        return Judgement("contradicted") if low >= 1 else Judgement("inconclusive", "the interval contains no effect")
    if low > 1:
        return Judgement("direction only")
    return Judgement("contradicted") if high <= 1 else Judgement("inconclusive", "the interval contains no effect")
