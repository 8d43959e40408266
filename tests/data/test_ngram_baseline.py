"""The n-gram reference: its probabilities are probabilities, and the committed figures belong to the pinned data."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from harness.data import source

ROOT = Path(__file__).parents[2]
TRAIN = ["the cat sat on the mat and the dog sat on the cat", "a dog and a cat and a mat that sat"] * 3
CONTEXT = "the ca"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ngram_baseline", ROOT / "scripts" / "ngram_baseline.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("kind", ["kneser_ney", "jelinek_mercer"])
def test_probabilities_of_all_next_bytes_sum_to_one(script: ModuleType, kind: str, monkeypatch) -> None:
    every = [CONTEXT + chr(byte) for byte in range(1, 128)]
    text = script.Numbered([TRAIN[:5], TRAIN[5:], every], 4)
    kept, held, asked = text.positions
    last = asked[len(CONTEXT) :: len(CONTEXT) + 1]
    assert len(last) == 127
    totals: list[float] = []
    monkeypatch.setattr(script, "bits", lambda probabilities: totals.append(float(probabilities.sum())) or 0.0)
    if kind == "kneser_ney":
        script.kneser_ney(text, np.concatenate([kept, held]), last)
    else:
        script.jelinek_mercer(text, kept, held, last)
    assert len(totals) == 4
    # The 129 bytes that were not asked share what the uniform floor leaves them, and that is little.
    assert all(0.9 < total <= 1 + 1e-9 for total in totals)
    assert totals[3] == pytest.approx(1.0, abs=0.02)


def test_order_one_is_the_share_of_each_byte(script: ModuleType) -> None:
    text = script.Numbered([["aaab" * 200], ["aaab" * 200]], 1)
    seen, asked = text.positions
    entropy = -(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25))
    assert script.kneser_ney(text, seen, asked)[0] == pytest.approx(entropy, abs=0.01)


def test_no_context_crosses_documents(script: ModuleType) -> None:
    text = script.Numbered([["ab", "ab"], ["ab"]], 3)
    first, second = text.positions
    for order in range(4):
        assert list(text.ids[order][first[:2]]) == list(text.ids[order][first[2:]]) == list(text.ids[order][second])


def test_committed_reference_is_of_the_pinned_data() -> None:
    found = json.loads((ROOT / "docs" / "reference" / "ngram_source.json").read_text())
    assert found["fingerprint"] == source.EXPECTED_FINGERPRINT
    assert found["best"]["validation"] == min(
        value for splits in found["bits_per_byte"].values() for value in splits["validation"]
    )
