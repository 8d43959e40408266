"""Work trees of a real git repository: what a ref means, and that nothing stays behind."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.run import checkouts
from harness.run.checkouts import checked_out, content_of, names_of, state_of


def test_a_ref_is_a_commit(repository) -> None:
    sha = repository.git("rev-parse", "HEAD")
    assert {state_of(repository.root, ref).sha for ref in ("good", "main", "HEAD", sha[:8])} == {sha}
    assert state_of(repository.root, "good").name == sha[:8]
    with pytest.raises(UsageError, match=r"unknown git ref 'goud'; did you mean 'good'"):
        state_of(repository.root, "goud")
    with pytest.raises(UsageError, match="unknown git ref '--all'"):
        state_of(repository.root, "--all")


def test_the_working_tree_is_known_by_what_is_not_committed(repository) -> None:
    clean = state_of(repository.root, ".")
    assert clean.changes == "" and clean.sha == repository.git("rev-parse", "HEAD")
    repository.behave(seconds=2)
    first = state_of(repository.root, ".")
    repository.write("harness/new.py", "x = 1")
    second = state_of(repository.root, ".")
    repository.write("harness/new.py", "x = 2")
    assert len({"", first.changes, second.changes, state_of(repository.root, ".").changes}) == 4
    repository.write("results/quick/a.json", "{}")
    repository.write("harness/new.py", "x = 1")
    assert state_of(repository.root, ".") == second


def test_new_files_of_any_name_and_kind(repository) -> None:
    root, states = repository.root, []
    for name in ("\u00e9.txt", 'a "b".txt', "two\nlines.txt", " blank "):
        repository.write(name, "1")
        states.append(state_of(root, "."))
        repository.write(name, "2")
        states.append(state_of(root, "."))
    (root / os.fsdecode(b"latin\xe9.txt")).write_text("3")
    states.append(state_of(root, "."))
    for target in ("nowhere", "nothing", "."):
        (root / "link").unlink(missing_ok=True)
        (root / "link").symlink_to(target)
        states.append(state_of(root, "."))
    (root / "nested").mkdir()
    subprocess.run(["git", "init", "-q", str(root / "nested")], check=True)
    (root / "nested" / "file").write_text("4")
    states.append(state_of(root, "."))
    assert len({each.changes for each in states}) == len(states)
    (root / "nested" / "file").write_text("5")
    assert state_of(root, ".") == states[-1], "another repository's files are none of this one"


def test_files_of_a_state(repository) -> None:
    good = state_of(repository.root, "good")
    repository.write("suites/tiny.yaml", "suite: 2")
    repository.write("suites/other.yaml", "suite: 3")
    here = state_of(repository.root, ".")
    assert content_of(repository.root, good, "suites/tiny.yaml") == "suite: 1"
    assert content_of(repository.root, here, "suites/tiny.yaml") == "suite: 2"
    assert content_of(repository.root, good, "suites/other.yaml") is None
    assert names_of(repository.root, good, "suites") == ["tiny.yaml"]
    assert names_of(repository.root, here, "suites") == ["other.yaml", "tiny.yaml"]


@pytest.mark.parametrize("stop", [None, KeyboardInterrupt, UsageError])
def test_work_trees_are_gone_however_it_ends(repository, stop) -> None:
    states = {side: state_of(repository.root, "good") for side in ("base", "head")}
    folders: dict[str, Path] = {}

    def use() -> None:
        with checked_out(repository.root, states) as found:
            folders.update(found)
            assert all((folder / "harness" / "__main__.py").is_file() for folder in found.values())
            assert repository.worktrees() == 3
            if stop is not None:
                raise stop

    if stop is None:
        use()
    else:
        with pytest.raises(stop):
            use()
    assert repository.worktrees() == 1 and not any(folder.exists() for folder in folders.values())
    assert len({len(str(folder)) for folder in folders.values()}) == 1, "environments of equal size"


def test_the_working_tree_is_used_as_it_is_and_stays(repository) -> None:
    with checked_out(repository.root, {"head": state_of(repository.root, ".")}) as found:
        assert found["head"] == repository.root and repository.worktrees() == 1
    assert (repository.root / "harness").is_dir()


def test_what_is_left_of_a_killed_gate_is_pruned(repository, tmp_path) -> None:
    repository.git("worktree", "add", "-q", "--detach", str(tmp_path / "left"), "good")
    (tmp_path / "left").rename(tmp_path / "gone")
    assert repository.worktrees() == 2
    with checked_out(repository.root, {}):
        assert repository.worktrees() == 1


def test_without_git_or_a_checkout(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(checkouts.shutil, "which", lambda name: None)
    with pytest.raises(UsageError, match="needs git"):
        checkouts.repository()
    monkeypatch.undo()
    monkeypatch.setattr(checkouts, "__file__", str(tmp_path / "site-packages" / "harness" / "run" / "checkouts.py"))
    with pytest.raises(UsageError, match="own git checkout"):
        checkouts.repository()
