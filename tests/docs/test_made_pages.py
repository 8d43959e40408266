"""The pages that `make docs` writes are those of this code; what rests on records may be older than the records."""

from __future__ import annotations

import html
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from harness import catalogue
from harness.analyse.claimed import judged
from harness.catalogue import adapter_names
from harness.claims import load as load_claims
from harness.metrics import METRICS
from harness.report.build import content_of
from harness.report.technique_results import Found, Number, Result, Said, found_of
from harness.report.techniques import INDEX, MEASURED, above_measurements, described, write_up

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "docs" / "techniques"
STALE = "run `make docs` and commit docs/techniques and docs/metrics.md"
OURS = [name for name in adapter_names() if catalogue.group_of(name) != "plugin"]


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    return write_up(script("technique_pages").example_suites(), {})


def test_every_technique_has_its_page(texts: dict[str, str]) -> None:
    assert set(texts) == {f"{name}.md" for name in OURS} | {INDEX}
    assert {path.name for path in OUT.iterdir()} == set(texts), STALE


def test_the_pages_are_of_this_code(texts: dict[str, str]) -> None:
    stale = [name for name, text in texts.items() if name != INDEX
           and above_measurements(text) != above_measurements((OUT / name).read_text())]  # fmt: skip
    assert stale == [], STALE
    shared = "## Parameters of every training"
    assert texts[INDEX].partition(shared)[2] == (OUT / INDEX).read_text().partition(shared)[2], STALE


@pytest.mark.parametrize("name", OURS)
def test_a_page_says_what_the_adapter_says(name: str, texts: dict[str, str]) -> None:
    kind, page = catalogue.adapter_class(name), texts[f"{name}.md"]
    told = html.unescape(page.replace("\\", ""))
    assert kind.source in told and kind.summary[1:] in told
    assert all(f"| {one.name} |" in told for one in described(name).parameters)
    assert page.count(f"\n## {MEASURED}\n") == 1
    assert (ROOT / described(name).file).is_file()


def test_what_skip_says_at_other_parameters_is_on_the_page(texts: dict[str, str]) -> None:
    assert "hardware cpu: optimizer=paged_adamw pages GPU memory" in texts["qlora.md"].replace("\\", "")
    assert "does not run on cuda" in texts["gguf.md"]


def test_the_same_records_and_claims_give_the_same_numbers(synthetic: ModuleType, tmp_path: Path) -> None:
    synthetic.write(tmp_path)
    suite = next(iter(path.name for path in tmp_path.iterdir() if path.is_dir() and path.name[0] != "."))
    said = judged(load_claims(), tmp_path)
    found, again = (found_of(["lora", "int8"], said, [content_of(tmp_path, suite)]) for _ in range(2))
    assert found == again
    (result,) = found["int8"].results
    assert result.suite == suite and result.method.startswith("int8") and result.beside.startswith("base")
    assert [claim.id for claim in found["int8"].claims]
    page = write_up([], found)["int8.md"]
    assert result.numbers and all(f"| {number.value}" in page for number in result.numbers)


def test_what_records_and_claims_say_is_escaped() -> None:
    evil = "<script>x</script> | [a](javascript:b) `c`\n## d"
    number = Number(evil, evil, evil, evil, evil)
    found = Found((Said(evil, evil, evil, evil, evil, "confirmed", "confirmed", evil),),
                  (Result("quick", evil, evil, evil, (number,), 1),))  # fmt: skip
    page = write_up([], {"int8": found})["int8.md"]
    assert "<script" not in page and "\n## d" not in page and "[a](j" not in page
    rows = [line for line in page.splitlines() if "script" in line]
    assert len(rows) == 2 and {row.replace("\\|", "").count("|") for row in rows} == {5}


def test_every_metric_has_its_row_and_how_it_misleads() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text()
    assert script("metric_tables").refreshed(page) == page, STALE
    rows = {line.split("`")[1]: line for line in page.splitlines() if line.startswith("| `")}
    assert set(rows) == set(METRICS)
    silent = [name for name, row in rows.items() if row.endswith("| - |")]
    assert silent == [], "say in the last column of docs/metrics.md how these mislead, and put them where they belong"


def test_the_page_of_metrics_follows_what_is_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = script("metric_tables")
    page = "# A\n\n| `loss` | old | old \\| older | stays |\n| `gone` | - | - | - |\n\nend\n"
    made = tables.refreshed(page)
    assert "| `loss` | nats/token | lower | Loss per token. " in made and "| stays |" in made
    assert "`gone`" not in made and made.count("| `") == len(METRICS)
    assert tables.refreshed(made) == made
