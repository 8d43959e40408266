"""The helpers beside these tests, and an environment in which no secret of this machine takes part."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import catalogue

sys.path.insert(0, str(Path(__file__).parent))

from harness.redaction import values_of


@pytest.fixture(autouse=True)
def no_secrets_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in list(os.environ.items()):
        if values_of({name: value}):
            monkeypatch.delenv(name)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are drawn elsewhere; here only where they are put counts."""
    monkeypatch.setattr("harness.report.writing.svg", lambda specification: "<svg/>")


@pytest.fixture(autouse=True)
def _forget_planted_techniques() -> Iterator[None]:
    """Techniques that a test plants are gone with its environment: this ends after what undoes the environment."""
    yield
    catalogue.forget()
