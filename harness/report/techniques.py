"""A page for each technique: what it is, by its adapter, and what was claimed and measured, by claims and records.

The pages lie in ``docs/techniques`` and are made by ``make docs`` (``scripts/technique_pages.py``). All that rests on
records stands below the heading ``MEASURED``, so that the part above it changes with the code alone. The same
catalogue, suites and records give the same bytes.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness import catalogue, environments
from harness.analyse.patterns import SETTINGS
from harness.contract import PRECISIONS, Adapter, Budget, Hardware, Modifier, TrainingParams, TrainingSetup
from harness.errors import HarnessError
from harness.memory.units import in_words
from harness.plan.expression import parse, value_text
from harness.plan.memory import OPENED, held_model, predict_method
from harness.plan.methods import Resolver
from harness.plan.suite import Suite
from harness.report.pages import from_template
from harness.report.recipes import plain_recipe
from harness.report.technique_results import Found

MEASURED = "What was measured here"
INDEX = "README.md"
MOST_EXAMPLES = 4
# What every page predicts for: one training step of a model that people know, on one GPU.
SHAPE, BATCH, SEQUENCE, PRECISION = "llama-3-8b", 4, 1024, "bf16-mixed"
QUESTION = (
    f"Predicted memory of `{SHAPE}` for a step of {BATCH} x {SEQUENCE} tokens, on one GPU where the technique runs on "
    f"one, at {PRECISION} where it runs at that, from the model's configuration alone."
)
GROUPS = {
    "reference": "The reference", "tokenizers": "Learning a vocabulary", "pretraining": "Pre-training",
    "finetuning": "Fine-tuning", "alignment": "Alignment", "distillation": "Distillation",
    "compression": "Compression", "efficiency": "Modifiers of training",
}  # fmt: skip
Pair = tuple[str, str]


@dataclass(frozen=True)
class Parameter:
    """One line of the table of parameters; ``allowed`` says what it may be, in words."""

    name: str
    default: str
    help: str
    allowed: str


@dataclass(frozen=True)
class Prediction:
    """What a method takes on the published shape, in words, and the command that says it in detail."""

    command: str
    train: str = ""
    use: str = ""


@dataclass(frozen=True)
class Technique:
    """What a page says above the measurements. ``facts`` are pairs of a word and a text; texts may hold ``code``."""

    name: str
    group: str
    file: str
    summary: str
    source: str
    prose: tuple[str, ...]
    examples: tuple[str, ...]
    facts: tuple[Pair, ...]
    parameters: tuple[Parameter, ...]
    trains: bool
    refusals: tuple[Pair, ...]
    code: str | None
    predicted: tuple[Prediction, ...]


def write_up(suites: Sequence[Sequence[Suite]], found: Mapping[str, Found]) -> dict[str, str]:
    """Markdown of every technique's page and of the index, by file name; ``found`` by technique.

    Examples are taken from ``suites``, of several lists from the first that has any of the technique.
    """
    examples: dict[str, list[str]] = {}
    for each in suites:
        examples = _examples(each) | examples
    every = [described(name, examples.get(name, ())) for name in catalogue.adapter_names() if _is_ours(name)]
    pages = {f"{one.name}.md": _page(one, found.get(one.name, Found())) for one in every}
    grouped = [(title, [one for one in every if one.group == group]) for group, title in GROUPS.items()]
    grouped += [("Others", [one for one in every if one.group not in GROUPS])]
    shown = [(title, [_entry(one, found.get(one.name, Found())) for one in each]) for title, each in grouped if each]
    of_training = _parameters(TrainingParams, ())
    index = from_template("techniques.md.j2", groups=shown, of_training=of_training, question=QUESTION)
    return {**pages, INDEX: index}


def above_measurements(page: str) -> str:
    """The part of a page that changes with the code alone."""
    return page.partition(f"\n## {MEASURED}\n")[0]


def _page(technique: Technique, found: Found) -> str:
    return from_template("technique.md.j2", page=technique, found=found, measured=MEASURED, question=QUESTION)


def _entry(one: Technique, found: Found) -> dict[str, str]:
    """A line of the index."""
    verdicts = Counter(claim.verdict for claim in found.claims)
    return {
        "name": one.name, "summary": one.summary,
        "claims": ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items())) or "-",
        "suites": ", ".join(result.suite for result in found.results) or "-",
        "train": one.predicted[0].train if one.predicted else "", "use": one.predicted[0].use if one.predicted else "",
    }  # fmt: skip


def described(name: str, examples: Sequence[str] = ()) -> Technique:
    """What the adapter ``name`` says of itself, asked at its defaults; ``examples`` are methods that use it."""
    kind = catalogue.adapter_class(name)
    adapter = kind(kind.Params())
    trains = issubclass(kind.Params, TrainingParams)
    file = f"{catalogue.adapter_module(name).replace('.', '/')}.py"
    return Technique(
        name=name, group=catalogue.group_of(name), file=file, summary=kind.summary[:1].upper() + kind.summary[1:],
        source=kind.source, prose=_paragraphs(kind), examples=tuple(examples) or (name,),
        facts=tuple(_facts(adapter)), parameters=_parameters(kind.Params, _shared(trains)), trains=trains,
        refusals=tuple(_refusals(kind)), code=_plain_code(name, adapter), predicted=tuple(_predicted(name, adapter)),
    )  # fmt: skip


def _is_ours(name: str) -> bool:
    return catalogue.group_of(name) != "plugin"


def _examples(suites: Sequence[Suite]) -> dict[str, list[str]]:
    """Methods of the shipped suites by technique: of each way of using it (alone, in which chain) the shortest one."""
    shapes: dict[str, dict[tuple[Any, ...], str]] = {}
    texts = {one.text for suite in suites for sweep in suite.sweeps for one in sweep.axes["method"]}
    for text in sorted({str(parse(text).without(SETTINGS)) for text in texts}, key=lambda text: (len(text), text)):
        calls = [call for stage in parse(text).stages for call in (stage.call, *stage.modifiers)]
        for name in dict.fromkeys(call.name for call in calls):
            # One set of parameters and one chain are enough to show that there are such.
            shape = (len(calls), calls[-1].name if len(calls) > 1 else "", any(call.params for call in calls))
            shapes.setdefault(name, {}).setdefault(shape, text)
    return {name: list(map(_in_yaml, list(found.values())[:MOST_EXAMPLES])) for name, found in shapes.items()}


def _in_yaml(text: str) -> str:
    return json.dumps(text, ensure_ascii=False) if re.search(r": | #|^[^A-Za-z]", text) else text


def _paragraphs(kind: type[Adapter]) -> tuple[str, ...]:
    return tuple(" ".join(part.split()) for part in inspect.cleandoc(kind.__doc__ or "").split("\n\n"))


def _facts(adapter: Adapter) -> Iterable[Pair]:
    kind = type(adapter)
    if isinstance(adapter, Modifier):
        yield "Used as", "a modifier: `stage + modifier`; alone it modifies full fine-tuning"
    else:
        yield "Does", ", ".join(kind.operations()) or "nothing: the model as it is"
        kinds = _every_kind(kind)
        yield "Works on", _listed(sorted(kinds)) + (" (`view` decides)" if kinds != adapter.kinds else "")
        yield "Takes", f"{_listed(sorted(adapter.takes))}" if adapter.takes else "nothing"
        yield "Gives", _listed(sorted(adapter.gives)) if adapter.gives else "what it took"
    if adapter.view:
        yield "Reads", f"the data view `{adapter.view}`" + (" (`view` chooses)" if _has(kind, "view") else "")
    yield "Precisions", "any" if set(kind.precisions) == set(PRECISIONS) else _listed(kind.precisions)
    yield "Devices", _listed(kind.devices)
    yield "Packages", _listed(kind.requires) if kind.requires else "none"
    for environment in _environments(kind):
        summary = environments.definition(environment).summary
        yield "Environment", f"`{environment}`: {summary}; once `harness env sync {environment}`"


def _every_kind(kind: type[Adapter]) -> frozenset[str]:
    """Kinds that the technique works on at some value of its view."""
    given = kind.Params()
    views = next((item.metadata.get("choices") for item in dataclasses.fields(kind.Params) if item.name == "view"), ())
    of_views = [replace(given, view=view) for view in views or ()]
    return frozenset().union(*(kind(one).kinds for one in (given, *of_views)))


def _environments(kind: type[Adapter]) -> list[str]:
    """Environments other than the main one that some operation runs in."""
    found = [kind.software(operation)[0] for operation in (*kind.operations(), "eval")]
    return [name for name in dict.fromkeys(found) if name != environments.MAIN]


def _has(kind: type[Adapter], parameter: str) -> bool:
    return any(item.name == parameter for item in dataclasses.fields(kind.Params))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _shared(trains: bool) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(TrainingParams) if trains else ()


def _parameters(params: type, shared: Sequence[dataclasses.Field[Any]]) -> tuple[Parameter, ...]:
    """The parameters, without those that are just as in ``shared``."""
    common = {item.name: _parameter(item) for item in shared}
    found = [_parameter(item) for item in dataclasses.fields(params)]
    return tuple(one for one in found if common.get(one.name) != one)


def _parameter(item: dataclasses.Field[Any]) -> Parameter:
    told = item.metadata
    allowed = _listed(map(value_text, told.get("choices") or ()))
    bounds = (("from", told.get("low")), ("to", told.get("high")))
    ends = [f"{word} {value_text(end)}" for word, end in bounds if end is not None]
    default = "not given" if item.default is None else value_text(item.default)
    return Parameter(item.name, default, str(told.get("help", "")), allowed or " ".join(ends))


def _refusals(kind: type[Adapter]) -> Iterable[Pair]:
    """Where the plan skips it, and why: pairs of a circumstance and the reason."""
    adapter = kind(kind.Params())
    for device in ("cpu", "cuda"):
        if device not in kind.devices:
            yield f"hardware {device}", f"does not run on {device}"
    if set(kind.precisions) < set(PRECISIONS):
        yield "at another precision", f"runs at {', '.join(kind.precisions)} only"
    if kind.refuses:
        yield "after another stage", f"cannot start from {', '.join(sorted(kind.refuses))}"
    if kind.ends:
        yield "before another stage", f"{kind.ends}: nothing can follow it"
    if adapter.kinds != kind.kinds and _has(kind, "view"):
        yield from _kinds_by_view(kind)
    yield from _skips(kind)


def _kinds_by_view(kind: type[Adapter]) -> Iterable[Pair]:
    for view in next(item for item in dataclasses.fields(kind.Params) if item.name == "view").metadata["choices"] or ():
        kinds = kind(replace(kind.Params(), view=view)).kinds
        yield f"view {view}", f"learns it on {', '.join(sorted(kinds))} models only"


def _skips(kind: type[Adapter]) -> Iterable[Pair]:
    """Every reason that ``skip`` gives at the defaults and at one other value of a parameter, and first where."""
    seen: dict[str, list[str]] = {}
    for params in _variants(kind):
        for device in kind.devices:
            for precision in kind.precisions:
                reason = kind(params).skip(precision, Hardware(device=device))
                if reason is not None and not reason.startswith("package '"):
                    where = seen.setdefault(reason, [])
                    where += [device] if device not in where else []
    return [(f"hardware {', '.join(devices)}", reason) for reason, devices in seen.items()]


def _variants(kind: type[Adapter]) -> Iterable[Any]:
    given = kind.Params()
    yield given
    for item in dataclasses.fields(kind.Params):
        values = (not item.default,) if isinstance(item.default, bool) else item.metadata.get("choices") or ()
        yield from (replace(given, **{item.name: value}) for value in values if value != item.default)


def _plain_code(name: str, adapter: Adapter) -> str | None:
    """The lines of the libraries, at the defaults, for a training of 60 steps of 8 sequences where it trains."""
    if isinstance(adapter, Modifier):
        return None
    params = adapter.params
    setup: dict[str, Any] = {}
    if isinstance(params, TrainingParams):
        setup = dataclasses.asdict(TrainingSetup(
            params.learning_rate, params.schedule, params.warmup_share, params.optimizer, params.weight_decay,
            params.max_grad_norm, 60, 8, 8, 256, 0, "fp32",
        ))  # fmt: skip
    try:
        return plain_recipe(Resolver().methods(name)[0], {"0": setup})
    except HarnessError:
        return None


def _predicted(name: str, adapter: Adapter) -> Iterable[Prediction]:
    """Memory on a published shape; of a modifier that of LoRA with it and without. Nothing where it has no sense."""
    kind = type(adapter)
    precision = PRECISION if PRECISION in kind.precisions else kind.precisions[0]
    if isinstance(adapter, Modifier):
        # One that is another name of a precision stands beside fp32.
        precision = "fp32" if adapter.precision else precision
        methods = [f"lora + {name}", "lora"]
    else:
        methods = [] if kind.gives == {"tokenizer"} else [name]
    try:
        return [_prediction(text, precision, "cuda" if "cuda" in kind.devices else "cpu") for text in methods]
    except HarnessError:
        return []


def _prediction(text: str, precision: str, device: str) -> Prediction:
    resolver = Resolver()
    method, at = resolver.at_precision(resolver.methods(text)[0], precision)
    budget = Budget(steps=1, batch_size=BATCH, sequence_length=SEQUENCE)
    stages = predict_method(method, held_model(SHAPE), budget, at, Hardware(device))
    sizes = {stage.text == OPENED: in_words(stage.prediction.peak) for stage in stages}
    asked = json.dumps(text) if " " in text else text
    where = f"--model {SHAPE} --device {device} --precision {at} --batch {BATCH} --sequence {SEQUENCE}"
    return Prediction(f"harness predict {asked} {where}", sizes.get(False, ""), sizes.get(True, ""))
