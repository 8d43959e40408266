"""TRL's trainers for preferences: supervised fine-tuning, reward models and direct preference optimisation.

Each stage brings the examples as token ids and a ``Form``; the loop, its clock and its counts are those of every
other training. TRL: von Werra et al., the library ``trl``.
"""

from __future__ import annotations

import copy
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.contract import Checkpoint, Job, TrainingSetup
from harness.errors import InvalidMeasurement
from harness.models.chat import tell_rendering
from harness.models.reward import alignment_tokenizer, open_reward_model, rewards
from harness.models.scoring import IGNORED, token_bytes
from harness.training.change import all_weights, finished, merged_first, open_or_make, parts_made, save
from harness.training.examples import Scored, answers_to_score, instruction_examples
from harness.training.loop import train
from harness.training.preferences import Pair, Pairs, answer_log_probabilities, half_for_ties, preference_pairs
from harness.training.seeding import seed_everything
from harness.training.setup import training_setup
from harness.training.trainer import Form
from harness.training.validation import mean_loss

VALIDATION_PAIRS = 64


def supervised(job: Job, view: str, packing: bool) -> Checkpoint:
    """Fine-tune on answers to prompts with TRL's ``SFTTrainer``; of pairs, the preferred answer is the answer."""
    from trl import SFTConfig, SFTTrainer

    setup = training_setup(job)
    with job.meter.span("load"):
        tokenizer = alignment_tokenizer(job.checkpoint)
        start = merged_first(job)
        change = all_weights()
        model = change.prepare(open_or_make(start, tokenizer, job, setup), setup)
    with job.meter.span("data"):
        examples, held_out = _answers(job, tokenizer, setup, view)
    # Packing that keeps examples apart needs a flash-attention kernel; this one cuts one stream into blocks.
    options = {"max_length": setup.sequence_length, "packing": packing, "packing_strategy": "wrapped"}
    form = Form(SFTTrainer, SFTConfig, {**options, "shuffle_dataset": packing}, {"processing_class": tokenizer})
    train(job, setup, model, tokenizer, examples, lambda: mean_loss(model, held_out, setup.precision), form=form)
    save(job, setup, model, lambda: change.save(model, job.part("model")))
    return finished(job, start, change)


def reward_model(job: Job, half: str) -> Checkpoint:
    """Train a copy of the model with a score on pairs (Bradley-Terry) with TRL's ``RewardTrainer``."""
    from trl import RewardConfig

    setup = training_setup(job)
    with job.meter.span("load"):
        tokenizer = alignment_tokenizer(job.checkpoint)
        start = merged_first(job)
        seed_everything(job.seed)
        model = open_reward_model(start.parts["model"], setup.precision, job.hardware, tokenizer, setup.attention)
    with job.meter.span("data"):
        pairs, held_out = _pairs(job, tokenizer, setup, half)
    examples = [{"chosen_ids": pair.prompt + pair.chosen, "rejected_ids": pair.prompt + pair.rejected}
                for pair in pairs]  # fmt: skip
    form = Form(_prepared("RewardTrainer"), RewardConfig, {"max_length": None}, {"processing_class": tokenizer})
    train(job, setup, model, tokenizer, examples, lambda: _ranked(model, held_out, setup.precision), form=form)
    job.meter.metric("preference_pairs_seen", setup.steps * setup.batch_size)
    save(job, setup, model, lambda: model.save_pretrained(job.part("reward")))
    made = parts_made(start)
    return start.with_parts(**{**made, "reward": job.part("reward")})


def direct_preference(
    job: Job, half: str, beta: float, loss: str, adapters: Callable[[Any, TrainingSetup], Any] | None
) -> Checkpoint:
    """Train the model on pairs with TRL's ``DPOTrainer`` against what it was; ``loss`` is ``sigmoid`` or ``ipo``.

    With ``adapters``, which wrap the model in LoRA, the reference is the model below them.
    """
    from trl import DPOConfig

    setup = training_setup(job)
    with job.meter.span("load"):
        tokenizer = alignment_tokenizer(job.checkpoint)
        start = merged_first(job)
        model = open_or_make(start, tokenizer, job, setup)
        seed_everything(job.seed)
        reference = None
        if adapters is None:
            reference = frozen_copy(model)
            model = all_weights().prepare(model, setup)
        else:
            model = adapters(model, setup)
    with job.meter.span("data"):
        pairs, held_out = _pairs(job, tokenizer, setup, half)
    with job.meter.span("reference"):
        before = fingerprint(reference) if reference is not None else None
        compared = Compared(model, held_out, setup.precision, beta, loss)
    examples = [{"prompt_ids": pair.prompt, "chosen_ids": pair.chosen, "rejected_ids": pair.rejected} for pair in pairs]
    options = {"beta": beta, "loss_type": [loss], "max_length": None}
    form = Form(
        _prepared("DPOTrainer"), DPOConfig, options, {"processing_class": tokenizer, "ref_model": reference}
    )
    train(job, setup, model, tokenizer, examples, compared.point, form=form)
    check_unmoved(reference, before)
    job.meter.metric("preference_pairs_seen", setup.steps * setup.batch_size)
    return aligned(job, setup, start, model, "model" if adapters is None else "peft")


class Compared:
    """The DPO loss of held-out pairs and how often their order is right, by the reward that a policy implies.

    Made when the policy is still the reference. log-ratios are summed over an answer's tokens for ``sigmoid`` and are
    their mean for ``ipo``, as TRL has it.
    """

    def __init__(self, model: Any, pairs: Sequence[Pair], precision: str, beta: float, loss: str) -> None:
        self.model, self.pairs, self.precision, self.beta, self.loss = model, pairs, precision, beta, loss
        self.of_reference = answer_log_probabilities(model, pairs, precision)

    def point(self) -> dict[str, float]:
        """Mean loss in nats per pair, and the share of pairs whose preferred answer gained more."""
        own = answer_log_probabilities(self.model, self.pairs, self.precision)
        total, right = 0.0, 0.0
        for pair, mine, theirs in zip(self.pairs, own, self.of_reference, strict=True):
            chosen, rejected = mine[0] - theirs[0], mine[1] - theirs[1]
            right += half_for_ties(chosen - rejected)
            total += preference_loss(chosen, rejected, self.beta, self.loss, len(pair.chosen), len(pair.rejected))
        count = len(self.pairs)
        return {"validation_loss": total / count, "validation_preference_accuracy": right / count}


def preference_loss(chosen: float, rejected: float, beta: float, loss: str, long: int, other: int) -> float:
    """Loss of one pair by the log-ratios of its sides, of ``long`` and ``other`` tokens.

    Sigmoid: Rafailov et al. 2023, arXiv:2305.18290, eq. 7. IPO: Azar et al. 2023, arXiv:2310.12036, eq. 17.
    """
    if loss == "ipo":
        return (chosen / long - rejected / other - 1 / (2 * beta)) ** 2
    return softplus(-beta * (chosen - rejected))


def softplus(value: float) -> float:
    """log(1 + exp(value)) without overflow; of -x it is -log sigmoid(x)."""
    return max(value, 0.0) + math.log1p(math.exp(-abs(value)))


def frozen_copy(model: Any) -> Any:
    """A copy that never learns."""
    return copy.deepcopy(model).requires_grad_(False).eval()


def fingerprint(model: Any) -> str:
    """SHA-256 over every parameter's bytes."""
    import hashlib

    import torch

    digest = hashlib.sha256()
    for parameter in model.parameters():
        digest.update(parameter.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def check_unmoved(reference: Any, before: str | None) -> None:
    """``InvalidMeasurement`` where a reference is not what it was."""
    if reference is not None and fingerprint(reference) != before:
        raise InvalidMeasurement("the reference moved during training")


def aligned(job: Job, setup: TrainingSetup, start: Checkpoint, policy: Any, part: str) -> Checkpoint:
    """Save the policy as ``part``; what the stage began with is the checkpoint's ``reference``.

    It is referred to; a model that this stage had to merge first, and whose place the policy takes, is copied.
    """
    made = parts_made(start)
    parts = dict(start.parts)
    if part == "model" and "model" in made:
        made["reference"] = Path(shutil.copytree(start.parts["model"], job.part("reference"), dirs_exist_ok=True))
    else:
        parts["reference"] = start.parts["model"]
    save(job, setup, policy, lambda: policy.save_pretrained(job.part(part)))
    return replace(start, parts=parts).with_parts(**{**made, part: job.part(part)})


def _answers(job: Job, tokenizer: Any, setup: TrainingSetup, view: str) -> tuple[list[Any], list[Any]]:
    lengths = token_bytes(tokenizer)
    if view == "instructions":
        examples = instruction_examples(job.data, tokenizer, setup.sequence_length, view)
        items = job.data.view(view, "validation")
        tell_rendering(job.meter, items, tokenizer)
        return examples, answers_to_score(items, tokenizer, lengths, setup.sequence_length, VALIDATION_PAIRS)
    pairs, held_out = _pairs(job, tokenizer, setup, job.params.half)
    examples = [{"input_ids": pair.prompt + pair.chosen, "labels": [IGNORED] * len(pair.prompt) + pair.chosen}
                for pair in pairs]  # fmt: skip
    scored = [
        Scored(pair.prompt + pair.chosen, [False] * (len(pair.prompt) - 1) + [True] * len(pair.chosen),
               sum(lengths[token] for token in pair.chosen), pair.place)
        for pair in held_out
    ]  # fmt: skip
    return examples, scored


def _pairs(job: Job, tokenizer: Any, setup: TrainingSetup, half: str) -> tuple[list[Pair], list[Pair]]:
    """Training pairs of a half, and validation pairs."""
    length = setup.sequence_length
    found: Pairs = preference_pairs(job.data, tokenizer, length, "train", half)
    found.tell(job.meter, "pairs")
    tell_rendering(job.meter, job.data.view("pairs", "train"), tokenizer)
    return found.found, preference_pairs(job.data, tokenizer, length, "validation", limit=VALIDATION_PAIRS).found


def _ranked(model: Any, pairs: Sequence[Pair], precision: str) -> dict[str, float]:
    """Mean Bradley-Terry loss in nats per pair, and the share of pairs whose preferred side scores higher."""
    scores = rewards(model, [pair.prompt + side for pair in pairs for side in (pair.chosen, pair.rejected)], precision)
    margins = [scores[place] - scores[place + 1] for place in range(0, len(scores), 2)]
    right = sum(map(half_for_ties, margins))
    loss = sum(softplus(-margin) for margin in margins)
    return {"validation_loss": loss / len(pairs), "validation_preference_accuracy": right / len(pairs)}


def _prepared(name: str) -> type:
    """One of TRL's trainers that takes its examples as they are: they hold token ids already."""
    import trl

    base: Any = getattr(trl, name)

    class Prepared(base):
        def __init__(self, *args: Any, **given: Any) -> None:
            super().__init__(*args, **given)
            if "ref" in getattr(self.model, "peft_config", {}):
                # TRL's copy of fresh adapters, which change nothing: without it the reference is the model below them.
                self.model.delete_adapter("ref")

        def _prepare_dataset(self, dataset: Any, *args: Any, **options: Any) -> Any:
            return dataset

    return Prepared
