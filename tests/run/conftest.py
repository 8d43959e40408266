"""Jobs of the fake techniques, and a store in a temporary folder."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.results.store import Store

FAKES = Path(__file__).parents[1]
sys.path.insert(0, str(FAKES))

from fakes.jobs import make_eval, make_job  # noqa: E402


@pytest.fixture
def job() -> Callable[..., dict[str, Any]]:
    return make_job


@pytest.fixture
def eval_job() -> Callable[..., dict[str, Any]]:
    return make_eval


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


@pytest.fixture(autouse=True)
def fakes_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(FAKES))
