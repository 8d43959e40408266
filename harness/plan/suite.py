"""From a suite file to what it asks for: sweeps of resolved methods, models, data and hardware.

The first step of the flow. Every mistake becomes one ``SuiteError`` with file, line and, for names, the
nearest known one.
"""

from __future__ import annotations

import gc
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness import catalogue
from harness.contract import Budget, Hardware
from harness.errors import SuiteError, UsageError
from harness.plain_text import is_name, one_line, slug
from harness.plan import sources
from harness.plan.document import Document, Path_, read, read_text
from harness.plan.expression import parse
from harness.plan.form_errors import validate
from harness.plan.methods import ResolvedMethod, ResolvedTask, Resolver, Table
from harness.plan.shapes import SIZES
from harness.plan.sources import DataSource, ModelSource, Recipe
from harness.plan.suite_file import BudgetForm, ModelForm, RuleForm, SuiteForm, SweepForm, TuneForm, to_schema

__all__ = ["AXES", "Rule", "Suite", "Sweep", "load", "load_text", "to_schema"]

AXES = ("method", "model", "data", "precision", "hardware", "seed")
_DEFAULTS: dict[str, Any] = {
    "model": ["embedded"], "data": ["source"], "precision": ["fp32"], "hardware": ["cpu"], "seed": [0],
}  # fmt: skip


@dataclass(frozen=True)
class Rule:
    """Which cells to leave out; an axis that is not named matches everything."""

    uses: frozenset[str]
    allowed: Mapping[str, frozenset[Any]]


@dataclass(frozen=True)
class Tuning:
    """Which parameter of each technique is chosen by trials, among which values."""

    params: Mapping[str, tuple[str, tuple[Any, ...]]]
    seed: int
    precision: str | None


@dataclass(frozen=True)
class Sweep:
    """One grid. ``axes`` are in the order of the file, the first varying slowest."""

    axes: Mapping[str, Sequence[Any]]
    tasks: tuple[ResolvedTask, ...]
    budget: Budget
    divides_budget: bool = False
    exclude: tuple[Rule, ...] = ()
    tune: Tuning | None = None

    def share(self, method: ResolvedMethod) -> int:
        """By how much the budget is divided for one stage of ``method``."""
        return method.learning_stages if self.divides_budget else 1


@dataclass(frozen=True)
class Suite:
    """A question and the sweeps that answer it."""

    name: str
    question: str
    file: str
    sweeps: tuple[Sweep, ...]
    baseline: str | None
    limits: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    interleaved: bool = False
    resolver: Resolver = field(default_factory=Resolver, repr=False, compare=False)


def load(file: Path | str) -> Suite:
    """Read and check a suite file; ``SuiteError`` with file and line for every mistake in it."""
    path = Path(file)
    with collector_paused():
        return _Loader(read(path), path.parent, path.stem).suite()


def load_text(text: str, *, file: str = "suite.yaml", folder: Path | None = None) -> Suite:
    """Read and check a suite from text; paths in it are relative to ``folder``."""
    with collector_paused():
        return _Loader(read_text(text, file), folder or Path(), Path(file).stem).suite()


@contextmanager
def collector_paused() -> Iterator[None]:
    """Pause the garbage collector: going again and again through objects that all stay took half of a plan's time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class _Loader:
    """Checks one document from the outside in; everything is named by its path, so that errors find their line."""

    def __init__(self, document: Document, folder: Path, stem: str) -> None:
        self.document = document
        self.folder = folder
        self.form: SuiteForm = validate(document)
        self.name = self.form.name or stem
        if not is_name(self.name):
            told, better = one_line(self.name, 60), slug(self.name, "suite")
            said = f"'{told}' cannot be a suite's name, which is a folder's too; write e.g. name: {better}"
            document.fail(said, ("name",))
        self.resolver = Resolver(folder)
        self.models: dict[str, ModelSource] = {}
        self.data: dict[str, DataSource] = {}

    @contextmanager
    def at(self, *path: str | int) -> Iterator[None]:
        """Give a mistake that is found inside the line of ``path``."""
        try:
            yield
        except SuiteError:
            raise
        except UsageError as error:
            self.document.fail(str(error), path)

    def suite(self) -> Suite:
        for name, form in self.form.data_sets.items():
            with self.at("data_sets", name):
                _refuse_reserved(name, ("source",))
                given = form.model_dump(exclude_none=True)
                self.data[name] = self._known(sources.named_data(name, given, self.folder))
        for name, model in self.form.models.items():
            with self.at("models", name):
                _refuse_reserved(name, ("embedded", "none"))
                self.models[name] = self._model(name, model)
        parts: list[tuple[Path_, SweepForm | None]] = [((), None)]
        if self.form.sweeps is not None:
            parts = [(("sweeps", index), part) for index, part in enumerate(self.form.sweeps)]
        sweeps = tuple(self._sweep(where, part) for where, part in parts)
        limits = self.form.limits.model_dump()
        baseline = self._baseline(sweeps)
        notes = tuple(self.form.notes)
        return Suite(
            self.name, self.form.question, self.document.file, sweeps, baseline, limits, notes, self.form.interleave,
            self.resolver,
        )  # fmt: skip

    def _known(self, source: DataSource) -> DataSource:
        """Ask the data layer for the views, so that a wrong specification is found here."""
        assert source.views is not None
        return source

    def _model(self, name: str, form: ModelForm) -> ModelSource:
        if form.path is not None:
            return replace(sources.folder_model(name, form.path, self.folder), word=name)
        if form.hub is not None:
            return sources.hub_model(name, form.hub, form.revision or "main")
        if form.random is not None:
            return replace(sources.model_source(f"random:{form.random}", {}, self.folder), word=name)
        assert form.architecture is not None
        sizes = {key: value for key in SIZES if (value := getattr(form, key)) is not None}
        recipe = None if form.from_ is None else self._recipe(name, form)
        return sources.architecture_model(name, form.architecture, sizes, recipe)

    def _recipe(self, name: str, form: ModelForm) -> Recipe:
        with self.at("models", name, "from"):
            found = self.resolver.methods(form.from_ or "")
            if len(found) != 1:
                raise UsageError(f"from: must be one method, this gives {len(found)}")
        with self.at("models", name, "data"):
            data = sources.data_source(form.data, self.data, self.folder)
        hardware = form.hardware
        with self.at("models", name, "hardware"):
            given = hardware if isinstance(hardware, str) or hardware is None else hardware.model_dump()
            where = None if given is None else sources.hardware(given)
        method, budget = found[0], _budget(form.budget)
        self._check_budget([method], budget, ("models", name))
        share = method.learning_stages if form.budget and form.budget.scope == "method" else 1
        return Recipe(method, form.precision, form.seed, data, budget, share, where)

    def _sweep(self, where: Path_, part: SweepForm | None) -> Sweep:
        at = {key: (*where, key) if part and getattr(part, key, None) is not None else (key,) for key in _KEYS}
        given = {key: self._given(key, part) for key in _KEYS}
        table = self._table(given["params"] or {}, at["params"])
        axes = {key: self._axis(key, given[key] or _DEFAULTS.get(key), at[key], table) for key in self._order(where)}
        budget = _budget(given["budget"])
        self._check_budget(axes["method"], budget, at["budget"])
        return Sweep(
            axes=axes,
            tasks=self._tasks(given["tasks"] or [], at["tasks"]),
            budget=budget,
            divides_budget=given["budget"] is not None and given["budget"].scope == "method",
            exclude=tuple(
                self._rule(rule, (*at["exclude"], index), table) for index, rule in enumerate(given["exclude"] or [])
            ),
            tune=self._tuning(given["tune"], at["tune"], table, axes["seed"], budget),
        )

    def _given(self, key: str, part: SweepForm | None) -> Any:
        own = getattr(part, key, None)
        return getattr(self.form, key) if own is None else own

    def _order(self, where: Path_) -> list[str]:
        """Axes in the order of the file; those of a sweep's own come after the suite's."""
        top = self.document.value
        own = top["sweeps"][where[1]] if where else {}
        written = [key for key in {**top, **own} if key in AXES]
        return [*written, *(key for key in AXES if key not in written)]

    def _axis(self, key: str, given: Sequence[Any] | None, at: Path_, table: Table) -> list[Any]:
        if given is None:
            self.document.fail("no method is given; add e.g. method: [base, lora]", at[:-1])
        found = []
        for index, value in enumerate(given):
            place = (*at, index) if (*at, index) in self.document.lines else at
            with self.at(*place):
                found.extend(self._values(key, value, table))
        # By identity: resolved methods and sources are shared, so the same one is the same object.
        return list(dict.fromkeys(found))

    def _values(self, key: str, value: Any, table: Table) -> list[Any]:
        if key == "method":
            return self.resolver.methods(value, table)
        if key == "model":
            source = sources.model_source(value, self.models, self.folder)
            return [self.models.setdefault(value, self.models.setdefault(source.word, source))]
        if key == "data":
            source_ = self._known(sources.data_source(value, self.data, self.folder))
            return [self.data.setdefault(value, source_)]
        if key == "hardware":
            return [_hardware(value)]
        return [value]

    def _table(self, given: Mapping[str, Mapping[str, Any]], at: Path_) -> Table:
        """Check a table of parameters by itself, so that a mistake in it is found at its own line."""
        table: dict[str, dict[str, Any]] = {}
        for name, params in given.items():
            with self.at(*at, name):
                kind = catalogue.adapter_class(name)
            table[name] = {}
            for key, value in params.items():
                with self.at(*at, name, key):
                    table[name][key] = axis = _table_value(value)
                    for point in axis if isinstance(axis, tuple) else (axis,):
                        plain = point if isinstance(point, int | float | bool | tuple | None) else str(point)
                        catalogue.build_params(kind.Params, {key: plain}, owner=name)
        return table

    def _tasks(self, given: Sequence[str], at: Path_) -> tuple[ResolvedTask, ...]:
        found: dict[str, ResolvedTask] = {}
        for index, text in enumerate(given):
            with self.at(*at, index):
                for task in self.resolver.tasks(text):
                    found.setdefault(task.text, task)
        return tuple(found.values())

    def _rule(self, form: RuleForm, at: Path_, table: Table) -> Rule:
        allowed: dict[str, frozenset[Any]] = {}
        for key in AXES:
            given = getattr(form, key)
            if given is not None:
                with self.at(*at, key):
                    allowed[key] = frozenset(itertools.chain(*(self._values(key, value, table) for value in given)))
        for technique in form.uses or ():
            with self.at(*at, "uses"):
                catalogue.adapter_class(technique)
        if not allowed and not form.uses:
            self.document.fail("a rule of exclude names nothing; give e.g. method: or uses:", at)
        return Rule(frozenset(form.uses or ()), allowed)

    def _tuning(
        self, form: TuneForm | None, at: Path_, table: Table, seeds: Sequence[int], budget: Budget
    ) -> Tuning | None:
        """Check that every technique is tuned in one parameter of its own, by as many trials as any other."""
        if form is None:
            return None
        params: dict[str, tuple[str, tuple[Any, ...]]] = {}
        for name, given in form.params.items():
            with self.at(*at, "params", name):
                kind = catalogue.adapter_class(name)
                if len(given) != 1:
                    raise UsageError(f"tune: one parameter of '{name}', not {len(given)}")
                ((key, values),) = given.items()
                if key in table.get(name, {}):
                    raise UsageError(f"tune: {key} of '{name}' is given under params: already")
                checked = [getattr(catalogue.build_params(kind.Params, {key: one}, owner=name), key) for one in values]
                params[name] = (key, tuple(dict.fromkeys(checked)))
        if len({len(values) for _, values in params.values()}) > 1:
            counts = ", ".join(f"{name} {len(values)}" for name, (_, values) in params.items())
            self.document.fail(f"tune: every technique gets as many trials ({counts})", at)
        if form.seed in seeds:
            self.document.fail(f"tune: the seed of the trials, {form.seed}, is a cell's too; give another", at)
        if budget.evaluations < 1:
            self.document.fail("tune: trials need evaluations: 1 or more in the budget", at)
        return Tuning(params, form.seed, form.precision)

    def _check_budget(self, methods: Sequence[ResolvedMethod], budget: Budget, at: Path_) -> None:
        given = budget.steps is not None or budget.tokens is not None
        for stage in (stage for method in methods for stage in method.stages):
            if given or not stage.budgeted or stage.has_own_budget:
                continue
            if budget.bytes is None:
                self.document.fail(f"'{stage.call.name}' trains, so budget: must give steps, tokens or bytes", at)
            if stage.call.adapter.view != "text":
                reason = "a budget of bytes is for techniques that train on running text"
                self.document.fail(f"'{stage.call.name}': {reason}; give steps or tokens", at)

    def _baseline(self, sweeps: Sequence[Sweep]) -> str | None:
        """Canonical text of the baseline: the one that is given, else ``base`` where it is among the methods."""
        methods = {method.text for sweep in sweeps for method in sweep.axes["method"]}
        parts: list[tuple[Path_, SweepForm]] = [((), self.form)]
        parts += [(("sweeps", number), part) for number, part in enumerate(self.form.sweeps or [])]
        for where, part in parts:
            if part.baseline is None:
                continue
            with self.at(*where, "baseline"):
                text = part.baseline
                found = self.resolver.methods(text, self._table(self._given("params", part) or {}, ("params",)))
                if len(found) != 1 or found[0].text not in methods:
                    raise UsageError(f"the baseline '{text}' must be one of the suite's methods")
                return found[0].text
        return "base" if "base" in methods else None


_KEYS = (*AXES, "params", "tasks", "budget", "exclude", "tune")


def _refuse_reserved(name: str, words: Sequence[str]) -> None:
    if name in words:
        raise UsageError(f"'{name}' already means something; choose another name")


def _budget(form: BudgetForm | None) -> Budget:
    return Budget() if form is None else Budget(**form.model_dump(exclude={"scope"}))


def _hardware(value: Any) -> Hardware:
    return sources.hardware(value if isinstance(value, str) else value.model_dump())


def _table_value(value: Any) -> Any:
    """Read a value of a parameter table as an expression would: a list is an axis, ``(a > b)`` a method."""
    if isinstance(value, list):
        if not value:
            raise UsageError("an empty list gives nothing to measure")
        return tuple(map(_table_value, value))
    if isinstance(value, str) and value.startswith("(") and value.endswith(")"):
        return parse(value[1:-1])
    return value
