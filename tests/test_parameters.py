from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import pytest

from harness.contract import NoParams, param
from harness.errors import UsageError
from harness.parameters import build_params


@dataclass(frozen=True)
class Params:
    rank: int = param(8, "rank", low=1, high=256)
    rate: float = param(0.1, "rate", low=0.0)
    alpha: int | None = param(None, "scale", low=1)
    kind: str = param("nf4", "type", choices=("nf4", "fp4"))
    flag: bool = param(False, "a switch")
    modules: tuple[str, ...] = param((), "names")
    mode: Literal["a", "b"] = param("a", "mode")
    either: float | int = param(1, "either")


def build(**given):
    return build_params(Params, given, owner="lora")


def test_defaults_are_filled_in():
    assert build() == Params()


def test_values_are_taken_as_wanted():
    found = build(rank=16, rate=2, alpha=None, kind="fp4", flag=True, modules=["q", "v"], mode="b")
    assert (found.rank, found.alpha, found.kind, found.flag, found.mode) == (16, None, "fp4", True, "b")
    assert found.rate == 2.0 and type(found.rate) is float
    assert found.modules == ("q", "v")


def test_an_int_stays_an_int_where_both_are_wanted():
    assert type(build(either=4).either) is int
    assert type(build(either=4.0).either) is float


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rnak": 1}, "'lora' has no parameter 'rnak'; did you mean 'rank'"),
        ({"rank": 0}, "rank=0 must be at least 1"),
        ({"rank": 257}, "rank=257 must be at most 256"),
        ({"rank": True}, "rank=True must be a whole number"),
        ({"rank": 1.5}, "rank=1.5 must be a whole number"),
        ({"rank": "8"}, "rank='8' must be a whole number"),
        ({"rank": None}, "rank=None must be a whole number"),
        ({"rate": math.nan}, "rate=nan must be at least 0"),
        ({"rate": True}, "rate=True must be a number"),
        ({"alpha": 0}, "alpha=0 must be at least 1"),
        ({"alpha": "x"}, "alpha='x' must be a whole number or null"),
        ({"kind": "nf5"}, "kind='nf5' must be one of nf4, fp4; did you mean 'nf4'"),
        ({"flag": 1}, "flag=1 must be true or false"),
        ({"modules": ["q", 1]}, "must be a list of a text"),
        ({"mode": "c"}, "must be one of a, b"),
    ],
)
def test_what_does_not_fit_is_one_clear_line(given, message):
    with pytest.raises(UsageError) as caught:
        build(**given)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_technique_without_parameters_says_so():
    with pytest.raises(UsageError, match="it has none"):
        build_params(NoParams, {"rank": 1}, owner="base")


def test_a_parameter_without_default_is_asked_for():
    @dataclass(frozen=True)
    class Needs:
        teacher: str

    with pytest.raises(UsageError, match="'distill' needs the parameter 'teacher'"):
        build_params(Needs, {}, owner="distill")
