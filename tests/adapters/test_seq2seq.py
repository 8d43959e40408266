"""``seq2seq``: encoder-decoders from nothing by both objectives."""

from __future__ import annotations

import pytest

from harness.errors import StepError
from harness.models.loading import load_tokenizer
from harness.models.scoring import IGNORED
from harness.training.denoising import Corruptor, Rule
from harness.training.special_tokens import add_sentinels, sentinel_ids

BOTH = pytest.mark.parametrize(
    ("name", "objective"),
    [("t5", "span_corruption"), ("t5", "text_infilling"), ("bart", "span_corruption"), ("bart", "text_infilling")],
)


@pytest.mark.parametrize("name", ["t5_run", "bart_run"])
def test_it_learns(name, request):
    ran = request.getfixturevalue(name)
    losses, points = ran.losses, ran.meter.points
    assert len(losses) == 20 and sum(losses[-3:]) < 0.75 * sum(losses[:3])
    assert [point["step"] for point in points] == [0, 10, 20]
    assert points[0]["validation_loss"] > points[1]["validation_loss"] > points[2]["validation_loss"]


@BOTH
def test_objective_and_architecture_are_independent(pretrained, name, objective):
    job = {"steps": 8, "batch_size": 8}
    losses = pretrained(name, "seq2seq", objective=objective, job=job).losses
    assert sum(losses[-2:]) < 0.9 * sum(losses[:2])


@BOTH
def test_accumulated_micro_batches_equal_one_batch(pretrained, name, objective):
    job = {"steps": 3, "batch_size": 8}
    whole = pretrained(name, "seq2seq", objective=objective, job=job)
    parts = pretrained(name, "seq2seq", objective=objective, job={**job, "micro_batch_size": 2})
    assert parts.losses == pytest.approx(whole.losses, abs=1e-3)
    assert [step["loss_tokens"] for step in parts.meter.steps] == [step["loss_tokens"] for step in whole.meter.steps]


def test_tokens_of_a_step_by_hand(t5_run, bart_run):
    """63 tokens of text a block: round(9.45) hidden in 3 spans; both halves end with the end of text."""
    source, target = 63 - 9 + 3 + 1, 9 + 3 + 1
    for step in t5_run.meter.steps:
        assert step == {"tokens": 8 * (source + target), "nonpadding_tokens": 8 * (source + target),
                        "loss_tokens": 8 * target}  # fmt: skip
    for step in bart_run.meter.steps:
        assert step["loss_tokens"] == 8 * 64, "the whole text is restored"
        assert 8 * (64 + 63 - 19) < step["nonpadding_tokens"] < step["tokens"] < 8 * (64 + 64)


@pytest.mark.parametrize(("name", "kind"), [("t5_run", "T5"), ("bart_run", "Bart")])
def test_plain_transformers_opens_it(name, kind, request):
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    made = request.getfixturevalue(name).checkpoint
    assert made.kind == "seq2seq" and made.made == {"tokenizer", "model"}
    model, facts = AutoModelForSeq2SeqLM.from_pretrained(made.parts["model"], output_loading_info=True)
    assert not any(facts[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    tokenizer = AutoTokenizer.from_pretrained(made.parts["tokenizer"])
    assert type(model).__name__ == f"{kind}ForConditionalGeneration"
    assert model.get_input_embeddings().weight.shape[0] == len(tokenizer) == (400 if kind == "T5" else 301)
    start = tokenizer.pad_token_id if kind == "T5" else tokenizer.eos_token_id
    assert model.config.decoder_start_token_id == model.generation_config.decoder_start_token_id == start
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    given = tokenizer(["def add", "x"], return_tensors="pt", padding=True, return_token_type_ids=False)
    assert model.generate(**given, max_new_tokens=4).shape[0] == 2


def test_the_tokenizer_gets_what_the_objective_needs(t5_run, bart_run, tokenizer_run):
    before = load_tokenizer(tokenizer_run.checkpoint)
    with_sentinels, with_mask = (load_tokenizer(ran.checkpoint) for ran in (t5_run, bart_run))
    assert sentinel_ids(with_sentinels) == list(range(300, 400)) and with_sentinels.mask_token is None
    assert with_sentinels.convert_ids_to_tokens(300) == "<|extra_0|>"
    assert with_mask.mask_token == "<|mask|>" and sentinel_ids(with_mask) == []
    add_sentinels(with_sentinels)
    assert len(with_sentinels) == 400, "they are added once"
    text = "def add_3(a):\n"
    assert with_sentinels(text)["input_ids"] == with_mask(text)["input_ids"] == before(text)["input_ids"]


def test_padding_of_sources_changes_no_loss(bart, open_live):
    import torch

    model, tokenizer = open_live(bart), load_tokenizer(bart)
    batch = Corruptor(tokenizer, Rule("text_infilling"), 0)([{"input_ids": list(range(2, 65))}] * 4)
    assert batch["labels"].shape == (4, 64) and (batch["labels"] != IGNORED).all()
    lengths = batch["attention_mask"].sum(dim=1).tolist()
    assert len(set(lengths)) > 1, "a mask stands for a span, so that sources differ in length"
    ids, labels = batch["input_ids"], batch["labels"]
    with torch.no_grad():
        whole = model(**batch).loss
        alone = [model(input_ids=ids[row : row + 1, :end], labels=labels[row : row + 1]).loss
                 for row, end in enumerate(lengths)]  # fmt: skip
    assert float(whole) == pytest.approx(sum(map(float, alone)) / 4, abs=1e-4)


def test_the_seed_fixes_corruption_and_losses(pretrained):
    first, again, other = (pretrained("bart", "seq2seq", job={"steps": 3, "seed": seed}).losses for seed in (1, 1, 2))
    assert first == again and first != other


def test_it_goes_on_from_a_given_model(run, t5, t5_run):
    assert run("seq2seq", t5, job={"steps": 2, "batch_size": 8}).losses[0] < 0.75 * t5_run.losses[0]


def test_a_tokenizer_without_the_tokens_is_one_clear_line(tokenizer_run):
    tokenizer = load_tokenizer(tokenizer_run.checkpoint)
    with pytest.raises(StepError, match="span corruption needs sentinels"):
        Corruptor(tokenizer, Rule("span_corruption"), 0)
    with pytest.raises(StepError, match="text infilling needs a mask token"):
        Corruptor(tokenizer, Rule("text_infilling"), 0)
