"""Training: the curves, first and last losses, steps, and the three token rates of every stage that trained."""

from __future__ import annotations

from collections.abc import Mapping

import pandas

from harness.analyse.cells import CHAIN, GROUP
from harness.analyse.statistics import mean_interval
from harness.analyse.summary import Line
from harness.report.cells import method_columns, method_values, metric_value, row_kind
from harness.report.content import Content, one_line
from harness.report.document import Column, Paragraph, Row, Section, Table, Value
from harness.report.equal_seconds import equal_seconds
from harness.report.figures import curves
from harness.report.numbers import interval, pretty
from harness.report.outcomes import Outcome
from harness.report.results import set_title

RATES = ("tokens_per_second", "nonpadding_tokens_per_second", "loss_tokens_per_second")
QUALITY = ("validation_bits_per_byte", "validation_loss")
EXPLANATION = (
    "Training stages only; a chain's compression is not in it. Losses are means over the first and the last tenth of "
    "the optimiser steps. Rates leave out the warm-up steps, evaluation, logging and saving: all tokens, those that "
    "are not padding, and those that carry a loss. Utilisation is that of model FLOPs: what the model's own arithmetic "
    "asks for per second, over what a plain matrix product reaches on this machine in the same type (the canary)."
)


def training(content: Content) -> Section | None:
    """The section, or None where nothing trained."""
    tables = [table for which in content.sets if (table := _table(content, content.groups(which), set_title(which)))]
    if not tables:
        return None
    points = curve_points(content.done)
    pictures = [curves(of_model, number, content.methods) for number, of_model in enumerate(_by_model(points))]
    drawn = [picture for picture in pictures if picture is not None]
    return Section("Training", [Paragraph(EXPLANATION, "note"), *tables, *drawn, *equal_seconds(content, points)])


def curve_points(rows: pandas.DataFrame) -> pandas.DataFrame:
    """Points of every learning curve, wide: the group, seed, step, ``train_tokens``, ``train_seconds``, validation.

    ``train_megabytes`` is there where stages read text at unequal bytes per token: tokens do not compare then.
    """
    wanted = ("train_tokens", "train_seconds", *QUALITY)
    kept = rows[rows["metric"].isin(wanted) & rows["sample"].notna() & (rows["operation"] == "train")]
    index = [*GROUP, "seed", "step", "sample"]
    texts = [name for name in index if name not in ("seed", "sample")]
    kept = kept[[*index, "metric", "value"]].astype({**dict.fromkeys(texts, object), "metric": str})
    kept = kept.drop_duplicates(["step", "sample", "metric"])
    wide = kept.pivot(index=["step", "sample"], columns="metric", values="value").reset_index()
    wide = wide.reindex(columns=["step", "sample", *wanted])
    density = _bytes_per_token(rows)
    if density.round(3).nunique() > 1:
        wide["train_megabytes"] = wide["train_tokens"] * wide["step"].map(density) / 1e6
    return wide.merge(kept[[*GROUP, "seed", "step"]].drop_duplicates("step"), on="step")


def _bytes_per_token(rows: pandas.DataFrame) -> pandas.Series[float]:
    """Bytes of text over tokens of each training step that says both, by step."""
    kept = rows[rows["metric"].isin(["train_bytes", "train_tokens"]) & rows["sample"].isna()]
    kept = kept[["step", "metric", "value"]].astype({"step": object, "metric": str}).drop_duplicates(["step", "metric"])
    wide = kept.pivot(index="step", columns="metric", values="value").reindex(columns=["train_bytes", "train_tokens"])
    return (wide["train_bytes"] / wide["train_tokens"]).dropna()


def utilisation_value(content: Content, lines: Mapping[str, Line], precision: str) -> Value:
    """Model FLOPs utilisation of a training stage as a cell, its interval over seeds below."""
    flops, rate = lines.get("model_flops_per_token"), lines.get("tokens_per_second")
    peak = content.peak_flops(precision, str(rate["hardware"])) if rate is not None else None
    if flops is None or rate is None or peak is None:
        return Value()
    found = mean_interval([flops["value"] * value / peak for value in content.values(RATES[0], rate["steps"])])
    return Value() if found is None else Value(
        pretty(found.estimate, "share", 3), interval(found.low, found.high, "share")
    )


def _by_model(points: pandas.DataFrame) -> list[pandas.DataFrame]:
    """Curves by model, each with those of its quality columns that it has."""
    return [group for _, group in points.groupby(["model"], dropna=False, sort=True)]


def _table(content: Content, outcomes: list[Outcome], caption: str) -> Table | None:
    rows = []
    seen: set[tuple[str, ...]] = set()
    for outcome in outcomes:
        for stage, lines in content.trained(outcome.key).items():
            steps = lines["optimizer_steps"]["steps"]
            if steps not in seen:
                seen.add(steps)
                values = [*_names(outcome, stage), *_values(lines), utilisation_value(content, lines, outcome.key[3])]
                rows.append(Row(values, row_kind(content, outcome)))
    columns = [
        *method_columns(), Column("Seeds"), Column("Steps"), Column("Tokens"),
        Column("Trainable", "share of parameters"), Column("Training loss", "first -> last"),
        Column("Optimiser step", "median"), Column("Tokens/s", "all"), Column("Tokens/s", "not padding"),
        Column("Tokens/s", "loss-bearing"), Column("Peak memory"), Column("Utilisation", "model FLOPs"),
    ]  # fmt: skip
    return Table(columns, rows, caption) if rows else None


def _names(outcome: Outcome, stage: str) -> list[Value]:
    last = str(outcome.key[0]).rsplit(CHAIN, 1)[-1]
    if stage == last:
        return method_values(outcome)
    return [Value(str(outcome.key[0]), one_line((f"stage {stage}", outcome.key[3])), kind="method")]


def _values(lines: dict[str, Line]) -> list[Value]:
    def of(name: str, digits: int = 4) -> Value:
        return metric_value(lines.get(name), digits=digits, marks=False)

    first, last = lines.get("train_loss_first"), lines.get("train_loss_last")
    losses = f"{pretty(first['value'], digits=3)} -> {pretty(last['value'], digits=3)}" if first and last else "-"
    return [
        Value(str(lines["optimizer_steps"]["seeds"])), Value(of("optimizer_steps").text),
        Value(of("train_tokens").text), Value(of("trainable_share").text), Value(losses), of("step_seconds"),
        *(of(name, 3) for name in RATES), Value(of("peak_memory_bytes").text),
    ]  # fmt: skip
