"""Data given item by item, and the tiny model opened for scoring."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from harness.contract import Checkpoint, NoParams
from harness.models.causal import TransformersScorer, open_scorer


class GivenData:
    """A data set with exactly the items that a test gives, the same in every split."""

    name = "given"
    fingerprint = "given"

    def __init__(self, views: Mapping[str, list[Any]]) -> None:
        self._views = views

    def views(self) -> tuple[str, ...]:
        return tuple(self._views)

    def view(self, name: str, split: str) -> list[Any]:
        return list(self._views[name])


@pytest.fixture(scope="session")
def data_of() -> Callable[..., GivenData]:
    return lambda **views: GivenData(views)


@pytest.fixture(scope="module")
def open_it(make_job: Callable[..., Any]) -> Callable[..., TransformersScorer]:
    return lambda checkpoint, precision="fp32": open_scorer(
        make_job(checkpoint, precision=precision, params=NoParams())
    )


@pytest.fixture(scope="module")
def scorer(open_it: Callable[..., TransformersScorer], llama: Checkpoint) -> TransformersScorer:
    return open_it(llama)


@pytest.fixture
def score(make_job: Callable[..., Any]) -> Callable[..., Any]:
    """Let a task score: ``score(Task, scorer, data=..., params={...})`` returns the meter."""

    def perform(
        kind: Any, scorer: Any, *, params: Mapping[str, Any] | None = None, checkpoint: Checkpoint | None = None,
        **job: Any,
    ) -> Any:  # fmt: skip
        asked = make_job(checkpoint or Checkpoint("causal", {}), **job)
        kind(kind.Params(**(params or {}))).score(scorer, asked)
        return asked.meter

    return perform
