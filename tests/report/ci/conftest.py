"""Judged series for the tests of what CI systems read: ordinary ones, and ones with hostile text in every field."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.analyse.case import Case, Place

HOSTILE = {
    "script": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "command": "x\r\n::error title=forged::y\n::stop-commands::z",
    "table": "a | b || c \\| d \\\\| e",
    "lines": "# one\n\n- two\r\n> three\n```\nfour\n",
    "marks": "`a` ``b`` *c* _d_ __e__ ~~f~~ [g](h) ![i](j) <!-- k --> &amp; &lt; $l$ \\m [^1] \\",
    "links": "@someone cc @some-org/team #123 org/repo#45 GH-6 https://a.example/b?c=d www.a.example mailto:a@b.de",
    "control": "nul\x00 bell\x07 escape\x1b[31m\x7f\x85\u2028\ufffe\uffff lone\ud800 turned\u202eround",
    "xml": "]]></failure><testcase/>&#0; <![CDATA[x]]> \"quoted\" 'too'",
    "emoji": "🧪🔥 é ﷽ e\u0301\u0301 👩‍👩‍👧",
    "long": "<|`\n" * 2560,
    "blank": " \t\n ",
    "none": "",
}  # fmt: skip


@pytest.fixture(params=list(HOSTILE), ids=list(HOSTILE))
def hostile(request: pytest.FixtureRequest) -> str:
    return HOSTILE[request.param]


@pytest.fixture
def every_hostile() -> list[str]:
    return list(HOSTILE.values())


@pytest.fixture
def make_case() -> Callable[..., Case]:
    """``make_case("regression", method="lora", metric=..., why=...)``: a case with these fields of it and its place."""

    def make(status: str = "pass", **changes: Any) -> Case:
        where: dict[str, Any] = {
            "suite": "nightly", "step": "0123456789abcdef", "operation": "train", "method": "lora(rank=8)",
            "stage": "lora", "task": None, "model": "embedded", "data": "source", "precision": "fp32",
            "hardware": "cpu(threads=2)", "seed": 0,
        }  # fmt: skip
        where |= {name: changes.pop(name) for name in list(changes) if name in where}
        told: dict[str, Any] = {
            "id": "0a1b2c3d4e5f", "metric": "step_seconds", "why": "slower since 3 nights", "before": 0.1,
            "after": 0.125, "change": 0.25, "low": 0.2, "high": 0.3,
        }  # fmt: skip
        return Case(place=Place(**where), status=status, **(told | changes))

    return make


@pytest.fixture
def hostile_case(make_case: Callable[..., Case]) -> Callable[..., Case]:
    """A case in which every text is the one given."""

    def make(text: str, status: str = "regression", **changes: Any) -> Case:
        texts = dict.fromkeys(
            ("suite", "step", "operation", "method", "stage", "task", "model", "data", "precision", "hardware", "id",
             "metric", "why", "since"), text
        )  # fmt: skip
        return make_case(status, **(texts | {"suspects": (text, text), "smallest": 0.03} | changes))

    return make
