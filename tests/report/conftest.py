"""The fixture ``synthetic``: the module that makes the records of a small suite."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SOURCE = Path(__file__).parents[1] / "report" / "fixtures" / "synthetic.py"


@pytest.fixture(scope="session")
def synthetic() -> ModuleType:
    specification = importlib.util.spec_from_file_location("synthetic_suite", SOURCE)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module
