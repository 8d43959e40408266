"""Data sets by their spec: the embedded ``source``, local files, the hub. Light to import; packages load on reading.

A spec is what the plan makes of a suite's ``data`` entry: ``{"kind": "source"}``, ``{"kind": "local", "path": ...}`` or
``{"kind": "hub", "id": ..., "revision": ...}``, the last two with ``columns``, ``view``, ``split`` where given. The
planner asks ``views_of``; workers call ``open_dataset``; ``prepare`` makes the one file for a machine without the data.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.contract import Dataset
from harness.data import hub, local, source
from harness.data.columns import check_chat, columns_of, views_from
from harness.data.prepared import PreparedDataset, write_prepared
from harness.data.splits import SPLITS
from harness.errors import DataError, did_you_mean

KINDS = ("source", "local", "hub")
_IDENTITY = ("kind", "id", "revision", "commit", "subset", "columns", "view", "chat", "fingerprint")


def views_of(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the views that a spec will have, from the spec alone; ``DataError`` where it is wrong."""
    kind = _kind(spec)
    if kind == "source":
        return source.VIEWS
    views = views_from(columns_of(spec), spec.get("view"))
    check_chat(spec, views)
    (local.check_local if kind == "local" else hub.check_hub)(spec)
    return views


def open_dataset(spec: Mapping[str, Any], *, prepared: Path | None = None, cache: Path) -> Dataset:
    """Open a data set: from ``prepared`` if given, else from where the spec says, keeping built files in ``cache``."""
    kind = _kind(spec)
    if prepared is not None:
        return _open_prepared(spec, prepared)
    if kind == "local":
        return local.open_local(spec)
    if kind == "hub":
        return hub.open_hub(spec)
    return _open_source(cache)


def prepare(spec: Mapping[str, Any], out: Path) -> Path:
    """Write every view of every split to the one file ``out``, which ``open_dataset`` takes as ``prepared``."""
    facts = {"spec": _identity(spec)}
    kind = _kind(spec)
    if kind == "source":
        return write_prepared("source", source.fingerprint(), source.build(), out, facts)
    dataset = local.open_local(spec) if kind == "local" else hub.open_hub(spec)
    views = {view: {split: dataset.items(view, split) for split in SPLITS} for view in dataset.views()}
    return write_prepared(dataset.name, dataset.fingerprint, views, out, facts)


def _open_source(cache: Path) -> PreparedDataset:
    """The built file is found by the fingerprint of what is installed, so another version is never read for it."""
    mark = source.fingerprint()
    path = cache / "data" / f"source-{mark}-{source.BUILD}.zip"
    if not path.is_file():
        prepare({"kind": "source"}, path)
    return PreparedDataset(path, expected=mark == source.EXPECTED_FINGERPRINT)


def _open_prepared(spec: Mapping[str, Any], path: Path) -> PreparedDataset:
    dataset = PreparedDataset(path)
    if dataset.manifest.get("spec") != _identity(spec):
        made = dataset.manifest.get("spec")
        raise DataError(f"{path} was prepared for other data: {made}, asked for {_identity(spec)}; prepare it again")
    if spec["kind"] == "source":
        dataset.expected = dataset.fingerprint == source.EXPECTED_FINGERPRINT
    return dataset


def _identity(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What a prepared file must agree on with the spec that asks for it: everything but where the data lies."""
    found = {key: spec[key] for key in _IDENTITY if spec.get(key) is not None}
    if "commit" in found:  # which says more than the name that it had when it was fetched
        del found["revision"]
    return found | ({"split": spec["split"]} if spec["kind"] == "hub" and spec.get("split") else {})


def _kind(spec: Mapping[str, Any]) -> str:
    kind = spec.get("kind")
    if kind not in KINDS:
        raise DataError(f"unknown kind of data '{kind}'{did_you_mean(str(kind), KINDS)} (known: {', '.join(KINDS)})")
    return str(kind)
