"""``harness prepare``: fetch what a suite needs of the hub and build its data; and what a run does of that first."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.cli.fetching import Source, Spec, fetch_all, revision_of
from harness.cli.planning import data_sources, suite_file
from harness.cli.terminal import print
from harness.errors import UsageError, did_you_mean
from harness.hub.cache import is_offline
from harness.plan.plan import Plan, plan
from harness.plan.sources import DataSource, hub_model, hub_word, model_source
from harness.plan.steps import SKIPPED, Step
from harness.plan.suite import load
from harness.results.store import Store


def prepare_suite(name: str, results: Path) -> None:
    """Fetch the models and data sets of a suite at what their revisions name now, and build what is built once."""
    file = suite_file(name)
    made = plan(load(file))
    wanted = [source for source in _used(made) if source.spec["kind"] == "hub"]
    if not is_offline():
        fetch_all([(source, _named_anew(source.spec)) for source in wanted])
    elif made.missing:
        words = ", ".join(hub_word(source.spec) for source in made.missing)
        raise UsageError(f"not in the hub's cache: {words}; HF_HUB_OFFLINE is set: unset it to fetch what is missing")
    made = plan(load(file))
    _fetch_for_tasks(made)
    build_data(made, Store(results))
    said = f"{len(wanted)} of the hub" if wanted else "it needs nothing of the hub"
    print(f"{made.suite.name} is prepared ({said}): measuring it needs no network")


def prepare_model(word: str) -> None:
    """Fetch one model, named as suites name it."""
    found = model_source(word, {}, Path())
    if is_offline() and found.here:
        print(f"{word} is here; HF_HUB_OFFLINE is set, so the hub was not asked whether it has moved")
    else:
        fetch_all([(found, _named_anew(found.spec))])


def bring_here(word: str) -> None:
    """Fetch a model that is not here yet; one that is stays as it is."""
    found = model_source(word, {}, Path())
    if not found.here:
        fetch_all([(found, found.spec)])


def prepare_file(out: Path, suite: str | None, data: str | None) -> None:
    """Write the prepared splits of one data set to a file."""
    from harness.data import prepare

    source = _only(data_sources(suite), data)
    if not source.here:
        fetch_all([(source, source.spec)])
        source = _only(data_sources(suite), data)
    print(f"wrote {prepare(source.spec, out)}")


def fetch_missing(made: Plan, *, quiet: bool) -> bool:
    """Fetch what the steps that are to run lack of the hub; whether there was anything. ``UsageError`` in one line."""
    if not made.missing:
        return False
    fetch_all([(source, source.spec) for source in made.missing], quiet=quiet)
    for source in made.missing:
        if not _looked_at_again(source).here:
            raise UsageError(f"{hub_word(source.spec)} was fetched and is not in the hub's cache: who empties it?")
    return True


def _looked_at_again(source: Source) -> Source:
    if isinstance(source, DataSource):
        return DataSource(source.word, source.spec)
    return hub_model(source.word, str(source.spec["id"]), revision_of(source.spec))


def _named_anew(spec: Spec) -> Spec:
    """A specification without the commit that its revision named before."""
    return {key: value for key, value in spec.items() if key != "commit"}


def build_data(made: Plan, store: Store) -> None:
    """Build what is built once, and read every view once, before anything is measured.

    No step's data span pays for the building, and data without what the suite needs is an error before the sweep.
    """
    from harness.data import open_dataset

    steps = [step for step in made.steps if step.reads_data and step.state == "runnable"]
    for identity, source in {step.data.identity: step.data for step in steps}.items():
        dataset = open_dataset(source.spec, cache=store.cache)
        views = {_view(step) for step in steps if step.data.identity == identity}
        for view in sorted(view for view in views if view):
            dataset.view(view, "test")


def _view(step: Step) -> str | None:
    """The data view that a step reads."""
    return step.task.task.view() if step.task is not None else step.stage.call.adapter.view


def _used(made: Plan) -> list[Source]:
    """The models and data sets that any step reads, each once."""
    steps = [step for step in made.steps if step.state != SKIPPED]
    return list({source.identity: source for step in steps for source in step.sources}.values())


def _fetch_for_tasks(made: Plan) -> None:
    """What tasks themselves read of the hub."""
    asked = {step.task.identity: step.task for step in made.steps if step.task is not None and step.state != SKIPPED}
    for task in asked.values():
        task.task.fetch(task.named)


def _only(found: Mapping[str, DataSource], asked: str | None) -> DataSource:
    if asked is None and len(found) == 1:
        return next(iter(found.values()))
    if asked is None:
        raise UsageError(f"the suite has several data sets; name one with --data: {', '.join(found)}")
    if asked not in found:
        raise UsageError(f"the suite has no data set '{asked}'{did_you_mean(asked, found)}")
    return found[asked]
