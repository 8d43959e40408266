"""Names become folders and files: none of them leads out of the folder that was named for the output."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path
from types import ModuleType

import pytest
from payloads import EVERY, PATHS
from worlds import ran, tree, written

from harness.errors import HarnessError, StoreError
from harness.plain_text import LONGEST_NAME, is_name, slug
from harness.plan.first_look import slug as name_of_a_try
from harness.plan.suite import load_text
from harness.report.document import Document, Figure
from harness.report.writing import write_document
from harness.results.inside import check_inside
from harness.results.nights import Night, night_name
from harness.results.shared import SharedStore
from harness.results.store import Store

PIECES = (
    *PATHS,
    *EVERY,
    "a",
    "B",
    "0",
    ".",
    "-",
    "_",
    "/",
    "\\",
    "\x00",
    "\n",
    "é",
    "漢",
    "\u202e",
    "\udc80",
    "%",
    ":",
    "*",
    "?",
    "~",
)
MANY = 100_000


def names(count: int, seed: int = 0) -> list[str]:
    """Hostile names: every known one, and others put together from their pieces."""
    draw = random.Random(seed)
    known = [*PATHS, *EVERY]
    return known[:count] + ["".join(draw.choices(PIECES, k=draw.randrange(1, 7))) for _ in range(count - len(known))]


def _one_level_below(root: str, name: str) -> bool:
    path = os.path.normpath(os.path.join(root, name))  # noqa: PTH118  (text alone: the file system is not asked)
    return os.path.dirname(path) == root and path != root and "\0" not in path  # noqa: PTH120


def _none_escapes(count: int, root: Path) -> None:
    store, refused = Store(root), 0
    store.__dict__["installation"] = "0a1b2c3d4e5f"
    for name in names(count):
        assert _one_level_below(str(root), slug(name)) and is_name(slug(name)), repr(name)
        assert _one_level_below(str(root), name_of_a_try(name)), repr(name)
        if is_name(name):
            assert _one_level_below(str(root), name)
            continue
        refused += 1
        for suite, installation in ((name, "i"), ("s", name)):
            with pytest.raises(StoreError):
                SharedStore(root).put(_night(suite, installation), {})
    assert refused > count // 2
    assert not list(root.iterdir())


def _night(suite: str, installation: str) -> Night:
    started = "2026-01-01T00:00:00.000Z"
    return Night(night_name(started, installation), suite, installation, started, {}, {}, {}, ())


def test_no_hostile_name_escapes(tmp_path: Path) -> None:
    _none_escapes(4000, tmp_path)


@pytest.mark.slow
def test_none_of_a_hundred_thousand_names_escapes(tmp_path: Path) -> None:
    _none_escapes(MANY, tmp_path)


def test_a_slug_reads_like_its_name_and_is_never_empty() -> None:
    assert slug("My suite (2).v1") == "My-suite-2-.v1" and slug("../../etc/passwd") == "etc-passwd"
    assert slug("") == slug("...") == slug("///") == "x" and slug("漢字", "suite") == "suite"
    assert len(slug("a" * 5000)) == LONGEST_NAME and slug(".cache") == "cache" and slug("-rf") == "rf"


def test_a_suite_is_named_like_a_folder(tmp_path: Path) -> None:
    for name in names(400):
        text = f"name: {json.dumps(name)}\nmethod: base\ntasks: perplexity\n"
        try:
            assert is_name(load_text(text).name)
        except HarnessError as error:
            assert not is_name(name) or name in ("null",), (name, error)
        # without a name of its own it is called like its file
        try:
            assert is_name(load_text("method: base\ntasks: perplexity\n", file=f"{name}.yaml").name)
        except HarnessError:
            assert not is_name(Path(f"{name}.yaml").stem)


def test_a_file_called_dots_is_no_way_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    file = tmp_path / "in" / "...yaml"
    file.write_text("method: base\ntasks: perplexity\n")
    assert file.stem == ".."
    code, _, said = ran(capsys, "plan", file, "--results", tmp_path / "in" / "results")
    assert code == 2 and "cannot be a suite's name" in said and "name: suite" in said


@pytest.fixture
def around(tmp_path: Path, synthetic: ModuleType) -> dict[str, Path]:
    """A results folder in a larger one, and what must stay as it is around it."""
    inside = tmp_path / "work" / "results"
    synthetic.write(inside, methods=("base", "int8"))
    (tmp_path / "work" / "precious").mkdir()
    (tmp_path / "work" / "precious" / "index.html").write_text("mine")
    (tmp_path / "work" / "precious" / "rows.parquet").write_text("mine")
    return {"work": tmp_path / "work", "results": inside, "reports": tmp_path / "work" / "reports"}


COMMANDS = (
    ("report", "synthetic", "--results", "{results}", "--reports", "{reports}"),
    ("rows", "--results", "{results}"),
    ("export", "synthetic", "--format", "pytest-benchmark", "--results", "{results}"),
    ("claims", "{results}", "--report", "--reports", "{reports}"),
    ("choose", "synthetic", "--results", "{results}", "--report", "--reports", "{reports}"),
    ("history", "synthetic", "--results", "{results}", "--report", "--reports", "{reports}"),
)


def _outside(work: Path) -> dict[str, str]:
    """All but the reports, and what the results folder keeps to be read faster."""
    own = ("reports", "results/.cache", "results/synthetic/rows.parquet")
    return {name: what for name, what in tree(work).items() if not name.startswith(own)}


@pytest.mark.parametrize(
    "field",
    [
        "plan",
        "everything",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("suite", "step", "record", "installation")),
    ],
)
def test_what_files_say_leads_no_writer_outside(
    around: dict[str, Path], capsys: pytest.CaptureFixture[str], undrawn: None, field: str
) -> None:
    folder = around["results"] / "synthetic" / "0a1b2c3d4e5f"
    for number, path in enumerate(sorted(folder.glob("*.1.json"))):
        found, hostile = json.loads(path.read_text()), PATHS[number % len(PATHS)]
        if field in ("suite", "step", "record", "everything"):
            found |= {name: hostile for name in ("suite", "step", "record") if field in (name, "everything")}
        if field in ("installation", "everything"):
            found["environment"]["installation"] = hostile
        path.write_text(json.dumps(found))
    if field in ("plan", "everything"):
        told = json.loads((folder / "plan.json").read_text())
        (folder / "plan.json").write_text(json.dumps({**told, "suite": "../../precious"}))
    before = _outside(around["work"])
    for command in (one for one in COMMANDS if field != "plan" or one[0] in ("report", "choose", "history")):
        code, _, said = ran(capsys, *(part.format(**around) for part in command))
        assert code in (0, 1, 2, 3) and "Traceback" not in said
    assert _outside(around["work"]) == before
    assert {path.name for path in around["reports"].iterdir()} <= {"synthetic", "verdicts", "index.html", "README.md"}


@pytest.mark.parametrize("linked", [("synthetic", ".cache"), (".cache",), ()])
def test_links_in_a_results_folder_are_not_written_through(
    around: dict[str, Path], capsys: pytest.CaptureFixture[str], undrawn: None, linked: tuple[str, ...]
) -> None:
    results, precious = around["results"], around["work"] / "precious"
    if "synthetic" in linked:
        shutil.copytree(results / "synthetic", precious / "synthetic")
        shutil.rmtree(results / "synthetic")
        (results / "synthetic").symlink_to(precious / "synthetic")
    if ".cache" in linked:
        (results / ".cache").symlink_to(precious)
    else:
        (results / "synthetic" / "rows.parquet").symlink_to(precious / "rows.parquet")
        (results / "synthetic" / "nights").symlink_to(precious)
        for name in ("rows.parquet", "index.html"):
            (results / "synthetic" / f".{name}.{os.getpid()}.part").symlink_to(precious / name)
    around["reports"].mkdir()
    (around["reports"] / "synthetic").symlink_to(precious)
    (around["reports"] / "verdicts").symlink_to(precious)
    before = tree(precious)
    few = ("report", "rows") if linked != ("synthetic", ".cache") else tuple(command[0] for command in COMMANDS)
    clean = (
        "clean",
        "--results",
        "{results}",
        "--reports",
        "{reports}",
        "--keep-attempts",
        "1",
        "--max-size",
        "0",
        "--yes",
    )
    for command in (*(one for one in COMMANDS if one[0] in few), clean):
        _, _, said = ran(capsys, *(part.format(**around) for part in command))
        assert "Traceback" not in said and "No such" not in said, said
    assert tree(precious) == before


def test_a_link_in_a_file_s_place_is_replaced_and_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    out = tmp_path / "reports" / "s"
    out.mkdir(parents=True)
    for name in ("index.html", "README.md"):
        (out / name).symlink_to(precious)
    write_document(Document("s", []), out)
    assert precious.read_text() == "mine" and "<title>s</title>" in (out / "index.html").read_text()
    assert not (out / "index.html").is_symlink()


def test_a_figure_s_name_is_no_way_out(tmp_path: Path) -> None:
    figure = Figure(
        "../../../canary",
        "x",
        {"$schema": "https://vega.github.io/schema/vega-lite/v6.json", "mark": "point", "data": {"values": []}},
    )
    from harness.report.document import Section

    with pytest.raises(StoreError, match="leads out of"):
        write_document(Document("s", [], [Section("a", [figure])]), tmp_path / "reports" / "s")
    assert not list(tmp_path.rglob("canary*"))


def test_leading_out_is_told_from_lying_within(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "root")
    (tmp_path / "root" / "up").symlink_to(tmp_path)
    (tmp_path / "root" / "down").mkdir()
    (tmp_path / "root" / "side").symlink_to(tmp_path / "root" / "down")
    for inside in ("a", "a/b", "down/a", "side/a"):
        check_inside(tmp_path / "root", tmp_path / "root" / inside)
        check_inside(tmp_path / "link", tmp_path / "link" / inside)
    for outside in ("../a", "up/a", "down/../../a", "..", "."):
        with pytest.raises(StoreError):
            check_inside(tmp_path / "root", tmp_path / "root" / outside)


def test_the_id_of_a_results_folder_is_no_path(tmp_path: Path) -> None:
    for hostile in ("../../x", "/etc", "", "a/b", ".", "..", "a\nb", "x" * 300):
        folder = tmp_path / f"{abs(hash(hostile))}"
        (folder / ".cache").mkdir(parents=True)
        (folder / ".cache" / "installation").write_text(hostile)
        with pytest.raises(StoreError, match="holds no id"):
            Store(folder).folder("s")


def test_a_suite_s_folder_stays_below_the_results(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "linked").symlink_to(tmp_path)
    store = Store(tmp_path / "results")
    for hostile in ("../x", "../../etc", "/etc", "linked", "linked/x", ".."):
        with pytest.raises(StoreError, match="leads out of"):
            store.folder(hostile)
    assert store.folder("fine").parent == tmp_path / "results" / "fine"


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_file_does_not_hold_a_reader_up(tmp_path: Path, synthetic: ModuleType, kind: str) -> None:
    record = synthetic.record("eval", "base")
    written(tmp_path, [record], "synthetic")
    places = (
        tmp_path / "synthetic" / synthetic.INSTALLATION / "abc.1.json",
        tmp_path / "synthetic" / "nights" / "20260101T000000.000Z-i.json",
    )
    for path in places:
        path.parent.mkdir(exist_ok=True)
        {"pipe": os.mkfifo, "device": lambda at: at.symlink_to("/dev/zero"), "folder": Path.mkdir}[kind](path)
    found = Store(tmp_path).records("synthetic")
    assert len(found.records) == 1 and [path.name for path, _ in found.quarantined] == ["abc.1.json"]
    assert SharedStore(tmp_path).nights("synthetic").nights == []


def test_hub_names_are_no_paths() -> None:
    from harness.plan.sources import data_source, model_source

    for word in (
        "hub:../..",
        "hub:a/../b",
        "hub:/etc",
        "hub:a/b@../../x",
        "hub:a/b@/etc",
        "hub:a/b@x/../../y",
        "hub:",
        "hub:a b",
        "hub:.a/b",
    ):
        for source in (model_source, data_source):
            with pytest.raises(HarnessError) as refused:
                source(word, {}, Path())
            assert "\n" not in str(refused.value)
    for word in ("hub:a/b", "hub:a", "hub:a/b@main", "hub:a/b@refs/pr/1", "hub:a/b@v1.0"):
        assert model_source(word, {}, Path()).spec["kind"] == data_source(word, {}, Path()).spec["kind"] == "hub"


@pytest.mark.parametrize(
    "path",
    [
        "./a\0b",
        "~nobody-of-that-name/x",
        "./" + "x" * 5000,
        "/proc/self/mem",
        "/dev/zero",
        "./",
        "/",
        "./../../../../../../../../proc/1/mem",
    ],
)
def test_paths_that_lead_nowhere_are_one_line(tmp_path: Path, path: str) -> None:
    for text in (
        f"model: {json.dumps(path)}\nmethod: base\ntasks: perplexity\n",
        f"data: {json.dumps(path)}\nmethod: base\ntasks: perplexity\n",
        f"data_sets: {{d: {{path: {json.dumps(path)}, format: text}}}}\ndata: d\nmethod: base\ntasks: perplexity\n",
        f"models: {{m: {{path: {json.dumps(path)}}}}}\nmodel: m\nmethod: base\ntasks: perplexity\n",
    ):
        with pytest.raises(HarnessError) as refused:
            load_text(text, folder=tmp_path)
        assert "\n" not in str(refused.value)
