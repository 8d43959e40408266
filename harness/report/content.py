"""What every part of a report is made from: rows, summary, plan and facts, looked up in one place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas

from harness.analyse.accepted import Acceptance
from harness.analyse.cells import CHAIN, GROUP, deciding, installation_of, items_of_deciding, members
from harness.analyse.cost import making_cost
from harness.analyse.history import Story, current, stories
from harness.analyse.item_scores import ItemScores
from harness.analyse.noise import between_runs
from harness.analyse.selftest import SelfTest
from harness.analyse.series import machine_of
from harness.analyse.summary import Line, as_lines, plain_value, summarize
from harness.analyse.utilisation import measured_peak, published_peak
from harness.analyse.watched import Kind
from harness.errors import HarnessError
from harness.plan.sources import hardware as hardware_of
from harness.report.outcomes import Key, Outcome, outcomes
from harness.results.facts import Facts
from harness.results.nights import Night

CURVES = ("validation_bits_per_byte", "validation_loss")
SET = ("model", "data", "hardware")


@dataclass
class Content:
    """One suite's rows of one installation, with what was planned. Everything derived is computed once."""

    frame: pandas.DataFrame
    items: pandas.DataFrame
    plan: Mapping[str, Any]
    facts: Facts
    wanted: str | None = None
    full_names: Mapping[str, str] = field(default_factory=dict)
    nights: Sequence[Night] = ()
    accepted: Sequence[Acceptance] = ()
    self_test: SelfTest | None = None

    @cached_property
    def installation(self) -> str | None:
        """The installation that the report is about."""
        return installation_of(self.frame, self.wanted)

    @cached_property
    def stories(self) -> list[Story]:
        """The series of the nights on the machine of the last one, with their verdicts."""
        here = {machine_of(facts) for facts in self.nights[-1].machines.values()} if self.nights else set()
        return [one for one in current(stories(self.nights, self.accepted)) if one.series.machine in here]

    @cached_property
    def rows(self) -> pandas.DataFrame:
        """Rows of the records that decide each step."""
        return deciding(self.frame, self.installation)

    @cached_property
    def done(self) -> pandas.DataFrame:
        """Those of them that are done."""
        return self.rows[self.rows["status"] == "done"]

    @cached_property
    def member(self) -> pandas.DataFrame:
        """Which steps belong to which cell."""
        return members(self.rows, self.plan)

    @cached_property
    def summary(self) -> list[Line]:
        """The summary's lines."""
        table = summarize(self.frame, self.items, self.plan, baseline=self.baseline, installation=self.installation,
                          scores=self.scores, noise=self.noise("time"))  # fmt: skip
        return as_lines(table)

    def noise(self, kind: Kind) -> dict[str, float]:
        """By how much times or peaks of memory differ between runs of the same thing, as shares, by metric."""
        return between_runs(self.self_test.noise if self.self_test else (), kind)

    @cached_property
    def outcomes(self) -> list[Outcome]:
        """Every planned group, the baseline first, else in the plan's order."""
        found = outcomes(self.rows, self.member, self.plan, self.facts)
        return sorted(found, key=lambda outcome: not self.is_baseline(outcome.key))

    @cached_property
    def baseline(self) -> str | None:
        """The method that the others are compared with: the plan's, else ``base`` where there is one."""
        named = self.plan.get("baseline")
        if named:
            return str(named)
        return "base" if (self.frame["method"] == "base").any() else None

    @cached_property
    def sets(self) -> list[Key]:
        """(model, data, hardware) of the groups, those with the baseline first."""
        found: dict[Key, bool] = {}
        for outcome in self.outcomes:
            key = self.set_of(outcome.key)
            found[key] = found.get(key, False) or self.is_baseline(outcome.key)
        return sorted(found, key=lambda key: not found[key])

    @cached_property
    def tasks(self) -> list[str]:
        """Tasks in the order in which they were measured."""
        seen = self.done.loc[(self.done["metric"] == "status") & (self.done["operation"] == "eval"), ["step", "task"]]
        order = {step: number for number, step in enumerate(self.member["step"])}
        lines = sorted((order.get(step, len(order)), str(task)) for step, task in seen.itertuples(index=False))
        return list(dict.fromkeys(task for _, task in lines if task != "nan"))

    @cached_property
    def methods(self) -> list[str]:
        """Every method in the order of the outcomes: what fixes its colour in all figures."""
        return list(dict.fromkeys(str(outcome.key[0]) for outcome in self.outcomes))

    def full_name(self, method: str) -> str:
        """The method as records have it, of several that are shown under one name (tuned ones) the first."""
        return self.full_names.get(method, method)

    def where(self, which: Key) -> str:
        """What tells one (model, data, hardware) from the others; nothing where there is only one."""
        columns = list(zip(*self.sets, strict=True))
        return one_line(part for part, column in zip(which, columns, strict=True) if len(set(column)) > 1)

    @cached_property
    def costs(self) -> dict[Key, pandas.DataFrame]:
        """What making each group's cells cost, a line per seed."""
        table = making_cost(self.rows, self.member)
        names = list(GROUP)
        keyed = table.astype(dict.fromkeys(names, object)).groupby(names, dropna=False, sort=False)
        return {tuple(plain_value(part) for part in key): group for key, group in keyed}

    def score(self, key: Key, task: str, metric: str) -> Line | None:
        """The line of one task's metric of a group, or None."""
        found = (line for line in self._of.get(key, ()) if line["operation"] == "eval" and line["task"] == task)
        return next((line for line in found if line["metric"] == metric), None)

    def lines(self, key: Key) -> list[Line]:
        """Every line of the summary of a group."""
        return self._of.get(key, [])

    def metrics_of(self, key: Key, task: str) -> set[str]:
        """Names of the metrics that one task gave of a group."""
        return {line["metric"] for line in self._of.get(key, ()) if line["task"] == task}

    def made(self, key: Key, metric: str) -> Line | None:
        """The line of a metric of the group's last stage (compression over training), else of any of its tasks."""
        last = str(key[0]).rsplit(CHAIN, 1)[-1]
        for operation in ("compress", "train"):
            for line in self._of.get(key, ()):
                if line["operation"] == operation and line["stage"] == last and line["metric"] == metric:
                    return line
        return next((line for line in self._of.get(key, ()) if line["metric"] == metric), None)

    def trained(self, key: Key) -> dict[str, dict[str, Line]]:
        """Lines of every stage of the group that took optimiser steps, by stage and metric."""
        found: dict[str, dict[str, Line]] = {}
        for line in self._of.get(key, ()):
            if line["operation"] == "train":
                found.setdefault(line["stage"], {})[line["metric"]] = line
        return {stage: lines for stage, lines in found.items() if "optimizer_steps" in lines}

    def last_training(self, key: Key) -> dict[str, Line]:
        """Lines of the group's last stage where that trained, by metric; empty where it did not."""
        return self.trained(key).get(str(key[0]).rsplit(CHAIN, 1)[-1], {})

    def steps_of(self, key: Key) -> tuple[str, ...]:
        """Steps (one per seed) of the group's last stage where that trained."""
        lines = self.last_training(key)
        return tuple(lines["optimizer_steps"]["steps"]) if lines else ()

    def steps_by_seed(self, key: Key) -> dict[int | None, str]:
        """The steps of the group's last stage where that trained, by the seed of their cell."""
        found = {step: self._seeds[step] for step in self.steps_of(key)}
        return {None if pandas.isna(seed) else int(seed): step for step, seed in found.items()}

    def training_series(self, metric: str, step: str) -> list[float]:
        """What one training recorded at every optimiser step, the warm-up steps left out of times."""
        return self._series.get((step, metric), [])

    def samples(self, metric: str, steps: Iterable[str]) -> list[float]:
        """Raw samples of a metric, of several steps together."""
        return [value for step in steps for value in self._samples.get((step, metric), ())]

    def span_seconds(self, steps: Iterable[str], names: Sequence[str]) -> float:
        """Seconds of the named spans, the mean over steps (seeds)."""
        kept = self.done[(self.done["metric"] == "span_seconds") & self.done["phase"].isin(list(names))]
        of = list(steps)
        return float(kept.loc[kept["step"].isin(of), "value"].sum()) / max(1, len(of))

    def curve_ends(self, steps: Iterable[str]) -> tuple[tuple[str, float] | None, tuple[str, float] | None]:
        """(metric, value) at the first and the last point of a learning curve, means over ``steps`` (seeds)."""
        rows = self.done[self.done["sample"].notna() & self.done["step"].isin(list(steps))]
        for metric in CURVES:
            points = rows[rows["metric"] == metric].sort_values(["step", "sample"])
            if len(points):
                by_step = points.groupby("step", observed=True)["value"]
                return (metric, float(by_step.first().mean())), (metric, float(by_step.last().mean()))
        return None, None

    def chance(self, steps: Iterable[str]) -> float | None:
        """Share of multiple-choice items that guessing gets right, where the records say how many options there are."""
        items = self.observed(steps, "items")
        return 1 / float(items["options"]) if isinstance(items, Mapping) and items.get("options") else None

    def values(self, metric: str, steps: Iterable[str]) -> list[float]:
        """The value of a metric in each of several steps (seeds)."""
        return [self._values[step, metric] for step in steps if (step, metric) in self._values]

    def by_seed(self, metric: str, steps: Iterable[str]) -> dict[int, float]:
        """The value of a metric by the seed of the cell that a step belongs to."""
        known = [step for step in steps if not pandas.isna(self._seeds[step])]
        return {int(self._seeds[step]): value for step in known for value in self.values(metric, [step])}

    def peak_flops(self, precision: str, hardware: str) -> float | None:
        """FLOP/s that matrix products of a precision reach by the canary, of a GPU without one its published figure.

        The canary runs on one GPU; a step on several has as many times that.
        """
        try:
            given = hardware_of(hardware)
        except HarnessError:  # of a record that this harness did not write
            return None
        found = measured_peak(self._canaries, precision, given.device)
        if given.device == "cpu":
            return found
        if found is None:
            gpus = self.facts.environments.get(str(self.installation), {}).get("hard", {}).get("gpus") or [""]
            found = published_peak(str(gpus[0]), precision)
        return None if found is None else found * given.devices

    def observed(self, steps: Iterable[str], name: str) -> Any:
        """What the record of the first of ``steps`` that says it observed under ``name``; None where none does."""
        records = sorted(found for step in steps if (found := self._done_records.get(step)) is not None)
        told = (self.facts.observed.get(record, {}).get(name) for _, record in records)
        return next((value for value in told if value is not None), None)

    def tasks_named(self, name: str) -> list[str]:
        """Tasks of one name with whatever parameters, in their order."""
        return [task for task in self.tasks if task.partition("(")[0] == name]

    def tasks_with(self, metric: str) -> list[str]:
        """Tasks that give ``metric``, in their order."""
        return self._tasks_with.get(metric, [])

    def groups(self, which: Key) -> list[Outcome]:
        """The groups of one (model, data, hardware)."""
        return self._groups.get(which, [])

    def is_baseline(self, key: Key) -> bool:
        """Whether a group is the baseline (at any precision)."""
        return bool(key[0] == self.baseline)

    def base_parameters(self, which: Key) -> float | None:
        """Parameters of the uncompressed model of a set: the base's or the baseline's, else the fewest of any stage."""
        if which not in self._parameters:
            self._parameters[which] = self._base_parameters(which)
        return self._parameters[which]

    def _base_parameters(self, which: Key) -> float | None:
        keys = [outcome.key for outcome in self.groups(which)]
        first = [key for key in keys if key[0] == "base"] or [key for key in keys if self.is_baseline(key)]
        told = [self.made(key, "parameters") for key in first]
        told += [self.made(key, "parameters") for key in keys]
        values = [line["value"] for line in told if line is not None]
        return values[0] if told and told[0] is not None else min(values, default=None)

    @cached_property
    def _of(self) -> dict[Key, list[Line]]:
        found: dict[Key, list[Line]] = {}
        for line in self.summary:
            found.setdefault(self.key_of(line), []).append(line)
        return found

    @cached_property
    def _parameters(self) -> dict[Key, float | None]:
        return {}

    @cached_property
    def _groups(self) -> dict[Key, list[Outcome]]:
        found: dict[Key, list[Outcome]] = {}
        for outcome in self.outcomes:
            found.setdefault(self.set_of(outcome.key), []).append(outcome)
        return found

    @cached_property
    def _tasks_with(self) -> dict[str, list[str]]:
        having: dict[str, set[str]] = {}
        for line in self.summary:
            if line["operation"] == "eval":
                having.setdefault(line["metric"], set()).add(line["task"])
        return {metric: [task for task in self.tasks if task in tasks] for metric, tasks in having.items()}

    @cached_property
    def _done_records(self) -> dict[str, tuple[int, str]]:
        """The record of each step that is done, with its place among the rows."""
        status = self.done.loc[self.done["metric"] == "status", ["step", "record"]].astype(str)
        return {step: (place, record) for place, (step, record) in enumerate(status.itertuples(index=False, name=None))}

    @cached_property
    def _canaries(self) -> pandas.DataFrame:
        kept = self.frame["metric"].str.startswith("canary") & (self.frame["installation"] == self.installation)
        return self.frame[kept]

    @cached_property
    def _seeds(self) -> dict[str, Any]:
        return dict(zip(self.member["step"], self.member["seed"], strict=True))

    @cached_property
    def _values(self) -> dict[tuple[str, str], float]:
        rows = self.done[self.done["sample"].isna() & (self.done["phase"] == "")]
        kept = rows[["step", "metric", "value"]].dropna().astype({"step": str, "metric": str})
        return {(step, metric): float(value) for step, metric, value in kept.itertuples(index=False, name=None)}

    @cached_property
    def _samples(self) -> dict[tuple[str, str], list[float]]:
        kept = self.done[self.done["sample"].notna() & (self.done["operation"] == "eval")]
        kept = kept[["step", "metric", "value"]].dropna().astype({"step": str, "metric": str})
        return {(str(key[0]), str(key[1])): group.tolist() for key, group in kept.groupby(["step", "metric"])["value"]}

    @cached_property
    def _series(self) -> dict[tuple[str, str], list[float]]:
        rows = self.done[self.done["sample"].notna() & (self.done["operation"] == "train")]
        kept = rows[((rows["metric"] == "step_seconds") & (rows["phase"] == "")) | (rows["metric"] == "train_loss")]
        kept = kept.sort_values("sample")[["step", "metric", "value"]].astype({"step": str, "metric": str})
        return {(str(key[0]), str(key[1])): group.tolist() for key, group in kept.groupby(["step", "metric"])["value"]}

    @cached_property
    def scores(self) -> ItemScores:
        """Per-item scores of the records that decide."""
        return ItemScores(items_of_deciding(self.items, self.rows))

    @staticmethod
    def key_of(line: Mapping[str, Any]) -> Key:
        """The group that a line belongs to."""
        return tuple(plain_value(line[name]) for name in GROUP)

    @staticmethod
    def set_of(key: Key) -> Key:
        """(model, data, hardware) of a group."""
        return (key[1], key[2], key[4])


def one_line(texts: Iterable[Any]) -> str:
    """Coordinates in one line, missing ones left out."""
    return " · ".join(str(text) for text in texts if text not in (None, ""))
