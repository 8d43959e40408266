"""``harness prepare``: fetch what a suite needs of the hub and build its data; and what a run does of that first."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.cli.fetching import watching
from harness.cli.planning import data_sources, suite_file
from harness.cli.terminal import print, print_error
from harness.errors import DataError, UsageError, did_you_mean
from harness.hub.cache import is_offline
from harness.hub.fetching import Fetch, Watcher, fetch_model
from harness.plan.plan import Plan, plan
from harness.plan.sources import DataSource, ModelSource, check_hub, hub_model, hub_word, model_source
from harness.plan.steps import SKIPPED, Step
from harness.plan.suite import load
from harness.results.store import Store

Source = ModelSource | DataSource
Spec = Mapping[str, Any]


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


def fetch_for_job(job: Spec, *, quiet: bool) -> None:
    """Fetch what a job that was planned elsewhere lacks here, at the commits that it names."""
    model, data = job.get("model") or {}, job.get("data") or {}
    wanted: list[Source] = []
    if model.get("kind") == "hub" and not job.get("input"):
        wanted.append(hub_model("hub", str(model.get("id")), _revision(model)))
    if data.get("kind") == "hub" and not job.get("data_file"):
        check_hub(str(data.get("id")), _revision(data), DataError)
        wanted.append(DataSource("hub", data))
    fetch_all([(source, source.spec) for source in wanted if not source.here], quiet=quiet)


def fetch_all(wanted: Sequence[tuple[Source, Spec]], *, quiet: bool = False) -> None:
    """Fetch models and data sets, all that can be had; then one line for each that could not, as a ``UsageError``.

    A specification with a commit is fetched at that; one without at what its revision names at the hub now.
    """
    if not wanted:
        return
    from huggingface_hub.utils import logging as of_the_client

    of_the_client.set_verbosity(logging.ERROR)  # its warnings hold addresses with signatures; what matters is told here
    failed = []
    with watching(quiet) as watcher:
        for source, spec in wanted:
            try:
                found = _fetched(source, spec, watcher)
            except UsageError as error:
                failed.append(error)
                continue
            if found is not None and not quiet:
                print(f"{found.what} is here, its files checked: commit {found.commit}", file=sys.stderr, flush=True)
    for other in failed[:-1]:
        print_error(other)
    if failed:
        raise failed[-1]


def _fetched(source: Source, spec: Spec, watcher: Watcher) -> Fetch | None:
    if isinstance(source, DataSource):
        from harness.data.hub import fetch

        return fetch(spec, watcher)
    return fetch_model(str(spec["id"]), _revision(spec), watcher)


def _looked_at_again(source: Source) -> Source:
    if isinstance(source, DataSource):
        return DataSource(source.word, source.spec)
    return hub_model(source.word, str(source.spec["id"]), _revision(source.spec))


def _revision(spec: Spec) -> str:
    """The commit that a specification means, or the name of one."""
    return str(spec.get("commit") or spec.get("revision") or "main")


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
