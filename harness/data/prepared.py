"""One file that holds every view of every split of a data set, so that it opens at once and on any machine.

A zip of JSON lines, ``<view>/<split>.jsonl``, and ``manifest.json`` with name, fingerprint and counts. Equal data gives
equal bytes. Nothing but the standard library reads it.
"""

from __future__ import annotations

import contextlib
import json
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.data.splits import SPLITS
from harness.errors import DataError, did_you_mean
from harness.plain_json import loads
from harness.plain_text import one_line

FORMAT = 1
MANIFEST = "manifest.json"
LARGEST_BYTES = 1 << 33  # of one split of one view, unpacked
_EPOCH = (1980, 1, 1, 0, 0, 0)


class PreparedDataset:
    """A data set read from a prepared file, one view and split at a time; satisfies ``contract.Dataset``."""

    def __init__(self, path: Path, *, expected: bool = True) -> None:
        self.path = path
        self.manifest = _read_manifest(path)
        self.name: str = self.manifest["name"]
        self.fingerprint: str = self.manifest["fingerprint"]
        self.expected = expected
        self._read: dict[tuple[str, str], list[Any]] = {}

    def views(self) -> tuple[str, ...]:
        """Names of the views that the file holds."""
        return tuple(self.manifest["counts"])

    def view(self, name: str, split: str) -> list[Any]:
        """Items of one split; ``DataError`` where the view or split is missing or empty."""
        counts: Mapping[str, Mapping[str, int]] = self.manifest["counts"]
        check_view(self.name, name, split, tuple(counts))
        if not counts[name].get(split):
            raise DataError(f"data '{self.name}' has no item in the {split} split of the view '{name}'")
        return self.items(name, split)

    def items(self, name: str, split: str) -> list[Any]:
        """The same without an error for an empty split."""
        if not self.manifest["counts"][name].get(split):
            return []
        if (name, split) not in self._read:
            with _opened(self.path) as archive:
                lines = _content(archive, f"{name}/{split}.jsonl").decode("utf-8").split("\n")
                self._read[name, split] = [json.loads(line) for line in lines if line]
        return list(self._read[name, split])


def check_view(dataset: str, view: str, split: str, views: tuple[str, ...]) -> None:
    """Raise ``DataError`` with the nearest name where a data set has no such view, or there is no such split."""
    if view not in views:
        raise DataError(
            f"data '{dataset}' has no view '{view}'{did_you_mean(view, views)} (it has: {', '.join(views) or 'none'})"
        )
    if split not in SPLITS:
        raise DataError(f"unknown split '{split}'{did_you_mean(split, SPLITS)} (known: {', '.join(SPLITS)})")


def write_prepared(
    name: str, fingerprint: str, views: Mapping[str, Mapping[str, list[Any]]], out: Path, facts: Mapping[str, Any]
) -> Path:
    """Write ``views`` (view -> split -> items) to ``out`` by rename, so that no half-written file is ever read."""
    counts = {view: {split: len(items) for split, items in splits.items()} for view, splits in views.items()}
    manifest = {"format": FORMAT, "name": name, "fingerprint": fingerprint, "counts": counts, **facts}
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(temporary, "w") as archive:
            _add(archive, MANIFEST, json.dumps(manifest, indent=1, sort_keys=False) + "\n")
            for view, splits in views.items():
                for split, items in splits.items():
                    lines = (json.dumps(item, ensure_ascii=False, sort_keys=True) for item in items)
                    _add(archive, f"{view}/{split}.jsonl", "".join(f"{line}\n" for line in lines))
        temporary.replace(out)
    except OSError as error:
        raise DataError(f"cannot write the prepared data to {out}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    return out


def _add(archive: zipfile.ZipFile, name: str, text: str) -> None:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.external_attr = 0o644 << 16
    archive.writestr(info, text.encode("utf-8"), zipfile.ZIP_DEFLATED, 6)


def _read_manifest(path: Path) -> dict[str, Any]:
    with _opened(path) as archive:
        manifest: Any = loads(_content(archive, MANIFEST))
        if not isinstance(manifest, dict):
            raise ValueError(f"{MANIFEST} is no mapping")
        if manifest.get("format") != FORMAT:
            told = one_line(manifest.get("format"), 40)
            raise DataError(f"{path} has format {told}, this version reads {FORMAT}; prepare it again")
        counts = manifest.get("counts")
        named = all(isinstance(manifest.get(name), str) for name in ("name", "fingerprint"))
        if not named or not isinstance(counts, dict) or not all(isinstance(each, dict) for each in counts.values()):
            raise ValueError(f"{MANIFEST} lacks name, fingerprint or counts")
    return manifest


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive, of which members are read and never extracted; ``DataError`` for whatever is wrong with it."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"no prepared data at {path}; make it with `harness prepare`") from None
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError, RuntimeError) as error:
        raise DataError(f"{path} is not a file made by `harness prepare` ({one_line(error, 200)})") from None


def _content(archive: zipfile.ZipFile, name: str) -> bytes:
    """A member's bytes; ``ValueError`` where it would unpack to more than any data set of a benchmark."""
    if (size := archive.getinfo(name).file_size) > LARGEST_BYTES:
        raise ValueError(f"{name} would unpack to {size} bytes")
    with archive.open(name) as member:
        found = member.read(LARGEST_BYTES + 1)
    if len(found) > LARGEST_BYTES:
        raise ValueError(f"{name} unpacks to more than it says")
    return found
