"""Goals: 10^6 rows are read from Parquet in 3 s, and become a report in 10 s and 1 GB."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

ROWS = 1_000_000
READ_SECONDS = 3.0
REPORT_SECONDS = 10.0
REPORT_BYTES = 10**9
FIXTURES = Path(__file__).parents[1] / "report" / "fixtures" / "synthetic.py"


def _synthetic() -> ModuleType:
    specification = importlib.util.spec_from_file_location("synthetic_suite", FIXTURES)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder whose records give 10^6 rows: the synthetic suite with long generation samples."""
    import json

    from harness.results.rows import compact

    synthetic, root = _synthetic(), tmp_path_factory.mktemp("million")
    synthetic.write(root)
    folder = root / "synthetic" / synthetic.INSTALLATION
    speeds = [path for path in sorted(folder.glob("*.1.json")) if '"decode_tokens_per_second": [' in path.read_text()]
    for path in speeds:
        record = json.loads(path.read_text())
        samples = record["samples"]["inter_token_latency_seconds"]
        record["samples"]["inter_token_latency_seconds"] = samples * (ROWS // len(speeds) // len(samples) + 1)
        path.write_text(json.dumps(record))
    assert compact(root, "synthetic").rows >= ROWS
    return root


def test_reading_a_million_rows(results: Path, benchmark) -> None:  # type: ignore[no-untyped-def]
    from harness.results import load

    frame = benchmark.pedantic(load, args=(results, "synthetic"), rounds=3, warmup_rounds=1)
    assert len(frame) >= ROWS
    assert benchmark.stats.stats.min < READ_SECONDS


def test_report_from_a_million_rows(results: Path, tmp_path: Path) -> None:
    """In a process of its own, which tells the high-water mark of its memory (ru_maxrss would be this process's)."""
    code = (
        "import sys; from harness.report.build import build_suite; build_suite(*sys.argv[1:]);"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    start = time.perf_counter()
    command = [sys.executable, "-c", code, str(results), "synthetic", str(tmp_path)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    seconds, peak = time.perf_counter() - start, int(told) * 1024
    print(f"report: {seconds:.1f} s, {peak / 2**20:.0f} MiB")
    assert (tmp_path / "synthetic" / "index.html").is_file()
    assert seconds < REPORT_SECONDS
    assert peak < REPORT_BYTES
