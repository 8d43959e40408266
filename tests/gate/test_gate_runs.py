"""Whole gates over a repository whose ``harness`` is a stand-in: order, resuming, what is refused, exit codes."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from harness import catalogue
from harness.cli.gating import _Progress
from harness.cli.history import accept
from harness.cli.judging import Sources
from harness.errors import HarnessError, StoreError, UsageError
from harness.run.interpreters import ask
from harness.run.pairs import Ledger, order_of


def cases(capsys: pytest.CaptureFixture[str]) -> dict[tuple[str, str], str]:
    told = json.loads(capsys.readouterr().out)
    return {(case["place"]["method"], case["metric"]): case["status"] for case in told["cases"]}


def ledger(tmp_path: Path) -> Path:
    (found,) = (tmp_path / "results" / ".gate").glob("*/pairs.json")
    return found


def test_nothing_changed(repository, run, tmp_path, capsys) -> None:
    repository.commit("new")
    assert run() == 0
    runs = repository.ran()
    assert Counter(side for side, *_ in runs) == {"base": 10, "head": 10}
    turns = [tuple(side for side, *_ in runs[place : place + 2]) for place in range(0, 20, 2)]
    assert {frozenset(turn) for turn in turns} == {frozenset(("base", "head"))} and len(set(turns)) == 2
    assert turns == [order_of(0, number) for number in range(1, 11)]
    out = capsys.readouterr().out
    assert "pair 10/10" in out and "4 series: 4 pass" in out and "10 pairs of runs in random order (seed 0)" in out
    assert "harness accept" not in out, "nothing is to accept"
    assert repository.worktrees() == 1 and repository.git("status", "--porcelain") == ""
    assert 'tests="4"' in (tmp_path / "gate.xml").read_text() and (tmp_path / "gate.md").read_text()


def test_a_slow_down_is_measured_again_and_found(repository, run, capsys) -> None:
    repository.commit("new", seconds=1.1)
    assert run(json=True) == 1
    found = cases(capsys)
    assert {key for key, status in found.items() if status == "regression"} == {
        ("base", "wall_seconds"), ("lora", "wall_seconds")
    }  # fmt: skip
    assert len(repository.ran()) == 40


def test_quality_is_worse_without_measuring_again(repository, run, capsys) -> None:
    repository.commit("new", perplexity=8.5)
    assert run(pairs=2, json=True) == 1
    assert cases(capsys)["lora", "perplexity"] == "regression" and len(repository.ran()) == 4


PLUG_IN = """
from harness.contract import Adapter

class Own(Adapter):
    "Does nothing."
    summary = "does nothing"
    source = "none"
"""


def test_both_sides_are_given_the_plug_ins(repository, run, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(catalogue, "_registered", {})
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "own.py"
    file.write_text(PLUG_IN)
    catalogue.plug_in("own.py")
    flag = tmp_path / "stopped"
    repository.commit("new", stops_at={"attempt": 2, "once": str(flag)})
    assert run(pairs=2) == 130
    assert run(pairs=2) == 0
    assert {suite for *_, suite in repository.ran()} == {f"suite: 1 {file}"}
    assert f"Both with --plugin {file}." in capsys.readouterr().out
    file.write_text(f"{PLUG_IN}# another\n")
    assert run(pairs=2) == 0
    assert len(list((tmp_path / "results" / ".gate").iterdir())) == 2, "a changed plug-in is another gate"


def test_few_pairs_are_insufficient(repository, run, capsys) -> None:
    repository.commit("new")
    assert run(pairs=2, strict=True) == 4
    assert run(pairs=2) == 0
    assert "2 insufficient" in capsys.readouterr().out


def test_a_whole_pair_is_not_measured_again(repository, run, tmp_path, capsys) -> None:
    flag = tmp_path / "stopped"
    repository.commit("new", stops_at={"attempt": 3, "once": str(flag)})
    assert run(pairs=4) == 130
    assert "the same command goes on" in capsys.readouterr().err and repository.worktrees() == 1
    done = json.loads(ledger(tmp_path).read_text())["pairs"]
    assert set(done) == {"1", "2"}
    before = len(repository.ran())
    assert run(pairs=4) == 0
    assert len(repository.ran()) - before == 4, "pairs 3 and 4, both sides of each"
    assert set(json.loads(ledger(tmp_path).read_text())["pairs"]) == set("1234")


def test_disturbed_pairs_are_replaced(repository, run, capsys) -> None:
    repository.commit("new", disturbed=[2, 5])
    assert run(strict=True) == 0
    assert len(repository.ran()) == 24
    out = capsys.readouterr().out
    assert "12 pairs of runs" in out and "in 4 of 48 steps: their times do not count" in out


def test_what_is_always_disturbed_ends_with_half_as_many_again(repository, run, capsys) -> None:
    repository.commit("new", disturbed=list(range(100)), methods=["base"])
    repository.commit("old", methods=["base"])
    assert run(base="old", strict=True) == 4
    assert len(repository.ran()) == 30
    assert "in each of 15 pairs" in capsys.readouterr().out


def test_a_finished_gate_is_measured_anew(repository, run, tmp_path) -> None:
    """Old numbers are never told as new ones; they are kept aside."""
    repository.commit("new")
    found = []
    for pairs in (2, 2, 3):
        assert run(pairs=pairs) == 0
        found.append(json.loads(ledger(tmp_path).read_text()))
    assert len(repository.ran()) == 14
    assert [len(each["pairs"]) for each in found] == [2, 2, 3] and all(each["finished"] for each in found)
    names = [{name for pair in each["pairs"].values() for name in pair["head"]} for each in found]
    assert not names[0] & names[1] and not names[1] & names[2]
    assert json.loads(ledger(tmp_path).with_suffix(".before.json").read_text()) == found[1]


def test_a_gate_is_finished_when_it_is_told(repository, run, tmp_path) -> None:
    repository.commit("new")
    (tmp_path / "gate.xml").mkdir()
    with pytest.raises(StoreError, match=r"gate\.xml"):
        run(pairs=2)
    (tmp_path / "gate.xml").rmdir()
    assert run(pairs=2) == 0 and len(repository.ran()) == 4


def test_other_packages_are_another_gate(repository, run, tmp_path, monkeypatch) -> None:
    flag = tmp_path / "stopped"
    repository.commit("new", stops_at={"attempt": 2, "once": str(flag)})
    assert run(pairs=2) == 130
    packages = tmp_path / "packages"
    monkeypatch.setenv("PYTHONPATH", str(packages))
    for version in (1, 2):
        folder = packages / "torchling.dist-info"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: torchling\nVersion: {version}\n")
        assert ask("base", sys.executable, tmp_path, os.environ).packages["torchling"] == str(version)
    before = len(repository.ran())
    assert run(pairs=2) == 0 and len(repository.ran()) - before == 4, "nothing of the stopped one was used"


def test_a_program_that_breaks_is_no_regression(repository, run) -> None:
    broken = 'import sys\nsys.exit("Traceback (most recent call last):\\nRuntimeError: boom")\n'
    repository.write("harness/__main__.py", broken)
    repository.commit("new")
    with pytest.raises(HarnessError, match="head cannot plan this suite: RuntimeError: boom") as caught:
        run()
    assert caught.value.exit_code == 3
    killed = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n"
    repository.write("harness/__main__.py", killed)
    repository.commit("newer")
    with pytest.raises(HarnessError, match="head cannot plan this suite") as caught:
        run(head="newer")
    assert caught.value.exit_code == 3
    repository.write("harness/__main__.py", "print('no plan')\n")
    repository.commit("newest")
    with pytest.raises(HarnessError, match="gave no plan") as caught:
        run(head="newest")
    assert caught.value.exit_code == 3


def test_steps_that_neither_side_gets_done_are_counted(repository, run, capsys) -> None:
    repository.commit("old", fails=["lora"])
    repository.commit("new", fails=["lora"])
    assert run(base="old", pairs=2) == 0
    assert "that the base never got done: 1, of which the head did not do 1 either" in capsys.readouterr().out
    repository.commit("all", status="failed", reason="no")
    with pytest.raises(UsageError, match=r"no number that is watched.*: 2, of which the head did not do 2 either"):
        run(base="all", head="all", pairs=1)


def test_a_gate_of_the_same_commit(repository, run, capsys) -> None:
    assert run(head="good", pairs=2) == 0
    assert Counter(side for side, *_ in repository.ran()) == {"base": 2, "head": 2}


def test_the_working_tree_may_be_the_head(repository, run, capsys) -> None:
    repository.behave(perplexity=9.0)
    assert run(head=".", pairs=2) == 1
    assert "with uncommitted changes" in capsys.readouterr().out
    assert [name for name, *_ in repository.ran()].count("repository") == 2
    repository.behave(perplexity=8.0)
    assert run(head=".", pairs=2) == 0, "other changes are another gate"


def test_both_run_the_suite_of_the_head(repository, run, tmp_path) -> None:
    repository.write("suites/tiny.yaml", "suite: 2")
    repository.commit("new")
    assert run(pairs=1) == 0
    assert {suite for *_, suite in repository.ran()} == {"suite: 2"}
    repository.write("suites/added.yaml", "suite: 3")
    repository.commit("newer")
    assert run(head="newer", suite="added", pairs=1) == 0
    assert {suite for *_, suite in repository.ran()[2:]} == {"suite: 3"}
    (tmp_path / "mine.yaml").write_text("suite: 4")
    assert run(suite="mine.yaml", pairs=1) == 0
    assert {suite for *_, suite in repository.ran()[4:]} == {"suite: 4"}


def test_a_working_tree_that_is_the_base_is_left_alone(repository, run) -> None:
    repository.write("suites/tiny.yaml", "suite: 2")
    with pytest.raises(UsageError, match="base is the working tree"):
        run(base=".", head="good")
    assert (repository.root / "suites" / "tiny.yaml").read_text() == "suite: 2"


def test_a_step_that_fails_at_head(repository, run, capsys) -> None:
    repository.commit("new", status="failed", reason="no such layer")
    assert run(pairs=2, json=True) == 3
    assert set(cases(capsys).values()) == {"errored"}


def test_a_cell_that_vanished(repository, run, capsys) -> None:
    repository.commit("new", methods=["base"])
    assert run(pairs=2, json=True) == 3
    found = cases(capsys)
    assert {found["lora", name] for name in ("wall_seconds", "perplexity")} == {"missing"}, "each of its series"


def test_a_change_that_a_gate_found_can_be_accepted(repository, run, tmp_path, capsys) -> None:
    """By id or by name, as every output spells them; what is worse still is an alarm again."""
    sources = Sources(tmp_path / "results", None)
    repository.commit("new", perplexity=8.5)
    assert run(pairs=2, json=True) == 1
    first, second = [one for one in json.loads(capsys.readouterr().out)["cases"] if one["status"] == "regression"]
    assert f"harness accept {first['id']}" in (tmp_path / "gate.xml").read_text()
    for name in (first["id"][:8], f"tiny: {second['series']}"):
        accept(name, None, "meant", 90, sources)
    assert run(pairs=2) == 0
    assert "2 accepted" in capsys.readouterr().out
    repository.commit("newer", perplexity=9.0)
    assert run(head="newer", pairs=2) == 1
    repository.commit("gone", methods=["base"])
    assert run(head="gone", pairs=2, json=True) == 3
    for one in json.loads(capsys.readouterr().out.partition("\n{")[2].join(["{", ""]))["cases"]:
        if one["status"] == "missing":
            accept(one["id"], "tiny", "no longer asked", 90, sources)
    assert run(head="gone", pairs=2) == 0
    with pytest.raises(UsageError, match=r"no series 'nothing' in .* nor in a gate's verdict"):
        accept("nothing", None, "x", 1, sources)
    verdict = next((tmp_path / "results" / ".gate").glob("*/verdict.json"))
    verdict.write_text("{}")
    with pytest.raises(StoreError, match=r"verdict\.json is damaged"):
        accept("nothing", None, "x", 1, sources)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"base": "goud"}, "unknown git ref 'goud'; did you mean 'good'"),
        ({"suite": "tinny"}, r"head \(good\) has no suite suites/tinny.yaml; did you mean 'tiny'"),
        ({"suite": "nothing.yaml"}, "has no suite nothing.yaml"),
        ({"head_python": "no-such-python"}, "--head-python no-such-python is no interpreter"),
        ({"base_python": "git"}, "base"),
    ],
)
def test_what_cannot_be_asked_for(repository, run, asked, said) -> None:
    with pytest.raises(HarnessError, match=said) as caught:
        run(**{"head": "good"} | asked)
    assert "\n" not in str(caught.value) and not repository.ran() and repository.worktrees() == 1


def test_a_base_that_cannot_plan_the_suite(repository, run) -> None:
    repository.commit("old", cannot="plan")
    with pytest.raises(UsageError, match="base cannot plan this suite: unknown technique 'lorra'"):
        run(base="old", head="good")


def test_no_cell_in_common(repository, run) -> None:
    repository.commit("new", methods=["int4"])
    with pytest.raises(UsageError, match="no cell in common"):
        run()


def test_an_interpreter_that_runs_another_harness(repository, run) -> None:
    repository.commit("new", sha="f" * 40)
    with pytest.raises(UsageError, match=r"head should run commit .* says ffffffffffff"):
        run(pairs=1)
    assert repository.worktrees() == 1


def test_other_packages_need_two_interpreters_or_a_word(repository, run, capsys) -> None:
    repository.write("pyproject.toml", (repository.root / "pyproject.toml").read_text().replace("2.13.0", "2.14.0"))
    repository.commit("new")
    with pytest.raises(UsageError, match=r"torch==2.13.0 -> torch==2.14.0.*--same-environment"):
        run(pairs=1)
    assert run(pairs=1, same_environment=True) == 0
    assert run(pairs=1, head_python=sys.executable) == 0


def test_a_ledger_of_another_gate(tmp_path) -> None:
    path = tmp_path / "pairs.json"
    Ledger(path, {"seed": 1}).keep(1, {"base": ["a.1"], "head": ["a.1"]})
    assert Ledger.open(path, {"seed": 1}).pairs == {1: {"base": ["a.1"], "head": ["a.1"]}}
    with pytest.raises(StoreError, match="another gate"):
        Ledger.open(path, {"seed": 2})
    path.write_text("{")
    with pytest.raises(StoreError, match="damaged"):
        Ledger.open(path, {"seed": 1})


def test_time_left_is_of_what_is_left(tmp_path, capsys) -> None:
    told = _Progress(range(1, 4), Ledger(tmp_path / "x", {}, {1: {}}), quiet=False)
    told(2, "base")
    told(2, "head")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "pair 2/3: base" and "about 0 min left" in lines[1]


def test_a_terminated_gate_ends_what_it_runs(repository, run, tmp_path, capsys) -> None:
    repository.commit("new", sleep=60)
    threading.Timer(1.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
    began = time.monotonic()
    assert run(pairs=1) == 143 and time.monotonic() - began < 30
    assert repository.worktrees() == 1 and not list((tmp_path / "results" / ".gate").glob("*/pairs.json"))
