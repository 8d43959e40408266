"""The embedded default data set ``source``: the source and docstrings of a package that the project installs anyway.

The package is read where it is installed; it is never imported and never copied into the repository. See
``docs/decisions/0001-embedded-data.md`` for why this package.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path

from harness.data.source_views import Views, build_views
from harness.data.splits import SPLITS, split_of
from harness.errors import DataError

PACKAGE = "sympy"
VERSION = "1.14.0"
VIEWS = ("text", "instructions", "choices", "labels", "text_to_text", "pairs")

# Raised whenever a file here, source_views.py, functions.py or scrambled.py builds other items from the same bytes.
VIEW_RULES = 1
# Part of a built file's name, so that none is taken for another that was built by older code. The view pairs got its
# rules in 2, before anything was recorded on it: no record is of other items than its fingerprint says.
BUILD = 2
# Of the pinned version with these rules; another one is a fact of the record and is named in the report.
EXPECTED_FINGERPRINT = "b1326b590f8e95275f7800ab07c61fe535ce80eb7cee0f93b8464f92500dee93"

VALIDATION_SHARE = 0.06
TEST_SHARE = 0.22

# Not prose and code that people wrote to be read: tests, timing scripts, the test runner, generated parsers and the
# examples they are tested on. Files that are mostly digits are look-up tables.
LEFT_OUT_FOLDERS = frozenset({"tests", "benchmarks", "testing", "_antlr", "test-examples", "sandbox"})
LEFT_OUT_FILES = frozenset({"conftest.py", "release.py"})
TABLE_DIGITS = 0.25


def package_folder() -> Path:
    """Return the folder where the package is installed; ``DataError`` where it is not."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise DataError(
            f"data 'source' needs the package {PACKAGE}, which is not installed here: "
            f"pip install {PACKAGE}=={VERSION}, or give a file made by `harness prepare`"
        )
    return Path(found.origin).parent


def source_files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield (relative path with ``/``, bytes) of every file that is used, sorted by path."""
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.py")}
    for name in sorted(paths):
        parts = name.split("/")
        if LEFT_OUT_FOLDERS.isdisjoint(parts) and parts[-1] not in LEFT_OUT_FILES:
            content = paths[name].read_bytes()
            if not _is_table(content):
                yield name, content


def fingerprint(folder: Path | None = None) -> str:
    """Return the SHA-256 (hex) over names and bytes of the files used and the version of the rules; takes ~0.1 s."""
    digest = hashlib.sha256(f"rules {VIEW_RULES}\n".encode())
    for name, content in source_files(folder or package_folder()):
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def build(folder: Path | None = None) -> Views:
    """Return every view of every split; parses the whole package, so it takes some seconds."""
    modules: dict[str, dict[str, str]] = {split: {} for split in SPLITS}
    for name, content in source_files(folder or package_folder()):
        text = content.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
        modules[split_of(name, VALIDATION_SHARE, TEST_SHARE)][name] = text
    return build_views(modules)


def _is_table(content: bytes) -> bool:
    written = len(content) - sum(content.count(blank) for blank in (b" ", b"\n", b"\t", b"\r"))
    digits = sum(content.count(digit) for digit in (b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"8", b"9"))
    return digits > TABLE_DIGITS * max(1, written)
