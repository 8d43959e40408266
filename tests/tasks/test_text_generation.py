"""``text_generation``: known texts in, the libraries' scores out; real models generate as transformers does."""

from __future__ import annotations

import pytest
import torch

from harness.contract import NoParams
from harness.errors import DataError
from harness.models.opening import open_scorer
from harness.tasks.text_generation import TextGeneration


class Says:
    """Characters are tokens; the answer to a prompt is given."""

    reads_apart = False
    max_length = 40
    eos_id = 0

    def __init__(self, answers):
        self.answers, self.asked = answers, []

    def encode(self, text):
        return [ord(letter) for letter in text]

    def decode(self, ids):
        return "".join(map(chr, ids))

    def complete(self, prompts, new_tokens):
        self.asked += ["".join(map(chr, prompt)) for prompt in prompts]
        return [[ord(letter) for letter in self.answers[index]][:new_tokens] for index in range(len(prompts))]


class ReadsApart(Says):
    reads_apart = True


ITEMS = [
    {"source": "a", "target": "the cat sat on the mat"},
    {"source": "b", "target": "a dog ran"},
    {"source": "x" * 60, "target": "does not fit"},
]


def test_scores_are_those_of_the_libraries(score, data_of):
    import sacrebleu

    texts = ["the cat sat on a mat", "nothing alike"]
    params = {"new_tokens": 30}
    scorer = ReadsApart([f" {text}\n" for text in texts])
    meter = score(TextGeneration, scorer, data=data_of(text_to_text=ITEMS), params=params)
    references = [item["target"] for item in ITEMS[:2]]
    assert meter.metrics["chrf"] == pytest.approx(sacrebleu.corpus_chrf(texts, [references]).score)
    assert meter.metrics["bleu"] == pytest.approx(sacrebleu.corpus_bleu(texts, [references]).score)
    # Longest common subsequence "the cat sat on mat": 5 of 6 words on both sides; nothing in the second item.
    assert meter.scored["text_generation"]["rouge_l"] == pytest.approx([5 / 6, 0.0])
    assert meter.metrics["rouge_l"] == pytest.approx(5 / 12)
    assert meter.scored["text_generation"]["chrf"][0] == pytest.approx(
        sacrebleu.sentence_chrf(texts[0], [references[0]]).score
    )
    assert meter.observed["items"] == {"scored": 2, "left_out": 1}
    assert "tok:13a" in meter.observed["signatures"]["bleu"] and "2.6.0" in meter.observed["signatures"]["chrf"]
    assert meter.observed["samples"][0] == {"generated": texts[0], "reference": references[0]}


def test_the_right_text_scores_in_full(score, data_of):
    scorer = ReadsApart([item["target"] for item in ITEMS])
    meter = score(TextGeneration, scorer, data=data_of(text_to_text=ITEMS[:1]))
    assert meter.metrics == pytest.approx({"chrf": 100.0, "bleu": 100.0, "rouge_l": 1.0})


def test_a_causal_model_goes_on_from_a_line_break_and_an_encoder_reads_to_the_end(score, data_of):
    causal, apart = Says(["", ""]), ReadsApart(["", ""])
    for scorer in (causal, apart):
        meter = score(TextGeneration, scorer, data=data_of(text_to_text=ITEMS), params={"new_tokens": 30})
        assert meter.metrics == {"chrf": 0.0, "bleu": 0.0, "rouge_l": 0.0}
    assert causal.asked == ["a\n", "b\n"] and apart.asked == ["a\0", "b\0"]


def test_letters_that_rouge_does_not_read_are_flagged(score, data_of):
    items = [{"source": "a", "target": "kedi ağaçta"}]
    assert score(TextGeneration, ReadsApart(["kedi"]), data=data_of(text_to_text=items)).flags
    assert not score(TextGeneration, ReadsApart(["kedi"]), data=data_of(text_to_text=ITEMS[:1])).flags


def test_nothing_that_fits_is_one_clear_line(score, data_of):
    with pytest.raises(DataError, match="no source of 'given' fits the context of 40 tokens"):
        score(TextGeneration, Says([]), data=data_of(text_to_text=ITEMS[2:]))


@pytest.mark.parametrize("name", ["llama", "gpt2", "t5", "bart"])
def test_batches_generate_what_each_prompt_alone_does(name, request, make_job):
    """Prompts of unequal length, by hand token by token with the most likely one."""
    scorer = open_scorer(make_job(request.getfixturevalue(name), params=NoParams()))
    prompts = [scorer.encode(text) for text in ("def add_3(a):", "x", "def scale_4(a):\n    return a * 4\n")]
    found = scorer.complete(prompts, 6)
    for prompt, ids in zip(prompts, found, strict=True):
        assert ids == _by_hand(scorer, prompt, 6)


def _by_hand(scorer, prompt, new_tokens):
    apart = scorer.reads_apart
    ids = [scorer.model.config.decoder_start_token_id] if apart else list(prompt)
    out = []
    for _ in range(new_tokens):
        given = {"input_ids": torch.tensor([prompt]), "decoder_input_ids": torch.tensor([ids])}
        with torch.no_grad():
            logits = scorer.model(**(given if apart else {"input_ids": torch.tensor([ids])})).logits[0, -1]
        token = int(logits.argmax())
        if token == scorer.eos_id:
            break
        ids.append(token)
        out.append(token)
    return out
