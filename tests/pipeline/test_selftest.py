"""``harness selftest``: one small suite again and again, and what it says of this machine."""

from __future__ import annotations

import json
import math
import statistics
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from harness.analyse.selftest import SelfTest, self_test
from harness.analyse.watched import WATCHED
from harness.cli.selftest import _show, suite_of_the_package
from harness.plan.plan import plan
from harness.results.rows import frame_of

pytestmark = pytest.mark.quiet


def test_its_suite_is_in_the_package_and_plans() -> None:
    found = plan(suite_of_the_package())
    assert found.suite.name == "selftest" and {step.state for step in found.steps} == {"runnable"}
    told = {(step.operation, step.coordinates["task"]) for step in found.steps}
    assert ("train", None) in told and {"perplexity(windows=24)", "generation_speed"} <= {task for _, task in told}


def test_one_repeat_is_wrong_use(harness: Any) -> None:
    done = harness("selftest", "--repeats", "1")
    assert done.returncode == 2 and "repeats" in done.stderr


def test_what_the_terminal_shows(synthetic: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    walls = (2.0, 2.1, 1.9, 2.05)
    records = [
        synthetic.record(
            "eval", "base", task="perplexity", attempt=number, started=f"2026-11-25T10:0{number}:00.000Z",
            metrics={"wall_seconds": wall, "perplexity": 7.4, "meter_overhead_share": 0.02},
        )
        for number, wall in enumerate(walls, start=1)
    ]  # fmt: skip
    found = self_test(frame_of(records), synthetic.INSTALLATION)
    assert isinstance(found, SelfTest)
    _show(found)
    first, head, *said = capsys.readouterr().out.splitlines()
    line = next(line for line in said if "Wall time" in line)
    assert first.startswith("Self-test of 4 repeats")
    assert head.split()[:2] == ["Step", "Number"] and "Smallest detectable change, 10 pairs" in head
    assert line.startswith("perplexity base @ embedded, fp32  Wall time") and "2.02 s" in line
    assert any("numbers compared with themselves show no difference at 95 % confidence." in line for line in said)
    assert any("add 2 % [2, 2] to a step" in sentence for sentence in said)


@pytest.mark.slow
def test_a_real_self_test_and_the_same_numbers_from_its_records(harness: Any, tmp_path: Path) -> None:
    done = harness("selftest", "--repeats", "4", "--results", "r", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    folder = tmp_path / "r" / "selftest" / found["installation"]
    records = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json")) if path.name != "plan.json"]
    steps = {one["step"]: one for one in records if one["operation"] != "canary"}
    assert found["repeats"] == 4 and len(records) == 4 * (len(steps) + 2), "each repeat between two canaries"
    assert json.loads((folder / "plan.json").read_text())["since"] <= found["began"]
    assert found["unequal"] == [] and found["exact"] > 5

    told = {(one["place"]["step"], one["metric"]): one for one in found["noise"]}
    for step in steps:
        attempts = sorted((one for one in records if one["step"] == step), key=lambda one: one["attempt"])
        values = [one["metrics"]["wall_seconds"] for one in attempts]
        one = told[step, "wall_seconds"]
        assert one["n"] == 4 and one["level"] == pytest.approx(statistics.median(values))
        assert one["deviation"] == pytest.approx(statistics.stdev(values) / statistics.mean(values))
        ratio = math.sqrt(values[1] / values[0] * values[3] / values[2])
        assert one["ratio"]["estimate"] == pytest.approx(ratio)
    watched = {(one["step"], name) for one in records for name in one["metrics"] if name in WATCHED}
    assert set(told) == {(step, name) for step, name in watched if step in steps}
    shares = [one["metrics"]["supervisor_cpu_share"] for one in records if one["operation"] != "canary"]
    assert found["supervised"]["highest"] == pytest.approx(max(shares))
    overheads = [one["metrics"]["meter_overhead_share"] for one in records if "meter_overhead_share" in one["metrics"]]
    assert found["overhead"]["estimate"] == pytest.approx(statistics.median(overheads))
