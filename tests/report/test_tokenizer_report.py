"""The tables on tokenizers: every number of the report against the records that it was made of, by hand."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from harness.report.build import compose
from harness.report.content import Content
from harness.report.document import Bullets, Document, Figure, Table
from harness.report.tokenizer_models import tokenizer_of
from harness.results.facts import facts_of
from harness.results.items import items_of
from harness.results.rows import frame_of

MIB = 2**20
HOSTILE = {
    "emoji": {"exact": 3, "changed": 0, "refused": 0, "lost": []},
    "white space": {
        "exact": 0, "changed": 1, "refused": 1,
        "lost": [
            {"text": "'a  b'", "outcome": "changed", "back": "'a b'"},
            {"text": "'\\t'", "outcome": "refused", "back": "ValueError"},
        ],
    },
}  # fmt: skip


def learnt(synthetic: ModuleType, method: str, size: int, corpus: int, seconds: float, peak: int) -> dict[str, Any]:
    spans = [{"name": "data", "seconds": 0.5, "peak_memory_bytes": 900 * MIB, "cuda": None},
             {"name": "train", "seconds": seconds, "peak_memory_bytes": peak * MIB, "cuda": None}]  # fmt: skip
    metrics = {"corpus_bytes": corpus, "vocabulary_size": size, "runtime_memory_bytes": 300 * MIB}
    found = synthetic.record("train", method, model="none", metrics=metrics, spans=spans)
    found["coordinates"]["params"] = {"vocab_size": size, "corpus_bytes": corpus}
    return dict(found)


def cut(synthetic: ModuleType, method: str, tokens: list[int], exact: list[int]) -> dict[str, Any]:
    columns = {"item": [0, 1, 2], "tokens": tokens, "bytes": [10, 20, 30], "words": [2, 4, 6], "exact": exact}
    metrics = {
        "vocabulary_size": 300, "bytes_per_token": 60 / sum(tokens), "fertility": sum(tokens) / 12,
        "unknown_share": 0.0, "byte_token_share": 0.25, "vocabulary_use": 0.5, "round_trip_share": sum(exact) / 3,
        "hostile_round_trip_share": 0.6,
    }  # fmt: skip
    return dict(synthetic.record("eval", method, task="tokenization", model="none", metrics=metrics,
                                 items={"tokenization": columns}, observed={"hostile": HOSTILE}))  # fmt: skip


def timed(synthetic: ModuleType, method: str, task: str, encode: float) -> dict[str, Any]:
    rates = {"encode_megabytes_per_second": encode, "decode_megabytes_per_second": 10 * encode}
    samples = {name: [0.9 * value, value, 1.1 * value] for name, value in rates.items()}
    return dict(synthetic.record("eval", method, task=task, model="none", metrics=rates, samples=samples))


def modelled(synthetic: ModuleType, method: str, seed: int, bits: float, rate: float) -> list[dict[str, Any]]:
    trained = {
        "optimizer_steps": 60, "train_tokens": 1e6, "train_bytes": 3e6, "tokens_per_second": rate,
        "parameters": 500_000,
    }  # fmt: skip
    return [
        dict(synthetic.record("train", method, model="small", seed=seed, metrics=trained)),
        dict(synthetic.record("eval", method, model="small", seed=seed, task="perplexity",
                              metrics={"bits_per_byte": bits, "loss": 3 * bits})),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def document(synthetic: ModuleType) -> Document:
    batch = "tokenization_speed(length=file, threads=2, batch=64)"
    parity = {"token_parity": 1.5, "source_fertility": 1.2, "target_fertility": 1.8}
    columns = {"item": [0, 1], "source_tokens": [4, 6], "target_tokens": [6, 9]}
    records = [
        learnt(synthetic, "bpe", 300, 2_000_000, 0.5, 360),
        learnt(synthetic, "bpe(corpus_bytes=1000000)", 300, 1_000_000, 0.2, 330),
        cut(synthetic, "bpe", [5, 10, 15], [1, 1, 1]),
        cut(synthetic, "wordpiece", [4, 8, 12], [1, 0, 0]),
        cut(synthetic, "tiktoken", [6, 12, 18], [1, 1, 1]),
        timed(synthetic, "bpe", "tokenization_speed", 4.0), timed(synthetic, "bpe", batch, 9.0),
        timed(synthetic, "wordpiece", "tokenization_speed", 8.0), timed(synthetic, "wordpiece", batch, 5.0),
        synthetic.record("eval", "bpe", task="language_parity", model="none", metrics=parity,
                         items={"language_parity": columns}),
        *modelled(synthetic, "bpe > clm", 0, 2.0, 1000.0), *modelled(synthetic, "bpe > clm", 1, 2.2, 1250.0),
        *modelled(synthetic, "wordpiece > clm", 0, 1.0, 2000.0), *modelled(synthetic, "wordpiece > clm", 1, 1.0, 2e3),
        *modelled(synthetic, "tiktoken > clm", 0, 3.0, 2000.0), *modelled(synthetic, "tiktoken > clm", 1, 3.1, 2e3),
    ]  # fmt: skip
    return compose(Content(frame_of(records), items_of(records), {}, facts_of(records)))


def tables(document: Document, title: str) -> list[Table]:
    section = next(one for one in document.sections if one.title == title)
    return [block for block in section.blocks if isinstance(block, Table)]


def values(table: Table, method: str) -> list[str]:
    return next([value.text for value in row.values] for row in table.rows if row.values[0].text == method)


def test_how_text_is_cut(document: Document) -> None:
    table = tables(document, "Tokenizers")[0]
    assert values(table, "bpe")[1:] == ["300", "2", "2.50", "0 %", "25 %", "50 %", "100 %", "60 %"]
    assert values(table, "tiktoken")[1:] == ["300", "1.67", "3", "0 %", "25 %", "50 %", "100 %", "60 %"]
    assert values(table, "wordpiece")[1:] == ["300", "2.50", "2", "0 %", "25 %", "50 %", "33.3 %", "60 %"]
    marks = {row.values[0].text: [value.mark for value in row.values] for row in table.rows}
    assert marks["bpe"][2] == "best" and marks["tiktoken"][2] == "", "paired by paragraph they are told apart"
    assert marks["wordpiece"][2:4] == ["", ""], "fewer tokens for less than the text is no merit"


def test_losses_are_counted_by_category_and_shown(document: Document) -> None:
    table = tables(document, "Tokenizers")[1]
    assert [(column.title, column.note) for column in table.columns[1:]] == [("Emoji", "of 3"), ("White space", "of 2")]
    first = table.rows[0].values
    assert (first[1].text, first[1].note) == ("3", "")
    assert (first[2].text, first[2].note) == ("0", "1 changed, 1 refused")
    shown = tables(document, "What tokenizers lost")[0]
    assert shown.caption == "6 losses"
    assert [value.text for value in shown.rows[0].values[1:]] == ["white space", "'a  b'", "'a b'"]
    assert [value.text for value in shown.rows[1].values[1:]] == ["white space", "'\\t'", "refused: ValueError"]


def test_speed_over_length_and_who_wins_where(document: Document) -> None:
    encode, decode = tables(document, "Speed of tokenizers")
    assert [(column.title, column.note) for column in encode.columns[1:]] == [
        ("Paragraph", "one by one"), ("File", "64 at a time, 2 threads"),
    ]  # fmt: skip
    assert values(encode, "bpe")[1:] == ["4", "9"] and values(decode, "wordpiece")[1:] == ["80", "50"]
    section = next(one for one in document.sections if one.title == "Speed of tokenizers")
    told = next(block for block in section.blocks if isinstance(block, Bullets)).items
    assert told[0] == (
        "Who encodes fastest depends on how: wordpiece for paragraph (one by one); "
        "bpe for file (64 at a time, 2 threads)."
    )
    assert [block.name for block in section.blocks if isinstance(block, Figure)] == ["tokenizer-speed-1"]


def test_learning_costs_seconds_and_memory_by_size(document: Document) -> None:
    (table,) = tables(document, "Learning a vocabulary")
    rows = [[value.text for value in row.values] for row in table.rows]
    assert rows == [
        ["bpe", "300", "1 MB", "200 ms", "5", "30 MiB"], ["bpe", "300", "2 MB", "500 ms", "4", "60 MiB"],
    ]  # fmt: skip


def test_what_a_language_pays(document: Document) -> None:
    (table,) = tables(document, "Languages")
    assert values(table, "bpe")[1:] == ["1.50", "1.20", "1.80"]
    assert table.rows[0].values[1].note == "[1.50, 1.50]", "both sentences have the same ratio"


def test_the_model_that_a_tokenizer_leads_to(document: Document) -> None:
    """1e6 tokens stand for 3 MB: at 1000 and 1250 tokens per second a megabyte costs 333 and 267 s, 300 on average."""
    (table,) = tables(document, "Models over tokenizers")
    assert values(table, "bpe > clm")[1:] == ["2.100", "100 %", "3 MB", "1 000 000", "3", "300", "500 000"]
    assert values(table, "wordpiece > clm")[1:3] == ["1", "33.3 %"]
    marks = {row.values[0].text: row.values[1].mark for row in table.rows}
    assert marks["wordpiece > clm"] == "not comparable", "it need not predict the text that its tokenizer lost"


def test_losses_per_token_are_not_compared_across_tokenizers(document: Document) -> None:
    told = "\n".join(next(block for block in document.opening if isinstance(block, Bullets)).items)
    assert "est bits per byte on perplexity: bpe > clm at fp32 with 2.100" in told, "wordpiece's is lower, and lossy"
    assert "loss" not in told


def test_the_tokenizer_of_a_method() -> None:
    methods = ["bpe", "bpe > clm", "bpe > tiktoken > clm", "clm", "lora > int8", "bpe(vocab_size=300) > mlm"]
    found = [tokenizer_of((method, None, None, None, None)) for method in methods]
    assert found == [None, "bpe", "bpe > tiktoken", None, None, "bpe(vocab_size=300)"]
