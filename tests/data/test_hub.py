"""Hub data sets, as far as a machine without a network can tell; a loopback server serves them elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.data import open_dataset, views_of
from harness.errors import DataError

CODE = """
import json, sys
from pathlib import Path
from harness.data import open_dataset
from harness.errors import DataError
try:
    data = open_dataset(json.loads(sys.argv[1]), cache=Path("nowhere"))
    print(json.dumps({split: data.view(sys.argv[2], split) for split in ("train", "validation", "test")}))
    print(data.fingerprint)
except DataError as error:
    print("DataError", error)
"""


def run(spec: dict, view: str, home: Path) -> list[str]:
    root = str(Path(__file__).parents[2])
    environment = {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "PATH": "", "PYTHONPATH": root}
    command = [sys.executable, "-c", CODE, json.dumps(spec), view]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return done.stdout.strip().splitlines()


def test_offline_and_not_in_the_cache_is_one_clear_line(tmp_path: Path) -> None:
    (line,) = run({"kind": "hub", "id": "nobody/nothing", "revision": "abc123"}, "text", tmp_path)
    assert line.startswith("DataError hub data 'nobody/nothing' at revision abc123 is not in the hub's cache here: ")
    assert "`harness prepare`" in line
    assert "HF_HUB_OFFLINE is set" in line


def test_a_folder_of_files_is_read_through_datasets(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    for split, count in (("train", 40), ("test", 5)):
        lines = [json.dumps({"q": f"{split} {n}", "a": f"answer {n}", "other": 1}) for n in range(count)]
        (folder / f"{split}.jsonl").write_text("\n".join(lines))
    spec = {"kind": "hub", "id": str(folder), "revision": "main", "columns": {"prompt": "q", "answer": "a"}}
    views, mark = run(spec, "instructions", tmp_path / "home")
    found = json.loads(views)
    assert found["test"] == [{"prompt": f"test {n}", "answer": f"answer {n}"} for n in range(5)]
    assert len(found["train"]) + len(found["validation"]) == 40 and found["validation"]
    assert len(mark) == 64
    (line,) = run(spec | {"columns": {"text": "question"}}, "text", tmp_path / "home")
    assert "has no column 'question'" in line and "it has: q, a, other" in line


def test_views_are_known_without_asking_anyone() -> None:
    assert views_of({"kind": "hub", "id": "a/b", "columns": {"source": "x", "target": "y"}}) == ("text_to_text",)
    with pytest.raises(DataError, match="needs 'id'"):
        views_of({"kind": "hub"})
    with pytest.raises(DataError, match="needs 'id'"):
        open_dataset({"kind": "hub"}, cache=Path("nowhere"))
