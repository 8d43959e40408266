"""What compression costs and what it gives: quality over bits, speed against the plain model, and when it pays back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas

from harness.analyse.cells import CHAIN
from harness.analyse.rounding import divergence_at, frontier
from harness.catalogue import task_class
from harness.errors import HarnessError
from harness.parameters import build_params
from harness.plan.expression import Call, Method, Stage, parse
from harness.report.cells import method_columns, method_values, metric_column, metric_value, row_kind
from harness.report.content import Content
from harness.report.document import Block, Column, Figure, Paragraph, Row, Section, Table, Value
from harness.report.figures import bits_and_quality
from harness.report.numbers import plain, pretty
from harness.report.outcomes import Key, Outcome
from harness.report.results import set_title

ROUNDING = "rtn"
MOST_NAMED = 5
NOT_MAKING = ("start", "import", "seal", "inspect")
CLEAR_SAVING = 0.1
WHOLE_BITS = 15.9
SPEED = "decode_tokens_per_second"
# Parameters by which the points of one curve differ.
POINTS = ("bits", "type", "quant_type", "double_quant")
QUALITY = ("kl_divergence", "top1_agreement")
EXPLANATION = (
    "Making it is opening, calibrating, quantising and saving, without the imports. Speeds are those of this "
    "machine, beside the uncompressed model at each precision that was measured. A request is one batch of prompts "
    "and answers as the task times them; a method pays back after as many requests as save the seconds of its "
    "compression, against the fastest of all with 16 bits or more, whatever computes it, and never where a request "
    "takes no less than there; a saving of less than a tenth is not told apart from none, since two runs of one "
    "kernel differ as much. Divergence is set beside that of plain rounding of the same matrices at the same "
    "precision (rtn's best variants) to as many bits, its logarithm interpolated: below 1 a method beats it. One "
    "that rounds the embeddings too has no such partner."
)
WHAT = "What was found in the opened model: matrices by their storage, and those that stayed as they were."


def compression_costs(content: Content) -> Section | None:
    """The section, or None where nothing was compressed."""
    blocks: list[Block] = []
    for number, which in enumerate(content.sets, start=1):
        made = [one for one in content.groups(which) if one.status == "done" and _compress_seconds(content, one.key)]
        if not made:
            continue
        blocks += [block for block in (_figure(content, which, made, number), _costs(content, which, made)) if block]
        blocks.append(_contents(content, which, made))
    if not blocks:
        return None
    return Section("What compression costs and gives", [Paragraph(EXPLANATION, "note"), *blocks])


def family(method: str) -> str:
    """The method without the parameters that say how many bits: what one curve is drawn for."""
    try:
        parsed = parse(method)
    except HarnessError:
        return method
    last = parsed.stages[-1]
    kept = tuple(item for item in last.call.params if item[0] not in POINTS)
    return str(Method((*parsed.stages[:-1], Stage(Call(last.call.name, kept), last.modifiers))))


def against_rounding(content: Content, which: Key) -> dict[Key, float]:
    """Of every compressed group its divergence over what plain rounding of the same matrices reaches at its bits.

    A group has none where rounding has no points around its bits, at the same precision and after the same stages, or
    where it leaves other matrices than rounding does: embeddings in 16 bits are bits too, and quality.
    """
    task = next(iter(content.tasks_with(QUALITY[0])), None)
    points, left = {}, {}
    for one in content.groups(which):
        bits, score = content.made(one.key, "bits_per_weight"), content.score(one.key, task or "", QUALITY[0])
        told = _opened(content, one.key).get("left")
        if bits and score and told is not None and _compress_seconds(content, one.key):
            points[one.key], left[one.key] = (bits["value"], score["value"]), frozenset(told)
    found = {}
    for key, (bits_of, divergence) in points.items():
        alike = [other for other in points if _technique(other) == ROUNDING and left[other] == left[key]
                 and (other[3], _before(other)) == (key[3], _before(key))]  # fmt: skip
        rounded = [points[other] for other in alike]
        reached = divergence_at(frontier(rounded), bits_of)
        if _technique(key) != ROUNDING and reached:
            found[key] = divergence / reached
    return found


def rounding_in_words(content: Content, which: Key) -> list[str]:
    """Which methods come nearer to the reference than plain rounding to as many bits, and which do not."""
    ratios = sorted(against_rounding(content, which).items(), key=lambda item: item[1])
    if not ratios:
        return []
    nearer, farther = ([pair for pair in ratios if (pair[1] < 1) is better] for better in (True, False))
    more = len(farther) - MOST_NAMED
    said = [f"Divergence over that of plain rounding of the same matrices to as many bits (rtn's best variants): "
            f"{_named(nearer[:MOST_NAMED]) or 'no method is nearer'}"]  # fmt: skip
    if len(nearer) > MOST_NAMED:
        said.append(f"{len(nearer) - MOST_NAMED} more are nearer too")
    if farther:
        said.append(f"farther than rounding: {_named(farther[-MOST_NAMED:])}{f' and {more} more' if more > 0 else ''}")
    return ["; ".join(said) + "."]


def _named(ratios: Sequence[tuple[Key, float]]) -> str:
    return ", ".join(f"{key[0]} at {key[3]} {plain(ratio, 2)}x" for key, ratio in ratios)


def _before(key: Key) -> str:
    """The stages before the last one."""
    return str(key[0]).rpartition(CHAIN)[0]


def _technique(key: Key) -> str:
    """Name of the technique that ends a method."""
    return str(key[0]).rsplit(CHAIN, 1)[-1].partition("(")[0]


def pays_back_after(seconds: float, plain_request: float, request: float) -> float | None:
    """Requests after which ``seconds`` of compression are saved; None where a request takes no less than before."""
    return seconds / (plain_request - request) if request < plain_request else None


def _compress_seconds(content: Content, key: Key) -> float | None:
    """Seconds of the compression that ends a method, without starting and importing; None where nothing compresses."""
    line = _compressed(content, key, "wall_seconds")
    if line is None:
        return None
    return float(line["value"]) - content.span_seconds(line["steps"], NOT_MAKING)


def _compressed(content: Content, key: Key, metric: str) -> Mapping[str, Any] | None:
    last = str(key[0]).rsplit(CHAIN, 1)[-1]
    found = (line for line in content.lines(key) if line["operation"] == "compress" and line["stage"] == last)
    return next((line for line in found if line["metric"] == metric), None)


def _figure(content: Content, which: Key, made: list[Outcome], number: int) -> Figure | None:
    lines = []
    for task in content.tasks_with(QUALITY[0]):
        for metric in QUALITY:
            for one in made:
                bits, score = content.made(one.key, "bits_per_weight"), content.score(one.key, task, metric)
                if bits and score:
                    lines.append(
                        {"task": task, "metric": metric, "method": str(one.key[0]),
                         "curve": f"{family(str(one.key[0]))} @ {one.key[3]}", "precision": str(one.key[3]),
                         "bits": bits["value"], "value": score["value"]}
                    )  # fmt: skip
        if lines:
            break
    points = pandas.DataFrame(lines)
    if len(points) < 2:
        return None
    caption = f"Quality against bits per weight, {set_title(which)}: one curve per method, further left is smaller."
    return bits_and_quality(points, f"quality-against-bits-{number}", caption)


def _costs(content: Content, which: Key, made: list[Outcome]) -> Table:
    tasks = content.tasks_with(SPEED)
    base = [one for one in content.groups(which) if content.is_baseline(one.key) and one.status == "done"]
    columns = [*method_columns(), Column("Making it", "peak memory rise"), Column("Calibration", "tokens")]
    if tasks:
        against = ", ".join(f"x {one.key[3]}" for one in base)
        columns += [
            metric_column("loaded_memory_bytes"), metric_column("prefill_tokens_per_second", against),
            metric_column(SPEED, against), Column("Pays back after", "requests"),
        ]  # fmt: skip
    rows = [
        Row([*method_values(one), *_cost_values(content, one, base, made, tasks[:1])], row_kind(content, one))
        for one in [*base, *made]
    ]
    return Table(columns, rows, f"{set_title(which)}{f' · {tasks[0]}' if tasks else ''}")


def _cost_values(
    content: Content, one: Outcome, base: list[Outcome], made: list[Outcome], tasks: list[str]
) -> list[Value]:
    seconds, rise = _compress_seconds(content, one.key), _compressed(content, one.key, "peak_memory_rise_bytes")
    calibration = _compressed(content, one.key, "calibration_tokens")
    whole = [other for other in [*base, *made] if other is not one and _is_whole(content, other.key, base)]
    values = [
        Value(pretty(seconds, "s", 3), pretty(rise["value"], "B", 3) if rise else "") if seconds else Value(),
        Value(plain(calibration["value"])) if calibration else Value(),
    ]
    for task in tasks:
        values.append(metric_value(content.score(one.key, task, "loaded_memory_bytes"), digits=3, marks=False))
        values += [_speed(content, one, base, task, name) for name in ("prefill_tokens_per_second", SPEED)]
        values.append(_pay_back(content, one, whole, task, seconds))
    return values


def _speed(content: Content, one: Outcome, base: list[Outcome], task: str, metric: str) -> Value:
    line = content.score(one.key, task, metric)
    if line is None:
        return Value()
    lines = [content.score(other.key, task, metric) for other in base]
    ratios = [f"{plain(line['value'] / other['value'], 3)}x" for other in lines if other]
    return Value(pretty(line["value"], line["unit"]), ", ".join(ratios))


def _is_whole(content: Content, key: Key, base: list[Outcome]) -> bool:
    """Whether a group's weights take 16 bits or more, as the baseline's do."""
    bits = content.made(key, "bits_per_weight")
    return any(key == other.key for other in base) or (bits is not None and bits["value"] >= WHOLE_BITS)


def _pay_back(content: Content, one: Outcome, whole: list[Outcome], task: str, seconds: float | None) -> Value:
    request = _request_seconds(content, one.key, task)
    plain_ones = [found for other in whole if (found := _request_seconds(content, other.key, task)) is not None]
    if seconds is None or request is None or not plain_ones:
        return Value()
    after = pays_back_after(seconds, min(plain_ones), request)
    saved = f"{pretty(min(plain_ones), 's', 3)} to {pretty(request, 's', 3)} each"
    unclear = after is not None and request > (1 - CLEAR_SAVING) * min(plain_ones)
    return Value("never" if after is None else "no clear saving" if unclear else plain(after, 3), saved)


def _request_seconds(content: Content, key: Key, task: str) -> float | None:
    """Seconds of one request as ``generation_speed`` times it: to the first token, and from there to the last."""
    first, between = (
        content.score(key, task, name) for name in ("time_to_first_token_seconds", "inter_token_latency_seconds")
    )
    return None if first is None or between is None else first["value"] + (_new_tokens(task) - 1) * between["value"]


def _new_tokens(task: str) -> int:
    """The parameter ``new_tokens`` of a task's text, or its default."""
    call = parse(task).stages[-1].call
    return int(build_params(task_class(call.name).Params, dict(call.params), owner=call.name).new_tokens)


def _opened(content: Content, key: Key) -> Mapping[str, Any]:
    """What was found when a group's model was opened to be scored."""
    steps = [step for line in content.lines(key) if line["operation"] == "eval" for step in line["steps"]]
    return content.observed(steps, "scorer") or {}


def _contents(content: Content, which: Key, made: list[Outcome]) -> Table:
    rows, against = [], against_rounding(content, which)
    for one in made:
        found = _opened(content, one.key)
        stored = ", ".join(f"{count} {kind}" for kind, count in (found.get("quantized_layers") or {}).items())
        names = ", ".join(f"{name} ({why})" for name, why in (found.get("left") or {}).items())
        left = names or ("nothing" if "left" in found else "-")
        bits = content.made(one.key, "bits_per_weight")
        size = Value(plain(bits["value"], 3)) if bits else Value()
        ratio = against.get(one.key)
        beaten = Value(f"{plain(ratio, 3)}x") if ratio is not None else Value()
        values = [*method_values(one), size, beaten, Value(stored or "-", kind="word"), Value(left, kind="word")]
        rows.append(Row(values, row_kind(content, one)))
    columns = [*method_columns(), Column("Bits per weight"),
               Column("Divergence", "over rounding's at these bits"), Column("Matrices", "by storage", "word"),
               Column("Left", "and why", "word")]  # fmt: skip
    return Table(columns, rows, f"{WHAT} {set_title(which)}")
