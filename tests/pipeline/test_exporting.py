"""``harness export`` as a user calls it: JSON on standard output or in a file, one clear line for what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from harness.cli import main

HEAVY = ("torch", "transformers", "numpy", "pandas", "pyarrow", "scipy", "altair")


@pytest.fixture
def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """``harness ARGUMENTS`` in ``tmp_path``, in this process: starting one takes longer than exporting."""

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["harness", *arguments])
        with pytest.raises(SystemExit) as stopped:
            main()
        said = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, int(stopped.value.code or 0), said.out, said.err)

    return call


@pytest.fixture
def results(tmp_path: Path, synthetic: ModuleType) -> Path:
    synthetic.write(tmp_path / "results", methods=("base", "lora", "int8"))
    return tmp_path / "results"


def test_every_format_is_printed_and_written_alike(harness, results: Path, tmp_path: Path) -> None:
    for name in ("pytest-benchmark", "benchmark-action-smaller", "benchmark-action-bigger"):
        printed = harness("export", "synthetic", "--format", name)
        assert printed.returncode == 0, printed.stderr
        written = harness("export", "synthetic", "--format", name, "--out", f"out/{name}.json")
        assert written.returncode == 0, written.stderr
        assert (tmp_path / "out" / f"{name}.json").read_text() == printed.stdout
        document = json.loads(printed.stdout)
        count = len(document["benchmarks"] if isinstance(document, dict) else document)
        assert count > 5 and written.stdout.strip() == f"wrote {count} numbers to out/{name}.json"
    assert sorted(path.name for path in results.iterdir()) == ["synthetic"], "reading makes nothing"
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_pytest_benchmark_reads_the_file(harness, results: Path, tmp_path: Path) -> None:
    assert harness("export", "synthetic", "--format", "pytest-benchmark", "--out", "now.json").returncode == 0
    command = [sys.executable, "-c", "from pytest_benchmark.cli import main; main()", "compare", "now.json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "benchmark 'inter_token_latency_seconds'" in done.stdout, done.stderr


def test_the_folder_of_results_is_given(harness, results: Path, tmp_path: Path) -> None:
    results.rename(tmp_path / "elsewhere")
    done = harness("export", "synthetic", "--format", "benchmark-action-bigger", "--results", "elsewhere")
    assert done.returncode == 0 and json.loads(done.stdout)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--format", "pytest-benchmrk"), 2, "unknown format 'pytest-benchmrk'; did you mean 'pytest-benchmark'?"),
        (("--format", "pytest-benchmark", "--results", "nowhere"), 2, "unknown suite 'synthetic'"),
        (("--format", "pytest-benchmark", "--installation", "ffff"), 2, "installation ffff has finished nothing"),
        (("--format", "pytest-benchmark", "--out", "results/synthetic"), 3, "cannot write results/synthetic"),
        (("--format", "pytest-benchmark", "--out", "blocked/a.json"), 3, "cannot write blocked/a.json"),
    ],
)
def test_what_is_wrong_is_one_line(harness, results: Path, tmp_path: Path, arguments, code: int, said: str) -> None:
    (tmp_path / "blocked").write_text("in the way")
    done = harness("export", "synthetic", *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    assert said in done.stderr and len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert done.stdout == "" and not list(tmp_path.rglob("*.part"))


def test_a_suite_without_results_is_named(harness, results: Path, tmp_path: Path) -> None:
    (tmp_path / "synthetical.yaml").write_text("method: base\ntasks: perplexity(windows=2)\n")
    done = harness("export", "synthetical.yaml", "--format", "pytest-benchmark")
    assert done.returncode == 2 and done.stderr.strip() == (
        "harness: no results for suite 'synthetical' in results; did you mean 'synthetic'?; run it first"
    )


def test_a_damaged_record_is_left_out_and_named(harness, results: Path) -> None:
    next(results.glob("*/*/*.1.json")).write_text("{")
    done = harness("export", "synthetic", "--format", "pytest-benchmark")
    assert done.returncode == 0 and json.loads(done.stdout)["benchmarks"]
    assert "not valid JSON" in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_a_newer_record_is_left_out_and_named(harness, results: Path) -> None:
    next(results.glob("*/*/*.1.json")).write_text('{"format": 99}')
    done = harness("export", "synthetic", "--format", "pytest-benchmark")
    assert done.returncode == 0 and "has format 99" in done.stderr and "upgrade the harness" in done.stderr
    assert json.loads(done.stdout)["benchmarks"]


def test_exporting_loads_no_heavy_package(results: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from harness.cli.exporting import export\n"
        f"export('synthetic', 'pytest-benchmark', Path({str(results)!r}), None, None)\n"
        f"sys.exit(', '.join(sys.modules.keys() & set({HEAVY!r})) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
