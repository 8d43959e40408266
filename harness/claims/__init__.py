"""Published claims about techniques, as data: what was said, by whom, and which measured ratio can test it.

Every ``*.yaml`` file of this folder is a list of claims; a user adds one with one entry, here or in a file that is
given to ``harness claims --claims FILE``. Light: the verdicts are in ``harness.analyse.verdicts``.

A claim is tested by the ratio of one metric between two methods, ``of`` over ``over``, on the same model, data,
precision and hardware. ``over`` may be a number (16: bits of an uncompressed weight). What the claim says of the ratio
is ``at_most``, ``at_least``, both (a figure that can be missed on either side) or ``no_worse_than``. Of a saving that
was published as a range its weakest end counts, so that a claim is not refuted by its boldest reading.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from harness.contract import Budget, Hardware
from harness.errors import SuiteError, UsageError, did_you_mean
from harness.metrics import METRICS
from harness.models.published import PUBLISHED
from harness.parameters import build_params
from harness.plain_text import one_line
from harness.plan import document
from harness.plan.methods import ResolvedMethod, Resolver

FOLDER = Path(__file__).parent
BOUNDS = ("at_most", "at_least", "no_worse_than")
TEXTS = ("id", "technique", "statement", "source", "published", "metric", "task", "suite", "model", "device", "needs")
DEVICES = ("cpu", "cuda")
MAKING, WINS = "making_seconds", "judge_wins"
DERIVED = {
    MAKING: "lower",  # seconds of all train and compress steps of a method
    WINS: "higher",  # share of prompts at which a judge prefers the answers of one side, over one half
}
"""Which way is better for what is no metric of one step but made of several."""


@dataclass(frozen=True)
class Side:
    """One side of a ratio: a method's pattern, and a precision where the sides differ in it.

    In a pattern, parameters that are not written have their defaults or are settings of training (a rate, say).
    """

    method: str
    precision: str | None = None


@dataclass(frozen=True)
class AtScale:
    """Two methods on a published shape (``harness.models.published``) whose memory is predicted, on GPUs.

    ``ranks`` share the work of a side with ``zero``; the other side is one process.
    """

    of: str
    over: str
    model: str
    batch: int = 1
    sequence: int = 512
    precision: str = "bf16-mixed"
    ranks: int = 1

    @property
    def budget(self) -> Budget:
        """What a step of either side reads, on each rank."""
        return Budget(steps=1, batch_size=self.batch, sequence_length=self.sequence)

    def hardware_of(self, method: ResolvedMethod) -> Hardware:
        """Where a side trains."""
        ranks = self.ranks if "zero" in method.names() else 1
        return Hardware("cuda", devices=ranks, ranks=ranks)


@dataclass(frozen=True)
class Claim:
    """A published statement. ``published`` is the figure in words, ``needs`` what a test here would take.

    ``also`` are further pairs of methods whose ratio tests the same; with ``every`` the claim is about all of them.
    ``device`` is the kind of machine that the claim speaks of, where it speaks of one.

    ``scale`` is the fewest parameters that the claim speaks of, ``at_scale`` what the memory model is asked about it.
    ``counter`` names claims that say otherwise. ``verified`` says that the figure was read in its source, and is not
    remembered or popular.
    """

    id: str
    technique: str
    statement: str
    source: str
    verified: bool
    published: str = ""
    metric: str | None = None
    task: str | None = None
    of: Side | None = None
    over: Side | float | None = None
    also: tuple[tuple[Side, Side | float], ...] = ()
    at_most: float | None = None
    at_least: float | None = None
    no_worse_than: float | None = None
    suite: str | None = None
    model: str | None = None
    scale: float = 0.0
    device: str | None = None
    every: bool = False
    needs: str = ""
    at_scale: AtScale | None = None
    counter: tuple[str, ...] = ()

    @property
    def bounds(self) -> dict[str, float]:
        """What the claim says of the ratio: each kind of bound that it has, and its value."""
        return {kind: float(value) for kind in BOUNDS if (value := getattr(self, kind)) is not None}

    @property
    def sides(self) -> list[tuple[Side, Side | float]]:
        """Every pair of methods whose ratio tests it."""
        first = [] if self.of is None or self.over is None else [(self.of, self.over)]
        return [*first, *self.also]

    @property
    def lower_is_claimed(self) -> bool:
        """Whether the claim is that the ratio is below 1 (of ``no_worse_than``: that lower is better)."""
        if self.no_worse_than is not None:
            return direction_of(str(self.metric)) != "higher"
        if self.at_least is not None and self.at_most is not None:
            return self.at_most <= 1
        return self.at_most is not None


def direction_of(metric: str) -> str:
    """Which way is better: ``lower``, ``higher`` or ``none``."""
    return DERIVED[metric] if metric in DERIVED else METRICS[metric].direction


def load(extra: Iterable[Path] = ()) -> list[Claim]:
    """Every claim of the registry, then those of ``extra`` files; ``UsageError`` names file, claim and mistake."""
    claims = [claim for path in [*sorted(FOLDER.glob("*.yaml")), *extra] for claim in read(path)]
    seen: set[str] = set()
    for claim in claims:
        if claim.id in seen:
            raise UsageError(f"claim '{claim.id}' is there twice")
        seen.add(claim.id)
    for claim in claims:
        for other in claim.counter:
            if other not in seen:
                raise UsageError(f"claim '{claim.id}': counter: no claim '{other}'{did_you_mean(other, seen)}")
    return claims


def read(path: Path) -> list[Claim]:
    """Claims of one file; ``UsageError`` names file, claim and mistake."""
    try:
        found = document.read(path, TEXTS).value
    except SuiteError as error:
        where = f"{path.name}:{error.line}" if error.line else path.name
        raise UsageError(f"cannot read the claims in {where}: {error.plain}") from None
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise UsageError(f"{path.name} must be a list of claims, each with id, technique, statement and source")
    return [_claim(entry, path.name) for entry in found]


def _claim(entry: Mapping[str, Any], file: str) -> Claim:
    where = f"{file}, claim '{one_line(entry.get('id', '?'), 60)}'"
    known = [item.name for item in fields(Claim)]
    for key in entry:
        if key not in known:
            hint = did_you_mean(str(key), known)
            raise UsageError(f"{where}: unknown field '{key}'{hint} (known: {', '.join(known)})")
    for key in ("id", "technique", "statement", "source"):
        if not str(entry.get(key) or "").strip():
            raise UsageError(f"{where}: '{key}' is missing")
    if not isinstance(entry.get("verified"), bool):
        raise UsageError(f"{where}: 'verified' must be true (read in the source) or false")
    given = dict(entry)
    for key in TEXTS:
        if not isinstance(given.get(key), str | None):
            raise UsageError(f"{where}: '{key}' must be a text, not {_shown(given[key])}")
    for key in (*BOUNDS, "scale"):
        if key in given and (isinstance(given[key], bool) or not isinstance(given[key], int | float)):
            raise UsageError(f"{where}: '{key}' must be a number, not {_shown(given[key])}")
    if not isinstance(given.get("every", False), bool):
        raise UsageError(f"{where}: 'every' must be true or false, not {_shown(given['every'])}")
    for key in ("counter", "also"):
        if key in given and not isinstance(given[key], list):
            raise UsageError(f"{where}: '{key}' must be a list, not {_shown(given[key])}")
    if not all(isinstance(name, str) for name in entry.get("counter") or ()):
        raise UsageError(f"{where}: 'counter' is a list of claims' ids")
    given["counter"] = tuple(entry.get("counter") or ())
    given["of"] = _side(entry["of"], where) if "of" in entry else None
    given["over"] = _over(entry["over"], where) if "over" in entry else None
    also = entry.get("also") or ()
    if not all(isinstance(pair, dict) and set(pair) == {"of", "over"} for pair in also):
        raise UsageError(f"{where}: 'also' is a list of pairs, each with of and over")
    given["at_scale"] = _at_scale(entry["at_scale"], where) if "at_scale" in entry else None
    given["also"] = tuple((_side(pair["of"], where), _over(pair["over"], where)) for pair in also)
    claim = Claim(**given)
    _check(claim, where)
    return claim


def _shown(value: Any) -> str:
    """A value in a message, cut where it is long."""
    return one_line(repr(value), 100)


def _check(claim: Claim, where: str) -> None:
    if claim.metric is None:
        if not claim.needs:
            raise UsageError(f"{where}: without a metric it needs 'needs': what a test would take")
        return
    if claim.metric not in METRICS and claim.metric not in DERIVED:
        raise UsageError(f"{where}: unknown metric '{claim.metric}'{did_you_mean(claim.metric, [*METRICS, *DERIVED])}")
    if claim.of is None or claim.over is None:
        raise UsageError(f"{where}: a metric needs 'of' and 'over', the two sides of the ratio")
    if not claim.bounds or (claim.no_worse_than is not None and len(claim.bounds) > 1):
        raise UsageError(f"{where}: give at_most, at_least, both of them, or no_worse_than")
    for kind, value in claim.bounds.items():
        if value <= 0:
            raise UsageError(f"{where}: {kind} must be above 0: it bounds a ratio")
    if claim.at_least is not None and claim.at_most is not None and claim.at_least > claim.at_most:
        raise UsageError(f"{where}: at_least {claim.at_least} is above at_most {claim.at_most}")
    if claim.device is not None and claim.device not in DEVICES:
        raise UsageError(f"{where}: unknown device '{claim.device}' (known: {', '.join(DEVICES)})")


def _at_scale(given: Any, where: str) -> AtScale:
    if not isinstance(given, dict):
        raise UsageError(f"{where}: 'at_scale' is a mapping with of, over and model, not {_shown(given)}")
    asked: AtScale = build_params(AtScale, given, owner=f"{where}, at_scale")
    if asked.model not in PUBLISHED:
        raise UsageError(f"{where}: at_scale: unknown shape '{asked.model}'{did_you_mean(asked.model, PUBLISHED)}")
    for text in (asked.of, asked.over):
        _side(text, where)
    return asked


def _over(given: Any, where: str) -> Side | float:
    if isinstance(given, bool) or not isinstance(given, int | float):
        return _side(given, where)
    if given <= 0:
        raise UsageError(f"{where}: 'over' must be a method or a number above 0, not {given}")
    return float(given)


def _side(given: Any, where: str) -> Side:
    entry = {"method": given} if isinstance(given, str) else given
    if not isinstance(entry, dict) or not set(entry) <= {"method", "precision"} or "method" not in entry:
        raise UsageError(f"{where}: a side is a method, or {{method: ..., precision: ...}}, not {_shown(given)}")
    if not isinstance(entry.get("precision"), str | None):
        raise UsageError(f"{where}: the precision of a side must be a text, not {_shown(entry['precision'])}")
    try:
        found = Resolver().methods(str(entry["method"]))
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None
    if len(found) != 1:
        raise UsageError(f"{where}: '{entry['method']}' is {len(found)} methods; a side is one")
    return Side(found[0].text, entry.get("precision"))
