"""Numbers for readers: a dash for missing, never 0; units that fit; intervals whose ends can be told apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.report.numbers import interval, plain, pretty, signed


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "B", "-"), (float("nan"), "1", "-"), (0.0, "1", "0"), (0.0, "s", "0 s"), (0.0, "share", "0 %"),
        (1.5, "s", "1.50 s"), (0.00325, "s", "3.25 ms"), (7200.0, "s", "2 h"), (90.0, "s", "90 s"),
        (1536.0, "B", "1.50 KiB"), (3 * 2**30, "B", "3 GiB"), (512.0, "B", "512 B"),
        (0.512, "share", "51.2 %"), (1.0, "share", "100 %"), (2.10345, "nats/token", "2.103"),
        (0.0000234, "nats/token", "2.34e-5"), (122880.0, "token", "122 880"), (60.0, "1", "60"),
    ],
)  # fmt: skip
def test_pretty(value: float | None, unit: str, text: str) -> None:
    assert pretty(value, unit) == text


@pytest.mark.parametrize(
    ("low", "high", "unit", "text"),
    [
        (None, 1.0, "1", ""), (1.0, None, "1", ""), (float("nan"), 1.0, "1", ""),
        (0.992, 1.0563, "1", "[0.992, 1.056]"), (305.8, 312.3, "1", "[305.8, 312.3]"),
        (0.0502, 0.0527, "s", "[50.2, 52.7] ms"), (1e6, 2e6, "B", "[0.95, 1.91] MiB"),
        (0.481, 0.543, "share", "[48.1, 54.3]"),
        (-0.0009, 0.0015, "1", "[-0.0009, 0.0015]"), (2.0, 2.0, "1", "[2, 2]"),
        (1000.0, 2000.0, "1", "[1 000, 2 000]"),
    ],
)  # fmt: skip
def test_interval(low: float | None, high: float | None, unit: str, text: str) -> None:
    assert interval(low, high, unit) == text


def test_signed() -> None:
    assert signed(-0.698, "nats/token") == "-0.698" and signed(0.02, "share") == "+2 %"
    assert signed(None) == "-" and signed(0.0) == "0"


@given(st.floats(1e-3, 1e9), st.floats(1.001, 10))
def test_ends_of_an_interval_can_be_told_apart(low: float, factor: float) -> None:
    first, second = interval(low, low * factor).strip("[]").split(", ")
    assert float(first.replace(" ", "")) < float(second.replace(" ", ""))


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e12, max_value=1e12))
def test_plain_is_near_the_value(value: float) -> None:
    assert float(plain(value, 4).replace(" ", "")) == pytest.approx(value, rel=6e-3, abs=1e-12)


def test_rounding_of_equal_sums_is_no_difference() -> None:
    assert signed(1.7e-17) == "0" and interval(-3e-18, 4e-17) == "[0, 0]"
    assert signed(-2e-4) != "0"
