"""From a written method to what it means: techniques looked up, axes expanded, defaults filled in, one canonical text.

Sits between the expressions and the cells. Two methods that mean the same get the same canonical text (parameters
equal to their defaults left out, the others in the order of the technique's ``Params``) and, within one ``Resolver``,
the same object.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from harness import catalogue, contract
from harness.contract import Adapter, Budget, Modifier, Named, Task, TrainingParams
from harness.errors import MethodError, UsageError, did_you_mean
from harness.plan.expression import Call, Method, Stage, parse, parse_call, value_text

MOST_POINTS = 100_000  # of one expression, or of one call in it

Table = Mapping[str, Mapping[str, Any]]
"""Parameters that a suite gives to techniques by name; a list is an axis."""


@dataclass(frozen=True, eq=False)
class ResolvedCall:
    """A technique or task with complete parameters. ``methods`` holds the parameters that are methods themselves."""

    name: str
    module: str
    params: Any
    text: str
    methods: tuple[tuple[str, ResolvedMethod], ...] = ()
    kind: type[Any] = object

    @cached_property
    def complete(self) -> dict[str, Any]:
        """Every parameter with its value."""
        params = self.params
        return {name: getattr(params, name) for name in _defaults(params.__class__)}

    @cached_property
    def identity(self) -> str:
        """Canonical JSON of what determines a result: the name and the parameters, not the module."""
        found = {"name": self.name, "params": contract.identifying(self.params)}
        revision = getattr(self.kind, "revision", 0)
        return canonical_json(found | ({"revision": revision} if revision else {}))

    def document(self) -> dict[str, Any]:
        """What a job file says of it; a plug-in's also which code it is."""
        digest = catalogue.digest_of(self.kind)
        own = {} if digest is None else {"sha256": digest}
        return {"name": self.name, "module": self.module, "params": dict(self.complete)} | own


@dataclass(frozen=True, eq=False)
class ResolvedAdapter(ResolvedCall):
    """A technique, its class and one instance of it to ask."""

    kind: type[Adapter] = Adapter
    adapter: Adapter = field(default_factory=lambda: Adapter(None))


@dataclass(frozen=True, eq=False)
class ResolvedTask(ResolvedCall):
    """A task, its class and one instance of it to ask."""

    kind: type[Task] = Task
    task: Task = field(default_factory=lambda: Task(None))
    named: Named | None = None

    @cached_property
    def identity(self) -> str:
        """The same, and the content of what the parameters name outside the suite."""
        if self.named is None:
            return super().identity
        return canonical_json(json.loads(super().identity) | {"content": dict(self.named.content)})

    def document(self) -> dict[str, Any]:
        """The same, and where a worker finds what the parameters name."""
        if self.named is None:
            return super().document()
        return super().document() | {"content": dict(self.named.content), "paths": dict(self.named.paths)}


@dataclass(frozen=True, eq=False)
class ResolvedStage:
    """One technique with its modifiers and what the plan must know of it."""

    call: ResolvedAdapter
    modifiers: tuple[ResolvedAdapter, ...]
    text: str
    operations: tuple[str, ...]

    @cached_property
    def learns(self) -> bool:
        """Whether it trains weights, so that seed and budget matter; learning a vocabulary is not that."""
        return "train" in self.operations and self.call.kind.gives != {"tokenizer"}

    @cached_property
    def budgeted(self) -> bool:
        """Whether it shares in a budget that is divided over a method."""
        return self.learns and isinstance(self.call.params, TrainingParams)

    @cached_property
    def has_own_budget(self) -> bool:
        """Whether its own parameters say how long it trains."""
        params = self.call.params
        return isinstance(params, TrainingParams) and (params.steps is not None or params.tokens is not None)

    def budget(self, given: Budget, share: int) -> Budget | None:
        """Budget of this stage where ``given`` is divided by ``share``; None where nothing is trained."""
        if not self.learns:
            return None
        given = given.of_stage(self.call.params)
        if share == 1 or not self.budgeted or self.has_own_budget:
            return given
        amounts = ((name, getattr(given, name)) for name in ("steps", "tokens", "bytes"))
        return replace(given, **{name: max(1, total // share) for name, total in amounts if total})

    @cached_property
    def everyone(self) -> tuple[ResolvedAdapter, ...]:
        """The technique and its modifiers."""
        return (self.call, *self.modifiers)

    @cached_property
    def methods(self) -> tuple[tuple[str, ResolvedMethod], ...]:
        """Parameters that are methods, of the technique and its modifiers."""
        return tuple(pair for call in self.everyone for pair in call.methods)


@dataclass(frozen=True, eq=False)
class ResolvedMethod:
    """A chain of stages. ``before`` is the method without its last stage, None where only one stage is left."""

    stages: tuple[ResolvedStage, ...]
    text: str
    before: ResolvedMethod | None

    @cached_property
    def last(self) -> ResolvedStage:
        """The stage whose adapter opens the result."""
        return self.stages[-1]

    @cached_property
    def learns(self) -> bool:
        """Whether anything on the way trains weights."""
        return any(stage.learns or any(method.learns for _, method in stage.methods) for stage in self.stages)

    @cached_property
    def learning_stages(self) -> int:
        """Number of stages that a divided budget is divided over, at least 1."""
        return max(1, sum(stage.budgeted and not stage.has_own_budget for stage in self.stages))

    @cached_property
    def compared_with(self) -> ResolvedMethod | None:
        """The method without its trailing stages that only compress; None where that leaves the untouched model.

        What still trains at its end is compared with the untouched model too.
        """
        method: ResolvedMethod | None = self
        while method is not None and "train" not in method.last.operations:
            method = method.before
        return None if method is self else method

    def names(self) -> set[str]:
        """Names of all techniques and modifiers in it."""
        return {call.name for stage in self.stages for call in stage.everyone}


class Resolver:
    """Turns expressions into resolved methods and tasks; the same meaning gives the same object.

    Files that tasks name are looked for from ``folder``.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or Path()
        self._adapters: dict[str, ResolvedAdapter] = {}
        self._stages: dict[str, ResolvedStage] = {}
        self._methods: dict[str, ResolvedMethod] = {}

    def methods(self, text: str, table: Table | None = None) -> list[ResolvedMethod]:
        """Parse ``text``, add the parameters of ``table`` and return one method per point of its axes."""
        method = parse(text)
        stages = []
        for stage in method.stages:
            calls = [self._adapter_axes(call, table or {}, text) for call in (stage.call, *stage.modifiers)]
            check_points(calls)
            stages.append([self._stage(combination, text) for combination in itertools.product(*calls)])
        check_points(stages)
        return [self.chain(chain) for chain in itertools.product(*stages)]

    def tasks(self, text: str) -> list[ResolvedTask]:
        """Parse a task and return one per point of its axes."""
        call = parse_call(text)
        kind = catalogue.task_class(call.name)
        found = []
        for given in expand(self._with_methods(kind, dict(call.params))):
            methods = self._inner(call.name, given, {})
            given |= {key: inner.text for key, inner in methods}
            params = catalogue.build_params(kind.Params, given, owner=call.name)
            module = catalogue.task_module(call.name)
            written = frozenset(key for key, _ in methods if getattr(params, key) != _defaults(kind.Params)[key])
            text = canonical_call(call.name, params, written)
            task = kind(params)
            named = task.named(self._folder)
            found.append(
                ResolvedTask(call.name, module, params, text, tuple(methods), kind=kind, task=task, named=named)
            )
        return found

    def _with_methods(self, kind: type[Task], given: dict[str, Any]) -> dict[str, Any]:
        """``given`` with the methods that a task names by default, and texts of such parameters read as methods."""
        for key in kind.methods:
            value = given.get(key, _defaults(kind.Params)[key])
            if isinstance(value, str):
                given[key] = parse(value)
        return given

    def at_precision(self, method: ResolvedMethod, precision: str) -> tuple[ResolvedMethod, str]:
        """Return what ``method`` is once modifiers that only name a precision are taken for that precision.

        ``UsageError`` where they contradict ``precision``, or stand at some of the stages that train and not at others.
        """
        named = {_named_precision(stage) for stage in method.stages if stage.learns}
        if named <= {None}:
            return method, precision
        wanted = named.pop()
        if named or wanted is None:
            raise UsageError(f"'{method.text}': one precision for every stage that trains; use precision: instead")
        if precision not in ("fp32", wanted):
            raise UsageError(f"'{method.text}' is at {wanted}, which contradicts the precision {precision}")
        stages = [
            [stage.call, *(one for one in stage.modifiers if not _names_precision(one))] for stage in method.stages
        ]
        return self.chain([self._stage(calls, method.text) for calls in stages]), wanted

    def _adapter_axes(self, call: Call, table: Table, text: str) -> list[ResolvedAdapter]:
        try:
            kind = catalogue.adapter_class(call.name)
            given = dict(call.params)
            given |= {key: value for key, value in table.get(call.name, {}).items() if key not in given}
            return [self._adapter(call.name, kind, point, table) for point in expand(given)]
        except MethodError:
            raise
        except UsageError as error:
            raise MethodError(str(error), text=text, column=_column(text, call.name)) from None

    def _adapter(self, name: str, kind: type[Adapter], given: dict[str, Any], table: Table) -> ResolvedAdapter:
        methods = self._inner(name, given, table)
        given |= {key: inner.text for key, inner in methods}
        params = catalogue.build_params(kind.Params, given, owner=name)
        text = canonical_call(name, params, frozenset(key for key, _ in methods))
        if text not in self._adapters:
            module = catalogue.adapter_module(name)
            self._adapters[text] = ResolvedAdapter(
                name, module, params, text, tuple(methods), kind=kind, adapter=kind(params)
            )
        return self._adapters[text]

    def _inner(self, name: str, given: Mapping[str, Any], table: Table) -> list[tuple[str, ResolvedMethod]]:
        """Parameters that are methods themselves, each resolved."""
        methods = []
        for key, value in given.items():
            if isinstance(value, Method):
                # `expand` has left exactly one point of every axis outside; inside, a method must be one point already.
                inner = self.methods(str(value), table)
                if len(inner) != 1:
                    raise UsageError(f"'{name}': {key} must be one method; write the list outside: {key}=[(a), (b)]")
                methods.append((key, inner[0]))
        return methods

    def _stage(self, calls: Sequence[ResolvedAdapter], source: str) -> ResolvedStage:
        first, *rest = calls
        if issubclass(first.kind, Modifier):
            # A modifier with nothing before it changes full fine-tuning.
            first, rest = self.methods("full_finetune")[0].last.call, [first, *rest]
        for call in rest:
            if not issubclass(call.kind, Modifier):
                raise MethodError(
                    f"'{call.name}' is a technique of its own, not a modifier: chain it with '>'",
                    text=source, column=_column(source, call.name),
                )  # fmt: skip
        names = [call.name for call in rest]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise MethodError(
                f"'{twice}' is added to one stage twice: give it once, or a list of values for a method of each",
                text=source, column=_column(source, twice),
            )  # fmt: skip
        text = " + ".join(call.text for call in (first, *rest))
        if text not in self._stages:
            self._stages[text] = ResolvedStage(first, tuple(rest), text, first.kind.operations())
        return self._stages[text]

    def chain(self, stages: Sequence[ResolvedStage]) -> ResolvedMethod:
        """Return the method of these stages, built from its prefixes.

        A ``base`` within a longer chain says nothing and is left out.
        """
        kept = [stage for stage in stages if stage.text != "base"] or list(stages[:1])
        method: ResolvedMethod | None = None
        for end in range(1, len(kept) + 1):
            text = kept[0].text if method is None else f"{method.text} > {kept[end - 1].text}"
            if text not in self._methods:
                self._methods[text] = ResolvedMethod(tuple(kept[:end]), text, method)
            method = self._methods[text]
        assert method is not None
        return method


def _names_precision(call: ResolvedAdapter) -> bool:
    return isinstance(call.adapter, Modifier) and call.adapter.precision is not None


def _named_precision(stage: ResolvedStage) -> str | None:
    return next((one.adapter.precision for one in stage.modifiers if isinstance(one.adapter, Modifier)
                 and one.adapter.precision is not None), None)  # fmt: skip


def expand(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one mapping per point of the lists in ``given``, the first list varying slowest."""
    if not any(isinstance(value, list | tuple) for value in given.values()):
        return [dict(given)]
    axes = [value if isinstance(value, list | tuple) else (value,) for value in given.values()]
    check_points(axes)
    return [dict(zip(given, point, strict=True)) for point in itertools.product(*axes)]


def check_points(axes: Sequence[Sequence[Any]], most: int = MOST_POINTS) -> None:
    """``UsageError`` where axes have more points than anybody measures: a few lists make more than any memory holds."""
    count = math.prod(map(len, axes))
    if count > most:
        raise UsageError(f"{count:.3g} combinations are more than a suite may ask for ({most})")


def canonical(method: Method) -> Method:
    """Return ``method`` with axes kept, defaults left out and the rest in the order of each technique's ``Params``."""
    return Method(
        tuple(Stage(_canonical(item.call), tuple(map(_canonical, item.modifiers))) for item in method.stages)
    )


def _canonical(call: Call) -> Call:
    known = _defaults(catalogue.adapter_class(call.name).Params)
    for key, _ in call.params:
        if key not in known:
            raise MethodError(f"'{call.name}' has no parameter '{key}'{did_you_mean(key, known)}")
    given = dict(call.params)
    kept = [(key, given[key]) for key, default in known.items() if key in given and not _same(given[key], default)]
    return Call(call.name, tuple((key, canonical(v) if isinstance(v, Method) else v) for key, v in kept))


def canonical_call(name: str, params: Any, methods: frozenset[str] = frozenset()) -> str:
    """Return a call's text without the parameters that equal their defaults; ``methods`` are put in parentheses."""
    shown = []
    for key, default in _defaults(params.__class__).items():
        value = getattr(params, key)
        if key in methods:
            shown.append(f"{key}=({value})")
        elif value != default:
            # A list that is one value is written as an axis of one, so that it reads back as what it is.
            shown.append(f"{key}=[{value_text(value)}]" if isinstance(value, tuple) else f"{key}={value_text(value)}")
    return f"{name}({', '.join(shown)})" if shown else name


def canonical_json(value: Any) -> str:
    """Return the one JSON text of ``value``: sorted keys, no spaces, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _column(text: str, name: str) -> int:
    found = re.search(rf"\b{re.escape(name)}\b", text)
    return found.start() if found else 0


@cache
def _defaults(params_type: Any) -> dict[str, Any]:
    return contract.defaults(params_type)


def _same(value: Any, default: Any) -> bool:
    return bool(value == default) and isinstance(value, bool) == isinstance(default, bool)
