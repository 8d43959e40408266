"""What the plan's tests share: a machine that does not depend on where they run, and techniques for odd cases."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import pytest

from harness import catalogue
from harness.contract import Adapter, Checkpoint, Job, Modifier, Task, TrainingParams, TrainingSetup, param
from harness.plan.machine import Machine
from harness.plan.plan import plan
from harness.plan.suite import load_text


class Distill(Adapter):
    """Trains with a teacher, which is a method."""

    gives = frozenset({"model"})
    view = "text"

    @dataclass(frozen=True)
    class Params(TrainingParams):
        teacher: str = param("base", "method that makes the teacher")

    def train(self, job: Job) -> Checkpoint:
        return job.checkpoint


class Picky(Adapter):
    """Runs on cuda at bf16 only, and says no to many threads."""

    devices = ("cuda",)
    precisions = ("bf16",)

    def compress(self, job: Job) -> Checkpoint:
        return job.checkpoint


class Refuses(Adapter):
    """Says no itself."""

    def skip(self, precision, hardware):
        return f"pointless at {precision}" if precision == "fp32" else None

    def compress(self, job: Job) -> Checkpoint:
        return job.checkpoint


class Elsewhere(Adapter):
    """Lives in an environment of its own."""

    environment = "nowhere"

    def compress(self, job: Job) -> Checkpoint:
        return job.checkpoint


class Uninstalled(Adapter):
    """Needs a package that nobody has."""

    requires = ("no_such_package",)

    def compress(self, job: Job) -> Checkpoint:
        return job.checkpoint


class Double(Adapter):
    """Trains and compresses: two steps of one stage."""

    gives = frozenset({"model"})
    view = "text"

    @dataclass(frozen=True)
    class Params(TrainingParams):
        modules: tuple[str, ...] = param((), "names")

    def train(self, job: Job) -> Checkpoint:
        return job.checkpoint

    def compress(self, job: Job) -> Checkpoint:
        return job.checkpoint


class Slower(Modifier):
    """A modifier with a parameter."""

    @dataclass(frozen=True)
    class Params:
        factor: float = param(2.0, "how much", low=1.0)

    def modify(self, setup: TrainingSetup) -> TrainingSetup:
        return setup


class Translate(Task):
    """Scores sequence-to-sequence models only."""

    kinds = frozenset({"seq2seq"})


TECHNIQUES = {
    "distill": Distill, "picky": Picky, "refuses": Refuses, "elsewhere": Elsewhere, "uninstalled": Uninstalled,
    "double": Double, "slower": Slower, "translate": Translate,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _techniques(monkeypatch):
    monkeypatch.setattr(catalogue, "_registered", {})
    # Named as modules are in a job, so that the same path is taken as for a real plug-in.
    monkeypatch.setitem(sys.modules, "plan_test_techniques", sys.modules[__name__])
    for name, kind in TECHNIQUES.items():
        catalogue.register(name, f"plan_test_techniques:{kind.__name__}")
    yield
    monkeypatch.undo()
    catalogue.forget()


@pytest.fixture
def machine():
    return Machine(cores=2, cuda_devices=0)


@pytest.fixture
def planned(machine, tmp_path):
    """Plan a suite from its text on a machine with two cores and no GPU."""

    def make(text, *, on=machine, **given):
        return plan(load_text(text, folder=tmp_path), machine=on, **given)

    return make
