"""Which method to use, under constraints: a pure function over candidates, so that the page can hold the same one.

A candidate has its quality loss against the best of its table with an interval, the memory and seconds that it takes,
and its decoding speed. A constraint is met where the whole interval meets it, missed where none of it does, and
undecided in between. What is undecided is shown and never recommended, nor is what was not measured by the goal.
``harness/report/templates/choose.js`` says the same in the page; a test compares the two on random tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

GOALS = ("quality", "speed", "memory")
ATTRIBUTE = {"quality": "loss", "speed": "speed", "memory": "memory"}
# A bound of nothing at all: distances from it are still in order.
TINY = 1e-12
MEETS, UNDECIDED, MISSES = "meets", "undecided", "misses"


@dataclass(frozen=True)
class Amount:
    """A measured or predicted number with its 95 % interval, where it has one."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def ends(self) -> tuple[float, float]:
        """The interval, the value alone where there is none."""
        return (self.value if self.low is None else self.low, self.value if self.high is None else self.high)


@dataclass(frozen=True)
class Candidate:
    """One method at one precision. ``loss`` is the share of quality that is lost against the best of the table.

    ``memory`` is bytes at once, of making and of using it; ``predicted`` says that a memory model gave them.
    ``seconds`` is what making it took, 0 where nothing is made, ``speed`` tokens per second of decoding. What was not
    measured is None. ``ties`` are the ids of candidates from which its quality cannot be told apart.
    """

    id: str
    method: str
    precision: str
    loss: Amount | None
    memory: Amount | None
    seconds: Amount | None
    speed: Amount | None
    predicted: bool = False
    ties: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON and the page's script have it."""
        amounts = {name: getattr(self, name) for name in ("loss", "memory", "seconds", "speed")}
        return {
            "id": self.id, "method": self.method, "precision": self.precision, "predicted": self.predicted,
            "ties": list(self.ties),
            **{name: None if one is None else [one.value, *one.ends] for name, one in amounts.items()},
        }  # fmt: skip


@dataclass(frozen=True)
class Constraints:
    """Upper bounds: bytes, share of quality, seconds. None: no constraint."""

    memory: float | None = None
    loss: float | None = None
    seconds: float | None = None

    def given(self) -> dict[str, float]:
        """Those that are set, by name."""
        found = {"memory": self.memory, "loss": self.loss, "seconds": self.seconds}
        return {name: bound for name, bound in found.items() if bound is not None}


@dataclass(frozen=True)
class Excluded:
    """A candidate that is not recommended, and ``by`` which constraints, with the bound that each would have to be.

    None there: the number was not measured. ``undecided``: intervals lie across the bounds, none beyond. ``distance``
    is the largest factor by which a bound would have to be loosened.
    """

    candidate: Candidate
    by: Mapping[str, float | None]
    undecided: bool
    distance: float


@dataclass(frozen=True)
class Change:
    """One constraint, changed alone, that changes the answer: at ``bound`` ``winner`` would be recommended."""

    constraint: str
    bound: float
    looser: bool
    winner: Candidate | None


@dataclass(frozen=True)
class Choice:
    """The answer: qualified candidates best first, those tied with the first, the others, what would change it."""

    goal: str
    constraints: Constraints
    ranked: tuple[Candidate, ...]
    tied: tuple[Candidate, ...]
    excluded: tuple[Excluded, ...]
    changes: tuple[Change, ...] = field(default=())

    @property
    def winner(self) -> Candidate | None:
        """The recommended candidate, None where none qualifies."""
        return self.ranked[0] if self.ranked else None


def choose(candidates: Sequence[Candidate], constraints: Constraints, goal: str) -> Choice:
    """Rank the candidates that meet every constraint by the goal; name the misses and what would change the answer."""
    ranked, excluded = _judged(candidates, constraints, goal)
    tied = tuple(one for one in ranked[1:] if is_tied(ranked[0], one, goal)) if ranked else ()
    nearest = sorted(excluded, key=lambda one: (one.distance, one.candidate.id))
    changes = [*_looser(ranked, excluded, constraints, goal), *_tighter(candidates, ranked, constraints, goal)]
    return Choice(goal, constraints, tuple(ranked), tied, tuple(nearest), tuple(changes))


def is_tied(first: Candidate, other: Candidate, goal: str) -> bool:
    """Whether two cannot be told apart by the goal: quality by the paired comparison, others by their intervals."""
    if goal == "quality":
        return other.id in first.ties or first.id in other.ties
    one, two = (_of_goal(each, goal) for each in (first, other))
    return one is not None and two is not None and one.ends[0] <= two.ends[1] and two.ends[0] <= one.ends[1]


def verdict(amount: Amount | None, bound: float) -> str:
    """Whether an amount meets an upper bound, misses it, or leaves it undecided; what is not measured misses it."""
    if amount is None:
        return MISSES
    low, high = amount.ends
    if high <= bound:
        return MEETS
    return UNDECIDED if low <= bound else MISSES


def _judged(
    candidates: Sequence[Candidate], constraints: Constraints, goal: str
) -> tuple[list[Candidate], list[Excluded]]:
    kept, excluded = [], []
    for one in candidates:
        told = {name: verdict(getattr(one, name), bound) for name, bound in constraints.given().items()}
        if _of_goal(one, goal) is None:  # what it is to be ranked by was not measured
            told[ATTRIBUTE[goal]] = MISSES
        wrong = [name for name, how in told.items() if how != MEETS]
        if not wrong:
            kept.append(one)
            continue
        needed = {name: _needed(one, name) for name in wrong}
        factors = [_factor(needed[name], constraints.given().get(name, 0.0)) for name in wrong]
        undecided = all(told[name] == UNDECIDED for name in wrong)
        excluded.append(Excluded(one, needed, undecided, max(factors)))
    return sorted(kept, key=lambda one: _rank(one, goal)), excluded


def _rank(one: Candidate, goal: str) -> tuple[float, float, str]:
    """Best first; equals by the quality that is lost, then by name."""
    amount, worst = _of_goal(one, goal), float("inf")
    first = worst if amount is None else -amount.value if goal == "speed" else amount.value
    return (first, worst if one.loss is None else one.loss.value, one.id)


def _of_goal(one: Candidate, goal: str) -> Amount | None:
    found: Amount | None = getattr(one, ATTRIBUTE[goal])
    return found


def _needed(one: Candidate, name: str) -> float | None:
    amount: Amount | None = getattr(one, name)
    return None if amount is None else amount.ends[1]


def _factor(needed: float | None, bound: float) -> float:
    if needed is None:
        return float("inf")
    return needed / max(bound, TINY)


def _looser(
    ranked: Sequence[Candidate], excluded: Sequence[Excluded], constraints: Constraints, goal: str
) -> list[Change]:
    """For each constraint the least bound at which a better candidate, which misses nothing else, would come in."""
    found = []
    for name in constraints.given():
        alone = [one for one in excluded if set(one.by) == {name} and one.by[name] is not None]
        better = [one for one in alone if not ranked or _rank(one.candidate, goal) < _rank(ranked[0], goal)]
        if better:
            first = min(better, key=lambda one: (one.by[name] or 0.0, _rank(one.candidate, goal)))
            found.append(Change(name, first.by[name] or 0.0, True, first.candidate))
    return found


def _tighter(
    candidates: Sequence[Candidate], ranked: Sequence[Candidate], constraints: Constraints, goal: str
) -> list[Change]:
    """For each kind of constraint the bound just below which the winner drops out, and who follows."""
    if not ranked:
        return []
    found = []
    for name in ("memory", "loss", "seconds"):
        bound = _needed(ranked[0], name)
        if bound is None or bound <= 0:
            continue
        below = Constraints(**{**constraints.given(), name: bound * (1 - 1e-9)})
        follows, _ = _judged(candidates, below, goal)
        found.append(Change(name, bound, False, follows[0] if follows else None))
    return found
