"""A task of lm-eval from a YAML file of one's own: what it says, what it names, and a hash of both.

Read by the plan and by the worker through the same lines, so that what was checked is what runs. Nothing that a file
names is imported or executed here. Files are read as lm-eval reads them (YAML 1.1, ``include``, own keys win), with
these rules: data are local files of a known format, relative to the file that names them, or a data set of the hub;
generation is greedy; Python (``!function``) only where ``functions`` allows it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import DataError
from harness.plain_json import NotPlain, content_of
from harness.plain_text import one_line

LARGEST_BYTES = 1_000_000
MOST_FILES = 50
FORMATS = ("json", "csv", "parquet", "text", "arrow")
OUTPUTS = ("multiple_choice", "loglikelihood", "loglikelihood_rolling", "generate_until")
# Keys whose values only Python gives, or that open more than text.
_CODE_KEYS = ("class", "custom_dataset", "process_docs", "process_results", "use_prompt")
_DATA_OPTIONS = ("data_files", "field", "delimiter", "sep", "encoding", "revision")
_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")


@dataclass(frozen=True)
class Function:
    """``!function module.name``: which function a file names, and the folder that it is looked for in."""

    name: str
    folder: Path


@dataclass
class TaskFile:
    """What a task file says, its includes merged; ``fingerprint`` tells it from any other, whatever the paths are."""

    name: str
    config: dict[str, Any] = field(default_factory=dict)
    fingerprint: str = ""


def read(path: Path, *, functions: bool, metrics: Mapping[str, str]) -> TaskFile:
    """Read and check a task file. ``metrics`` are the names of metrics that can be reported.

    ``DataError`` in one line where it cannot be used.
    """
    files: dict[Path, bytes] = {}
    named: list[Function] = []
    config = _merged(path, files, named)
    _check(path.name, config, named, functions, metrics)
    data = list(_place_data(path, config))
    digest = hashlib.sha256()
    for content in files.values():
        digest.update(b"task %s\n" % hashlib.sha256(content).hexdigest().encode())
    for file in data:
        with file.open("rb") as stream:
            digest.update(b"data %s\n" % hashlib.file_digest(stream, "sha256").hexdigest().encode())
    for file in _code(files, named) if functions else ():
        digest.update(b"code %s %s\n" % (file.name.encode(), hashlib.sha256(file.read_bytes()).hexdigest().encode()))
    return TaskFile(path.name, config, digest.hexdigest()[:16])


def _merged(path: Path, files: dict[Path, bytes], named: list[Function]) -> dict[str, Any]:
    """A file's keys over those of what it includes, as lm-eval merges them."""
    path = path.resolve()
    if path in files:
        raise DataError(f"{path.name}: it includes itself, or a file twice")
    if len(files) >= MOST_FILES:
        raise DataError(f"{path.name}: more than {MOST_FILES} files are included")
    files[path], config = _read_one(path, named)
    includes = config.pop("include", None) or []
    found: dict[str, Any] = {}
    for one in includes if isinstance(includes, list) else [includes]:
        if not isinstance(one, str):
            raise DataError(f"{path.name}: include: takes paths of files")
        inner = _merged(path.parent / one, files, named)
        inner.pop("task_list", None)
        found |= inner
    return found | config


def _read_one(path: Path, named: list[Function]) -> tuple[bytes, dict[str, Any]]:
    import yaml

    from harness.plain_yaml import beyond_limits

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        """The safe loader, to which a function is the name of one."""

    def function(loader: Any, node: Any) -> Function:
        named.append(Function(str(loader.construct_scalar(node)), path.parent))
        return named[-1]

    Loader.add_constructor("!function", function)
    try:
        content = content_of(path, LARGEST_BYTES)
        text = content.decode("utf-8-sig")
        if told := beyond_limits(text, Loader):
            raise DataError(f"{path.name}:{told[1]}: {told[0]}")
        found = Loader(text).get_single_data()
    except FileNotFoundError:
        raise DataError(f"task file '{path.name}' does not exist") from None
    except OSError as error:
        raise DataError(f"task file '{path.name}' cannot be read: {error.strerror}") from None
    except NotPlain as error:
        raise DataError(f"task file '{path.name}' cannot be read: {error}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{path.name}:{mark.line + 1}" if mark else path.name
        raise DataError(f"{where}: not valid YAML: {one_line(error.problem or 'unreadable', 200)}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DataError(f"{path.name}: not valid YAML: {one_line(error, 200)}") from None
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise DataError(f"{path.name} is no task of lm-eval: it must be a mapping of names")
    return content, found


def _check(
    name: str, config: dict[str, Any], named: list[Function], functions: bool, metrics: Mapping[str, str]
) -> None:
    if "group" in config or isinstance(config.get("task"), list):
        raise DataError(f"{name} is a group of tasks; name its tasks one by one: task=[./a.yaml, ./b.yaml]")
    if not isinstance(config.get("task"), str):
        raise DataError(f"{name} is no task of lm-eval: it has no task:")
    if named and not functions:
        said = one_line(named[0].name, 60)
        raise DataError(f"{name} names Python code (!function {said}), which is run only with functions=true")
    for key in _CODE_KEYS:
        if config.get(key) is not None and not isinstance(config[key], Function):
            raise DataError(f"{name}: {key}: is not supported in a task file")
    if config.get("doc_to_image") or config.get("doc_to_audio") or config.get("unsafe_code"):
        raise DataError(f"{name}: tasks over images or sound, or that run what a model writes, are not supported")
    if config.get("output_type", "generate_until") not in OUTPUTS:
        said = one_line(config["output_type"], 60)
        raise DataError(f"{name}: unknown output_type '{said}'; known: {', '.join(OUTPUTS)}")
    _check_metrics(name, config, metrics)
    _check_generation(name, config.get("generation_kwargs") or {})


def _check_metrics(name: str, config: dict[str, Any], metrics: Mapping[str, str]) -> None:
    given = config.get("metric_list")
    if given is None:
        return
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        raise DataError(f"{name}: metric_list: takes a list of {{metric: name}}")
    for one in given:
        said = one.get("metric")
        if not isinstance(said, str) or said not in metrics:
            raise DataError(f"{name}: unknown metric '{one_line(said, 60)}'; known: {', '.join(metrics)}")
        if one.get("hf_evaluate"):
            raise DataError(f"{name}: hf_evaluate: fetches code from the hub, which is never run; leave it out")


def _check_generation(name: str, given: Any) -> None:
    if not isinstance(given, dict):
        raise DataError(f"{name}: generation_kwargs: takes a mapping")
    if reason := sampling(given):
        raise DataError(f"{name}: generation_kwargs: {reason}")


def sampling(given: Mapping[str, Any]) -> str | None:
    """Why options of generation ask for something else than the likeliest token each time, or None."""
    greedy = not given.get("do_sample") and not given.get("temperature") and given.get("num_beams", 1) == 1
    known = {"until", "max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens", "do_sample",
             "temperature", "num_beams", "top_p", "top_k"}  # fmt: skip
    if not greedy:
        return "generation is greedy here: leave do_sample, temperature and num_beams out"
    if other := sorted(map(str, set(given) - known)):
        return f"'{one_line(other[0], 60)}' is not known here"
    return None


def _place_data(path: Path, config: dict[str, Any]) -> Iterator[Path]:
    """Make the paths of data files whole, in place, and give them in their order; those of the hub have none."""
    where, options = config.get("dataset_path"), config.get("dataset_kwargs") or {}
    if isinstance(config.get("custom_dataset"), Function):
        return
    if not isinstance(where, str) or not isinstance(options, dict):
        raise DataError(f"{path.name}: dataset_path: must name a format ({', '.join(FORMATS)}) or data of the hub")
    if other := sorted(map(str, set(options) - set(_DATA_OPTIONS))):
        known = ", ".join(_DATA_OPTIONS)
        raise DataError(f"{path.name}: dataset_kwargs: '{one_line(other[0], 60)}' is not known here (known: {known})")
    if where not in FORMATS:
        if not _HUB_ID.fullmatch(where) or where in ("pandas", "pickle") or "data_files" in options:
            said = one_line(where, 60)
            raise DataError(f"{path.name}: dataset_path: '{said}' is no format of local files ({', '.join(FORMATS)})")
        return
    given = options.get("data_files")
    splits = given if isinstance(given, dict) else {"train": given}
    placed = {str(split): [_data_file(path, one) for one in _listed(files)] for split, files in splits.items()}
    if not placed or not all(placed.values()):
        raise DataError(f"{path.name}: dataset_kwargs: data_files: must name the files of each split")
    config["dataset_kwargs"] = options | {"data_files": {key: list(map(str, files)) for key, files in placed.items()}}
    for split in sorted(placed):
        yield from placed[split]


def _listed(files: Any) -> list[Any]:
    return files if isinstance(files, list) else [files]


def _data_file(path: Path, given: Any) -> Path:
    """A data file, from the folder of the task file. No pattern, no address."""
    said = one_line(given, 100)
    if not isinstance(given, str) or any(mark in given for mark in "*?[\0"):
        raise DataError(f"{path.name}: data_files: '{said}' is no path of one file")
    found = path.resolve().parent / given
    try:
        if not found.is_file():
            raise DataError(f"{path.name}: data file '{said}' does not exist beside it")
    except OSError as error:
        raise DataError(f"{path.name}: data file '{said}' cannot be looked for: {error.strerror}") from None
    return found


def _code(files: Mapping[Path, bytes], named: list[Function]) -> list[Path]:
    """The Python files beside task files, and those that their functions lie in: any of them may decide the result."""
    found = {file for path in files for file in path.parent.glob("*.py")}
    for function in named:
        found.add(function.folder / f"{function.name.rpartition('.')[0].replace('.', '/')}.py")
    return sorted(file for file in found if file.is_file())
