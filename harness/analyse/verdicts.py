"""What a measured ratio with its interval says of a claim. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.analyse.statistics import Interval
from harness.claims import Claim

Verdict = Literal["confirmed", "direction only", "contradicted", "inconclusive", "not testable here"]
DECISIVE = frozenset({"confirmed", "direction only", "contradicted"})
PAIRS = 10
"""Pairs of runs that a verdict on time takes."""


@dataclass(frozen=True)
class Judgement:
    """A verdict and, in words, why it is not another one."""

    verdict: Verdict
    why: str = ""


def judge(claim: Claim, ratio: Interval, *, parameters: float | None = None, pairs: int | None = None) -> Judgement:
    """The verdict of one ratio.

    ``confirmed`` where the whole interval lies within what is claimed, ``direction only`` where it lies on the claimed
    side of 1 and short of the bound, ``contradicted`` where it lies on the other side of 1 (or, of ``no_worse_than``,
    beyond the bound), else ``inconclusive``. A ratio of times from fewer than ``PAIRS`` pairs decides nothing. At
    fewer ``parameters`` than the claim speaks of nothing is contradicted, and no more than its direction confirmed.
    """
    if claim.bound is None:
        return Judgement("not testable here", claim.needs)
    if ratio.low is None or ratio.high is None:
        return Judgement("inconclusive", "one run each, and no interval")
    if pairs is not None and pairs < PAIRS:
        return Judgement("inconclusive", f"{pairs} pairs of runs, a verdict on time takes {PAIRS}")
    found = _of_interval(claim, ratio.low, ratio.high)
    small = parameters is not None and parameters < claim.scale
    if small and found.verdict == "contradicted":
        return Judgement("not testable here", f"the claim speaks of {claim.scale:.0e} parameters or more")
    if small and found.verdict == "confirmed":
        why = f"so it is at this scale; the claim speaks of {claim.scale:.0e} parameters"
        return Judgement("direction only", why)
    return found


def _of_interval(claim: Claim, low: float, high: float) -> Judgement:
    assert claim.bound is not None
    kind, bound = claim.bound
    if not claim.lower_is_claimed:  # mirrored, so that less is always what is claimed
        low, high = (1 / end if end > 0 else float("inf") for end in (high, low))
        bound = 1 / bound
    if high <= bound:
        return Judgement("confirmed")
    if kind == "no_worse_than":
        return Judgement("contradicted") if low > bound else _straddles("what it allows")
    if low >= 1 and low > bound:
        return Judgement("contradicted")
    if low <= bound:
        return _straddles("the claimed figure")
    return Judgement("direction only") if high < 1 else _straddles("no effect")


def _straddles(what: str) -> Judgement:
    return Judgement("inconclusive", f"the interval contains {what}")
