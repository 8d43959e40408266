"""Selections of records: what is meant, and one clear line for what cannot be."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest

from harness.errors import UsageError
from harness.results.selection import compared, load, parse, select, shared, with_machine


@pytest.fixture
def results(tmp_path: Path, synthetic: ModuleType) -> Path:
    synthetic.write(tmp_path / "results", methods=("base", "lora"))
    return tmp_path / "results"


def test_conditions_hold_together(results: Path) -> None:
    records, unreadable = load(results)
    assert not unreadable
    found = select(records, parse("method=lora; precision=fp32;seed=1", results))
    assert found and {(one["coordinates"]["method"], one["coordinates"]["precision"], one["coordinates"]["seed"])
                      for one in found} == {("lora", "fp32", 1)}  # fmt: skip
    assert len(select(records, parse(str(results), Path("elsewhere")))) == len(records)
    assert select(records, parse(f"results={results};commit=5b8a", Path("elsewhere"))) == select(
        records, parse("library.torch=2.13.0; python=3.11.9", results)
    )


def test_a_version_may_leave_out_its_build(results: Path, synthetic: ModuleType) -> None:
    soft = synthetic.ENVIRONMENT["soft"] | {"libraries": {"torch": "2.13.0+cpu"}}
    record = synthetic.record("eval", "base", environment=synthetic.ENVIRONMENT | {"soft": soft})
    assert select([record], parse("library.torch=2.13.0", results)) == [record]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nowhere", "neither a results folder nor key=value"),
        ("comit=1a2b", "did you mean 'commit'"),
        ("method=lora; method=base", "'method' is given twice"),
        ("method=", "'method' is given no value"),
        (" ; ", "an empty selection"),
        ("results=nowhere", "results folder nowhere does not exist"),
        ("method=lorra", "did you mean 'lora'"),
        ("method=base;seed=7", "with method=base has seed=7"),
        ("commit=ffff", "there is 5b8a01a05b8a"),
        ("commit=5b", "there is"),
        ("library.jax=1", "has library.jax=1"),
    ],
)
def test_what_cannot_be_meant_is_one_line(results: Path, text: str, said: str) -> None:
    records, _ = load(results)
    with pytest.raises(UsageError) as caught:
        select(records, parse(text, results))
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_the_beginning_of_several_hashes(results: Path, synthetic: ModuleType) -> None:
    records = [synthetic.record("eval", "base", commit={"sha": f"abcd{end}", "dirty": False}) for end in "12"]
    with pytest.raises(UsageError, match="commit=abcd begins abcd1, abcd2; write more of it"):
        select(records, parse("commit=abcd", results))


def test_what_is_compared(results: Path) -> None:
    def of(base: str, head: str) -> frozenset[str]:
        return compared(parse(base, results), parse(head, results))

    assert of("method=base", "method=lora") == {"method"}
    assert of("method=base;commit=1111", "method=base;commit=2222") == {"commit"}
    assert of(str(results), "commit=2222") == {"commit"}
    with pytest.raises(UsageError, match="'method' is given on one side alone"):
        of("method=base", "commit=2222")


def test_records_without_machine_facts(synthetic: ModuleType) -> None:
    known, unknown = synthetic.record("eval", "base"), synthetic.record("eval", "lora")
    unknown["environment"] = unknown["environment"] | {"hard": {}}
    assert with_machine([known, unknown], "base") == ([known], 1)
    with pytest.raises(UsageError, match="base: 1 records say nothing of their machine"):
        with_machine([unknown], "base")


def test_the_same_records_on_both_sides(synthetic: ModuleType) -> None:
    first, second = synthetic.record("eval", "base"), synthetic.record("eval", "base", attempt=2)
    assert shared([first, second], [second]) == 1 and shared([first], [second]) == 0


def test_a_store_of_mixed_versions(results: Path, synthetic: ModuleType) -> None:
    folder = results / "synthetic" / synthetic.INSTALLATION
    (folder / "00ff.1.json").write_text("{")
    assert len(load(results)[1]) == 1
    (folder / "00ff.2.json").write_text(json.dumps(synthetic.record("eval", "base") | {"format": 99}))
    assert "upgrade the harness" in load(results)[1][1]
    with pytest.raises(UsageError, match="did you mean 'synthetic'"):
        load(results, "synthetik")
    with pytest.raises(UsageError, match="no records in"):
        load(results / "synthetic")
