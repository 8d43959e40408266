"""Methods under names that fit a table: settings that every cell of a technique shares are left out.

Settings are those of training and of calibration.

``lora(learning_rate=0.02, rank=4)`` beside ``lora(learning_rate=0.02, rank=16)`` reads ``lora(rank=4)`` and
``lora(rank=16)``, and the report says once what was left out. What trials chose is left out too: a method is one in all
its places, and the section on tuning says which value each got. Rows and records keep the full names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy
import pandas

from harness.analyse.cells import CHAIN
from harness.analyse.patterns import SETTINGS
from harness.errors import MethodError
from harness.plan.expression import Call, Method, parse, value_text


@dataclass(frozen=True)
class Names:
    """Short names of methods, of the stages of each method by (method, stage), and what was left out."""

    short: Mapping[str, str]
    stages: Mapping[tuple[str, str], str]
    left_out: Mapping[str, str]
    chosen: tuple[str, ...] = ()

    def of(self, name: Any) -> Any:
        """The short name, or ``name`` itself where it has none."""
        return self.short.get(name, name) if isinstance(name, str) else name

    def in_frame(self, frame: pandas.DataFrame) -> pandas.DataFrame:
        """The frame with short names in its columns ``method`` and ``stage``.

        A stage is called as in its row's method: one text may be tuned in one chain and not in another.
        """
        renamed = {"method": _renamed(frame["method"], self.of)} if "method" in frame else {}
        if "stage" in frame and "method" in frame:
            renamed["stage"] = self._stages(frame["method"], frame["stage"])
        return frame.assign(**renamed)

    def in_plan(self, plan: Mapping[str, Any]) -> dict[str, Any]:
        """The plan with short names in its cells, steps and baseline."""
        cells = [{**cell, "method": self.of(cell.get("method"))} for cell in plan.get("cells") or []]
        steps = [self._step(step) for step in plan.get("steps") or []]
        return {**plan, "cells": cells, "steps": steps, "baseline": self.of(plan.get("baseline"))}

    def sentence(self) -> str:
        """What was left out, in words; empty where nothing was."""
        parts = [f"{technique}: {settings}" for technique, settings in sorted(self.left_out.items())]
        said = [f"Settings that every cell of a technique shares: {'; '.join(parts)}."] if parts else []
        said += [f"Chosen by trials: {', '.join(self.chosen)}."] if self.chosen else []
        return " ".join(said)

    def _stages(self, methods: pandas.Series[Any], stages: pandas.Series[Any]) -> pandas.Series[Any]:
        """Short names of stages; each pair of texts is looked up once, not once in a million rows."""
        (method, every_method), (stage, every_stage) = pandas.factorize(methods), pandas.factorize(stages)
        texts, width = [*every_stage, numpy.nan], len(every_stage) + 1
        known, places = numpy.unique(method.astype(numpy.int64) * width + stage % width, return_inverse=True)
        pairs = [([*every_method, numpy.nan][key // width], texts[key % width]) for key in known.tolist()]
        names = numpy.empty(len(pairs), dtype=object)
        names[:] = [self.stages.get(pair, pair[1]) for pair in pairs]
        return pandas.Series(names[places], stages.index, dtype=object)

    def _step(self, step: Mapping[str, Any]) -> dict[str, Any]:
        where = dict(step.get("coordinates") or {})
        pair = (str(where.get("method")), str(where.get("stage")))
        where |= {"method": self.of(where["method"])} if "method" in where else {}
        where |= {"stage": self.stages[pair]} if pair in self.stages else {}
        return {**step, "coordinates": where}


def short_names(
    methods: Iterable[Any], plan: Mapping[str, Any] | None = None, found_as: Mapping[str, str] | None = None
) -> Names:
    """Return short names for ``methods`` and for the stages in them; what does not parse keeps its name.

    ``found_as`` says of methods what their last stage really made, where that is not what its name says.
    """
    plan = plan or {}
    texts = [text for text in dict.fromkeys([*methods, plan.get("baseline")]) if isinstance(text, str)]
    parsed = {text: method for text in texts if (method := _parsed(text)) is not None}
    trials = [trial for trial in plan.get("trials") or [] if trial["chosen"]]
    untuned = _without_choices(parsed, {trial["of"]: trial["parameter"] for trial in trials})
    if _merges(untuned, plan.get("cells") or []):
        untuned, trials = parsed, []
    shared: dict[str, set[tuple[str, Any]]] = {}
    for method in untuned.values():
        for stage in method.stages:
            given = {item for item in stage.call.params if item[0] in SETTINGS and not isinstance(item[1], list)}
            shared[stage.call.name] = shared.get(stage.call.name, given) & given
    short = {text: _shorter(method, shared) for text, method in untuned.items()}
    left_out = {
        name: ", ".join(f"{key}={value_text(value)}" for key, value in sorted(items))
        for name, items in shared.items()
        if items
    }
    names = (f"{trial['parameter']} of {parse(trial['of']).stages[-1].call.name}" for trial in trials)
    changed = {text: method for text, method in short.items() if text != str(method) or text in (found_as or {})}
    stages = {text: [str(stage) for stage in method.stages] for text, method in changed.items()}
    for text in changed.keys() & (found_as or {}).keys():
        stages[text][-1] = _found_in(stages[text][-1], (found_as or {})[text])
    return Names(
        {text: CHAIN.join(names) for text, names in stages.items()},
        {
            (text, str(old)): new
            for text, names in stages.items()
            for old, new in zip(parsed[text].stages, names, strict=True)
        },
        left_out,
        tuple(dict.fromkeys(names)),
    )  # fmt: skip


def _found_in(stage: str, found: str) -> str:
    """The stage with what was found in the place of the parameter that asked for it; its others stay."""
    inside = found.partition("(")[2].removesuffix(")")
    parameter = inside.partition("=")[0]
    name, _, rest = stage.removesuffix(")").partition("(")
    others = [part for part in rest.split(", ") if part and not part.startswith(f"{parameter}=")]
    return f"{name}({', '.join([*others, inside])})"


def _renamed(values: pandas.Series[Any], of: Callable[[Any], Any]) -> pandas.Series[Any]:
    if isinstance(values.dtype, pandas.CategoricalDtype):
        # What no row has any more (a trial's method, say) would be a second thing of one short name.
        kept = values.cat.remove_unused_categories()
        names = [of(text) for text in kept.cat.categories]
        texts = pandas.Index(sorted(set(names)), dtype="str")
        codes = numpy.append(texts.get_indexer(names), -1)[kept.cat.codes]
        return pandas.Series(pandas.Categorical.from_codes(codes, categories=texts), values.index)
    return values.map(of)


def _without_choices(parsed: Mapping[str, Method], chosen: Mapping[str, str]) -> dict[str, Method]:
    """The methods without the parameters that trials gave them; ``chosen`` has the parameter by the trial's chain."""
    found = {}
    for text, method in parsed.items():
        stages = []
        for number, stage in enumerate(method.stages, start=1):
            parameter = chosen.get(str(Method(method.stages[:number])))
            kept = tuple(item for item in stage.call.params if item[0] != parameter)
            stages.append(replace(stage, call=Call(stage.call.name, kept)))
        found[text] = Method(tuple(stages))
    return found


def _merges(names: Mapping[str, Method], cells: Iterable[Mapping[str, Any]]) -> bool:
    """Whether two cells that differ in their method alone would get one name."""
    seen: dict[tuple[Any, ...], str] = {}
    for cell in cells:
        place = tuple(cell.get(axis) for axis in ("model", "data", "precision", "hardware", "seed"))
        method = str(cell.get("method"))
        if seen.setdefault((*place, str(names.get(method, method))), method) != method:
            return True
    return False


def _parsed(text: str) -> Method | None:
    try:
        return parse(text)
    except MethodError:
        return None


def _shorter(method: Method, shared: Mapping[str, set[tuple[str, Any]]]) -> Method:
    stages = []
    for stage in method.stages:
        kept = tuple(item for item in stage.call.params if item not in shared[stage.call.name])
        stages.append(replace(stage, call=Call(stage.call.name, kept)))
    return Method(tuple(stages))
