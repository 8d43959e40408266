"""The self-test of a machine: the noise floor, what the meter adds, and what the launcher takes beside a step."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas

from harness.analyse.noise import Noise, noise_floor, scalars
from harness.analyse.statistics import Interval, bootstrap_median
from harness.run.contention import OTHERS_LIMIT

SUITE = "selftest"
SINCE = "since"  # the key of the plan that says when the last self-test began
GOAL = 0.01  # of a core
OVERHEAD, SUPERVISOR, CONTENTION = "meter_overhead_share", "supervisor_cpu_share", "contention_share"


@dataclass(frozen=True)
class Supervised:
    """The launcher's and its server's CPU seconds as a share of a core: over all steps together, per step."""

    overall: float
    median: float
    highest: float
    where: str
    steps: int


@dataclass(frozen=True)
class SelfTest:
    """What one self-test found. ``repeats`` is the most that any number has; ``commit`` that of its last record.

    Of its ``steps`` other processes disturbed so many. ``records`` are those that it is made of.
    """

    installation: str
    environment: str
    commit: str
    dirty: bool | None
    began: str
    ended: str
    repeats: int
    steps: int
    disturbed: int
    noise: tuple[Noise, ...]
    overhead: Interval | None
    supervised: Supervised | None
    records: tuple[str, ...] = ()

    @property
    def compared(self) -> list[Noise]:
        """Numbers that may differ and were compared with themselves."""
        return [one for one in self.noise if one.random and one.same is not None]

    @property
    def unequal(self) -> list[Noise]:
        """Numbers that nothing random enters and that did not repeat to the bit."""
        return [one for one in self.noise if not one.random and one.deviation != 0.0 and one.n > 1]

    @property
    def exact(self) -> list[Noise]:
        """Numbers that repeated to the bit, as they should."""
        return [one for one in self.noise if not one.random and one.deviation == 0.0]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self) | {
            "noise": [one.to_dict() for one in self.noise], "goal": GOAL,
            "compared": len(self.compared), "same": sum(bool(one.same) for one in self.compared),
            "exact": len(self.exact), "unequal": [f"{one.place.in_words()}: {one.metric}" for one in self.unequal],
        }  # fmt: skip


def self_test(frame: pandas.DataFrame, installation: str | None, since: str = "") -> SelfTest | None:
    """The self-test of an installation from its rows since ``since``, on its latest hard facts; None without any."""
    rows = scalars(frame, installation)
    rows = rows[(rows["started"] >= since) & (rows["operation"] != "canary")]
    if rows.empty:
        return None
    last = rows.iloc[-1]
    rows = rows[rows["environment"] == last["environment"]]
    noise = tuple(noise_floor(rows, installation))
    contention, overhead = (rows.loc[rows["metric"] == name, "value"] for name in (CONTENTION, OVERHEAD))
    return SelfTest(
        installation=str(installation),
        environment=str(last["environment"]),
        commit=str(last["commit"]),
        dirty=None if pandas.isna(last["dirty"]) else bool(last["dirty"]),
        began=str(rows["started"].iloc[0]),
        ended=str(last["started"]),
        repeats=max((one.n for one in noise), default=0),
        steps=rows["record"].nunique(),
        disturbed=int((contention > OTHERS_LIMIT).sum()),
        noise=noise,
        overhead=bootstrap_median(overhead.tolist()),
        supervised=_supervised(rows),
        records=tuple(sorted(rows["record"].astype(str).unique())),
    )


def last_self_test(
    results: Path | str, environments: Collection[str], installation: str | None = None
) -> SelfTest | None:
    """The last self-test of a results folder on any of these hard facts (their ids); None where there is none.

    That of the given installation comes first, else the one that was measured last.
    """
    from harness.results.rows import load
    from harness.results.store import Store

    store = Store(results)
    if SUITE not in store.suites():
        return None
    frame, plans = load(results, SUITE), store.plans(SUITE)
    names = sorted({str(name) for name in frame["installation"].dropna()})
    found = [self_test(frame, name, _since(plans.get(name, {}))) for name in names]
    here = [one for one in found if one is not None and one.environment in environments]
    return max(here, key=lambda one: (one.installation == installation, one.ended, one.installation), default=None)


def _since(plan: Mapping[str, Any]) -> str:
    return str(plan.get(SINCE) or "")


def _supervised(rows: pandas.DataFrame) -> Supervised | None:
    """The launcher's share over all steps."""
    shares = rows[rows["metric"] == SUPERVISOR].set_index("record")["value"]
    if shares.empty:
        return None
    wall = rows[rows["metric"] == "wall_seconds"].set_index("record")["value"].reindex(shares.index)
    of = rows[rows["record"] == shares.idxmax()].iloc[0]
    where = str(of["operation"] if pandas.isna(of["task"]) else of["task"])
    overall = float((shares * wall).sum() / wall.sum())
    return Supervised(overall, float(shares.median()), float(shares.max()), where, len(shares))
