"""Exported numbers: pytest-benchmark itself reads them, and computes the same from the same rounds."""

from __future__ import annotations

import csv
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pytest_benchmark.stats import Stats

from harness.analyse.watched import WATCHED
from harness.errors import UsageError
from harness.metrics import METRICS
from harness.report.ci.benchmark_action import benchmark_action
from harness.report.ci.measured import measured
from harness.report.ci.pytest_benchmark import pytest_benchmark
from harness.report.ci.rounds import statistics_of

METHODS = ("base", "lora", "int8")
ONE_BENCHMARK = "def test_one(benchmark):\n    benchmark.pedantic(lambda: None, rounds=3)\n"


def theirs(rounds):
    stats = Stats()
    for value in rounds:
        stats.update(value)
    return stats.as_dict()


def run(*arguments, cwd):
    command = [sys.executable, *arguments]
    # A run of its own: a worker of pytest-xdist measures no benchmark.
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env={**variables, "COLUMNS": "300"})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def compare(*arguments, cwd):
    said = run("-c", "from pytest_benchmark.cli import main; main()", "compare", *arguments, cwd=cwd)
    assert "Failed to load" not in said
    return said


@pytest.fixture(scope="module")
def found(synthetic):
    records = synthetic.records(METHODS)
    return measured("synthetic", records, {synthetic.INSTALLATION: synthetic.plan(METHODS)})


@pytest.fixture(scope="module")
def document(found):
    return pytest_benchmark(found)


def by_name(document):
    return {one["fullname"]: one for one in document["benchmarks"]}


@settings(max_examples=300, deadline=None)
@given(st.lists(st.floats(1e-6, 1e3) | st.integers(1, 9).map(float), min_size=1, max_size=40))
def test_statistics_are_those_of_pytest_benchmark(rounds):
    try:
        expected = theirs(rounds)
    except IndexError:
        assume(False)  # theirs stumbles where rounding puts a quartile beyond every round
    found = statistics_of(rounds)
    assert found.pop("data") == rounds and found.pop("iterations") == 1
    assert found == expected


def test_statistics_of_equal_rounds_and_of_none_at_all():
    for rounds in ([0.1] * 7, [0.3] * 5, [0.0], [0.0] * 4):
        found = statistics_of(rounds)
        assert found["ld15iqr"] == found["hd15iqr"] == found["median"] == rounds[0]
    assert statistics_of([0.0])["ops"] == 0


def test_every_field_of_pytest_benchmark_is_there(document, tmp_path):
    (tmp_path / "test_one.py").write_text(ONE_BENCHMARK)
    run("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_one.py", "--benchmark-json=real.json", cwd=tmp_path)
    real = json.loads((tmp_path / "real.json").read_text())
    assert set(document) == set(real)
    assert set(document["machine_info"]) >= set(real["machine_info"])
    assert set(document["commit_info"]) >= set(real["commit_info"])
    (benchmark,) = real["benchmarks"]
    for one in document["benchmarks"]:
        assert set(one) == set(benchmark)
        assert set(one["stats"]) == set(benchmark["stats"])
        assert all(type(value) is type(benchmark["stats"][name]) or {type(value), type(benchmark["stats"][name])} <= {
            int, float} for name, value in one["stats"].items())  # fmt: skip


def test_pytest_benchmark_compares_the_file(document, tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(document))
    said = compare("a.json", "--csv=table.csv", cwd=tmp_path)
    for metric in ("step_seconds", "inter_token_latency_seconds", "time_to_first_token_seconds", "wall_seconds"):
        assert f"benchmark '{metric}'" in said
    rows = list(csv.DictReader((tmp_path / "table.csv").open()))
    assert sorted(row["name"] for row in rows) == sorted(by_name(document))
    means = sorted(float(row["mean"]) for row in rows)
    assert means == pytest.approx(sorted(one["stats"]["mean"] for one in document["benchmarks"]))


def test_pytest_benchmark_compares_two_files(synthetic, document, tmp_path):
    slower = synthetic.records(METHODS)
    for one in slower:
        one["samples"] = {name: [2 * value for value in values] for name, values in one["samples"].items()}
    again = pytest_benchmark(measured("synthetic", slower, {}))
    (tmp_path / "0001_a.json").write_text(json.dumps(document))
    (tmp_path / "0002_b.json").write_text(json.dumps(again))
    said = compare("0001_a.json", "0002_b.json", "--group-by=fullname", cwd=tmp_path)
    assert said.count("2 tests") == len(document["benchmarks"])
    compare("0001_a.json", "0002_b.json", "--group-by=param:method", cwd=tmp_path)
    assert set(by_name(again)) == set(by_name(document)), "a tracker finds every series again"


def test_rounds_are_the_samples_without_the_warm_up(synthetic, found, document):
    records = {one["record"]: one for one in synthetic.records(METHODS)}
    seen = set()
    for one in document["benchmarks"]:
        record, metric = records[one["extra_info"]["record"]], one["group"]
        seen.add(metric)
        if metric == "step_seconds":
            assert one["stats"]["data"] == record["optimizer_steps"]["seconds"][6:]
        elif metric == "wall_seconds":
            assert one["stats"]["data"] == [record["wall_seconds"]]
        else:
            assert one["stats"]["data"] == record["samples"][metric]
        assert one["stats"]["mean"] == pytest.approx(statistics.fmean(one["stats"]["data"]))
        assert one["fullname"] == f"synthetic: {one['name']}: {metric}"
        assert one["extra_info"]["metrics"] == {k: v for k, v in record["metrics"].items() if v is not None}
        assert one["params"]["method"] == record["coordinates"]["method"]
    assert seen == {"step_seconds", "wall_seconds", "time_to_first_token_seconds", "inter_token_latency_seconds"}
    assert len({one["fullname"] for one in document["benchmarks"]}) == len(document["benchmarks"])
    assert len(found) == len({one["extra_info"]["record"] for one in document["benchmarks"]}), "every step is there"


def test_the_machine_and_the_commit(synthetic, document):
    assert document["machine_info"]["cpu"] == {
        "brand_raw": "Example CPU 9000", "arch_string_raw": None, "count": 2
    }  # fmt: skip
    assert document["machine_info"]["node"] == synthetic.INSTALLATION and document["machine_info"]["release"] == "6.1"
    assert document["commit_info"]["id"] == "5b8a01a0" * 5 and document["commit_info"]["dirty"] is False
    assert document["datetime"].endswith("+00:00")


def test_the_same_records_give_the_same_document(synthetic, document):
    plans = {synthetic.INSTALLATION: synthetic.plan(METHODS)}
    again = pytest_benchmark(measured("synthetic", reversed(synthetic.records(METHODS)), plans))
    assert json.dumps(again) == json.dumps(document)


def test_the_latest_finished_attempt_counts(synthetic):
    def one(attempt, **changes):
        started = f"2026-11-2{attempt}T00:00:00.000Z"
        return synthetic.record("train", "lora", attempt=attempt, started=started, **changes)

    records = [
        one(1, wall_seconds=1.0), one(2, wall_seconds=2.0), one(3, wall_seconds=3.0, status="crashed"),
        synthetic.record("canary", "", samples={"canary_matmul_seconds": [1.0]}),
    ]  # fmt: skip
    (only,) = pytest_benchmark(measured("s", records, {}))["benchmarks"]
    assert only["stats"]["data"] == [2.0]


def test_steps_of_older_plans_are_left_out(synthetic):
    old, new = (synthetic.record("train", "lora", step=name * 16) for name in "ab")
    plan = {"steps": [{"id": new["step"]}]}
    assert [one.record["step"] for one in measured("s", [old, new], {synthetic.INSTALLATION: plan})] == ["b" * 16]
    both = measured("s", [old, new], {})
    assert [one.short for one in both] == [f"train lora @ embedded, source, fp32, cpu(threads=2)#{n * 8}" for n in "ab"]


def test_whose_records(synthetic):
    mine = synthetic.record("train", "lora", installation="aaaaaaaaaaaa", started="2026-11-20T00:00:00.000Z")
    other = synthetic.record("train", "lora", installation="bbbbbbbbbbbb", started="2026-11-21T00:00:00.000Z")

    def chosen(**asked):
        (one,) = measured("s", [mine, other], {}, **asked)
        return one.record["environment"]["installation"]

    assert chosen() == "bbbbbbbbbbbb" and chosen(own="aaaaaaaaaaaa") == "aaaaaaaaaaaa"
    assert chosen(installation="bbbbbbbbbbbb", own="aaaaaaaaaaaa") == "bbbbbbbbbbbb"
    assert chosen(own="cccccccccccc") == "bbbbbbbbbbbb"
    with pytest.raises(UsageError, match="cccccccccccc has finished nothing of suite s; known: aaaaaaaaaaaa, bbb"):
        chosen(installation="cccccccccccc")


def test_nothing_finished_is_said(synthetic):
    with pytest.raises(UsageError, match="no measurement of suite s is finished"):
        measured("s", [synthetic.record("train", "lora", status="crashed")], {})
    with pytest.raises(UsageError, match="nothing of the latest plan of suite s"):
        measured("s", [synthetic.record("train", "lora")], {synthetic.INSTALLATION: {"steps": [{"id": "other"}]}})


@pytest.mark.parametrize(("better", "direction"), [("lower", "lower"), ("higher", "higher")])
def test_benchmark_action_gets_what_is_watched_in_that_direction(synthetic, found, better, direction):
    entries = benchmark_action(found, better)
    records = {one["record"]: one for one in synthetic.records(METHODS)}
    wanted = sorted(
        value for one in found for name, value in records[one.record["record"]]["metrics"].items()
        if name in WATCHED and METRICS[name].direction == direction
    )  # fmt: skip
    assert entries and sorted(entry["value"] for entry in entries) == wanted
    assert len({entry["name"] for entry in entries}) == len(entries)
    for entry in entries:
        metric = entry["name"].rsplit(": ", 1)[1]
        assert entry["unit"] == METRICS[metric].unit
        assert all(isinstance(entry.get(name, ""), str) for name in ("name", "unit", "range", "extra"))
        assert isinstance(entry["value"], int | float)
    ranged = {entry["name"].rsplit(": ", 1)[1] for entry in entries if "range" in entry}
    assert ranged == {"lower": {"time_to_first_token_seconds"}, "higher": {"decode_tokens_per_second"}}[better]


def test_the_range_is_half_the_distance_of_the_quartiles(synthetic):
    record = synthetic.record(
        "eval", "base", task="generation_speed", metrics={"decode_tokens_per_second": 3.0},
        samples={"decode_tokens_per_second": [1.0, 2.0, 3.0, 4.0]},
    )  # fmt: skip
    (entry,) = benchmark_action(measured("s", [record], {}), "higher")
    assert entry["range"] == "± 1" and entry["value"] == 3.0 and entry["unit"] == "token/s"


def test_hostile_text_is_exported(synthetic, every_hostile, tmp_path):
    records = [
        synthetic.record(
            "eval", text, task=text, model=text, data=text, precision=text, hardware=text, suite=text,
            metrics={"peak_memory_bytes": 5.0, "wall_seconds": None, text: 1.0, "perplexity": float("nan")},
            samples={"inter_token_latency_seconds": [0.1, float("inf"), None], text: [1.0]}, flags=[text],
        )
        for text in every_hostile
    ]  # fmt: skip
    found = measured("s", records, {})
    document = pytest_benchmark(found)
    assert len(by_name(document)) == len(records)
    for one in document["benchmarks"]:
        assert one["stats"]["data"] == [0.1] and one["extra_info"]["metrics"]["peak_memory_bytes"] == 5.0
        assert not set(one["fullname"]) & set("\x00\n\r\x1b") and len(one["fullname"]) < 1200
    (tmp_path / "a.json").write_text(json.dumps(document, allow_nan=False))
    said = compare("a.json", cwd=tmp_path)
    assert f"{len(records)} tests" in said and "\x00" not in said and "\x1b[31m" not in said
    entries = benchmark_action(found, "lower")
    assert [entry["value"] for entry in entries] == [5.0] * len(records) and json.dumps(entries, allow_nan=False)


def test_committed_records_are_exported(tmp_path):
    from harness.results.store import Store

    store = Store(Path(__file__).resolve().parents[3] / "results")
    for suite in ("quick", "efficiency"):
        found = measured(suite, store.records(suite).records, store.plans(suite))
        document = pytest_benchmark(found)
        assert len(by_name(document)) == len(document["benchmarks"]) > 20
        assert not any("#" in one.short for one in found), "coordinates alone tell the steps apart"
