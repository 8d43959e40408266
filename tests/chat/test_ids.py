"""Conversations as token ids: those of transformers' own ``apply_chat_template``, the loss on the last answer alone."""

from __future__ import annotations

from typing import Any

import pytest
from chat_models import CHATML, ENDS, TEMPLATES, chat_tokenizer

from harness.errors import DataError, StepError
from harness.models.scoring import token_bytes
from harness.training.examples import IGNORED, answers_to_score, encode_pair, instruction_examples
from harness.training.preferences import preference_pairs

ASKED = [
    [{"role": "user", "content": "Why?"}],
    [{"role": "user", "content": "Is 2 even?"}, {"role": "assistant", "content": "Yes."},
     {"role": "user", "content": "And 3?"}],
]  # fmt: skip
SYSTEM = [{"role": "system", "content": "Be brief."}, *ASKED[0]]


class Given:
    """Items of one view to train on, and of no other split."""

    name = fingerprint = "given"

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def view(self, name: str, split: str) -> list[Any]:
        if split != "train":
            raise DataError("empty")
        return self.items


def whole(tokenizer: Any, asked: list[dict[str, str]], answer: str) -> list[int]:
    """Ids by transformers, up to the end of the answer's turn."""
    turns = [*asked, {"role": "assistant", "content": answer}]
    ids = tokenizer.apply_chat_template(turns, tokenize=True, return_dict=False)
    end = len(ids) - ids[::-1].index(tokenizer.eos_token_id)
    assert tokenizer.decode(ids[end:]).strip() == ""
    return list(ids[:end])


@pytest.fixture(params=[(name, bos) for name in TEMPLATES for bos in (False, True)], ids=str)
def tokenizer(request: pytest.FixtureRequest) -> Any:
    name, puts_bos = request.param
    return chat_tokenizer(name, puts_bos=puts_bos)


@pytest.mark.parametrize("asked", ASKED, ids=len)
def test_ids_are_those_of_transformers(tokenizer: Any, asked: list[dict[str, str]]) -> None:
    prompt, answer = encode_pair(tokenizer, asked, "No: it is odd.")
    assert prompt + answer == whole(tokenizer, asked, "No: it is odd.")
    assert prompt == tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_dict=False)
    assert answer[-1] == tokenizer.eos_token_id and tokenizer.decode(answer[:-1]) == "No: it is odd."


def test_the_loss_is_on_the_last_answer_alone(tokenizer: Any) -> None:
    items = [{"prompt": asked, "answer": "So."} for asked in ASKED]
    for item, example in zip(items, instruction_examples(Given(items), tokenizer, 256), strict=True):
        assert example["input_ids"] == whole(tokenizer, item["prompt"], "So.")
        counted = [token for token in example["labels"] if token != IGNORED]
        assert tokenizer.decode(counted) == "So." + tokenizer.eos_token


def test_what_is_scored_is_what_is_learnt(tokenizer: Any) -> None:
    items = [{"prompt": asked, "answer": "So."} for asked in ASKED]
    learnt = instruction_examples(Given(items), tokenizer, 256)
    scored = answers_to_score(items, tokenizer, token_bytes(tokenizer), 256, 9)
    assert [one.ids for one in scored] == [one["input_ids"] for one in learnt]
    assert [one.counted for one in scored] == [[token != IGNORED for token in one["labels"][1:]] for one in learnt]
    assert [one.bytes for one in scored] == [3, 3], "marks are no text"


def test_pairs_end_as_answers_do(tokenizer: Any) -> None:
    (found,) = preference_pairs(
        Given([{"prompt": ASKED[1], "chosen": "No.", "rejected": "Yes."}]), tokenizer, 256, "train"
    ).found
    for said, answer in (("No.", found.chosen), ("Yes.", found.rejected)):
        assert found.prompt + answer == whole(tokenizer, ASKED[1], said)


def test_a_template_without_the_end_of_text_gets_one() -> None:
    tokenizer = chat_tokenizer("chatml")
    tokenizer.eos_token = "<|eot_id|>"
    _, answer = encode_pair(tokenizer, ASKED[0], "So.")
    assert tokenizer.decode(answer) == "So.<|im_end|>\n<|eot_id|>"


def test_plain_prompts_stay_plain(tokenizer: Any) -> None:
    prompt, answer = encode_pair(tokenizer, "Why? ", "So.")
    assert tokenizer.decode(prompt + answer) == "Why? So." + tokenizer.eos_token


def test_a_template_that_refuses_is_one_line() -> None:
    with pytest.raises(StepError) as caught:
        encode_pair(chat_tokenizer("gemma"), SYSTEM, "So.")
    said = "the tokenizer's chat template refuses a conversation of system, user: System role not supported"
    assert str(caught.value) == said


@pytest.mark.parametrize(
    "template",
    ["{{ ''.__class__.__mro__[1].__subclasses__() }}", "{{ messages.append(1) }}", "{{ messages[0].clear() }}",
     "{% for a in range(999999) %}{% endfor %}", "{% if %}"],
)  # fmt: skip
def test_a_template_reaches_nothing_and_changes_nothing(template: str) -> None:
    """transformers renders templates in Jinja's immutable sandbox; here what it says becomes one line."""
    tokenizer, asked = chat_tokenizer("chatml"), [dict(message) for message in ASKED[0]]
    tokenizer.chat_template = template
    with pytest.raises(StepError, match="the tokenizer's chat template refuses a conversation of user"):
        encode_pair(tokenizer, asked, "So.")
    assert asked == ASKED[0]


def test_of_several_templates_the_default_is_taken() -> None:
    tokenizer = chat_tokenizer("chatml")
    tokenizer.chat_template = {"default": CHATML, "tool_use": "never"}
    assert tokenizer.decode(encode_pair(tokenizer, ASKED[0], "So.")[1]) == "So." + ENDS["chatml"]
    tokenizer.chat_template = {"tool_use": "never"}
    with pytest.raises(StepError, match="refuses a conversation of user"):
        encode_pair(tokenizer, ASKED[0], "So.")
