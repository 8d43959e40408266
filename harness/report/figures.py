"""The figures: one Altair specification each, interactive in the page and drawn once as SVG for the Markdown.

Every generated name is given here, so that the same rows give the same bytes.
"""

from __future__ import annotations

from typing import Any

import altair
import pandas

from harness.metrics import metric as declared
from harness.report.charts import (
    COLORS,
    HEIGHT,
    WIDTH,
    colored,
    pick_by,
    picked,
    shared_legend,
    side_by_side,
    specification,
)  # fmt: skip
from harness.report.document import Figure

MOST_LINES = 400


def curves(points: pandas.DataFrame, number: int, methods: list[str]) -> Figure | None:
    """Learning curves of one model: validation quality over tokens and over seconds; None without points."""
    name = next((one for one in ("validation_bits_per_byte", "validation_loss") if points[one].notna().any()), None)
    if name is None:
        return None
    data = points.dropna(subset=[name, "train_tokens"]).copy()
    data["run"] = data["method"].astype(str) + " · seed " + data["seed"].astype("string").fillna("-")
    data = data[data["step"].isin(sorted(data["step"].unique())[:MOST_LINES])]
    label = declared(name).label
    color = colored("method", methods, set(data["method"]), "Method")
    pick = pick_by("method", f"pick_curves_{number}")
    amount, title, words = "train_tokens", "Tokens trained on", "tokens"
    if "train_megabytes" in data and data["train_megabytes"].notna().all():
        amount, title, words = "train_megabytes", "MB of text trained on", "text"
    chart = side_by_side(
        _curve(data, amount, title, name, label, pick, color, f"over_{words}_{number}"),
        _curve(data, "train_seconds", "Seconds of training", name, label, pick, color, f"over_seconds_{number}"),
    )
    model = str(points["model"].iloc[0])
    return Figure(
        f"curves-{number + 1}",
        f"{label} while training, model {model}: over {words} and over seconds. One line per run and seed.",
        specification(chart),
    )


def bits_and_quality(points: pandas.DataFrame, name: str, caption: str) -> Figure:
    """Quality over bits per weight, a line per curve; columns ``curve method precision metric bits value``."""
    every = list(dict.fromkeys(points["curve"]))
    pick = pick_by("curve", f"pick_{name}".replace("-", "_"))
    panels = []
    for number, (metric, group) in enumerate(points.groupby("metric", sort=False)):
        # A divergence shrinks by orders of magnitude with the bits, a loss does not.
        scale = altair.Scale(type="log", nice=False) if metric == "kl_divergence" else altair.Scale(zero=False)
        label = declared(str(metric)).label
        panels.append(
            altair.Chart(group.sort_values(["curve", "bits"]), name=f"{name}_{number}".replace("-", "_"), width=400)
            .properties(height=HEIGHT + 60)
            .mark_line(point={"size": 55, "filled": True})
            .encode(
                x=altair.X("bits:Q", title="bits per weight, everything counted", scale=altair.Scale(zero=False)),
                y=altair.Y("value:Q", title=label, scale=scale),
                color=colored("curve", every, set(every), "Method"),
                opacity=picked(pick, 0.9),
                tooltip=["method:N", "precision:N", altair.Tooltip("bits:Q", format=".3f"),
                         altair.Tooltip("value:Q", title=label, format=".4~g")],
            ).add_params(pick)
        )  # fmt: skip
    return Figure(name, caption, specification(side_by_side(*panels)))


def progress(points: pandas.DataFrame, name: str, caption: str, label: str, unit: str) -> Figure:
    """A line per objective over the seconds of pre-training; ``points`` has ``objective seconds value``."""
    every = list(dict.fromkeys(points["objective"]))
    chart = altair.Chart(points, name=name.replace("-", "_"), width=460, height=HEIGHT).mark_line(point={"size": 50})
    chart = chart.encode(
        x=altair.X("seconds:Q", title="Seconds of pre-training", scale=altair.Scale(zero=False, nice=True)),
        y=altair.Y("value:Q", title=label, scale=altair.Scale(zero=False),
                   axis=altair.Axis(format=".0%") if unit == "share" else altair.Axis()),
        color=colored("objective", every, set(every), "Objective"),
        tooltip=["objective:N", altair.Tooltip("seconds:Q", format=".3~g"), altair.Tooltip("value:Q", format=".4~g")],
    )  # fmt: skip
    return Figure(name, caption, specification(chart))


def reward_over_divergence(
    trained: pandas.DataFrame, ends: pandas.DataFrame, name: str, caption: str, methods: list[str]
) -> Figure:
    """Reward over KL while training (``method seed step kl reward``), and at the end (``method by kl reward``)."""
    x = altair.X("kl:Q", title="KL from the reference, nats per answer", scale=altair.Scale(zero=True))
    panels = []
    here = {*trained["method"], *ends["method"]}
    if len(trained):
        lines = altair.Chart(trained, name=f"{name}_training".replace("-", "_"), width=WIDTH, height=HEIGHT)
        panels.append(lines.mark_line(point={"size": 22}, opacity=0.7).encode(
            x=x, y=altair.Y("reward:Q", title="Training reward", scale=altair.Scale(zero=False)),
            color=colored("method", methods, here, "Method"), detail="seed:N", order="step:Q",
            tooltip=["method:N", "step:Q", altair.Tooltip("kl:Q", format=".3~g"),
                     altair.Tooltip("reward:Q", format=".4~g")],
        ))  # fmt: skip
    if len(ends):
        dots = altair.Chart(ends, name=f"{name}_end".replace("-", "_"), width=WIDTH, height=HEIGHT)
        panels.append(dots.mark_point(size=80, filled=True, opacity=0.85).encode(
            x=x, y=altair.Y("reward:Q", title="Reward gained", scale=altair.Scale(zero=True)),
            color=colored("method", methods, here, "Method"),
            shape=altair.Shape("by:N", title="Scored by", sort=["judge", "reward model"]),
            tooltip=["method:N", "by:N", altair.Tooltip("kl:Q", format=".3~g"),
                     altair.Tooltip("reward:Q", format=".4~g")],
        ))  # fmt: skip
    return Figure(name, caption, specification(side_by_side(*panels)))


def spans(data: pandas.DataFrame, name: str, caption: str, order: list[str], every: list[str]) -> Figure:
    """Stacked self times of spans, a panel per kind of step; ``data`` has ``kind label span seconds``."""
    chart = altair.Chart(data, name=name).mark_bar(height={"band": 0.8}).encode(
        x=altair.X("seconds:Q", title="seconds", stack="zero"),
        color=colored("span", every, set(data["span"]), "Span"),
        tooltip=["label:N", "kind:N", "span:N", altair.Tooltip("seconds:Q", format=".3f")],
    )  # fmt: skip
    return Figure(name, caption, specification(_panels(chart, data, order, name)))


def peaks(data: pandas.DataFrame, name: str, caption: str, order: list[str], every: list[str]) -> Figure:
    """Peak memory within each span, a panel per kind of step; ``data`` has ``kind label span mebibytes``."""
    chart = altair.Chart(data, name=name).mark_point(filled=True, size=60, opacity=0.85).encode(
        x=altair.X("mebibytes:Q", title="MiB resident, peak", scale=altair.Scale(zero=False)),
        color=colored("span", every, set(data["span"]), "Span"),
        tooltip=["label:N", "kind:N", "span:N", altair.Tooltip("mebibytes:Q", format=",.0f")],
    )  # fmt: skip
    return Figure(name, caption, specification(_panels(chart, data, order, name)))


def encoding_speed(points: pandas.DataFrame, number: int, methods: list[str]) -> Figure:
    """Rate over the length of documents, a panel per way of calling; ``points`` as ``tokenizer_speed`` makes them."""
    pick = pick_by("method", f"pick_speed_{number}")
    rows = []
    for direction, half in points.groupby("direction", sort=False):
        panels = [
            altair.Chart(group, name=f"{direction}_{number}_{place}", width=250, height=200)
            .properties(title=f"{direction}, {calls}")
            .mark_line(point={"size": 45})
            .encode(
                x=altair.X("length:O", sort=["tweet", "paragraph", "file"], title=None, axis=altair.Axis(labelAngle=0)),
                y=altair.Y("rate:Q", title="MB/s", scale=altair.Scale(type="log", nice=False)),
                color=colored("method", methods, set(points["method"]), "Method"),
                opacity=picked(pick, 0.9),
                tooltip=["method:N", "length:O", "calls:N", altair.Tooltip("rate:Q", format=".4~g")],
            ).add_params(pick)
            for place, (calls, group) in enumerate(half.groupby("calls", sort=False))
        ]  # fmt: skip
        rows.append(side_by_side(*panels))
    with shared_legend():
        chart = altair.vconcat(*rows)
    where = f"model {points['model'].iloc[0]}, data {points['data'].iloc[0]}"
    caption = f"Encode and decode speed over the length of documents (logarithmic), {where}."
    return Figure(f"tokenizer-speed-{number}", caption, specification(chart))


def learning_cost(lines: pandas.DataFrame) -> Figure:
    """Seconds of learning over the size of the corpus, a panel per vocabulary size; ``lines`` has a line per stage."""
    panels = [
        altair.Chart(group, name=f"learning_{place}", width=250, height=200, title=f"vocabulary of {size}")
        .mark_line(point={"size": 45})
        .encode(
            x=altair.X("megabytes:Q", title="MB of text", scale=altair.Scale(type="log")),
            y=altair.Y("seconds:Q", title="seconds", scale=altair.Scale(type="log")),
            color=colored("variant", sorted(set(lines["variant"])), set(lines["variant"]), "Technique"),
            tooltip=["stage:N", "megabytes:Q", altair.Tooltip("seconds:Q", format=".3~g")],
        )
        for place, (size, group) in enumerate(lines.groupby("vocab_size"))
    ]  # fmt: skip
    caption = "Seconds of learning a vocabulary over the size of the corpus (both logarithmic)."
    return Figure("learning-vocabularies", caption, specification(side_by_side(*panels)))


def fertility(points: pandas.DataFrame) -> Figure:
    """Tokens per word of two languages, two marks per tokenizer; columns ``method where language fertility``."""
    data = points.assign(label=(points["where"] + ": " + points["method"]).str.removeprefix(": "))
    order = list(dict.fromkeys(data["label"]))
    plain = altair.Chart(data, name="fertility", width=460, height={"step": 22})
    y = altair.Y("label:N", sort=order, title=None)
    x = altair.X("fertility:Q", title="tokens per word", scale=altair.Scale(zero=False, padding=12))
    marks = plain.mark_point(filled=True, size=80).encode(
        x=x, y=y, color=altair.Color("language:N", title="Language", scale=altair.Scale(range=COLORS[:2])),
        tooltip=["label:N", "language:N", altair.Tooltip("fertility:Q", format=".3f")],
    )  # fmt: skip
    line = altair.Chart(data).mark_line(color="#999").encode(x=x, y=y, detail="label:N")
    caption = "Fertility by language: tokens per word of the same sentences in the source and the target language."
    return Figure("fertility", caption, specification(altair.layer(line, marks)))


def growth(points: pandas.DataFrame, number: int, title: str, size: str) -> Figure:
    """Time and memory over a size, both axes logarithmic; ``points`` has ``series size seconds mebibytes``."""
    every = list(dict.fromkeys(points["series"]))
    panels = [
        altair.Chart(points, name=f"growth_{column}_{number}", width=320, height=HEIGHT)
        .mark_line(point={"size": 45})
        .encode(
            x=altair.X("size:Q", title=size, scale=altair.Scale(type="log", base=2), axis=altair.Axis(
                values=sorted(set(points["size"])))),
            y=altair.Y(f"{column}:Q", title=label, scale=altair.Scale(type="log", nice=False)),
            color=colored("series", every, set(every), "Series"),
            tooltip=["series:N", "size:Q", altair.Tooltip(f"{column}:Q", format=".4~g")],
        )
        for column, label in (("seconds", "seconds per optimiser step"), ("mebibytes", "MiB, peak above the beginning"))
    ]  # fmt: skip
    caption = f"Time and memory of training over {size} ({title}); both axes logarithmic."
    return Figure(f"growth-{number}", caption, specification(side_by_side(*panels)))


def components(
    bars: pandas.DataFrame, marks: pandas.DataFrame, name: str, caption: str, order: list[str]
) -> Figure:
    """Stacked parts with marks beside them; ``bars`` has ``label part mebibytes``, ``marks`` ``label measured ...``."""
    every = list(dict.fromkeys(bars["part"]))
    y = altair.Y("label:N", sort=order, title=None)
    title = "MiB"
    stacked = altair.Chart(bars, name=name.replace("-", "_"), width=520, height={"step": 20}).mark_bar(opacity=0.75)
    stacked = stacked.encode(
        x=altair.X("mebibytes:Q", title=title, stack="zero"), y=y, color=colored("part", every, set(every), "Part"),
        tooltip=["label:N", "part:N", altair.Tooltip("mebibytes:Q", format=",.0f")],
    )  # fmt: skip
    drawn = altair.Chart(marks).mark_point(filled=True, size=60, color="#111", stroke="white", strokeWidth=0.6).encode(
        x=altair.X("mebibytes:Q", title=title), y=y,
        shape=altair.Shape("measured:N", title="At once", sort=["predicted", "tensors", "with the heap"]),
        tooltip=["label:N", "measured:N", altair.Tooltip("mebibytes:Q", format=",.0f")],
    )  # fmt: skip
    return Figure(name, caption, specification(altair.layer(stacked, drawn)))


def _curve(
    data: pandas.DataFrame, x: str, x_title: str, y: str, y_title: str, pick: Any, color: Any, name: str
) -> Any:
    columns = ["run", "step", "method", "precision", "seed", x, y]
    kept = data.dropna(subset=[x])[columns].sort_values(["method", "precision", "step", x])
    precisions = sorted(kept["precision"].astype(str).unique(), key=lambda text: (text != "fp32", str(text)))
    return altair.Chart(kept, name=name, width=WIDTH, height=HEIGHT).mark_line(point={"size": 18}).encode(
        x=altair.X(f"{x}:Q", title=x_title),
        y=altair.Y(f"{y}:Q", title=y_title, scale=altair.Scale(zero=False)),
        color=color,
        strokeDash=altair.StrokeDash("precision:N", sort=precisions, title="Precision"),
        detail="step:N",
        opacity=picked(pick, 0.9),
        tooltip=["run:N", "precision:N", altair.Tooltip(f"{x}:Q"), altair.Tooltip(f"{y}:Q", format=".4f")],
    ).add_params(pick)  # fmt: skip


def _panels(chart: Any, data: pandas.DataFrame, order: list[str], name: str) -> Any:
    """Arrange a chart in a column of panels by ``kind``, each with only the lines that it has."""
    panels = []
    for number, (kind, group) in enumerate(data.groupby("kind", sort=False)):
        here = [label for label in order if label in set(group["label"])]
        y = altair.Y("label:N", sort=here, title=None)
        panel = chart.properties(data=group, name=f"{name}_{number}", title=str(kind), width=290, height={"step": 15})
        panels.append(panel.encode(y=y))
    columns = 2 if data["label"].str.len().max() < 36 else 1  # two with long labels are wider than a page
    every = altair.concat(*panels, columns=columns, spacing=24)
    return every.resolve_scale(color="shared", x="independent", y="independent")
