"""Records -> rows: nothing is invented, nothing is lost, and the Parquet file is only a faster copy."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from types import ModuleType

import pandas
import pytest

from harness.cli.tables import show_rows
from harness.errors import StoreError, UsageError
from harness.results import load
from harness.results.rows import COLUMNS, compact, frame_of, read_parquet, rows_of, to_csv, to_parquet
from harness.results.store import Store

METHODS = ("base", "lora", "int8")


@pytest.fixture
def results(tmp_path: Path, synthetic: ModuleType) -> Path:
    synthetic.write(tmp_path, methods=METHODS)
    return tmp_path


def trained(synthetic: ModuleType) -> dict:
    return next(one for one in synthetic.records(("lora",)) if one["operation"] == "train")


def test_columns_are_those_of_the_architecture(synthetic: ModuleType) -> None:
    written = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text()
    told = written.split("columns: `", 1)[1].split("`", 1)[0].split()
    assert list(COLUMNS) == told
    assert list(rows_of(trained(synthetic))[0]) == told


def test_every_number_of_a_record_becomes_one_row(synthetic: ModuleType) -> None:
    record = trained(synthetic)
    rows = rows_of(record)
    values = [row["value"] for row in rows]
    assert [row["metric"] for row in rows].count("status") == 1 and values[0] is None
    steps = [row for row in rows if row["metric"] == "step_seconds" and row["sample"] is not None]
    assert [row["value"] for row in steps] == record["optimizer_steps"]["seconds"]
    assert [row["sample"] for row in steps] == list(range(1, 61))
    spans = {row["phase"]: row["value"] for row in rows if row["metric"] == "span_seconds"}
    assert spans == {span["name"]: span["seconds"] for span in record["spans"]}
    curve = [row["value"] for row in rows if row["metric"] == "validation_loss"]
    assert curve == [point["validation_loss"] for point in record["curve"]]
    expected = 1 + len(record["metrics"]) + 1 + 2 * len(record["spans"]) + 120 + 4 * 5
    assert len(rows) == expected


def test_warm_up_steps_are_kept_and_told_apart(synthetic: ModuleType) -> None:
    rows = [row for row in rows_of(trained(synthetic)) if row["metric"] == "step_seconds" and row["sample"] is not None]
    assert [row["phase"] for row in rows] == ["warmup"] * 6 + [""] * 54


def test_missing_stays_missing(synthetic: ModuleType) -> None:
    record = synthetic.record("eval", "base", metrics={"loss": None}, samples={"decode_tokens_per_second": [None, 2.0]})
    frame = frame_of([record])
    losses = frame.loc[frame["metric"] == "loss", "value"]
    assert len(losses) == 1 and losses.isna().all()
    assert frame.loc[frame["metric"] == "decode_tokens_per_second", "value"].isna().tolist() == [True, False]
    assert not (frame["value"] == 0).any()
    assert frame["task"].isna().all() and frame["seed"].isna().all()


def test_gpu_peaks_become_declared_metrics(synthetic: ModuleType) -> None:
    cuda = {"allocated_bytes": 1, "reserved_bytes": 2, "active_bytes": 3, "alloc_retries": 0}
    span = {"name": "score", "seconds": 1.0, "peak_memory_bytes": 5, "cuda": cuda}
    record = synthetic.record("eval", "base", spans=[span])
    found = {row["metric"]: row["value"] for row in rows_of(record) if row["phase"] == "score"}
    assert found["cuda_peak_allocated_bytes"] == 1 and found["cuda_peak_active_bytes"] == 3
    assert found["cuda_alloc_retries"] == 0 and found["peak_memory_bytes"] == 5


def test_cells_carry_the_id_of_the_plan(synthetic: ModuleType) -> None:
    from harness.plan.cells import cell_id

    row = rows_of(synthetic.record("eval", "lora", seed=1))[0]
    assert row["cell"] == cell_id("lora", "embedded", "source", "fp32", synthetic.HARDWARE, 1)


def test_undeclared_metric_is_an_error_with_the_nearest_name(synthetic: ModuleType) -> None:
    with pytest.raises(UsageError, match="unknown metric 'perplexty'; did you mean 'perplexity'"):
        rows_of(synthetic.record("eval", "base", metrics={"perplexty": 3.0}))


def test_load_from_records_and_from_parquet_agree(results: Path) -> None:
    from_records = load(results, "synthetic")
    written = compact(results, "synthetic")
    assert written.rows == len(from_records) and written.records == from_records["record"].nunique()
    pandas.testing.assert_frame_equal(load(results, "synthetic"), from_records)


def test_compact_is_idempotent_and_rebuildable(results: Path) -> None:
    first = compact(results, "synthetic").path.read_bytes()
    assert compact(results, "synthetic").path.read_bytes() == first
    (results / "synthetic" / "rows.parquet").unlink()
    assert compact(results, "synthetic").path.read_bytes() == first


def test_a_night_makes_no_parquet_stale(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compact(results, "synthetic")
    before = load(results, "synthetic")
    (results / "synthetic" / "nights").mkdir()
    (results / "synthetic" / "nights" / "20260101T030000.000Z-a.json").write_text("{}")
    monkeypatch.setattr(Store, "records", lambda *_: pytest.fail("the records were read again"))
    pandas.testing.assert_frame_equal(load(results, "synthetic"), before)


def test_stale_parquet_is_never_read(results: Path, synthetic: ModuleType) -> None:
    compact(results, "synthetic")
    before = len(load(results, "synthetic"))
    new = synthetic.record("eval", "int4", metrics={"loss": 2.0}, task="perplexity")
    (results / "synthetic" / synthetic.INSTALLATION / f"{new['record']}.json").write_text(json.dumps(new))
    after = load(results, "synthetic")
    assert len(after) == before + 3 and new["record"] in set(after["record"])


def test_unreadable_records_are_counted_and_named(results: Path, synthetic: ModuleType) -> None:
    good = len(load(results, "synthetic"))
    folder = results / "synthetic" / synthetic.INSTALLATION
    (folder / "0123456789abcdef.1.json").write_text("{half a rec")
    bad = synthetic.record("eval", "base", metrics={"nonsense": 1.0}, step="ffff000011112222")
    (folder / f"{bad['record']}.json").write_text(json.dumps(bad))
    frame = load(results, "synthetic")
    named = "\n".join(frame.attrs["unreadable"])
    assert len(frame) == good and len(frame.attrs["unreadable"]) == 2
    assert "0123456789abcdef.1.json" in named and "nonsense" in named
    assert compact(results, "synthetic").unreadable == frame.attrs["unreadable"]
    assert load(results, "synthetic").attrs["unreadable"] == frame.attrs["unreadable"]


def test_record_of_a_newer_version_is_counted_and_named(results: Path, synthetic: ModuleType) -> None:
    good = len(load(results, "synthetic"))
    new = synthetic.record("eval", "base", step="aaaa000011112222") | {"format": 99}
    (results / "synthetic" / synthetic.INSTALLATION / f"{new['record']}.json").write_text(json.dumps(new))
    frame = load(results, "synthetic")
    assert len(frame) == good
    (told,) = frame.attrs["unreadable"]
    assert "format 99" in told and "upgrade the harness" in told


def test_unknown_suite_is_one_clear_line(results: Path) -> None:
    with pytest.raises(UsageError, match=r"no results for suite 'synthetik'.*did you mean 'synthetic'"):
        load(results, "synthetik")


def test_damaged_parquet_names_itself_and_the_way_out(results: Path) -> None:
    path = compact(results, "synthetic").path
    path.write_bytes(b"not parquet")
    with pytest.raises(StoreError, match=r"rows\.parquet.*delete it"):
        load(results, "synthetic")


def test_all_suites_together(results: Path, synthetic: ModuleType) -> None:
    synthetic.write(results, suite="other", methods=("base",))
    whole = load(results)
    assert len(whole) == len(load(results, "synthetic")) + len(load(results, "other"))
    assert str(whole["metric"].dtype) == "category" and str(whole["seed"].dtype) == "Int64"


def test_empty_folder_gives_an_empty_frame_with_the_columns(tmp_path: Path) -> None:
    frame = load(tmp_path)
    assert frame.empty and list(frame.columns) == list(COLUMNS)


def test_csv_and_parquet_keep_missing_and_whole_numbers(results: Path, tmp_path: Path) -> None:
    frame = load(results, "synthetic")
    to_csv(frame, tmp_path / "rows.csv")
    read = pandas.read_csv(tmp_path / "rows.csv", dtype={"seed": "Int64", "sample": "Int64"})
    assert read["value"].isna().sum() == frame["value"].isna().sum()
    assert read["seed"].tolist() == frame["seed"].tolist()
    assert read["value"].dropna().tolist() == frame["value"].dropna().tolist()
    to_parquet(frame, tmp_path / "copy.parquet")
    pandas.testing.assert_frame_equal(read_parquet(tmp_path / "copy.parquet"), frame)


def test_importing_results_loads_no_pandas() -> None:
    import subprocess
    import sys

    code = "import sys, harness.results, harness.results.record; sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("how", ["csv", "json"])
def test_what_is_printed_is_every_row_to_the_last_digit(
    tmp_path: Path, synthetic: ModuleType, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    numbers = [8.4123456789012e-14, 0.1 + 0.2, 1e22, -3.0, 5e-324]
    samples = {"decode_tokens_per_second": numbers}
    made = synthetic.record("eval", "base", metrics={"loss": numbers[0]}, samples=samples)
    folder = tmp_path / "synthetic" / synthetic.INSTALLATION
    folder.mkdir(parents=True)
    (folder / f"{made['record']}.json").write_text(json.dumps(made))
    show_rows(tmp_path, None, "-" if how == "csv" else None, None, as_json=how == "json")
    told = capsys.readouterr().out
    found = list(csv.DictReader(io.StringIO(told))) if how == "csv" else json.loads(told)
    of = [row for row in found if row["metric"] == "decode_tokens_per_second" and row["sample"] not in ("", None)]
    assert [float(row["value"]) for row in of] == numbers
    assert [float(row["value"]) for row in found if row["metric"] == "loss"] == [numbers[0]]
    assert len(found) == len(load(tmp_path)) and list(found[0]) == list(COLUMNS)
    missing = next(row for row in found if row["metric"] == "status")["value"]
    assert missing == ("" if how == "csv" else None)
