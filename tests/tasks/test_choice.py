"""``choice``: known log-probabilities in, known accuracies out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.errors import DataError
from harness.tasks.choice import Choice

START = 0


class TableScorer:
    """Characters are tokens; the log-probability of a token is given by what stands before it."""

    vocabulary_size = 256
    bos_id = None
    eos_id = START
    max_length = 40

    def __init__(self, probability):
        self.probability = probability
        self.asked = []

    def encode(self, text):
        return [ord(letter) for letter in text]

    def target_log_probabilities(self, sequences):
        self.asked += [list(sequence) for sequence in sequences]
        return [
            np.array([self.probability(s[:at], s[at]) for at in range(1, len(s))], dtype="float32") for s in sequences
        ]


def prefers(**table):
    """A scorer from ``prompt -> {option: (log p given the prompt, log p alone)}``; options are single letters."""

    def probability(before, token):
        context, option = "".join(map(chr, before[1:])), chr(token)
        if context in table and option in table[context]:
            return table[context][option][0]
        priors = [row[option][1] for row in table.values() if option in row]
        return priors[0] if priors and not context else 0.0

    return TableScorer(probability)


def item(prompt, options, label):
    return {"prompt": prompt, "options": list(options), "label": label}


def test_the_prior_of_an_option_is_taken_off(score, data_of):
    """Option a is likely anyway; b gains from the prompt."""
    scorer = prefers(p={"a": (-1.0, -1.0), "b": (-2.0, -6.0)})
    meter = score(Choice, scorer, data=data_of(choices=[item("p", "ab", 1)]))
    assert meter.metrics == {"choice_accuracy": 1.0, "choice_accuracy_sum": 0.0}
    assert meter.scored["choice"]["margin"] == [4.0]
    assert (meter.scored["choice"]["correct"], meter.scored["choice"]["correct_sum"]) == ([1], [0])


def test_accuracies_are_shares_of_items(score, data_of):
    scorer = prefers(p={"a": (-1.0, -3.0), "b": (-2.0, -3.0)}, q={"a": (-4.0, -3.0), "b": (-2.0, -3.0)})
    items = [item("p", "ab", 0), item("p", "ab", 1), item("q", "ab", 1), item("q", "ba", 0)]
    meter = score(Choice, scorer, data=data_of(choices=items))
    assert meter.metrics["choice_accuracy"] == 0.75
    assert meter.scored["choice"]["correct"] == [1, 0, 1, 1]
    assert meter.scored["choice"]["item"] == [0, 1, 2, 3]
    assert meter.scored["choice"]["margin"] == [1.0, -1.0, 2.0, 2.0]


def test_all_tokens_of_an_option_count_and_none_of_the_prompt(score, data_of):
    scorer = TableScorer(lambda before, token: -float(token - ord("a")) - (100.0 if len(before) < 3 else 0.0))
    meter = score(Choice, scorer, data=data_of(choices=[item("pp", ["ab", "cc"], 0)]))
    # Given the prompt: ab = -1, cc = -4. Alone, both stand within the first tokens, each 100 dearer twice.
    assert meter.scored["choice"]["margin"] == [0.0]
    assert meter.metrics == {"choice_accuracy": 0.0, "choice_accuracy_sum": 1.0}


def test_every_sequence_begins_where_a_document_begins(score, data_of):
    scorer = prefers(p={"a": (-1.0, -3.0), "b": (-2.0, -3.0)})
    score(Choice, scorer, data=data_of(choices=[item("p", "ab", 0), item("p", "ba", 0)]))
    assert all(sequence[0] == START for sequence in scorer.asked)
    alone = [sequence for sequence in scorer.asked if len(sequence) == 2]
    assert sorted(alone) == [[START, ord("a")], [START, ord("b")]], "an option that stands in two items is scored once"


@pytest.mark.parametrize("label", [0, 1, 2, 3])
def test_a_model_that_prefers_nothing_shows_no_skill(score, data_of, label):
    """Wherever the right option stands and however long it is: a tie is not an answer."""
    scorer = TableScorer(lambda before, token: -np.log(256))
    items = [item("prompt", ["abc", "abd", "xyz", "uvw"], label) for _ in range(20)]
    meter = score(Choice, scorer, data=data_of(choices=items))
    assert meter.metrics["choice_accuracy"] <= 0.25 and meter.metrics["choice_accuracy_sum"] <= 0.25


def test_a_model_that_prefers_at_random_is_right_by_chance(score, data_of):
    chance = np.random.default_rng(0)
    scorer = TableScorer(lambda before, token: float(chance.normal()))
    items = [item(f"prompt {index}", ["abc", "abd", "xyz", "uvw"], index % 4) for index in range(400)]
    accuracy = score(Choice, scorer, data=data_of(choices=items)).metrics["choice_accuracy"]
    assert abs(accuracy - 0.25) < 0.08


def test_items_that_do_not_fit_are_left_out_and_counted(score, data_of):
    scorer = prefers(p={"a": (-1.0, -3.0), "b": (-2.0, -3.0)})
    items = [item("x" * 60, "ab", 0), item("p", "ab", 0), item("p", ["a", "y" * 39], 0), item("p", ["", "b"], 0)]
    meter = score(Choice, scorer, data=data_of(choices=items))
    assert meter.observed["items"] == {"scored": 1, "left_out": 3, "options": 2}
    assert meter.scored["choice"]["item"] == [1]
    assert max(map(len, scorer.asked)) <= scorer.max_length


def test_only_as_many_items_as_asked_for(score, data_of):
    scorer = prefers(p={"a": (-1.0, -3.0), "b": (-2.0, -3.0)})
    meter = score(Choice, scorer, data=data_of(choices=[item("p", "ab", 0)] * 9), params={"items": 4})
    assert meter.observed["items"]["scored"] == 4


def test_nothing_that_fits_is_one_clear_line(score, data_of):
    with pytest.raises(DataError, match="no choice item of 'given' fits the context of 40 tokens"):
        score(Choice, prefers(), data=data_of(choices=[item("x" * 60, "ab", 0)]))


def test_a_tokenizer_without_a_start_is_one_clear_line(score, data_of):
    scorer = prefers()
    scorer.eos_id = None
    with pytest.raises(DataError, match="neither a beginning-of-text nor an end-of-text token"):
        score(Choice, scorer, data=data_of(choices=[item("p", "ab", 0)]))


def test_a_real_model_by_hand(score, scorer, tiny_data):
    """One option at a time in float64, without padding and without batches."""

    def log_p(before, option):
        ids = [scorer.eos_id, *scorer.encode(before), *scorer.encode(option)]
        with torch.no_grad():
            logits = scorer.model(input_ids=torch.tensor([ids])).logits[0].double()
        first = len(ids) - len(scorer.encode(option))
        return sum(float(torch.log_softmax(logits[at - 1], -1)[ids[at]]) for at in range(first, len(ids)))

    meter = score(Choice, scorer)
    items = tiny_data.view("choices", "test")
    assert meter.scored["choice"]["item"] == list(range(len(items)))
    for index, item in enumerate(items):
        gains = [log_p(item["prompt"], option) - log_p("", option) for option in item["options"]]
        right = gains.pop(item["label"])
        assert meter.scored["choice"]["margin"][index] == pytest.approx(right - max(gains), abs=2e-4)
        assert meter.scored["choice"]["correct"][index] == (meter.scored["choice"]["margin"][index] > 0)
