"""``sft``, ``reward_model``, ``dpo``, ``ppo`` on tiny models: what TRL really computes, beside computations by hand."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import numpy
import pytest
import torch

from harness.contract import Checkpoint
from harness.errors import DataError, StepError
from harness.models.loading import load_tokenizer
from harness.models.reward import alignment_tokenizer, open_reward_model, rewards, with_padding_of_its_own
from harness.training.alignment import preference_loss
from harness.training.preferences import answer_log_probabilities, preference_pairs

LENGTH = 64
FEW = {"steps": 4, "batch_size": 4, "sequence_length": LENGTH, "evaluations": 1}


@pytest.fixture(scope="module")
def tuned(run, llama):
    """The tiny model after a few steps on answers."""
    return run("sft", llama, job={**FEW, "steps": 8, "evaluations": 2})


@pytest.fixture(scope="module")
def start(tuned, as_input):
    return as_input(tuned.checkpoint)


@pytest.fixture(scope="module")
def scored(run, start, as_input):
    return as_input(run("reward_model", start, job=FEW).checkpoint)


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items())


# --- sft ----------------------------------------------------------------------------------------------------------


def test_sft_learns_what_full_fine_tuning_learns(run, llama, few_data):
    """Another library's trainer, the same answers, rates and steps: the same losses."""
    job = {"steps": 6, "batch_size": 8, "sequence_length": LENGTH, "data": few_data}
    options = {"learning_rate": 1e-3, "schedule": "constant"}
    own, theirs = (run(name, llama, job=job, **options) for name in ("full_finetune", "sft"))
    assert theirs.losses == pytest.approx(own.losses, rel=1e-5) and theirs.losses[-1] < theirs.losses[0]
    assert theirs.meter.steps == own.meter.steps


@pytest.mark.parametrize("view", ["instructions", "pairs"])
def test_the_sft_loss_ignores_the_prompt(run, llama, tiny_data, view, monkeypatch):
    """Of every micro-batch that the model is given, the labels are the answers with their ends and nothing else."""
    seen = []
    from harness.training.counts import Counts

    add = Counts.add

    def adding(self, inputs, loss):
        seen.append(dict(inputs))
        add(self, inputs, loss)

    monkeypatch.setattr(Counts, "add", adding)
    run("sft", llama, job={**FEW, "evaluations": 0}, view=view)
    tokenizer = load_tokenizer(llama)
    answers = {"instructions": "answer", "pairs": "chosen"}[view]
    texts = {item["prompt"]: item[answers] for item in tiny_data.view(view, "train")}
    for batch in seen:
        for ids, labels in zip(batch["input_ids"], batch["labels"], strict=True):
            kept = labels != -100
            assert torch.equal(ids[kept], labels[kept])
            told = tokenizer.decode(labels[kept], skip_special_tokens=True)
            prompt = tokenizer.decode(ids[: int(kept.nonzero()[0])], skip_special_tokens=True)
            assert prompt in texts and any(text.startswith(told) for text in texts.values()) and told


def test_packing_fills_blocks_and_keeps_the_labels(run, llama):
    ran = run("sft", llama, job={**FEW, "steps": 3, "batch_size": 2}, packing=True)
    assert {step["tokens"] for step in ran.meter.steps} == {2 * LENGTH}
    assert all(step["nonpadding_tokens"] == 2 * LENGTH for step in ran.meter.steps)
    assert all(0 < step["loss_tokens"] < 2 * LENGTH for step in ran.meter.steps), "prompts still carry no loss"


# --- reward_model -------------------------------------------------------------------------------------------------


class Separable:
    """Pairs that one word tells apart: the preferred answer says yes."""

    name, fingerprint = "separable", "separable-1"

    def views(self):
        return ("pairs",)

    def view(self, name, split):
        numbers = {"train": range(64), "validation": range(100, 120), "test": range(200, 240)}[split]
        return [{"prompt": f"{number} ", "chosen": "yes yes", "rejected": "no no"} for number in numbers]


def test_a_reward_model_ranks_a_separable_set(run, llama):
    job = {**FEW, "steps": 40, "batch_size": 8, "data": Separable(), "evaluations": 2}
    ran = run("reward_model", llama, job=job, half="all", learning_rate=1e-3)
    points = ran.meter.points
    assert points[-1]["validation_preference_accuracy"] == 1.0 and points[-1]["validation_loss"] < 0.1
    assert ran.losses[-1] < 0.1 < math.log(2) == pytest.approx(ran.losses[0], abs=0.1)
    assert ran.checkpoint.made == {"reward"} and ran.meter.metrics["preference_pairs_seen"] == 320


def test_the_bradley_terry_loss_is_that_of_the_scores(run, start, few_data, monkeypatch):
    """The first loss of TRL's trainer, from the scores that the untrained head gives to the same batch."""
    from harness.training import alignment

    kept = {}
    opened = alignment.open_reward_model
    monkeypatch.setattr(alignment, "open_reward_model", lambda *given: kept.setdefault("model", opened(*given)))
    trained = alignment.train

    def watching(job, setup, model, tokenizer, examples, *rest, **options):
        scores = rewards(model, [row[side] for row in examples for side in ("chosen_ids", "rejected_ids")], "fp32")
        gaps = [scores[at] - scores[at + 1] for at in range(0, len(scores), 2)]
        kept["expected"] = sum(math.log1p(math.exp(-gap)) for gap in gaps) / len(gaps)
        kept["pairs"] = len(examples)
        return trained(job, setup, model, tokenizer, examples, *rest, **options)

    monkeypatch.setattr(alignment, "train", watching)
    pairs = len(preference_pairs(few_data, load_tokenizer(start), LENGTH, "train").found)
    ran = run("reward_model", start, job={**FEW, "steps": 1, "batch_size": pairs, "data": few_data}, half="all")
    assert kept["pairs"] == pairs and ran.losses[0] == pytest.approx(kept["expected"], rel=1e-5)


def test_a_score_is_read_at_the_last_token_whatever_the_padding(scored):
    from harness.contract import Hardware

    tokenizer = alignment_tokenizer(scored)
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    model = open_reward_model(scored.parts["reward"], "fp32", Hardware(threads=1), tokenizer).eval()
    long, short = [5, 9, 40, 41, tokenizer.eos_token_id], [7, tokenizer.eos_token_id]
    together, alone = rewards(model, [long, short], "fp32"), rewards(model, [short], "fp32")
    assert together[1] == pytest.approx(alone[0], abs=1e-5)
    with torch.no_grad():
        states = model.model(input_ids=torch.tensor([long])).last_hidden_state
        assert float(model.score(states[0, -1])[0]) == pytest.approx(together[0], abs=1e-5)


# --- dpo ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["sigmoid", "ipo"])
def test_the_dpo_loss_equals_a_computation_by_hand(run, start, open_live, few_data, loss):
    """TRL's loss of the second step, on all pairs, from the log-probabilities of the two models that it had then."""
    tokenizer = load_tokenizer(start)
    pairs = preference_pairs(few_data, tokenizer, LENGTH, "train").found
    job = {**FEW, "batch_size": len(pairs), "data": few_data, "evaluations": 0}
    options = {"half": "all", "loss": loss, "beta": 0.2, "schedule": "constant", "warmup_share": 0.0}
    once = run("dpo", start, job={**job, "steps": 1}, **options)
    twice = run("dpo", start, job={**job, "steps": 2}, **options)
    first = math.log(2) if loss == "sigmoid" else (1 / 0.4) ** 2
    assert once.losses == pytest.approx([first], rel=1e-6), "policy and reference are the same before the first step"
    own = answer_log_probabilities(open_live(once.checkpoint), pairs, "fp32")
    reference = answer_log_probabilities(open_live(start), pairs, "fp32")
    total = 0.0
    for pair, mine, theirs in zip(pairs, own, reference, strict=True):
        gains = [a - b for a, b in zip(mine, theirs, strict=True)]
        if loss == "sigmoid":
            total -= math.log(1 / (1 + math.exp(-0.2 * (gains[0] - gains[1]))))
        else:
            total += (gains[0] / len(pair.chosen) - gains[1] / len(pair.rejected) - 1 / 0.4) ** 2
    assert twice.losses[1] == pytest.approx(total / len(pairs), rel=1e-4) and twice.losses[1] < first


def test_the_reference_never_moves_and_is_what_the_stage_began_with(run, start, open_live, folder_hash):
    before = folder_hash(start.parts["model"])
    ran = run("dpo", start, job={**FEW, "evaluations": 2})
    assert folder_hash(start.parts["model"]) == before
    assert ran.checkpoint.parts["reference"] == start.parts["model"] and ran.checkpoint.made == {"model"}
    assert not same(weights(open_live(ran.checkpoint)), weights(open_live(start)))
    assert ran.meter.points[0] == {
        "step": 0, "validation_loss": pytest.approx(math.log(2)), "validation_preference_accuracy": 0.5,
    }  # fmt: skip


def test_a_reference_that_moves_makes_the_step_invalid(run, start, monkeypatch):
    from harness.errors import InvalidMeasurement
    from harness.training import alignment

    frozen = alignment.frozen_copy
    monkeypatch.setattr(alignment, "frozen_copy", lambda model: _drifting(frozen(model)))
    with pytest.raises(InvalidMeasurement, match="the reference moved"):
        run("dpo", start, job=FEW)


def _drifting(model):
    def drift(module, args, output):
        with torch.no_grad():
            next(module.parameters()).add_(1e-3)

    model.register_forward_hook(drift)
    return model


def test_dpo_of_adapters_keeps_the_base_as_its_reference(run, start, folder_hash, open_live):
    before = folder_hash(start.parts["model"])
    ran = run("dpo", start, job={**FEW, "evaluations": 0}, rank=4, learning_rate=1e-2)
    assert folder_hash(start.parts["model"]) == before and ran.checkpoint.made == {"peft"}
    assert ran.losses[0] == pytest.approx(math.log(2)) and ran.losses[-1] != ran.losses[0]
    assert all("lora_" in name for name in ran.meter.observed["trainable"])


def test_a_merged_model_is_kept_as_the_reference(run, llama, as_input, open_live, folder_hash):
    """``lora > dpo``: the stage merges first, and what it merged must outlive the policy that takes its place."""
    adapted = as_input(run("lora", llama, rank=4, job={"steps": 4}).checkpoint)
    made = run("dpo", adapted, job=FEW).checkpoint
    assert made.made == {"model", "reference"} and "peft" not in made.parts
    policy, reference = (made.parts[name] for name in ("model", "reference"))
    assert folder_hash(policy) != folder_hash(reference)
    merged = open_live(adapted).merge_and_unload()
    kept = open_live(Checkpoint("causal", {"model": reference, "tokenizer": made.parts["tokenizer"]}))
    assert all(torch.allclose(value, merged.state_dict()[name], atol=1e-6) for name, value in kept.state_dict().items())


def test_dpo_raises_what_is_preferred(run, llama):
    job = {**FEW, "steps": 30, "batch_size": 8, "data": Separable(), "evaluations": 2}
    ran = run("dpo", llama, job=job, half="all", learning_rate=1e-3)
    assert ran.meter.points[-1]["validation_preference_accuracy"] == 1.0
    assert ran.losses[-1] < 0.3 < ran.losses[0]


def test_dpo_writes_more_of_what_is_preferred_and_stays_near_the_reference(run, llama, open_live, as_input):
    """What should be learnt is known: answers that say yes. The model knows both words before, and neither is sure."""
    from harness.models.sampling import sample
    from harness.models.scoring import log_probabilities

    class Both(Separable):
        def view(self, name, split):
            items = super().view(name, split)
            both = (("yes yes", "no no")[place % 2] for place in range(len(items)))
            return [{**item, "chosen": one, "rejected": "perhaps"} for item, one in zip(items, both, strict=True)]

    shared = {**FEW, "steps": 40, "batch_size": 8, "evaluations": 0}
    first = {**shared, "steps": 150, "data": Both()}
    start = as_input(run("sft", llama, job=first, view="pairs", half="all", learning_rate=3e-3).checkpoint)
    aligned = run("dpo", start, job={**shared, "data": Separable()}, half="all", learning_rate=1e-4).checkpoint
    tokenizer = load_tokenizer(start)
    prompts = [tokenizer(f"{number} ", add_special_tokens=False)["input_ids"] for number in range(200, 240)]
    before, after = (open_live(one) for one in (start, aligned))
    answers = [sample(model, prompts, 6, 1.0, "fp32", tokenizer.eos_token_id, seed=0) for model in (before, after)]
    said = [sum("yes" in tokenizer.decode(answer) for answer in each) / len(prompts) for each in answers]
    assert 0.2 < said[0] < 0.8 and said[1] > said[0] + 0.15, said
    sequences = [prompt + answer for prompt, answer in zip(prompts, answers[1], strict=True)]
    own, theirs = (log_probabilities(model, sequences, "fp32") for model in (after, before))
    far = [
        float((numpy.exp(p) * (p - q))[len(prompt) - 1 :].sum())
        for prompt, p, q in zip(prompts, own, theirs, strict=True)
    ]
    assert 0 < sum(far) / len(far) < 10, "nats per answer"


def test_preference_loss_does_not_overflow():
    assert preference_loss(-5000.0, 5000.0, 1.0, "sigmoid", 3, 3) == pytest.approx(10000.0)
    assert preference_loss(5000.0, -5000.0, 1.0, "sigmoid", 3, 3) == 0.0


# --- ppo ----------------------------------------------------------------------------------------------------------


def test_an_update_is_told_apart_into_its_parts(run, scored):
    ran = run("ppo", scored, job={**FEW, "steps": 8, "batch_size": 4}, response_length=6, epochs=2, mini_batches=2)
    metrics, meter = ran.meter.metrics, ran.meter
    assert {"generate", "reward", "reference", "rollout", "train"} <= set(meter.spans) and not meter.open_spans
    assert metrics["optimizer_steps"] == 8 == len(meter.steps) == len(meter.losses)
    assert metrics["episodes"] == 8 and len(meter.points) == 2, "two updates of four answers, four steps each"
    assert 8 <= metrics["generated_training_tokens"] <= 48
    # Every answer is read twice (epochs), each time by one of two steps.
    assert metrics["trained_answer_tokens"] == 2 * metrics["generated_training_tokens"]
    assert sum(step["loss_tokens"] for step in meter.steps) == metrics["trained_answer_tokens"]
    assert ran.checkpoint.parts["reference"] == scored.parts["model"] and ran.checkpoint.made == {"model"}
    assert ran.checkpoint.parts["reward"] == scored.parts["reward"]


def test_kl_is_taken_against_what_the_policy_began_with(run, scored, monkeypatch):
    """With a policy that does not move it is zero; against any other reference it is not."""
    still = {"response_length": 6, "learning_rate": 0.0, "epochs": 1}
    ran = run("ppo", scored, job={**FEW, "steps": 3}, **still)
    assert [point["kl_from_reference"] for point in ran.meter.points] == pytest.approx([0.0] * 3, abs=1e-4)
    from harness.training import ppo

    frozen = ppo.frozen_copy

    def another(model):
        copied = frozen(model)
        with torch.no_grad():
            for parameter in copied.parameters():
                parameter.mul_(1.3)
        return copied

    monkeypatch.setattr(ppo, "frozen_copy", another)
    wrong = run("ppo", scored, job={**FEW, "steps": 3}, **still)
    assert all(abs(point["kl_from_reference"]) > 0.05 for point in wrong.meter.points)


class Rule(torch.nn.Module):
    """A reward model by rule: a token of the alphabet's first half is worth 1, counted at the last token of a text."""

    base_model_prefix = "reads"

    def __init__(self, entries):
        super().__init__()
        self.config = SimpleNamespace(pad_token_id=None)
        self.reads = Counting(entries)
        self.score = torch.nn.Linear(1, 1, bias=False)
        with torch.no_grad():
            self.score.weight.fill_(1.0)


class Counting(torch.nn.Module):
    """Hidden state [batch, length, 1]: how many of the last four tokens are worth something."""

    def __init__(self, entries):
        super().__init__()
        self.entries = entries

    def forward(self, input_ids, attention_mask=None, **rest):
        worth = (input_ids < self.entries // 2).float()
        windows = torch.nn.functional.pad(worth, (3, 0)).unfold(1, 4, 1).sum(-1)
        return SimpleNamespace(hidden_states=[windows[..., None]])


@pytest.mark.slow
def test_ppo_learns_a_reward_by_rule_and_stays_near_the_reference(make_job, start):
    """Early tokens of the vocabulary are paid for: the policy writes more of them, and its KL stays bounded."""
    from harness.adapters.alignment.ppo import Ppo
    from harness.training.ppo import proximal_policy

    entries = json.loads((start.parts["model"] / "config.json").read_text())["vocab_size"]

    def trained(**changed):
        params = Ppo.Params(
            half="all", response_length=8, learning_rate=2e-3, kl_coef=0.02, epochs=2, temperature=1.0, **changed
        )
        job = make_job(start, params=params, steps=30, batch_size=16, sequence_length=LENGTH)
        proximal_policy(job, Rule(entries))
        return job.meter.points

    points = trained()
    first = sum(point["training_reward"] for point in points[:4]) / 4
    last = sum(point["training_reward"] for point in points[-4:]) / 4
    assert first < 3.0 and last > first + 0.5, (first, last)
    assert 0 < points[-1]["kl_from_reference"] < 20
    assert points[-1]["policy_entropy"] > 1.0, "it has not collapsed to one answer"


def test_a_given_reward_model_takes_the_place_of_the_chains(run, start, scored):
    ran = run("ppo", start, job={**FEW, "inputs": {"reward": scored}}, response_length=6, reward="(reward_model)")
    assert ran.checkpoint.parts["reward"] == scored.parts["reward"]


@pytest.mark.parametrize(
    ("job", "params", "told"),
    [
        ({"steps": 3}, {"epochs": 4}, "3 steps are less than one update of 4"),
        ({"batch_size": 6}, {"mini_batches": 4}, "mini_batches 4 does not divide a batch of 6"),
        ({"batch_size": 4, "micro_batch_size": 2}, {"mini_batches": 2}, "cannot be had together"),
        ({}, {"response_length": 64}, "leaves no prompt in 64 tokens"),
        ({"batch_size": 4096}, {}, "fewer than a batch of 4096"),
        ({"modifiers": ["gradient_checkpointing"]}, {}, "neither zero nor gradient_checkpointing"),
    ],
)
def test_what_ppo_cannot_do_is_said(run, scored, job, params, told):
    with pytest.raises(StepError, match=told):
        run("ppo", scored, job={**FEW, **job}, **{"response_length": 6, **params})


def test_a_reward_model_of_another_tokenizer_is_refused(run, start, scored, tmp_path):
    import shutil

    other = shutil.copytree(scored.parts["tokenizer"], tmp_path / "other")
    file = other / "tokenizer.json"
    file.write_text(file.read_text() + "\n")
    odd = Checkpoint(scored.kind, {**scored.parts, "tokenizer": other})
    with pytest.raises(StepError, match="another tokenizer than the policy: train both from the same one"):
        run("ppo", start, job={**FEW, "inputs": {"reward": odd}}, response_length=6, reward="(reward_model)")
    with pytest.raises(StepError, match="there is no reward model: put reward_model before ppo"):
        run("ppo", start, job=FEW, response_length=6)


# --- all ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("technique", ["sft", "reward_model", "dpo"])
def test_an_accumulated_batch_is_the_large_one(run, start, few_data, technique):
    """Of whole batches: a last one that is smaller is divided otherwise."""
    job = {"steps": 3, "batch_size": 8, "sequence_length": LENGTH}
    job["data"] = few_data if technique == "sft" else Separable()
    whole = run(technique, start, job=job, **({} if technique == "sft" else {"half": "all"}))
    parts = run(technique, start, job={**job, "modifiers": ["gradient_accumulation(steps=4)"]},
                **({} if technique == "sft" else {"half": "all"}))  # fmt: skip
    assert parts.losses == pytest.approx(whole.losses, rel=1e-4)


@pytest.mark.parametrize("technique", ["sft", "reward_model", "dpo", "ppo"])
def test_the_same_seed_gives_the_same_losses(run, scored, technique):
    options = {"response_length": 6, "epochs": 2} if technique == "ppo" else {}
    one, other = (run(technique, scored, job=FEW, **options).losses for _ in range(2))
    assert one == other


def test_a_padding_token_is_never_the_end_of_text(start, by_hand):
    from transformers import PreTrainedTokenizerFast

    tokenizer = with_padding_of_its_own(load_tokenizer(start))
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    only_bytes = PreTrainedTokenizerFast(tokenizer_file=str(by_hand / "tokenizer.json"), eos_token="<|endoftext|>")
    only_bytes.pad_token = only_bytes.eos_token
    spare = with_padding_of_its_own(only_bytes).pad_token_id
    assert spare not in only_bytes("naïve ünïcode 日本 🙂 À õ")["input_ids"] and spare != only_bytes.eos_token_id


def test_a_quantised_model_is_refused(run, llama):
    rounded = run("rtn", llama, bits=8).checkpoint
    for technique in ("sft", "dpo"):
        with pytest.raises(StepError, match="rtn int8 weights cannot be trained"):
            run(technique, rounded, job=FEW)


def test_pairs_that_cannot_be_used_end_in_one_line(run, start):
    class Odd(Separable):
        name = "odd"

        def view(self, name, split):
            good = super().view(name, split)
            return [{**item, "rejected": item["chosen"]} for item in good] if split == "train" else good

    with pytest.raises(DataError, match=r"no pair of 'odd' \(train\) can be used at 64 tokens: 64 with equal sides"):
        run("dpo", start, job={**FEW, "data": Odd()}, half="all")
