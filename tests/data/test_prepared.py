"""The one-file form of a data set."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from harness.data import open_dataset, prepare, source, views_of
from harness.data.prepared import PreparedDataset
from harness.errors import DataError

SOURCE = {"kind": "source"}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(SOURCE, tmp_path_factory.mktemp("prepared") / "source.zip")


@pytest.mark.slow
def test_source_is_built_once_and_found_again(tmp_path: Path, file: Path) -> None:
    mark = source.fingerprint()
    (tmp_path / "data").mkdir()
    cached = tmp_path / "data" / f"source-{mark}.zip"
    cached.write_bytes(file.read_bytes())
    changed = cached.stat().st_mtime_ns
    dataset = open_dataset(SOURCE, cache=tmp_path)
    assert dataset.fingerprint == mark and dataset.name == "source"
    assert cached.stat().st_mtime_ns == changed
    assert set(dataset.views()) == set(views_of(SOURCE))


def test_prepared_file_agrees_with_the_source(file: Path, tmp_path: Path, source_views: dict) -> None:
    dataset = open_dataset(SOURCE, prepared=file, cache=tmp_path)
    for view, splits in source_views.items():
        for split, items in splits.items():
            assert dataset.view(view, split) == items
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_same_data_same_bytes(file: Path, tmp_path: Path) -> None:
    assert prepare(SOURCE, tmp_path / "again.zip").read_bytes() == file.read_bytes()


def test_prepared_file_needs_no_package(file: Path) -> None:
    code = (
        "import sys; sys.modules['sympy'] = None\n"
        "from pathlib import Path; from harness.data import open_dataset\n"
        "d = open_dataset({'kind': 'source'}, prepared=Path(sys.argv[1]), cache=Path('nowhere'))\n"
        "print(len(d.view('choices', 'test')), d.expected)\n"
        "assert not {'torch', 'numpy', 'pandas', 'pyarrow', 'datasets'} & set(sys.modules)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code, str(file)], capture_output=True, text=True, cwd=root, check=True
    )
    assert done.stdout.split()[1] == "True"


def test_other_source_is_not_the_expected_one(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.zip"
    _rewrite(file, other, fingerprint="0" * 64)
    dataset = open_dataset(SOURCE, prepared=other, cache=tmp_path)
    assert isinstance(dataset, PreparedDataset) and dataset.expected is False


def test_file_for_other_data_is_refused(file: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="prepared for other data"):
        open_dataset({"kind": "hub", "id": "a/b"}, prepared=file, cache=tmp_path)


@pytest.mark.parametrize("view", ["txt", "choice"])
def test_unknown_view_names_the_nearest(file: Path, view: str) -> None:
    with pytest.raises(DataError, match=f"no view '{view}'; did you mean '(text|choices)'"):
        PreparedDataset(file).view(view, "test")


def test_unknown_split(file: Path) -> None:
    with pytest.raises(DataError, match="unknown split 'tests'; did you mean 'test'"):
        PreparedDataset(file).view("text", "tests")


def test_files_that_are_none(tmp_path: Path, file: Path) -> None:
    with pytest.raises(DataError, match="harness prepare"):
        PreparedDataset(tmp_path / "missing.zip")
    broken = tmp_path / "broken.zip"
    broken.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(DataError, match="not a file made by"):
        PreparedDataset(broken)
    newer = tmp_path / "newer.zip"
    _rewrite(file, newer, format=99)
    with pytest.raises(DataError, match="format 99, this version reads 1"):
        PreparedDataset(newer)


def test_unwritable_place_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    spec = _local(tmp_path)
    with pytest.raises(DataError, match="cannot write the prepared data"):
        prepare(spec, blocked / "out.zip")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "rows.jsonl"]


def test_prepared_local_file_works_where_the_file_is_gone(tmp_path: Path) -> None:
    spec = _local(tmp_path)
    before = open_dataset(spec, cache=tmp_path)
    items = {split: before.view("labels", split) for split in ("train", "validation", "test")}
    out = prepare(spec, tmp_path / "out.zip")
    Path(spec["path"]).unlink()
    after = open_dataset(spec, prepared=out, cache=tmp_path)
    assert {split: after.view("labels", split) for split in items} == items
    assert after.fingerprint == before.fingerprint


def test_unknown_kind(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="unknown kind of data 'sorce'; did you mean 'source'"):
        open_dataset({"kind": "sorce"}, cache=tmp_path)


def _local(folder: Path) -> dict:
    lines = [json.dumps({"text": f"text {number}", "label": number % 3}) for number in range(100)]
    (folder / "rows.jsonl").write_text("\n".join(lines))
    return {"kind": "local", "path": str(folder / "rows.jsonl"), "columns": {"text": "text", "label": "label"}}


def _rewrite(file: Path, out: Path, **changes: object) -> None:
    with zipfile.ZipFile(file) as archive, zipfile.ZipFile(out, "w") as copy:
        manifest = json.loads(archive.read("manifest.json"))
        copy.writestr("manifest.json", json.dumps(manifest | changes))
