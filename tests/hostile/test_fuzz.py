"""What anybody may write, thousands of times over: it is read, or refused in one line. Nothing else may come out.

The short form runs in seconds; the slow one has more than 10^5 inputs (``COUNTS``), the same ones every time.
"""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import JUNK, mutated, texts, values
from payloads import EVERY, PATHS
from worlds import written

from harness.analyse import accepted
from harness.analyse.comparison import compare
from harness.analyse.history import cases_of
from harness.claims import read as read_claims
from harness.cli.untrusted import over_files
from harness.errors import HarnessError, StoreError, UsageError
from harness.plan.expression import parse, parse_call
from harness.plan.machine import Machine
from harness.plan.methods import Resolver
from harness.plan.plan import plan
from harness.plan.suite import load_text
from harness.report.build import compose, content_of
from harness.report.ci.measured import measured
from harness.report.ci.pytest_benchmark import pytest_benchmark
from harness.report.pages import html, markdown
from harness.results import plan_file
from harness.results.facts import facts_of
from harness.results.items import items_of
from harness.results.nights import night_of, read_night
from harness.results.observations import coordinates, observations
from harness.results.record import from_text, to_text
from harness.results.shape import misfit_of_plan
from harness.results.store import Store
from harness.run.launcher import read_job

ROOT = Path(__file__).parents[2]
HERE = Machine(cores=2, cuda_devices=0)
# Inputs of the slow form. The short one takes a hundredth of each, and of what is dear a few.
COUNTS = {
    "records": 30_000,
    "record bytes": 20_000,
    "suites": 12_000,
    "suite bytes": 8_000,
    "expressions": 20_000,
    "nights": 8_000,
    "claims": 4_000,
    "accepted": 4_000,
    "plans": 4_000,
    "jobs": 3_000,
    "parquet": 1_000,
}
SHORT = {name: max(40, count // 100) for name, count in COUNTS.items()}
slow_too = pytest.mark.parametrize(
    "counts",
    [
        pytest.param(SHORT, id="short"),
        pytest.param(COUNTS, id="slow", marks=[pytest.mark.slow, pytest.mark.timeout(3000)]),
    ],
)


def test_the_slow_form_has_a_hundred_thousand_inputs() -> None:
    assert sum(COUNTS.values()) >= 100_000


def tried(read: Callable[[bytes], Any], inputs: Iterable[bytes]) -> list[Any]:
    """What was read; an error that is none of ours, or that is more than one line, fails with the input that made it."""
    found = []
    for text in inputs:
        try:
            found.append(read(text))
        except HarnessError as error:
            told = str(error)
            assert told and len(told) < 100_000
        except Exception as error:
            raise AssertionError(f"{type(error).__name__}: {error} of {text[:3000]!r}") from error
    return found


def one_line(read: Callable[[bytes], Any], inputs: Iterable[bytes]) -> list[Any]:
    """The same where the message is ours alone and nothing of the input is quoted that could break the line."""

    def checked(text: bytes) -> Any:
        try:
            return read(text)
        except StoreError as error:
            assert "\n" not in str(error), error
            raise

    return tried(checked, inputs)


@pytest.fixture(scope="module")
def samples(synthetic: ModuleType) -> list[dict[str, Any]]:
    """Records of every kind: hand-made ones, and small real ones of this repository."""
    made = synthetic.records(("base", "lora", "int8"))
    for column in ("perplexity", "choice"):
        for one in made:
            if column in one["items"]:
                one["items"][column] = {name: values[:6] for name, values in one["items"][column].items()}
    real = [
        path
        for path in sorted(ROOT.glob("results/[!.]*/*/*.json"))[::40]
        if path.name != "plan.json" and path.parent.name != "nights"
    ]
    real = [json.loads(path.read_text()) for path in real if path.stat().st_size < 20_000]
    for one in real:
        one.pop("digest", None)
        one["format"] = 1
    return [*made[::3], *real[:40]]


def used(record: dict[str, Any]) -> dict[str, Any]:
    """Everything that is done with a single record on the way to rows, nights and facts."""
    coordinates(record)
    with contextlib.suppress(HarnessError):  # an undeclared metric
        list(observations(record))
    night_of([record]).to_json()
    facts_of([record])
    items_of([record])
    return record


def read_record(text: bytes) -> dict[str, Any]:
    return used(from_text(text, Path("0123456789abcdef.1.json")))


@slow_too
def test_records(samples: list[dict[str, Any]], counts: dict[str, int]) -> None:
    found = one_line(read_record, values(samples, counts["records"], 1))
    assert len(found) > counts["records"] / 50, "some survive, or nothing behind the door was tried"


@slow_too
def test_bytes_of_records(samples: list[dict[str, Any]], counts: dict[str, int]) -> None:
    whole = [to_text({**one, "format": 2}).encode() for one in samples]
    plain = [json.dumps(one).encode() for one in samples]
    assert not one_line(
        read_record, (text for text in texts(whole, counts["record bytes"] // 2, 2) if text not in whole)
    ), "not one damaged file is believed"
    one_line(read_record, texts(plain, counts["record bytes"] // 2, 3))


@slow_too
def test_damaged_records_in_reports_and_comparisons(
    samples: list[dict[str, Any]], counts: dict[str, int], synthetic: ModuleType, tmp_path: Path
) -> None:
    """What passed the door goes through the whole report. What is odd in its numbers is told in one line, and rare."""
    draw = random.Random(20)
    plans = [json.loads(text) for text in values([synthetic.plan(("base", "lora", "int8"))], 60, 5)]
    plans = [told for told in plans if misfit_of_plan(told) is None]
    groups, stumbled = 2 if counts is SHORT else 16, []
    analyses = (("comparison", _compared), ("export", _exported), ("report", _reported))[: 2 if counts is SHORT else 3]
    for number in range(groups):
        results = tmp_path / str(number)
        written(results, _damaged_group(samples, draw), "s", plans[number % len(plans)])
        for what, made in analyses:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    over_files(what)(made)(results)
            except UsageError as error:
                stumbled.append(str(error)) if "stumbles" in str(error) else None
    assert len(stumbled) <= groups / 8, stumbled


def _damaged_group(samples: list[dict[str, Any]], draw: random.Random) -> list[dict[str, Any]]:
    """The samples as one suite's records, three in ten of them damaged in a way that passes the door."""
    made = []
    for number, sample in enumerate(samples):
        one = sample
        for _ in range(5 if draw.random() < 0.3 else 0):
            with contextlib.suppress(HarnessError):
                one = read_record(json.dumps(mutated(sample, draw, draw.randrange(1, 4))).encode())
                break
        one = json.loads(json.dumps(one))
        step = one["step"] if len(one["step"]) == 16 else f"{number:016x}"
        one |= {"step": step, "attempt": 1, "record": f"{step}.1", "suite": "s"}
        one["environment"]["installation"] = "i"
        made.append(one)
    return made


def _reported(results: Path) -> None:
    document = compose(content_of(results, "s"))
    assert html(document) and markdown(document)


def _compared(results: Path) -> None:
    records = Store(results).records("s").records
    for case in compare(records, records[::-1]).cases:
        json.dumps(case.to_dict(), allow_nan=False)


def _exported(results: Path) -> None:
    records = Store(results).records("s").records
    json.dumps(pytest_benchmark(measured("s", records, {})), allow_nan=False)


SUITES = [path.read_bytes() for path in sorted((ROOT / "suites").glob("*.yaml")) if path.stat().st_size < 3000]
SMALL = b"name: s\nmethod: [base, 'lora(learning_rate=[0.1, 0.2]) > int8']\ntasks: [perplexity]\nbudget: {steps: 2}\nseed: [0, 1]\n"
RICH = b"""question: q
models: {m: {architecture: llama, from: bpe > clm, hidden_size: 64, budget: {steps: 1}}}
data_sets: {d: {hub: a/b, columns: {text: t}}}
model: [m, embedded, "random:llama(layers=2)"]
data: [source, d]
method: [base, lora, distillation(teacher=(base)), "lora + mixed_precision(precision=bf16)"]
precision: [fp32, bf16]
hardware: [cpu, {device: cpu, threads: 1}]
params: {lora: {learning_rate: [0.1, 0.2], rank: 4}}
tasks: [perplexity, "choice", "generation_speed(batch=[1, 2])"]
budget: {tokens: 1000, batch_size: 4, micro_batch_size: 2, sequence_length: 32, scope: method}
exclude: [{method: base, precision: bf16}, {uses: lora, seed: 0}]
tune: {params: {lora: {dropout: [0.0, 0.1]}}}
limits: {wall_seconds: 5}
sweeps: [{method: base}, {method: int8, seed: [1]}]
baseline: base
notes: [a, b]
interleave: true
"""


def read_suite(text: bytes) -> Any:
    suite = load_text(text.decode("utf-8", "surrogateescape"), folder=ROOT / "suites")
    if sum(_cells(sweep) for sweep in suite.sweeps) > 3000:
        return suite
    made = plan(suite, machine=HERE)
    json.dumps(made.to_dict(), allow_nan=False)
    return made


def _cells(sweep: Any) -> int:
    count = 1
    for axis in sweep.axes.values():
        count *= len(axis)
    return count


@slow_too
def test_suites(counts: dict[str, int]) -> None:
    shapes = [yaml.safe_load(text) for text in (SMALL, RICH)]
    written = values(shapes, counts["suites"], 6, lambda value: json.dumps(value).encode())
    assert tried(read_suite, written)


@slow_too
def test_bytes_of_suites(counts: dict[str, int]) -> None:
    assert tried(read_suite, texts([SMALL, RICH, *SUITES], counts["suite bytes"], 7))


METHODS = [
    b"lora(rank=[4, 16]) > int8",
    b"bpe(vocab_size=512) > clm(learning_rate=0.02, loss_across_documents=false) > gptq",
    b"a + b(c=(d > e))",
    b"distillation(teacher=(base > lora), temperature=2.0)",
    b"x(a=\"b\\n\", c='d', e=null, f=-1.5e-3, g=[true, false])",
]


@slow_too
def test_expressions(counts: dict[str, int]) -> None:
    inputs = texts(METHODS, counts["expressions"], 8)

    def read(text: bytes) -> Any:
        written = text.decode("utf-8", "surrogateescape")
        with contextlib.suppress(HarnessError):
            parse_call(written)
        method = parse(written)
        assert parse(str(method)) == method
        return Resolver().methods(written)

    tried(read, inputs)
    resolver = Resolver()
    assert tried(lambda text: resolver.methods(text.decode()), METHODS[:2])


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.text(st.sampled_from("ab(=[,])>+ \"'\\1.e-_\n\x00é"), max_size=60) | st.text(max_size=40))
def test_any_text_as_a_method(text: str) -> None:
    with contextlib.suppress(HarnessError):
        method = parse(text)
        assert parse(str(method)) == method


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from([*PATHS, *EVERY]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KEYS = [
    "method",
    "model",
    "data",
    "precision",
    "hardware",
    "seed",
    "params",
    "tasks",
    "budget",
    "exclude",
    "tune",
    "models",
    "data_sets",
    "sweeps",
    "name",
    "limits",
    "notes",
    "question",
    "baseline",
    "interleave",
]


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(st.sampled_from(KEYS), PLAIN, max_size=6))
def test_any_values_as_a_suite(value: dict[str, Any]) -> None:
    for text in (
        yaml.safe_dump({"method": "base", "tasks": "perplexity", **value}),
        json.dumps({"method": "base", **value}),
    ):
        with contextlib.suppress(HarnessError):
            read_suite(text.encode("utf-8", "surrogatepass"))


@pytest.fixture(scope="module")
def nights() -> list[dict[str, Any]]:
    paths = sorted((ROOT / "results" / "nightly" / "nights").glob("*.json"))[:6]
    found = [json.loads(path.read_text()) for path in paths]
    for one in found:
        one["steps"] = one["steps"][:8]
    return found


@slow_too
def test_nights(nights: list[dict[str, Any]], counts: dict[str, int]) -> None:
    assert nights
    found = one_line(lambda text: read_night(text, "n.json"), values(nights, counts["nights"] // 2, 9))
    assert len(found) > counts["nights"] / 100
    one_line(
        lambda text: read_night(text, "n.json"),
        texts([json.dumps(one).encode() for one in nights], counts["nights"] // 2, 10),
    )
    groups = [found[start : start + 8] for start in range(0, len(found), 8)]
    for group in groups[: 5 if counts is SHORT else 300]:
        ordered = sorted(group, key=lambda night: (night.started, night.name))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for case in cases_of(ordered):
                json.dumps(case.to_dict(), allow_nan=False)


@slow_too
def test_claims(counts: dict[str, int], tmp_path: Path) -> None:
    sources = [path.read_bytes() for path in sorted((ROOT / "harness" / "claims").glob("*.yaml"))]
    shapes = [yaml.safe_load(text)[:3] for text in sources]
    file = tmp_path / "claims.yaml"

    def read(text: bytes) -> Any:
        file.write_bytes(text)
        return read_claims(file)

    assert tried(read, values(shapes, counts["claims"] // 2, 11))
    tried(read, texts([text[:1500] for text in sources], counts["claims"] // 2, 12))


@slow_too
def test_acceptances(counts: dict[str, int], tmp_path: Path) -> None:
    entry = {
        "series": "0a1b2c3d4e5f",
        "what": "x",
        "night": "n",
        "before": 1.0,
        "after": 2.0,
        "reason": "r",
        "accepted": "2026-01-01",
        "expires": "2026-04-01",
    }
    file = tmp_path / "accepted.yaml"

    def read(text: bytes) -> Any:
        file.write_bytes(text)
        found = accepted.read(file)
        accepted.write(file, found)
        assert accepted.read(file) == list({one.series: one for one in found}.values())
        return found

    assert tried(
        read, values([[entry], [entry, {**entry, "series": "12e3", "after": None}]], counts["accepted"] // 2, 13)
    )
    tried(read, texts([yaml.safe_dump([entry]).encode()], counts["accepted"] // 2, 14))


@slow_too
def test_plans(counts: dict[str, int], synthetic: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / "s" / "i"
    folder.mkdir(parents=True)
    store = Store(tmp_path)
    real = plan_file.read(min(ROOT.glob("results/quick/*/plan.json")))
    real = {**real, "cells": real["cells"][:2], "steps": real["steps"][:2]}

    def read(text: bytes) -> Any:
        (folder / "plan.json").write_bytes(text)
        return store.plans("s")

    columns = plan_file.text_of(real)
    assert one_line(read, values([real, synthetic.plan(("base",)), json.loads(columns)], counts["plans"] // 2, 15))
    one_line(read, texts([json.dumps(real).encode(), columns.encode()], counts["plans"] // 2, 16))


@slow_too
def test_jobs(counts: dict[str, int], tmp_path: Path) -> None:
    from harness.plan.job import jobs

    job = next(one for one in jobs(plan(load_text(SMALL.decode()), machine=HERE)))
    file = tmp_path / "job.json"

    def read(text: bytes) -> Any:
        file.write_bytes(text)
        return read_job(file)

    assert tried(read, values([job], counts["jobs"] // 2, 17))
    tried(read, texts([json.dumps(job).encode()], counts["jobs"] // 2, 18))


@slow_too
def test_parquet(counts: dict[str, int], synthetic: ModuleType, tmp_path: Path) -> None:
    from harness.results.rows import frame_of, read_parquet, to_parquet

    to_parquet(frame_of(synthetic.records(("base",))[:2]), tmp_path / "rows.parquet")
    whole = (tmp_path / "rows.parquet").read_bytes()

    def read(text: bytes) -> Any:
        (tmp_path / "x.parquet").write_bytes(text)
        frame = read_parquet(tmp_path / "x.parquet")
        frame.groupby("metric", observed=True)["value"].mean()
        return frame

    assert len(tried(read, [whole])) == 1
    tried(read, (text for text in texts([whole], counts["parquet"], 19)))


def test_parquet_of_other_kinds(synthetic: ModuleType, tmp_path: Path) -> None:
    import pandas

    from harness.results.rows import COLUMNS, frame_of, read_parquet

    frame = frame_of(synthetic.records(("base",))[:2]).astype(object)
    path = tmp_path / "x.parquet"
    for name in (*COLUMNS[::4], "value", "started", "metric", "params"):
        for junk in ([[1]], [{"a": 1}], [pandas.Timestamp("2026-01-01")], [b"x"], [1.5], [True], ["x"], [10**18]):
            if (
                (name == "value" and junk == [1.5])
                or (name == "dirty" and junk == [True])
                or (name in ("seed", "sample") and junk == [10**18])
            ):
                continue
            other = frame.assign(**{name: junk * len(frame)})
            with contextlib.suppress(Exception):
                other.to_parquet(path)
                try:
                    read_parquet(path)
                except StoreError as error:
                    assert "delete it" in str(error) and "\n" not in str(error)
                except Exception as error:
                    raise AssertionError(f"{name} of {junk}") from error


@pytest.mark.parametrize("junk", range(len(JUNK)))
def test_every_part_of_a_record_as_every_kind_of_junk(samples: list[dict[str, Any]], junk: int) -> None:
    """Not by chance alone: each field once as each."""
    for record in (samples[0], samples[-1]):
        inputs = [json.dumps({**record, name: JUNK[junk]}).encode() for name in record]
        for name in ("coordinates", "environment", "commit"):
            inputs += [
                json.dumps({**record, name: {**record[name], part: JUNK[junk]}}).encode() for part in record[name]
            ]
        one_line(read_record, inputs)


@pytest.mark.slow
@pytest.mark.parametrize("reader", ["expression", "suite", "record", "night"])
def test_what_coverage_guides_to(reader: str, tmp_path: Path) -> None:
    """By atheris where it is installed (``pip install atheris``): it finds branches that mutations miss."""
    pytest.importorskip("atheris")
    command = [
        sys.executable,
        str(Path(__file__).with_name("guided.py")),
        reader,
        "-runs=20000",
        "-max_len=400",
        "-seed=1",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
