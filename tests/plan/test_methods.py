from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.contract import Budget
from harness.errors import MethodError
from harness.plan.expression import parse
from harness.plan.methods import Resolver, canonical, expand


def texts(text, table=None):
    return [method.text for method in Resolver().methods(text, table)]


def one(text):
    return Resolver().methods(text)[0]


def test_defaults_are_left_out_and_the_rest_follows_the_declaration():
    assert texts("lora(dropout=0.1, rank=16, alpha=null)") == ["lora(rank=16, dropout=0.1)"]
    assert texts("lora(rank=8)") == ["lora"]
    assert texts("int8(threshold=6)") == ["int8"]


def test_lists_are_axes_and_the_first_varies_slowest():
    assert texts("lora(rank=[4, 16], dropout=[0, 0.1])") == [
        "lora(rank=4)", "lora(rank=4, dropout=0.1)", "lora(rank=16)", "lora(rank=16, dropout=0.1)",
    ]  # fmt: skip
    assert texts("lora(rank=[4, 16]) > int4(quant_type=[nf4, fp4])") == [
        "lora(rank=4) > int4", "lora(rank=4) > int4(quant_type=fp4)",
        "lora(rank=16) > int4", "lora(rank=16) > int4(quant_type=fp4)",
    ]  # fmt: skip


def test_a_table_gives_parameters_that_are_not_written():
    table = {"lora": {"rank": (4, 16), "dropout": 0.1}}
    assert texts("lora(dropout=0.2)", table) == ["lora(rank=4, dropout=0.2)", "lora(rank=16, dropout=0.2)"]
    assert texts("int8", table) == ["int8"]


def test_the_same_meaning_is_the_same_object():
    resolver = Resolver()
    assert resolver.methods("lora > int8")[0] is resolver.methods("base > lora(rank=8) > int8(threshold=6.0)")[0]
    assert resolver.methods("lora > int8")[0].before is resolver.methods("lora")[0]


def test_a_modifier_alone_changes_full_fine_tuning():
    assert texts("gradient_checkpointing") == ["full_finetune + gradient_checkpointing"]
    assert texts("lora + slower(factor=[2, 3])") == ["lora + slower", "lora + slower(factor=3.0)"]
    assert texts("slower + gradient_checkpointing > int8") == [
        "full_finetune + slower + gradient_checkpointing > int8"
    ]


def test_a_technique_is_no_modifier():
    with pytest.raises(MethodError, match="'int8' is a technique of its own, not a modifier") as caught:
        one("lora + int8")
    assert caught.value.column == 7


def test_mistakes_name_the_place():
    with pytest.raises(MethodError, match=r"unknown technique 'lor'; did you mean 'lora'.*column 8\)"):
        one("base > lor")
    with pytest.raises(MethodError, match="'lora' has no parameter 'rnak'; did you mean 'rank'"):
        one("lora(rnak=1)")


def test_base_within_a_chain_says_nothing():
    assert texts("base > lora > base") == ["lora"]
    assert texts("base > base") == ["base"]


def test_a_method_as_a_value_is_resolved_and_written_in_parentheses():
    method = one("distill(teacher=(lora(rank=8) > int8))")
    assert method.text == "distill(teacher=(lora > int8))"
    assert [(key, inner.text) for key, inner in method.last.methods] == [("teacher", "lora > int8")]
    assert texts(method.text) == [method.text]
    assert texts("distill(teacher=[(lora), (int8)])") == ["distill(teacher=(lora))", "distill(teacher=(int8))"]


def test_a_list_that_is_one_value_reads_back():
    method = one("double(modules=[[q, v]])")
    assert method.last.call.params.modules == ("q", "v")
    assert texts(method.text) == [method.text]


@given(
    st.integers(1, 64), st.none() | st.integers(1, 64), st.sampled_from(["all-linear", "q_proj,v_proj", "a b"]),
    st.floats(0, 1), st.floats(0, 1, exclude_min=True),
)  # fmt: skip
def test_a_canonical_text_resolves_to_itself(rank, alpha, modules, dropout, rate):
    alpha_text = "null" if alpha is None else alpha
    text = f'lora(rank={rank}, alpha={alpha_text}, target_modules="{modules}", dropout={dropout}, learning_rate={rate})'
    method = one(text)
    again = one(method.text)
    assert again.text == method.text
    assert again.last.call.params == method.last.call.params


def test_canonical_keeps_axes_and_drops_defaults():
    assert str(canonical(parse("lora(dropout=0.0, rank=[8, 16]) > distill(teacher=(int8(threshold=6.0)))"))) == (
        "lora(rank=[8, 16]) > distill(teacher=(int8))"
    )
    with pytest.raises(MethodError, match="no parameter 'rnak'"):
        canonical(parse("lora(rnak=1)"))


def test_what_a_method_is_compared_with():
    assert one("lora > int8").compared_with.text == "lora"
    assert one("lora > int8 > int4").compared_with.text == "lora"
    assert one("int8").compared_with is None
    assert one("lora").compared_with is None
    assert one("base").compared_with is None


def test_what_learns():
    assert one("lora > int8").learns
    assert not one("int8").learns
    assert not one("bpe").learns
    assert one("bpe > clm").learns


def test_budgets_of_stages():
    given = Budget(steps=60)
    lora, double = one("lora"), one("lora(steps=10)")
    assert lora.last.budget(given, 1) == given
    assert lora.last.budget(given, 2).steps == 30
    assert double.last.budget(given, 2).steps == 10
    assert double.last.budget(Budget(tokens=1000), 1) == Budget(steps=10)
    assert one("int8").last.budget(given, 1) is None
    assert one("bpe").last.budget(given, 1) is None
    assert one("lora(steps=10) > clm > clm").learning_stages == 2


def test_expand_without_lists_is_one_point():
    assert expand({"a": 1}) == [{"a": 1}]
    assert expand({}) == [{}]


@pytest.mark.parametrize(
    "text",
    ["lora + slower + slower", "slower(factor=3) + slower",
     "clm + mixed_precision(dtype=bf16) + mixed_precision(dtype=fp16)",
     "lora > full_finetune + slower + gradient_checkpointing + slower(factor=[1, 3])"],
)  # fmt: skip
def test_a_modifier_is_added_to_a_stage_once(text):
    """Of two the last would win without a word."""
    with pytest.raises(MethodError, match="is added to one stage twice"):
        Resolver().methods(text)


def test_stages_may_share_a_modifier():
    assert len(Resolver().methods("lora + slower > full_finetune + slower(factor=[1, 3])")) == 2
