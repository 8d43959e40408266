"""Preference pairs as token ids: halves, what is left out and why, chat templates, leaks."""

from __future__ import annotations

from typing import Any

import pytest

from harness.errors import DataError, StepError
from harness.models.chat import render_answer, render_prompt
from harness.models.loading import load_tokenizer
from harness.training.preferences import accuracy, check_no_leak, preference_pairs, prompts_that_fit

TEMPLATE = (
    "{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}</>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
TALK = [{"role": "user", "content": "Why?"}]


class Given:
    """Pairs as they are given, the same of every split but for what is said otherwise."""

    name, fingerprint = "given", "given-1"

    def __init__(self, train: list[Any], test: list[Any] | None = None) -> None:
        self.items = {"train": train, "validation": [], "test": test or []}

    def views(self) -> tuple[str, ...]:
        return ("pairs",)

    def view(self, name: str, split: str) -> list[Any]:
        if not self.items[split]:
            raise DataError("empty")
        return self.items[split]


def pair(prompt: Any, chosen: str = "a", rejected: str = "b") -> dict[str, Any]:
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


@pytest.fixture(scope="module")
def tokenizer(llama):
    return load_tokenizer(llama)


def test_a_pair_is_prompt_and_answers_with_their_ends(tokenizer):
    found = preference_pairs(Given([pair("abc ", "xyz", "uv")]), tokenizer, 64, "train").found[0]
    assert tokenizer.decode(found.prompt) == "abc " and found.place == 0
    assert found.chosen[-1] == found.rejected[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(found.chosen[:-1]) == "xyz"


def test_halves_share_no_prompt_and_leave_none_out(tokenizer):
    data = Given([pair(f"{number} ") for number in range(100)])
    places = [
        {each.place for each in preference_pairs(data, tokenizer, 64, "train", half).found}
        for half in ("first", "second", "all")
    ]
    assert not places[0] & places[1] and places[0] | places[1] == places[2] == set(range(100))
    assert 30 < len(places[0]) < 70


def test_what_is_left_out_is_counted_and_flagged(tokenizer, meter):
    data = Given([
        pair("good "), pair("same ", "x", "x"), pair("empty ", " "), pair("", "x", "y"), pair("long " * 40),
        pair("cut ", "z" * 80 + "a", "z" * 80 + "b"),
    ])  # fmt: skip
    found = preference_pairs(data, tokenizer, 64, "train")
    assert [each.place for each in found.found] == [0]
    assert found.left_out == {
        "with equal sides": 2, "with an empty side": 2, "with a prompt that leaves no room for an answer": 1,
    }  # fmt: skip
    found.tell(meter, "pairs")
    assert meter.flags == ["pairs left out for their data: 2 with equal sides, 2 with an empty side"]
    with pytest.raises(DataError, match=r"no pair of 'given' \(train\) can be used at 6 tokens: .*equal sides"):
        preference_pairs(data, tokenizer, 6, "train")


def test_answers_are_cut_at_the_sequence_length(tokenizer):
    found = preference_pairs(Given([pair("abc ", "x y z " * 30, "u v w " * 30)]), tokenizer, 40, "train").found[0]
    assert len(found.prompt) + len(found.chosen) == 40 and found.chosen[-1] != tokenizer.eos_token_id


def test_a_prompt_in_two_splits_is_refused(tokenizer):
    data = Given([pair("one "), pair("two ")], [pair("two ", "c", "d")])
    with pytest.raises(DataError, match="1 prompts of 'given' stand in train and in test: take them out of one"):
        check_no_leak(data)
    check_no_leak(Given([pair("one ")], [pair("two ")]))


def test_prompts_are_distinct_and_short_enough(tokenizer):
    data = Given([pair("one "), pair("one ", "c"), pair("long " * 40), pair("two ")])
    found, long = prompts_that_fit(data, tokenizer, 20, "train")
    assert [place for place, _ in found] == [0, 3] and long == 1
    with pytest.raises(DataError, match=r"no prompt of 'given' \(train\) has at most 1 tokens: 3 have more"):
        prompts_that_fit(data, tokenizer, 1, "train")


def test_a_chat_template_is_applied_once(tokenizer):
    tokenizer.chat_template = TEMPLATE
    try:
        assert render_prompt(TALK, tokenizer) == "<user>Why?</><assistant>"
        assert render_answer(TALK, "So.", tokenizer) == "So.</>"
        found = preference_pairs(Given([pair(TALK, "So.", "No.")]), tokenizer, 64, "train").found[0]
        whole = tokenizer.decode(found.prompt + found.chosen[:-1])
        assert whole == tokenizer.apply_chat_template([*TALK, {"role": "assistant", "content": "So."}], tokenize=False)
        assert render_prompt("plain", tokenizer) == "plain", "text is no conversation"
        tokenizer.chat_template = TEMPLATE + "{% if not add_generation_prompt %}END{% endif %}"
        assert render_answer(TALK, "So.", tokenizer) == "So.</>END"
        tokenizer.chat_template = "{{ messages | length }}" + TEMPLATE
        with pytest.raises(StepError, match="writes a prompt otherwise once there is an answer"):
            render_answer(TALK, "So.", tokenizer)
    finally:
        tokenizer.chat_template = None
    assert render_prompt(TALK, tokenizer) == "User: Why?\n\nAssistant: "
    assert render_answer(TALK, "So.", tokenizer) == "So."


def test_ties_count_one_half():
    assert accuracy([1.0, -1.0, 0.0, 2.0]) == 0.625
