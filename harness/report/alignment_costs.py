"""What an alignment costs, in three views, and how steady it is over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.analyse.cells import GROUP
from harness.analyse.curves import value_at
from harness.analyse.statistics import mean_interval
from harness.analyse.summary import Line
from harness.report.cells import method_columns, method_values, row_kind
from harness.report.content import Content
from harness.report.document import Column, Row, Table, Value
from harness.report.numbers import interval, plain, pretty
from harness.report.outcomes import FAILURES, Key, Outcome
from harness.report.preferences import (
    ACCURACY,
    JUDGE,
    LEARNS,
    ON_VALIDATION,
    last_technique,
    line_of,
    stages_of,
    technique_of,
)
from harness.report.results import set_title

COSTS = (
    "The stages of a chain after those that it shares with the chain it is compared with, added up. Accuracy is on "
    "fixed validation pairs while training, implied by the policy or given by the reward model; PPO does not change "
    "that of its reward model. Validation itself is not in the seconds. Accuracy is read off the curves where the "
    "methods had seen equally many pairs, and where they had trained for equally many seconds (clock of the optimiser "
    "steps). Memory cannot be made equal by training longer or shorter: the largest peak of the stages stands beside."
)
STEADY = (
    "Over seeds. A run has diverged where it ended with numbers that are not finite, or failed. The clipped share is "
    "that of the tokens whose ratio of probabilities PPO held back."
)


@dataclass(frozen=True)
class Cost:
    """What the stages that learn from preferences took together, means over seeds."""

    pairs: float
    episodes: float
    seconds: float
    peak: float
    generated: float
    trained: float
    stages: tuple[tuple[str, float], ...]

    def in_words(self) -> str:
        """Pairs, answers and seconds."""
        parts = [f"{plain(self.pairs)} pairs"] if self.pairs else []
        parts += [f"{plain(self.episodes)} answers of its own"] if self.episodes else []
        return f"{' and '.join(parts)} in {pretty(self.seconds, 's', 3)}"


def cost_of(content: Content, one: Outcome) -> Cost:
    """What a group's stages that learn from preferences took, added up."""
    lines = {stage: found for stage, found in content.trained(one.key).items() if technique_of(stage) in LEARNS}

    def total(name: str) -> float:
        return sum(float(found[name]["value"]) for found in lines.values() if name in found)

    # Validation while training is ours, and only some stages have it.
    seconds = tuple(
        (technique_of(stage),
         float(found["wall_seconds"]["value"]) - content.span_seconds(found["wall_seconds"]["steps"], ["evaluate"]))
        for stage, found in lines.items()
    )  # fmt: skip
    peaks = [float(found["peak_memory_bytes"]["value"]) for found in lines.values() if "peak_memory_bytes" in found]
    return Cost(
        total("preference_pairs_seen"), total("episodes"), sum(each for _, each in seconds), max(peaks, default=0.0),
        total("generated_training_tokens"), total("trained_answer_tokens"), seconds,
    )  # fmt: skip


Curves = list[list[tuple[float, float, float]]]
"""For each run its points: (pairs seen, seconds of training, accuracy)."""


def _curves(content: Content, one: Outcome) -> Curves:
    """Validation accuracy of the group's stage that learns from pairs, a curve per seed."""
    names = ("train_seconds", ON_VALIDATION)
    found: Curves = []
    for stage, lines in content.trained(one.key).items():
        if technique_of(stage) not in LEARNS or "preference_pairs_seen" not in lines:
            continue
        each = lines["preference_pairs_seen"]["value"] / lines["optimizer_steps"]["value"]
        for step in lines["optimizer_steps"]["steps"]:
            rows = content.done[(content.done["step"] == step) & content.done["sample"].notna()]
            wide = rows[rows["metric"].isin(names) & (rows["phase"] == "")].astype({"metric": str})
            points = wide.pivot_table(index="sample", columns="metric", values="value").reindex(columns=list(names))
            points = points.dropna().sort_index()
            found.append([(float(at) * each, float(seconds), float(right))
                          for at, seconds, right in points.itertuples(name=None)])  # fmt: skip
    return [curve for curve in found if curve]


def accuracy_ends(content: Content, one: Outcome) -> Value:
    """Validation accuracy at the first and the last point of the curves, means over seeds."""
    curves = _curves(content, one)
    if not curves:
        return Value()
    first, last = (sum(curve[end][2] for curve in curves) / len(curves) for end in (0, -1))
    return Value(f"{pretty(first, 'share', 3)} to {pretty(last, 'share', 3)}")


def budgets(content: Content, which: Key, here: Sequence[Outcome]) -> Table:
    """What each method took, and how right it was at equally many pairs and at equally many seconds."""
    done = [one for one in here if one.status == "done"]
    curves = {one.key: _curves(content, one) for one in done}
    costs = {one.key: cost_of(content, one) for one in done}
    every = [curve for found in curves.values() for curve in found]
    pairs, seconds = (min((curve[-1][axis] for curve in every), default=0.0) for axis in (0, 1))
    columns = [
        *method_columns(), Column("Pairs seen", "answers generated"),
        Column("Accuracy", f"after {plain(round(pairs))} pairs"), Column("Seconds", "of the stages, added up"),
        Column("Accuracy", f"after {pretty(seconds, 's', 3)}"), Column("Peak memory", "largest of the stages"),
        Column("Tokens", "generated, trained on"), Column("Time of PPO", "where it went"),
    ]  # fmt: skip
    rows = [_budget_row(content, one, costs[one.key], curves[one.key], pairs, seconds) for one in done]
    return Table(columns, rows, f"{set_title(which)} · three budgets")


def _budget_row(
    content: Content, one: Outcome, cost: Cost, curves: Curves, pairs: float, seconds: float
) -> Row:
    curves = [] if last_technique(one) == "ppo" else curves  # its reward model has a row of its own
    at_pairs = [_at(curve, 0, pairs) for curve in curves]
    at_seconds = [_at(curve, 1, seconds) for curve in curves]
    added = " + ".join(f"{name} {pretty(each, 's', 3)}" for name, each in cost.stages)
    tokens = Value(plain(cost.generated), plain(cost.trained)) if cost.generated else Value()
    return Row([
        *method_values(one), Value(plain(cost.pairs), plain(cost.episodes) if cost.episodes else ""),
        _share(at_pairs), Value(pretty(cost.seconds, "s", 3), added), _share(at_seconds),
        Value(pretty(cost.peak, "B", 3)), tokens, _parts(content, one),
    ], row_kind(content, one))  # fmt: skip


def _at(curve: Sequence[tuple[float, float, float]], axis: int, where: float) -> float | None:
    return value_at([(point[axis], point[2]) for point in curve], where)


def _share(values: Sequence[float | None]) -> Value:
    found = mean_interval([value for value in values if value is not None])
    return Value() if found is None else Value(
        pretty(found.estimate, "share", 3), interval(found.low, found.high, "share")
    )


def _parts(content: Content, one: Outcome) -> Value:
    """Shares of a PPO stage's time: writing answers, scoring them, and the steps of the optimiser."""
    if last_technique(one) != "ppo":
        return Value()
    steps = content.steps_of(one.key)
    names = ("generate", "reward", "reference", "rollout", "train")
    spans = {name: content.span_seconds(steps, [name]) for name in names}
    whole = sum(spans.values())
    if not whole:
        return Value()
    scoring = spans["reward"] + spans["reference"] + spans["rollout"]
    parts = ((spans["train"], "steps"), (spans["generate"], "generation"), (scoring, "scoring"))
    return Value(", ".join(f"{pretty(part / whole, 'share', 2)} {name}" for part, name in parts), kind="word")


def spread(content: Content, which: Key, here: Sequence[Outcome]) -> Table:
    """How far apart the seeds of each method ended."""
    columns = [
        *method_columns(), Column("Seeds", "diverged"), Column("Judge's reward", "lowest to highest"),
        Column("Preference accuracy", "lowest to highest"), Column("KL", "lowest to highest"),
        Column("Clipped share", "lowest to highest"), Column("Loss", "first to last"),
    ]  # fmt: skip
    rows = []
    for one in here:
        lines = content.last_training(one.key)
        first, end = lines.get("train_loss_first"), lines.get("train_loss_last")
        rows.append(Row([
            *method_values(one), Value(str(one.seeds), _diverged(content, one)),
            *(_range(line_of(content, one, name)) for name in (JUDGE, ACCURACY, "kl_from_reference")),
            _range(lines.get("clip_share")),
            Value(f"{plain(first['value'], 3)} to {plain(end['value'], 3)}") if first and end else Value(),
        ], row_kind(content, one)))  # fmt: skip
    return Table(columns, rows, f"{set_title(which)} · over seeds")


def _diverged(content: Content, one: Outcome) -> str:
    """How many of a group's own trainings did not end well."""
    stage = stages_of(str(one.key[0]))[-1]
    told = content.rows[(content.rows["metric"] == "status") & (content.rows["operation"] == "train")]
    here = content.member
    for name, value in zip(GROUP, one.key, strict=True):
        here = here[here[name] == value]
    steps = set(here["step"])
    kept = told[told["step"].isin(steps) & (told["stage"].astype(str) == stage)]
    failed = int(kept["status"].astype(str).isin(FAILURES).sum())
    return f"{failed} of {len(kept)} diverged" if failed else "none diverged"


def _range(line: Line | None) -> Value:
    if line is None:
        return Value()
    low, high = (pretty(line[name], line["unit"], 3) for name in ("lowest", "highest"))
    return Value(low if low == high else f"{low} to {high}")
