"""Numbers that suites and documents quote from the reference files are those of the files, for the data that ships."""

from __future__ import annotations

import json
from pathlib import Path

from harness.data.source import EXPECTED_FINGERPRINT

ROOT = Path(__file__).resolve().parents[1]


def reference(name: str) -> dict:
    return json.loads((ROOT / "docs" / "reference" / f"{name}.json").read_text())


def test_references_are_of_the_data_that_ships() -> None:
    assert reference("ngram_source")["fingerprint"] == EXPECTED_FINGERPRINT
    assert reference("choice_source")["fingerprint"] == EXPECTED_FINGERPRINT


def test_notes_quote_the_ngram_reference() -> None:
    best = reference("ngram_source")["best"]
    quick = (ROOT / "suites" / "quick.yaml").read_text()
    embedded = (ROOT / "suites" / "embedded_model.yaml").read_text()
    assert f"{best['test']:.3f} bits per byte on the whole test text" in quick
    assert f"{best['validation']:.3f} bits per byte on the whole validation text" in embedded
    assert f"order {best['order']}" in quick and f"order {best['order']}" in embedded


def test_notes_quote_the_choice_reference() -> None:
    found = reference("choice_source")["accuracy"]["words shared"]
    assert f"{100 * found:.0f} % of the items" in (ROOT / "suites" / "quick.yaml").read_text()
