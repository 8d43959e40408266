"""The fast path scores as the plain one does: every architecture that packs, both kernels, in small batches too."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.models import continuations as module
from harness.models import scoring
from harness.models.continuations import Continued, can_pack, continuations, score
from harness.models.scoring import entries

CHANCE = np.random.default_rng(7)


def ids(count):
    return [int(one) for one in CHANCE.integers(3, 290, count)]


QUESTION, OTHER = ids(30), ids(18)
PAIRS = [
    *((QUESTION, ids(length)) for length in (1, 5, 5, 2)),  # options of a question, one of a single token
    (QUESTION, [7]), (QUESTION[:20], QUESTION[20:]),
    (QUESTION[:20], [*QUESTION[20:25], 9, 9]),  # goes on as another for a while
    ([1], ids(12)), ([1], ids(3)), (OTHER, [5, 6]), (OTHER, [5, 6]), (ids(40), ids(1)),
]  # fmt: skip
TINY = {"vocab_size": 300, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "max_position_embeddings": 128, "initializer_range": 0.3}  # fmt: skip


def by_hand(model, pairs):
    """One text at a time, without padding, from its full distributions."""
    found = []
    for context, continuation in pairs:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([[*context, *continuation]])).logits[0, len(context) - 1 : -1].float()
        scores = torch.log_softmax(logits, -1)
        picked = scores[range(len(continuation)), continuation]
        found.append((picked.numpy(), scores.argmax(-1).tolist() == list(continuation)))
    return found


def agree(model, pairs, found, within=1e-4):
    assert len(found) == len(pairs)
    for (values, greedy), one in zip(by_hand(model, pairs), found, strict=True):
        assert one.log_probabilities.dtype == np.float32 and one.log_probabilities.shape == values.shape
        assert np.abs(one.log_probabilities - values).max() < within
        assert one.greedy == greedy


def tiny(kind, **options):
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(3)
    config = AutoConfig.for_model(kind, **TINY | options)
    return AutoModelForCausalLM.from_config(config, attn_implementation=options.get("attention", "sdpa")).eval()


@pytest.fixture(scope="module", params=sorted(module.PACKED))
def model(request):
    more = {"mistral": {"sliding_window": None, "num_key_value_heads": 2}, "qwen2": {"num_key_value_heads": 2},
            "qwen3": {"head_dim": 8, "num_key_value_heads": 2}}.get(request.param, {})
    return tiny(request.param, **more)


def test_every_architecture_that_packs_scores_as_one_by_one(model):
    assert can_pack(model)
    pairs = [*PAIRS, ([4], by_greed(model, [4], 6)), (QUESTION, by_greed(model, QUESTION, 4))]
    found = score(model, pairs, "fp32")
    agree(model, pairs, found)
    assert [one.greedy for one in found[-2:]] == [True, True], "what the model says itself is the likeliest text"


def by_greed(model, context, count):
    text = list(context)
    for _ in range(count):
        with torch.no_grad():
            text.append(int(model(input_ids=torch.tensor([text])).logits[0, -1].argmax()))
    return text[len(context) :]


def test_trained_models_with_another_kernel_and_small_batches(llama, open_live, monkeypatch):
    live = open_live(llama)
    agree(live, PAIRS, score(live, PAIRS, "fp32"))
    monkeypatch.setattr(module, "BATCH_TOKENS", {"cpu": 40})
    agree(live, PAIRS, score(live, PAIRS, "fp32"))
    live.set_attn_implementation("eager")
    agree(live, PAIRS, score(live, PAIRS, "fp32"))


def test_fewer_tokens_are_computed(llama, open_live):
    live, read = open_live(llama), []
    handle = live.get_input_embeddings().register_forward_hook(lambda _m, inputs, _o: read.append(inputs[0].numel()))
    pairs = [(QUESTION, [token]) for token in range(20)] + [(QUESTION, [token, 5]) for token in range(20)]
    score(live, pairs, "fp32")
    handle.remove()
    assert sum(read) < 30 + 2 * 20 + 10, "the question was read once"


def test_mixed_precision_packs_too(llama, open_live):
    live = open_live(llama)
    full, mixed = score(live, PAIRS, "fp32"), score(live, PAIRS, "bf16-mixed")
    away = [np.abs(a.log_probabilities - b.log_probabilities).max() for a, b in zip(full, mixed, strict=True)]
    assert 0 < max(away) < 0.5


def test_low_precision_weights(llama, open_live):
    live = open_live(llama, "bf16")
    agree(live, PAIRS, score(live, PAIRS, "bf16"), within=0.15)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("mistral", {"sliding_window": 8, "num_key_value_heads": 2}),
        ("opt", {"ffn_dim": 64, "word_embed_proj_dim": 32}),
    ],
)
def test_others_are_read_one_text_a_row(kind, options):
    """A window counts tokens between two, OPT counts positions by the mask."""
    live = tiny(kind, **options)
    assert not can_pack(live)
    agree(live, PAIRS, score(live, PAIRS, "fp32"))


def test_virtual_tokens_stand_before_every_row(llama, run, open_live):
    tuned = run("prefix_tuning", llama).checkpoint
    live = open_live(tuned)
    assert not can_pack(live)
    agree(live, PAIRS, score(live, PAIRS, "fp32"))


def test_adapters_pack(llama, run, open_live):
    live = open_live(run("lora", llama).checkpoint)
    assert can_pack(live)
    agree(live, PAIRS, score(live, PAIRS, "fp32"))


def test_a_batch_that_does_not_fit_is_halved(llama, open_live, monkeypatch):
    live, sizes = open_live(llama), []
    plain = module._score_batch

    def scarce(model, batch, *rest):
        if len(batch) > 2:
            raise torch.cuda.OutOfMemoryError("no memory is left")
        sizes.append(len(batch))
        return plain(model, batch, *rest)

    monkeypatch.setattr(module, "_score_batch", scarce)
    agree(live, PAIRS, score(live, PAIRS, "fp32"))
    assert max(sizes) == 2

    def none(model, batch, *rest):
        raise torch.cuda.OutOfMemoryError("no memory is left")

    monkeypatch.setattr(module, "_score_batch", none)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        score(live, PAIRS, "fp32")


def test_a_scorer_of_another_package_is_asked_for_distributions(llama, open_live):
    live = open_live(llama)

    class Foreign:
        def log_probabilities(self, sequences):
            return scoring.log_probabilities(live, sequences, "fp32")

    found = continuations(Foreign(), PAIRS)
    assert isinstance(found[0], Continued) and entries(live) == 300
    agree(live, PAIRS, found)
    assert continuations(Foreign(), []) == score(live, [], "fp32") == []
