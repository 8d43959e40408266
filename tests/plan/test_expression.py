from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import MethodError
from harness.plan.expression import Call, Method, Stage, parse, parse_call, value_text

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=12)
)


def calls(values):
    params = st.lists(st.tuples(NAMES, values), max_size=3, unique_by=lambda pair: pair[0]).map(tuple)
    return st.builds(Call, NAMES, params)


def methods(values):
    stage = st.builds(Stage, calls(values), st.lists(calls(values), max_size=2).map(tuple))
    return st.builds(Method, st.lists(stage, min_size=1, max_size=3).map(tuple))


VALUES = st.recursive(
    SCALARS, lambda inner: st.one_of(st.lists(inner, min_size=1, max_size=3).map(tuple), methods(inner)), max_leaves=4
)


@given(methods(VALUES))
def test_a_method_reads_back_from_its_text(method):
    assert parse(str(method)) == method


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused_in_one_line(text):
    try:
        assert parse(str(parse(text))) == parse(text)
    except MethodError as error:
        assert error.column is not None and 0 <= error.column <= len(text)


def test_the_parts_of_an_expression():
    method = parse("bpe > lora(rank=[4, 16], z=(clm > base), s=nf4) + zero(stage=2) + x")
    assert [stage.call.name for stage in method.stages] == ["bpe", "lora"]
    assert [call.name for call in method.stages[1].modifiers] == ["zero", "x"]
    given_ = dict(method.stages[1].call.params)
    assert given_["rank"] == (4, 16)
    assert given_["z"] == parse("clm > base")
    assert given_["s"] == "nf4"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4), ("2_000_000", 2_000_000), ("-3", -3), (".5", 0.5), ("true", True), ("False", False),
        ("null", None), ("None", None), ("all-linear", "all-linear"), ('"a, b"', "a, b"), ("'(x)'", "(x)"),
        ('"true"', "true"), ('"say \\"hi\\""', 'say "hi"'), ("[[a, b]]", (("a", "b"),)),
    ],
)  # fmt: skip
def test_values(text, value):
    found = dict(parse_call(f"f(x={text})").params)["x"]
    assert found == value and type(found) is type(value)


def test_a_trailing_comma_and_empty_parentheses_change_nothing():
    assert parse_call("lora(rank=4,)") == parse_call("lora(rank=4)")
    assert parse_call("lora()") == parse_call("lora")


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("", 0, "expected a name, the text ends"),
        ("a >", 3, "expected a name, the text ends"),
        ("a > > b", 4, "expected a name, found '>'"),
        ("a b", 2, "expected '>', '+' or the end, found 'b'"),
        ("a(x=1", 5, "expected ',' or ')' in the parameters of 'a', the text ends"),
        ("a(x)", 3, "expected '=' after 'x', found ')'"),
        ("a(x=1, x=2)", 7, "parameter 'x' is given twice"),
        ("a(x=[])", 5, "an empty list"),
        ("a(x=4bit)", 4, "needs quotes"),
        ("a(x=1e999)", 4, "too large"),
        ('a(x="open)', 4, "the quote is never closed"),
        ("a(x=b(y=1))", 4, "needs parentheses around it: (b(...))"),
        ("a(x=(b)", 7, "expected ',' or ')'"),
        ("a(x=" + "[" * 50 + "1" + "]" * 50 + ")", None, "nested more than 20 deep"),
        ("a(x=" * 30 + "1" + ")" * 30, None, "needs parentheses"),
        ("a(x=(" * 30 + "b" + "))" * 30, None, "nested more than 20 deep"),
    ],
)
def test_mistakes_name_their_column(text, column, message):
    with pytest.raises(MethodError) as caught:
        parse(text)
    assert message in str(caught.value)
    assert column is None or caught.value.column == column


def test_texts_that_would_read_as_something_else_are_quoted():
    assert value_text("nf4") == "nf4"
    assert value_text("true") == '"true"'
    assert value_text("4") == '"4"'
    assert value_text("") == '""'
    assert value_text(True) == "true"
