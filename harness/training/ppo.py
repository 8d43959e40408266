"""Proximal policy optimisation with TRL's ``PPOTrainer``, metered from outside: its loop is the library's own.

An update generates a batch of answers, scores them and takes the optimiser's steps. Spans tell them apart: ``generate``
(the policy writes), ``reward`` (the reward model reads), ``reference`` (the reference reads), ``rollout`` (the value
model reads, advantages are made), and ``train``, in which the clock of an optimiser step runs.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness.contract import Checkpoint, Job, Meter, TrainingSetup
from harness.errors import InvalidMeasurement, StepError
from harness.models.chat import tell_rendering
from harness.models.inspect import describe_model, logical_size, trainable_names
from harness.models.reward import alignment_tokenizer, check_tokenizer, open_reward_model
from harness.models.sampling import plain_generation
from harness.training.aligned import declined_by_ppo
from harness.training.alignment import aligned, check_unmoved, fingerprint, frozen_copy
from harness.training.change import all_weights, merged_first, open_or_make
from harness.training.kernels import leave_out_cudnn
from harness.training.memory import foretell
from harness.training.optimizers import build_optimizer, never_reached
from harness.training.preferences import prompts_that_fit
from harness.training.seeding import seed_everything
from harness.training.setup import training_setup
from harness.training.trainer import training_arguments

FINITE = ("objective/scores", "objective/kl", "loss/policy_avg", "loss/value_avg")


def proximal_policy(job: Job, reward: Any = None) -> Checkpoint:
    """Train the policy against a reward model: that of the job's input ``reward``, else that of its own checkpoint.

    ``reward`` is a live model in its place (``base_model_prefix``, that backbone, and ``score``), for rewards by rule.
    """
    params = job.params
    setup = _whole_updates(training_setup(job), params)
    with job.meter.span("load"):
        tokenizer = alignment_tokenizer(job.checkpoint)
        tokenizer.padding_side = "left"
        start = merged_first(job)
        policy = all_weights().prepare(open_or_make(start, tokenizer, job, setup), setup)
        reference = frozen_copy(policy)
        seed_everything(job.seed)
        if reward is None:
            reward, value = _scored(job, setup, tokenizer)
        else:
            value = open_reward_model(start.parts["model"], setup.precision, job.hardware, tokenizer)
    with job.meter.span("data"):
        room = setup.sequence_length - params.response_length
        prompts, long = prompts_that_fit(job.data, tokenizer, room, "train", params.half)
        job.meter.observe("prompts", {"used": len(prompts), "left_out": long})
        tell_rendering(job.meter, job.data.view("pairs", "train"), tokenizer)
        if len(prompts) < setup.batch_size:
            raise StepError(f"{len(prompts)} prompts are fewer than a batch of {setup.batch_size}")
    before = fingerprint(reference), fingerprint(reward)
    with job.meter.span("setup"):
        leave_out_cudnn(job, setup)
        trainer = _trainer(job, setup, policy, reference, reward, value, tokenizer, [ids for _, ids in prompts])
        watch = Watch(job.meter, trainer, setup, params)
        _observe(job, setup, policy, trainer)
        foretell(job, replace(setup, micro_batch_size=setup.micro_batch_size // params.mini_batches), tokenizer)
    seed_everything(job.seed)
    # On the last batch of the prompts accelerate would step at every micro-batch.
    trainer.accelerator.gradient_state.plugin_kwargs["sync_with_dataloader"] = False
    with job.meter.span("train"), watch, plain_generation(policy, tokenizer.eos_token_id, tokenizer.pad_token_id):
        trainer.train()
    job.meter.step_cancel()
    watch.tell()
    check_unmoved(reference, before[0])
    if fingerprint(reward) != before[1]:
        raise InvalidMeasurement("the reward model moved during training")
    if missed := never_reached(policy, _inner(trainer.optimizer)):
        raise InvalidMeasurement(f"no gradient ever reached {len(missed)} trainable parameters, {missed[0]} for one")
    if "reward" in job.inputs:
        start = replace(start, parts={**start.parts, "reward": job.inputs["reward"].parts["reward"]})
    return aligned(job, setup, start, policy, "model")


def _whole_updates(setup: TrainingSetup, params: Any) -> TrainingSetup:
    """The set-up with as many steps as whole updates take: an update's answers are used for a fixed number of steps."""
    if reason := declined_by_ppo(setup, params):
        raise StepError(reason)
    each = params.epochs * params.mini_batches
    if setup.steps < each:
        raise StepError(f"{setup.steps} steps are less than one update of {each} (epochs x mini_batches)")
    return replace(setup, steps=setup.steps // each * each)


def _scored(job: Job, setup: TrainingSetup, tokenizer: Any) -> tuple[Any, Any]:
    """The reward model, and a copy of it that learns to tell the value of a text that is not finished."""
    given = job.inputs.get("reward", job.checkpoint)
    if "reward" not in given.parts:
        raise StepError("there is no reward model: put reward_model before ppo, or name one with reward=(...)")
    check_tokenizer(given, job.checkpoint)
    made = [open_reward_model(given.parts["reward"], setup.precision, job.hardware, tokenizer) for _ in range(2)]
    return made[0].requires_grad_(False).eval(), made[1].requires_grad_(True)


def _trainer(
    job: Job, setup: TrainingSetup, policy: Any, reference: Any, reward: Any, value: Any, tokenizer: Any,
    prompts: Sequence[list[int]],
) -> Any:  # fmt: skip
    import tempfile

    from datasets import Dataset
    from torch.nn.utils import clip_grad_norm_
    from trl.experimental.ppo import PPOTrainer

    class Metered(PPOTrainer):
        """Hands what it logs to ``heard``, and takes our optimisers."""

        optimizer: Any
        heard: Callable[[dict[str, float]], None] = staticmethod(lambda logs: None)

        def create_optimizer(self, *args: Any, **rest: Any) -> Any:
            if self.optimizer is None:
                self.optimizer = build_optimizer(setup.optimizer, self.model, setup.learning_rate, setup.weight_decay)
                if setup.max_grad_norm:  # TRL's loop does not clip gradients
                    learns = [value for value in self.model.parameters() if value.requires_grad]

                    def clip(*given: Any) -> None:
                        clip_grad_norm_(learns, setup.max_grad_norm)

                    self.optimizer.register_step_pre_hook(clip)
            return self.optimizer

        def log(self, logs: dict[str, float], *args: Any, **rest: Any) -> None:
            self.heard(logs)

    rows = [{"input_ids": ids} for ids in prompts]
    with tempfile.TemporaryDirectory() as folder:
        return Metered(
            args=_configuration(job, setup, folder), processing_class=tokenizer, model=policy, ref_model=reference,
            reward_model=reward, value_model=value, train_dataset=Dataset.from_list(rows),
            eval_dataset=Dataset.from_list(rows[:1]),
        )  # fmt: skip


def _configuration(job: Job, setup: TrainingSetup, folder: str) -> Any:
    from trl.experimental.ppo import PPOConfig

    params = job.params
    updates = setup.steps // (params.epochs * params.mini_batches)
    given = training_arguments(job, setup, folder) | {
        "bf16": False, "fp16": False, "gradient_checkpointing": False, "max_steps": -1,
        "warmup_steps": round(setup.warmup_share * updates),
    }  # fmt: skip
    return PPOConfig(
        **given, total_episodes=updates * setup.batch_size, num_ppo_epochs=params.epochs,
        num_mini_batches=params.mini_batches, response_length=params.response_length, temperature=params.temperature,
        kl_coef=params.kl_coef, kl_estimator=params.kl_estimator, cliprange=params.clip_range,
        cliprange_value=params.clip_range_value, vf_coef=params.value_weight, gamma=params.gamma, lam=params.lam,
        whiten_rewards=params.whiten_rewards, missing_eos_penalty=params.missing_eos_penalty, stop_token="eos",
        num_sample_generations=0, local_rollout_forward_batch_size=setup.batch_size,
    )  # fmt: skip


@dataclass
class Counted:
    """What happened so far."""

    steps: int = 0
    generated: int = 0
    trained: int = 0
    losses: list[Any] = field(default_factory=list)
    updates: list[dict[str, float]] = field(default_factory=list)


class Watch(contextlib.AbstractContextManager["Watch"]):
    """Opens and closes spans as the trainer goes from one thing to another, and counts; a context around ``train``."""

    def __init__(self, meter: Meter, trainer: Any, setup: TrainingSetup, params: Any) -> None:
        self.meter, self.trainer, self.setup = meter, trainer, setup
        self.each = params.epochs * params.mini_batches
        self.count = Counted()
        self._handles: list[Any] = []
        self._spans: list[tuple[str, Any]] = []
        self._context = 0
        self._batch = {"tokens": 0, "nonpadding_tokens": 0, "loss_tokens": 0}

    def __enter__(self) -> Watch:
        trainer, policy = self.trainer, self.trainer.policy_model
        generate = policy.generate

        def generating(*args: Any, **options: Any) -> Any:
            with self.meter.span("generate"):
                made = generate(*args, **options)
            self._context = options["input_ids"].shape[1]
            self.count.generated += _answer_tokens(made.sequences[:, self._context :], trainer.stop_token_id)
            return made

        policy.generate = generating
        self._handles = [
            *self._around(_backbone(trainer.reward_model), "reward"), *self._around(trainer.ref_model, "reference"),
            trainer.model.register_forward_pre_hook(self._trains, with_kwargs=True),
            _inner(trainer.optimizer).register_step_post_hook(self._stepped),
        ]  # fmt: skip
        backward = trainer.accelerator.backward

        def heard(loss: Any, *args: Any, **options: Any) -> None:
            self.count.losses.append(loss.detach())
            backward(loss, *args, **options)

        trainer.accelerator.backward = heard
        trainer.heard = self._updated
        self._enter("rollout")
        return self

    def __exit__(self, *error: Any) -> None:
        for handle in self._handles:
            handle.remove()
        del self.trainer.policy_model.generate
        while self._spans:
            self._leave()

    def tell(self) -> None:
        """Hand what was counted to the meter; ``InvalidMeasurement`` where the steps were not all taken."""
        count, meter = self.count, self.meter
        if count.steps != self.setup.steps:
            raise InvalidMeasurement(f"{count.steps} of {self.setup.steps} optimiser steps were taken")
        parts = len(count.losses) // count.steps
        for step in range(count.steps):
            losses = [float(loss) for loss in count.losses[step * parts : (step + 1) * parts]]
            meter.step_loss(step + 1, sum(losses) / parts)
        meter.metric("optimizer_steps", count.steps)
        meter.metric("episodes", len(count.updates) * self.setup.batch_size)
        meter.metric("generated_training_tokens", count.generated)
        meter.metric("trained_answer_tokens", count.trained)
        meter.metric("clip_share", sum(update["policy/clipfrac_avg"] for update in count.updates) / len(count.updates))

    def _trains(self, module: Any, args: Any, inputs: Any) -> None:
        """Called before the policy and the value model read a micro-batch that they learn from."""
        if self._spans:
            self._leave()
            self.meter.step_begin()
        mask = inputs["attention_mask"]
        answers = int(mask[:, self._context :].sum())
        self._batch["tokens"] += mask.numel()
        self._batch["nonpadding_tokens"] += int(mask.sum())
        self._batch["loss_tokens"] += answers
        self.count.trained += answers

    def _stepped(self, *args: Any) -> None:
        """Called after each step of the optimiser."""
        self.count.steps += 1
        self.meter.step_end(**self._batch)
        self._batch = dict.fromkeys(self._batch, 0)
        self.meter.progress()
        if self.count.steps % self.each:
            self.meter.step_begin()
        else:
            self._enter("rollout")

    def _updated(self, logs: dict[str, float]) -> None:
        """Called once per update with TRL's own numbers; one that is not finite ends the training."""
        told = {name: float(value) for name, value in logs.items()}
        broken = [name for name in FINITE if not math.isfinite(told[name])]
        if broken:
            raise InvalidMeasurement(f"{broken[0]} is not finite after {self.count.steps} steps")
        self.count.updates.append(told)
        self.meter.curve(
            self.count.steps, training_reward=told["objective/scores"], kl_from_reference=told["objective/kl"],
            policy_entropy=told["objective/entropy"], clip_share=told["policy/clipfrac_avg"],
        )  # fmt: skip

    def _around(self, module: Any, name: str) -> Iterator[Any]:
        yield module.register_forward_pre_hook(lambda *given: self._enter(name))
        yield module.register_forward_hook(lambda *given: self._leave())

    def _enter(self, name: str) -> None:
        span = self.meter.span(name)
        span.__enter__()
        self._spans.append((name, span))

    def _leave(self) -> None:
        _, span = self._spans.pop()
        span.__exit__(None, None, None)


def _backbone(reward: Any) -> Any:
    return getattr(reward, reward.base_model_prefix)


def _inner(optimizer: Any) -> Any:
    """torch's optimiser below accelerate's."""
    return getattr(optimizer, "optimizer", optimizer)


def _answer_tokens(answers: Any, end: int) -> int:
    """Tokens of generated answers up to their ends, the end included."""
    ended = (answers == end).long()
    return int((ended.cumsum(1) - ended == 0).sum())


def _observe(job: Job, setup: TrainingSetup, policy: Any, trainer: Any) -> None:
    meter = job.meter
    total = sum(logical_size(parameter) for parameter in policy.parameters())
    learns = sum(parameter.numel() for parameter in trainer.model.parameters() if parameter.requires_grad)
    meter.metric("parameters", total)
    meter.metric("trainable_parameters", learns)
    meter.metric("trainable_share", learns / (total + sum(p.numel() for p in trainer.value_model.parameters())))
    meter.observe("trainable", trainable_names(policy))
    meter.observe("model", describe_model(policy))
    meter.observe("models", {
        "policy": type(policy).__name__, "reference": type(trainer.ref_model).__name__,
        "reward": type(trainer.reward_model).__name__, "value": type(trainer.value_model).__name__,
    })  # fmt: skip
    meter.observe("setup", {key: value for key, value in vars(setup).items() if value is not None})
