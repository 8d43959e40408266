"""Splits depend on the item alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.data.splits import SPLITS, split_of


@given(st.text(), st.floats(0, 0.4), st.floats(0, 0.4))
def test_an_item_keeps_its_split(key: str, validation: float, test: float) -> None:
    found = split_of(key, validation, test)
    assert found in SPLITS
    assert split_of(key, validation, test) == found
    if found == "test":
        assert split_of(key, 0.0, test) == "test"


def test_shares_are_about_right() -> None:
    found = [split_of(str(number), 0.1, 0.2) for number in range(5000)]
    assert abs(found.count("validation") / 5000 - 0.1) < 0.02
    assert abs(found.count("test") / 5000 - 0.2) < 0.02


def test_no_share_no_item() -> None:
    assert {split_of(str(number), 0.0, 0.0) for number in range(100)} == {"train"}
