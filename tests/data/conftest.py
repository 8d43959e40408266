"""The embedded data set, built once for all tests of this folder, and the folder of real data where there is one."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.data import source
from harness.data.source_views import Views


@pytest.fixture(scope="session")
def source_views() -> Views:
    if source.fingerprint() != source.EXPECTED_FINGERPRINT:
        pytest.skip(f"another {source.PACKAGE} than {source.VERSION} is installed here")
    return source.build()


@pytest.fixture(scope="session")
def real_data() -> Path:
    folder = Path(__file__).parents[2].parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the folder shared/data beside the checkout is not here")
    return folder
