"""Environments: made as defined or not at all, found by the plan, and used by the launcher."""

from __future__ import annotations

import json
import subprocess
import sys
import threading

import pytest

from harness import environments
from harness.cli.environments import described
from harness.environments import syncing
from harness.errors import StoreError, UsageError
from harness.plan.machine import Machine, this_machine
from harness.results.store import Store
from harness.run import launcher

FAKES = environments.DEFINITIONS.parents[1] / "tests"
sys.path.insert(0, str(FAKES))

from fakes.jobs import make_job  # noqa: E402


def test_every_definition_is_pinned_and_says_what_it_is_for():
    for name in environments.names():
        defined = environments.definition(name)
        assert defined.summary and defined.techniques and defined.imports and name != environments.MAIN
        assert all(package.count("==") == 1 for package in defined.packages), "pinned to the version"


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(UsageError, match=r"unknown environment 'ggu'; did you mean 'gguf'\?; known: "):
        environments.definition("ggu")


def test_a_missing_one_is_named_with_the_command(defined):
    defined("demo", [], [])
    assert environments.ready() == {"main"}
    wanted = "needs the environment 'demo': harness env sync demo"
    assert Machine(1, 0).lacks_software("demo", ()) == wanted == environments.lacking("demo")
    with pytest.raises(UsageError, match="harness env sync demo"):
        environments.python("demo")


def test_it_holds_its_own_packages_and_sees_those_of_main(defined, wheel):
    defined("demo", [wheel("shadowed", "2.0")], ["shadowed"])
    said = []
    assert syncing.sync("demo", said.append)
    assert len(said) == 1 and not syncing.sync("demo")
    code = "import shadowed, pytest, sys, harness; print(shadowed.VERSION, pytest.__version__, sys.prefix)"
    done = subprocess.run([environments.python("demo"), "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2.0", pytest.__version__, str(environments.folder("demo"))]
    assert this_machine().environments == {"main", "demo"}
    assert [one["ready"] for one in described()] == [True]
    assert syncing.remove("demo") and not syncing.remove("demo")
    assert environments.lacking("demo") is not None


def test_a_definition_that_changed_is_made_anew(defined, wheel):
    defined("demo", [wheel("shadowed", "2.0")], ["shadowed"])
    syncing.sync("demo")
    defined("demo", [wheel("shadowed", "3.0")], ["shadowed"])
    assert environments.lacking("demo") == (
        "needs the environment 'demo', which was set up for other versions: harness env sync demo"
    )
    assert syncing.sync("demo") and environments.lacking("demo") is None
    code = "import shadowed; print(shadowed.VERSION)"
    done = subprocess.run([environments.python("demo"), "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "3.0"


def test_what_cannot_be_installed_is_said_in_one_line_and_not_there(defined):
    defined("demo", ["nowhere==1.0"], [])
    pattern = r"cannot install nowhere==1\.0 into environment 'demo': .*\(all of it in "
    with pytest.raises(StoreError, match=pattern) as told:
        syncing.sync("demo")
    assert "\n" not in str(told.value) and environments.lacking("demo") is not None


def test_what_installs_and_does_not_import_is_not_ready(defined, wheel):
    defined("demo", [wheel("broken", "1.0", "raise ImportError('no such library: libcuda')\n")], ["broken"])
    with pytest.raises(StoreError, match=r"installed and does not import: ImportError: no such library"):
        syncing.sync("demo")
    assert environments.lacking("demo") is not None


def test_a_place_that_cannot_be_written_is_named(defined, monkeypatch, tmp_path):
    defined("demo", [], [])
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HARNESS_ENVIRONMENTS", str(tmp_path / "file"))
    with pytest.raises(StoreError, match="HARNESS_ENVIRONMENTS"):
        syncing.sync("demo")


def test_what_is_compiled_is_kept_for_this_processor_and_these_options(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    one, other = syncing.build_cache({"CMAKE_ARGS": "-DA=1"}), syncing.build_cache({"CMAKE_ARGS": "-DA=2"})
    monkeypatch.setattr(syncing, "_processor", lambda: "another")
    assert len({one, other, syncing.build_cache({"CMAKE_ARGS": "-DA=1"})}) == 3
    assert one.is_relative_to(tmp_path)


def test_a_worker_runs_under_its_environment_and_the_record_says_which(defined, wheel, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(FAKES))
    defined("demo", [wheel("shadowed", "2.0")], ["shadowed"], DEMO_VARIABLE="7")
    syncing.sync("demo")
    store = Store(tmp_path / "results")
    jobs = [make_job("a"), make_job("b", "where", environment="demo"), make_job("c", "where")]
    outcome = launcher.run(jobs, store, preload=(), canary=False)
    records = {record["step"]: record for record in store.records("fakes").records}
    assert outcome.exit_code == 0, {step: record["reason"] for step, record in records.items()}
    assert records["a"]["environment"]["soft"]["environment"] == "main"
    assert records["b"]["environment"]["soft"]["environment"] == "demo"
    assert records["b"]["observed"]["where"] == {"prefix": str(environments.folder("demo")), "variable": "7"}
    assert records["c"]["observed"]["where"] == {"prefix": sys.prefix, "variable": None}
    assert records["b"]["environment"]["hard_id"] == records["c"]["environment"]["hard_id"]


def test_an_environment_that_went_away_ends_its_own_steps_alone(defined, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(FAKES))
    defined("demo", [], [])
    store = Store(tmp_path / "results")
    jobs = [make_job("a", environment="demo"), make_job("b"), make_job("c", input="a")]
    outcome = launcher.run(jobs, store, preload=(), canary=False)
    records = {record["step"]: record for record in store.records("fakes").records}
    assert [records[step]["status"] for step in "abc"] == ["crashed", "done", "skipped"] and outcome.exit_code == 1
    assert records["a"]["reason"] == "needs the environment 'demo': harness env sync demo"


def test_one_that_is_half_removed_is_not_ready(defined, wheel, monkeypatch):
    defined("demo", [wheel("shadowed", "2.0")], ["shadowed"])
    syncing.sync("demo")
    monkeypatch.setattr(syncing.shutil, "rmtree", lambda *_args, **_more: None)
    with pytest.raises(StoreError, match="cannot be removed"):
        syncing.remove("demo")
    assert environments.lacking("demo") is not None


def test_one_over_another_main_environment_is_not_ready(defined, wheel, monkeypatch):
    defined("demo", [wheel("shadowed", "2.0")], ["shadowed"])
    syncing.sync("demo")
    monkeypatch.setattr(sys, "prefix", "/elsewhere")
    assert "another main environment" in environments.lacking("demo")


def test_what_is_in_use_is_not_changed(defined, wheel):
    """`env sync` and `env remove` wait until the sweep that uses the environment has ended."""
    defined("demo", [wheel("shadowed", "2.0")], ["shadowed"])
    syncing.sync("demo")
    held = [environments.hold("demo"), environments.hold("demo")]
    removing = threading.Thread(target=syncing.remove, args=("demo",))
    removing.start()
    removing.join(timeout=0.3)
    assert removing.is_alive() and environments.lacking("demo") is None
    for one in held:
        one.close()
    removing.join(timeout=20)
    assert not removing.is_alive() and environments.lacking("demo") is not None


def test_what_this_machine_refuses_is_not_called_runnable(monkeypatch):
    from harness import catalogue
    from harness.cli import doctor

    monkeypatch.setattr(doctor, "gpu_names", lambda: ())
    monkeypatch.setattr(catalogue.environments, "lacking", lambda name: None)
    found = doctor.examine()["techniques"]
    assert found["gptq"] == {"runs": True, "missing": []}
    assert not found["auto_gptq"]["runs"] and "without CUDA" in found["auto_gptq"]["missing"][0]


def test_a_job_of_a_missing_environment_is_refused_with_the_command(defined, tmp_path):
    defined("demo", [], [])
    file = tmp_path / "job.json"
    file.write_text(json.dumps(make_job("a", environment="demo")))
    with pytest.raises(UsageError, match="harness env sync demo"):
        launcher.run_job(file)
