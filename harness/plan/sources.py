"""What the words under ``model:``, ``data:`` and ``hardware:`` mean: specifications that a worker can act on.

A source's ``identity`` is the part that determines results, so a path never enters it: what lies there does, by hash.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.contract import Budget, Hardware
from harness.errors import DataError, ModelError, UsageError, did_you_mean
from harness.hub.cache import Repository
from harness.hub.weights import TOKENIZER_FILES, is_complete
from harness.parameters import build_params
from harness.plain_text import one_line
from harness.plan.expression import parse_call
from harness.plan.methods import ResolvedMethod, canonical_call, canonical_json
from harness.plan.shapes import Architecture, architecture_spec, random_model

_PATH = re.compile(r"\.{1,2}/|/|~")
_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
_REVISION = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)*")  # it becomes a path in the hub's cache
_WEIGHTS = ("*.safetensors", "*.bin")
_BLOCK = 1 << 20
UNKNOWN = "unknown"  # kind of a model that is not here yet: nothing is left out for it
MOST_FILES = 10_000  # of a model's folder


@dataclass(frozen=True, eq=False)
class DataSource:
    """A data set: its word in the suite, what a worker needs to open it, what determines its content."""

    word: str
    spec: Mapping[str, Any]

    @cached_property
    def identity(self) -> str:
        """Canonical JSON without paths."""
        without = _named_by(self.spec) if self.spec["kind"] == "hub" else {"path", "split"}
        return canonical_json({key: value for key, value in self.spec.items() if key not in without})

    @cached_property
    def views(self) -> frozenset[str]:
        """Views that the data set offers."""
        from harness.data import views_of

        return frozenset(views_of(self.spec))

    @cached_property
    def here(self) -> bool:
        """Whether it can be read without asking anybody."""
        from harness.data.hub import is_here

        return self.spec["kind"] != "hub" or is_here(self.spec)


@dataclass(frozen=True)
class Recipe:
    """How a model of the suite is made before the cells begin: a method on an architecture, with its own seed."""

    method: ResolvedMethod
    precision: str
    seed: int
    data: DataSource
    budget: Budget
    share: int
    hardware: Hardware | None


@dataclass(frozen=True, eq=False)
class ModelSource:
    """A model: its word in the suite, what a worker needs to open it, what kind of checkpoint and parts it gives.

    One of the hub that is not ``here`` has to be fetched before anything can be done with it.
    """

    word: str
    spec: Mapping[str, Any]
    kind: str = "causal"
    parts: frozenset[str] = frozenset({"tokenizer", "model", "config"})
    trained: bool = True
    recipe: Recipe | None = field(default=None)
    here: bool = True

    @cached_property
    def identity(self) -> str:
        """Canonical JSON without the path."""
        without = _named_by(self.spec)
        return canonical_json({key: value for key, value in self.spec.items() if key not in without})


def _named_by(spec: Mapping[str, Any]) -> set[str]:
    """What of a specification only says where something lies. A commit says what it is, and its names move on."""
    return {"path", "revision"} if "commit" in spec else {"path"}


def model_source(word: str, named: Mapping[str, ModelSource], folder: Path) -> ModelSource:
    """Return what ``word`` means; paths are relative to ``folder``. ``ModelError`` where it means nothing."""
    if word in named:
        return named[word]
    if word == "embedded":
        return _embedded()
    if word == "none":
        return ModelSource("none", {"kind": "none"}, "none", frozenset(), trained=False)
    if word.startswith("random:"):
        return _random(word, folder)
    if word.startswith("hub:"):
        name, _, revision = word[4:].partition("@")
        return hub_model(word, name, revision or "main")
    if _PATH.match(word):
        return folder_model(word, word, folder)
    hint = did_you_mean(word, [*named, "embedded", "none"])
    known = hint or "; use embedded, a name under models:, random:llama(...), hub:org/name or a path like ./folder"
    raise ModelError(f"unknown model '{word}'{known}")


def architecture_model(word: str, architecture: str, sizes: Mapping[str, Any], recipe: Recipe | None) -> ModelSource:
    """An architecture without weights; with a recipe, the model that the recipe makes of it."""
    spec = architecture_spec("architecture", architecture, build_params(Architecture, sizes, owner=word))
    return ModelSource(word, spec, "blank", frozenset({"config"}), trained=False, recipe=recipe)


def hub_model(word: str, name: str, revision: str) -> ModelSource:
    """A model of the hub at the commit that its revision names in the hub's cache here.

    Until it is there its kind is not known, and nothing is left out of a plan for it.
    """
    check_hub(name, revision, ModelError)
    repository = Repository("model", name)
    commit = repository.commit(revision)
    spec = {"kind": "hub", "id": name, "revision": revision} | ({} if commit is None else {"commit": commit})
    if commit is None or not is_complete(repository.snapshot(commit)):
        return ModelSource(word, spec, UNKNOWN, here=False)
    kind, parts = _look(repository.snapshot(commit), word)
    return ModelSource(word, spec, kind, parts, trained=kind != "tokenizer")


def hub_word(spec: Mapping[str, Any]) -> str:
    """What of the hub a specification means, as suites say it: ``hub:org/name@main``."""
    return f"hub:{spec['id']}@{spec.get('revision') or 'main'}"


def folder_model(word: str, path: str, folder: Path) -> ModelSource:
    """A local folder in transformers' format, or one with a tokenizer alone; ``ModelError`` where it is neither."""
    found = located(path, folder, ModelError)
    if not found.is_dir():
        raise ModelError(f"model folder '{path}' does not exist")
    kind, parts = _look(found, path)
    spec = {"kind": "folder", "path": str(found), "fingerprint": fingerprint(found)}
    return ModelSource(word, spec, kind, parts, trained=kind != "tokenizer")


def _look(found: Path, path: str) -> tuple[str, frozenset[str]]:
    """Kind and parts of the model in the folder ``found``, which messages call ``path``."""
    from harness.models.sources import is_tokenizer_alone

    if is_tokenizer_alone(found):
        return "tokenizer", frozenset({"tokenizer"})
    if not (found / "config.json").is_file():
        raise ModelError(f"'{path}' is not a model folder: it has no config.json")
    if not any(any(found.glob(pattern)) for pattern in _WEIGHTS):
        raise ModelError(f"'{path}' has a config.json but no weights (*.safetensors)")
    tokenizer = any((found / name).is_file() for name in TOKENIZER_FILES)
    return _kind_of(found, path), frozenset({"model", "config", *(["tokenizer"] if tokenizer else [])})


def data_source(word: str, named: Mapping[str, DataSource], folder: Path) -> DataSource:
    """Return what ``word`` means; paths are relative to ``folder``. ``DataError`` where it means nothing."""
    if word in named:
        return named[word]
    if word == "source":
        return DataSource("source", {"kind": "source"})
    if word.startswith("hub:"):
        name, _, revision = word[4:].partition("@")
        return named_data(word, {"hub": name, "revision": revision or "main"}, folder)
    if _PATH.match(word):
        return named_data(word, {"path": word}, folder)
    hint = did_you_mean(word, [*named, "source"])
    known = hint or "; use source, a name under data_sets:, hub:org/name or a path like ./file.jsonl"
    raise DataError(f"unknown data '{word}'{known}")


def named_data(word: str, given: Mapping[str, Any], folder: Path) -> DataSource:
    """A data set of the suite: local files (their content enters the identity) or one of the hub."""
    rest = {key: value for key, value in given.items() if key not in ("path", "hub") and value is not False}
    if "hub" in given:
        check_hub(given["hub"], given.get("revision") or "main", DataError)
        found = {"kind": "hub", "id": given["hub"], "revision": "main"} | rest
        commit = Repository("dataset", given["hub"]).commit(found["revision"])
        return DataSource(word, found if commit is None else found | {"commit": commit})
    spec, marks = {"kind": "local"} | rest, {}
    if "path" in given:
        file = _data_file(given["path"], folder)
        spec["path"], marks["path"] = str(file), fingerprint(file, whole=True)
    if "split" in given:
        files = {split: _data_file(path, folder) for split, path in given["split"].items()}
        spec["split"] = {split: str(file) for split, file in files.items()}
        marks |= {split: fingerprint(file, whole=True) for split, file in files.items()}
    content = hashlib.sha256(canonical_json(marks).encode()).hexdigest()[:16]
    return DataSource(word, spec | {"fingerprint": content})


def _data_file(path: str, folder: Path) -> Path:
    found = located(path, folder, DataError)
    if not found.is_file():
        raise DataError(f"data file '{path}' does not exist")
    if found.stat().st_size == 0:
        raise DataError(f"data file '{path}' is empty")
    return found


def located(path: str, folder: Path, error: type[UsageError]) -> Path:
    """Where a path of a suite leads, from ``folder``; ``error`` where no file can be named so."""
    try:
        found = (folder / Path(path).expanduser()).resolve()
        found.exists()  # what is too long, or may not be looked at, is said by the system
    except (OSError, RuntimeError, ValueError) as problem:
        why = problem.strerror if isinstance(problem, OSError) else "no file can be named so"
        raise error(f"'{one_line(path, 100)}' cannot be looked for: {why}") from None
    return found


def check_hub(name: str, revision: str, error: type[UsageError]) -> None:
    """Raise ``error`` for what can be no name or no revision of a repository of the hub."""
    if not _HUB_ID.fullmatch(name):
        raise error(f"'{one_line(name, 100)}' is not a hub id like org/name")
    if not _REVISION.fullmatch(revision) or ".." in revision:
        raise error(f"'{one_line(revision, 100)}' is no revision in a hub's repository: give a branch, tag or commit")


def hardware(given: Any) -> Hardware:
    """Read ``cpu``, ``cuda``, ``cpu(threads=2)`` or a mapping; ``UsageError`` for anything else."""
    if isinstance(given, str):
        call = parse_call(given)
        given = {"device": call.name, **dict(call.params)}
    if not isinstance(given, Mapping):
        raise UsageError(f"hardware must be cpu, cuda or a mapping like {{device: cpu, threads: 2}}, not {given!r}")
    found: Hardware = build_params(Hardware, given, owner="hardware")
    if found.device not in ("cpu", "cuda"):
        hint = did_you_mean(found.device, ("cpu", "cuda"))
        raise UsageError(f"unknown device '{found.device}'{hint}; known: cpu, cuda")
    if found.devices < 1 or found.ranks < 1 or found.threads < 0:
        raise UsageError("hardware: devices and ranks must be at least 1, threads at least 0 (0 is every core)")
    return found


def hardware_text(given: Hardware) -> str:
    """Return the canonical text of a hardware axis value, e.g. ``cpu(threads=2)``."""
    text = canonical_call("", Hardware(devices=given.devices, threads=given.threads, ranks=given.ranks))
    return f"{given.device}{text}"


def fingerprint(path: Path, *, whole: bool = False) -> str:
    """Return a hash of a file, or of all files of a folder; without ``whole``, of at most 3 MB of each.

    Name, size, the first, a middle and the last megabyte: another training of the same model differs in all of them,
    and a plan must not read 100 GB of weights. Data may differ in one line, so it is read whole.
    """
    mark = hashlib.sha256()
    for file in _files(path):
        name = "" if file == path else file.relative_to(path).as_posix()
        try:
            _mark(mark, file, name, whole)
        except OSError as error:
            raise UsageError(f"'{one_line(file.name, 100)}' cannot be read: {error.strerror}") from None
    return mark.hexdigest()[:16]


def _mark(mark: Any, file: Path, name: str, whole: bool) -> None:
    size = file.stat().st_size
    mark.update(f"{name}\0{size}\0".encode(errors="surrogateescape"))
    with file.open("rb") as stream:
        if whole or size <= 3 * _BLOCK:
            while block := stream.read(_BLOCK):
                mark.update(block)
            return
        for start in (0, size // 2, size - _BLOCK):
            stream.seek(start)
            mark.update(stream.read(_BLOCK))


def _files(path: Path) -> list[Path]:
    """The file, or the files of a folder; ``ModelError`` where there are more than a model has."""
    if path.is_file():
        return [path]
    found: list[Path] = []
    for item in path.rglob("*"):
        if item.is_file():
            found.append(item)
        if len(found) > MOST_FILES:
            raise ModelError(f"model folder '{path.name}' has more than {MOST_FILES} files: it holds more than a model")
    return sorted(found)


def _embedded() -> ModelSource:
    """The shipped model. Its weights determine results, so a newly trained one is another model."""
    folder = Path(__file__).parents[1] / "models" / "embedded"
    spec: dict[str, Any] = {"kind": "embedded"}
    files = [folder / name for name in ("config.json", "model.safetensors", "tokenizer.json")]
    if all(file.is_file() for file in files):
        marks = canonical_json([fingerprint(file, whole=True) for file in files])
        spec["fingerprint"] = hashlib.sha256(marks.encode()).hexdigest()[:16]
    return ModelSource("embedded", spec)


def _random(word: str, folder: Path) -> ModelSource:
    from harness.models.sources import embedded_tokenizer_fits

    def file_of(path: str) -> Path | None:
        return located(path, folder, ModelError) if _PATH.match(path) else None

    found = random_model(word.removeprefix("random:"), file_of)
    parts = frozenset({"model", "config", *(["tokenizer"] if embedded_tokenizer_fits(found.entries) else [])})
    return ModelSource(found.word, found.spec, found.kind, parts, trained=False)


def _kind_of(folder: Path, path: str) -> str:
    from harness.models.sources import kind_of

    try:
        return kind_of(folder)
    except json.JSONDecodeError:
        raise ModelError(f"'{path}': config.json is not valid JSON") from None
