"""``mlm``: an encoder from nothing, its masks, its tokenizer."""

from __future__ import annotations

import pytest

from harness.models.loading import load_tokenizer


def test_it_learns(bert_run):
    losses = bert_run.losses
    assert len(losses) == 20 and sum(losses[-3:]) < 0.75 * sum(losses[:3])
    points = bert_run.meter.points
    assert [point["step"] for point in points] == [0, 10, 20]
    assert points[0]["validation_loss"] > points[2]["validation_loss"]
    assert points[2]["validation_masked_accuracy"] > points[0]["validation_masked_accuracy"]


def test_it_makes_a_masked_model_for_its_tokenizer(bert_run, tokenizer_run):
    made = bert_run.checkpoint
    assert made.kind == "masked" and made.made == {"tokenizer", "model"} and "config" not in made.parts
    before, after = load_tokenizer(tokenizer_run.checkpoint), load_tokenizer(made)
    assert before.mask_token is None and after.mask_token == "<|mask|>" and after.mask_token_id == len(before)
    text = "def add_3(a):\n    return a\n"
    assert after(text)["input_ids"] == before(text)["input_ids"], "text is read as before"


def test_plain_transformers_opens_it(bert_run):
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    model, facts = AutoModelForMaskedLM.from_pretrained(bert_run.checkpoint.parts["model"], output_loading_info=True)
    assert not any(facts[name] for name in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    tokenizer = AutoTokenizer.from_pretrained(bert_run.checkpoint.parts["tokenizer"])
    assert type(model).__name__ == "BertForMaskedLM"
    assert model.get_input_embeddings().weight.shape[0] == len(tokenizer) == 301
    assert model.config.pad_token_id == tokenizer.pad_token_id
    logits = model(**tokenizer("def <|mask|>(a):", return_tensors="pt")).logits
    assert logits.shape[-1] == 301


def test_tokens_of_a_step(bert_run):
    """Every token is read, about one in seven carries a loss, in place and not shifted."""
    steps = bert_run.meter.steps
    assert {step["tokens"] for step in steps} == {step["nonpadding_tokens"] for step in steps} == {8 * 64}
    share = sum(step["loss_tokens"] for step in steps) / sum(step["tokens"] for step in steps)
    assert 0.13 < share < 0.17
    assert len({step["loss_tokens"] for step in steps}) > 5, "masks are drawn anew at every step"


def test_the_seed_fixes_masks_and_losses(pretrained):
    def ran(seed):
        found = pretrained("bert", "mlm", job={"steps": 3, "seed": seed})
        return found.losses, [step["loss_tokens"] for step in found.meter.steps]

    first, again, other = ran(1), ran(1), ran(2)
    assert first == again and first[0] != other[0] and first[1] != other[1]


@pytest.mark.parametrize("whole_word", [False, True])
def test_accumulated_micro_batches_equal_one_batch(pretrained, whole_word):
    """The same masks, and a mean over the batch: transformers' encoders average each micro-batch by itself."""
    job = {"steps": 3, "batch_size": 8}
    whole = pretrained("bert", "mlm", job=job, whole_word=whole_word)
    parts = pretrained("bert", "mlm", job={**job, "micro_batch_size": 2}, whole_word=whole_word)
    assert parts.losses == pytest.approx(whole.losses, abs=1e-4)
    assert [step["loss_tokens"] for step in parts.meter.steps] == [step["loss_tokens"] for step in whole.meter.steps]


def test_whole_words_are_learnt_too(pretrained):
    losses = pretrained("bert", "mlm", job={"steps": 12, "batch_size": 8}, whole_word=True).losses
    assert sum(losses[-3:]) < 0.75 * sum(losses[:3])


def test_it_goes_on_from_a_given_model(run, bert, bert_run):
    more = run("mlm", bert, job={"steps": 2, "batch_size": 8})
    assert more.losses[0] < 0.75 * bert_run.losses[0]
    assert len(load_tokenizer(more.checkpoint)) == 301, "the mask token is there already"


def test_a_given_model_of_a_smaller_vocabulary_grows(run, bert, tokenizer_run, open_live):
    """A model whose tokenizer has no mask token yet."""
    parts = {**bert.parts, **tokenizer_run.checkpoint.parts}
    model = open_live(bert)
    model.resize_token_embeddings(300)
    small = run("mlm", bert, job={"steps": 1}).job.output / "small"
    model.save_pretrained(small)
    grown = run("mlm", type(bert)(kind="masked", parts={**parts, "model": small}), job={"steps": 1})
    assert open_live(grown.checkpoint).get_input_embeddings().weight.shape[0] == 301
