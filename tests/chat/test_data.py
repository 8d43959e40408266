"""Conversations as data: messages of a file as instructions, ``chat: true``, splits, and what is said of mistakes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.data import open_dataset, prepare, views_of
from harness.errors import DataError
from harness.plan.first_look import view_and_columns
from harness.plan.sources import named_data

MESSAGES = {"prompt": "messages", "answer": "messages"}
SAID = {"user": "Why?", "assistant": "So."}


def talk(*roles: str, **content: str) -> list[dict[str, str]]:
    return [{"role": role, "content": {**SAID, **content}.get(role, role)} for role in roles]


def write(folder: Path, rows: list[Any]) -> Path:
    file = folder / "rows.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return file


def opened(folder: Path, rows: list[Any], **given: Any) -> Any:
    file = write(folder, rows)
    splits = dict.fromkeys(("train", "validation", "test"), str(file))
    spec = named_data("mine", {"split": splits, **given}, folder)
    return open_dataset(spec.spec, cache=folder)


def test_the_last_message_is_the_answer_and_those_before_it_the_prompt(tmp_path: Path) -> None:
    long = talk("system", "user", "assistant", "user", "assistant")
    rows = [{"messages": long}, {"messages": [{"from": "human", "value": "Hm?"}, {"from": "gpt", "value": "Oh."}]}]
    first, second = opened(tmp_path, rows, columns=MESSAGES).view("instructions", "train")
    assert first == {"prompt": long[:-1], "answer": "So."}
    assert second == {"prompt": talk("user", user="Hm?"), "answer": "Oh."}


def test_prompts_apart_from_answers(tmp_path: Path) -> None:
    rows = [{"prompt": talk("user"), "answer": "So."}, {"prompt": talk("user"), "answer": talk("assistant")}]
    first, second = opened(tmp_path, rows, view="instructions").view("instructions", "train")
    assert first == second == {"prompt": talk("user"), "answer": "So."}


def test_chat_makes_a_message_of_a_text_and_leaves_conversations(tmp_path: Path) -> None:
    rows = [{"prompt": "Why?", "answer": "So."}, {"prompt": talk("system", "user"), "answer": "So."}]
    plain = opened(tmp_path, rows, view="instructions")
    chat = opened(tmp_path, rows, view="instructions", chat=True)
    assert [item["prompt"] for item in plain.view("instructions", "train")] == ["Why?", talk("system", "user")]
    assert [item["prompt"] for item in chat.view("instructions", "train")] == [talk("user"), talk("system", "user")]
    assert plain.fingerprint != chat.fingerprint
    sides = {"chosen": "So.", "rejected": "No."}
    (pair,) = opened(tmp_path, [{"prompt": "Why?", **sides}], view="pairs", chat=True).view("pairs", "train")
    assert pair == {"prompt": talk("user"), **sides}


def test_chat_is_part_of_what_a_step_is_known_by_and_its_absence_is_not(tmp_path: Path) -> None:
    file = str(write(tmp_path, [{"prompt": "Why?", "answer": "So."}]))

    def identity(**more: Any) -> str:
        return named_data("mine", {"path": file, "view": "instructions", **more}, tmp_path).identity

    assert identity() == identity(chat=False) != identity(chat=True)
    assert "chat" not in identity()


def test_a_prepared_file_is_of_messages_or_of_text(tmp_path: Path) -> None:
    file = str(write(tmp_path, [{"prompt": f"Why {number}?", "answer": "So."} for number in range(30)]))
    given = {"path": file, "view": "instructions"}
    plain, chat = (named_data("mine", {**given, **more}, tmp_path).spec for more in ({}, {"chat": True}))
    made = prepare(chat, tmp_path / "chat.zip")
    item = open_dataset(chat, prepared=made, cache=tmp_path).view("instructions", "train")[0]
    assert item["prompt"][0]["role"] == "user"
    with pytest.raises(DataError, match="was prepared for other data"):
        open_dataset(plain, prepared=made, cache=tmp_path)


def test_two_answers_to_one_conversation_share_a_split(tmp_path: Path) -> None:
    rows = [{"messages": talk("user", "assistant", user=f"Why {number}?", assistant=said)}
            for number in range(60) for said in ("So.", "No.")]  # fmt: skip
    spec = named_data("mine", {"path": str(write(tmp_path, rows)), "columns": MESSAGES}, tmp_path)
    data = open_dataset(spec.spec, cache=tmp_path)
    asked = {split: {repr(item["prompt"]) for item in data.view("instructions", split)}
             for split in ("train", "validation", "test")}  # fmt: skip
    assert not asked["train"] & asked["test"] and not asked["train"] & asked["validation"]
    assert sum(map(len, asked.values())) == 60


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        (talk("user"), "the last message is the user's, an answer is the assistant's"),
        (talk("assistant"), "a conversation without a message"),
        ([], "a conversation without a message"),
        ([3], "holds int, not text or messages"),
        ([{"role": "robot", "content": "x"}, *talk("assistant")], "a message needs role and content"),
        ({"role": "user", "content": "x"}, "the last message is the user's"),
        (7, "holds int, not text or messages"),
    ],
)
def test_what_is_no_conversation_is_one_line(tmp_path: Path, messages: Any, told: str) -> None:
    with pytest.raises(DataError, match=told) as caught:
        opened(tmp_path, [{"messages": messages}], columns=MESSAGES).view("instructions", "train")
    assert "\n" not in str(caught.value) and "train row 1" in str(caught.value)


def test_an_empty_answer_is_left_out(tmp_path: Path) -> None:
    rows = [{"messages": talk("user", "assistant", assistant=" ")}, {"messages": talk("user", "assistant")}]
    assert len(opened(tmp_path, rows, columns=MESSAGES).view("instructions", "train")) == 1


def test_chat_without_prompts_is_refused() -> None:
    with pytest.raises(DataError, match="chat: is for prompts of the views instructions and pairs, this has: labels"):
        views_of({"kind": "local", "path": "x.jsonl", "view": "labels", "chat": True})


@pytest.mark.parametrize("name", ["messages", "conversations"])
def test_a_first_look_knows_conversations(tmp_path: Path, name: str) -> None:
    file = write(tmp_path, [{name: talk("user", "assistant"), "prompt": "Why?", "id": 3}])
    assert view_and_columns(file) == ("instructions", {"prompt": name, "answer": name})
