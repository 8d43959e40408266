"""The one training loop: transformers' ``Trainer``, metered by callbacks.

What the clock of an optimiser step covers: fetching and collating its data, every forward and backward pass of the
accumulated micro-batches, clipping and the optimiser's step. Evaluation and saving are spans of their own.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

from harness.contract import Job, Meter, TrainingSetup
from harness.errors import InvalidMeasurement
from harness.models.encoder_decoder import with_decoder_inputs
from harness.models.flops import TRAINING_OVER_FORWARD, ForwardCost, forward_cost
from harness.models.inspect import describe_model, logical_size, trainable_names
from harness.models.scoring import IGNORED
from harness.training.optimizers import build_optimizer, never_reached

log = logging.getLogger(__name__)
Evaluate = Callable[[], dict[str, float]]
Collator = Callable[[Sequence[dict[str, list[int]]]], dict[str, Any]]


def train(
    job: Job,
    setup: TrainingSetup,
    model: Any,
    tokenizer: Any,
    examples: list[dict[str, list[int]]],
    evaluate: Evaluate,
    *,
    kind: str = "causal",
    collator: Collator | None = None,
) -> Any:
    """Train ``model`` on ``examples`` for exactly ``setup.steps`` optimiser steps and return it.

    ``kind`` of the model says how labels stand to inputs: shifted by one in a ``causal`` one, in place in a ``masked``
    one, of a second sequence in a ``seq2seq`` one. ``collator`` makes a batch of examples, padding where none is given.
    ``evaluate`` is called before the first step and at ``setup.evaluations`` evenly spaced points, the last step
    among them; what it returns becomes a point of the curve. Raises ``InvalidMeasurement`` where the loss is not
    finite or the steps were not all taken.
    """
    meter = job.meter
    with meter.span("setup"):
        trainer = _trainer(job, setup, model, examples, collator or _padding(tokenizer), kind)
        watch = _Watch(meter, setup, evaluate, model, _Counts(kind, _cost_of_all(model, kind)))
        trainer.add_callback(watch.callback())
        trainer.harness_counts = watch.counts
        _observe_training(meter, setup, model, trainer)
    with meter.span("train"):
        trainer.train()
    meter.step_cancel()
    taken = int(trainer.state.global_step)
    meter.metric("optimizer_steps", taken)
    if watch.counts.flops:
        meter.metric("model_flops_per_token", watch.counts.flops / watch.counts.all_tokens)
    for step, loss in enumerate(watch.counts.losses(), start=1):
        meter.step_loss(step, loss)
    if taken != setup.steps:
        raise InvalidMeasurement(f"{taken} of {setup.steps} optimiser steps were taken")
    if missed := never_reached(model, trainer.optimizer):
        raise InvalidMeasurement(f"no gradient ever reached {len(missed)} trainable parameters, {missed[0]} for one")
    return model


class _Counts:
    """Tokens and losses of the optimiser step that runs now; losses stay on the device until the end.

    Tokens are those that the model reads: of an encoder-decoder its inputs and its targets. ``flops`` and
    ``all_tokens`` are sums over all steps; FLOPs are counted where ``cost`` says what a forward pass multiplies.
    """

    def __init__(self, kind: str, cost: ForwardCost | None) -> None:
        self.kind = kind
        self.cost = cost
        self.flops = self.all_tokens = 0
        self.tokens = self.nonpadding = self.loss_bearing = 0
        self.sums: list[Any] = []
        self.open: list[Any] = []

    def add(self, inputs: dict[str, Any], loss: Any) -> None:
        labels, mask = inputs["labels"], inputs.get("attention_mask")
        positions = inputs["input_ids"].numel()
        self.tokens += positions
        self.nonpadding += int(mask.sum()) if mask is not None else positions
        bearing = int(((labels[:, 1:] if self.kind == "causal" else labels) != IGNORED).sum())
        self.loss_bearing += bearing
        target = 0
        if self.kind == "seq2seq":
            self.tokens += labels.numel()
            self.nonpadding += bearing
            target = labels.shape[1]
        if self.cost is not None:
            sequences, source = inputs["input_ids"].shape
            self.flops += TRAINING_OVER_FORWARD * self.cost.flops(sequences, source, target)
        self.open.append(loss.detach())

    def close(self) -> dict[str, int]:
        """Close the step and return its token counts."""
        counts = {"tokens": self.tokens, "nonpadding_tokens": self.nonpadding, "loss_tokens": self.loss_bearing}
        self.sums.append(sum(self.open))
        self.all_tokens += self.tokens
        self.tokens = self.nonpadding = self.loss_bearing = 0
        self.open = []
        return counts

    def losses(self) -> list[float]:
        """Loss of every finished step, read from the device once."""
        return [float(value) for value in self.sums]


class _Watch:
    """Reports steps, evaluations and the curve to the meter."""

    def __init__(
        self, meter: Meter, setup: TrainingSetup, evaluate: Evaluate, model: Any, counts: _Counts
    ) -> None:
        self.meter, self.setup, self.evaluate, self.model = meter, setup, evaluate, model
        self.counts = counts
        points = range(1, setup.evaluations + 1) if setup.evaluations else ()
        self.due = {round(setup.steps * point / setup.evaluations) for point in points}

    def point(self, step: int) -> None:
        """Evaluate and add one point to the curve."""
        with self.meter.span("evaluate"):
            training = self.model.training
            self.model.eval()
            values = self.evaluate()
            self.model.train(training)
        self.meter.curve(step, **values)
        log.info("step %d of %d: %s", step, self.setup.steps, values)

    def callback(self) -> Any:
        """Return the Trainer callback that does the reporting."""
        from transformers import TrainerCallback

        watch = self

        class Watcher(TrainerCallback):
            def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
                if watch.setup.evaluations:
                    watch.point(0)
                watch.meter.step_begin()

            def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
                watch.meter.step_end(**watch.counts.close())
                if state.global_step in watch.due:
                    watch.point(state.global_step)
                watch.meter.progress()
                watch.meter.step_begin()

        return Watcher()


def _cost_of_all(model: Any, kind: str) -> ForwardCost | None:
    """What a forward pass costs, of a language model of which everything trains; frozen weights would cost less."""
    language_model = kind in ("causal", "masked", "seq2seq")
    return forward_cost(model) if language_model and all(p.requires_grad for p in model.parameters()) else None


def _padding(tokenizer: Any) -> Collator:
    """Pad inputs and labels to the longest example of the batch."""
    from transformers import DataCollatorForSeq2Seq

    collator: Collator = DataCollatorForSeq2Seq(tokenizer, padding=True)
    return collator


def _reading_decoder(collator: Collator, model: Any) -> Collator:
    """Add what the decoder reads, which the model itself would only make where it computes the loss."""
    return lambda examples: with_decoder_inputs(model, collator(examples))


def _mean_over_batch(outputs: Any, labels: Any, num_items_in_batch: Any) -> Any:
    """Mean cross-entropy over the loss-bearing tokens of the whole batch, however it is cut into micro-batches.

    transformers' encoders and encoder-decoders average each micro-batch by itself while ``Trainer`` takes them to
    average over the batch (transformers #34191): accumulated losses would be sums of means.
    """
    from torch.nn.functional import cross_entropy

    logits = outputs.logits.float()
    total = cross_entropy(logits.flatten(0, -2), labels.flatten(), ignore_index=IGNORED, reduction="sum")
    return total / num_items_in_batch


def _trainer(
    job: Job, setup: TrainingSetup, model: Any, examples: list[dict[str, list[int]]], collator: Collator, kind: str
) -> Any:
    from transformers import Trainer, TrainingArguments

    if kind == "seq2seq":
        collator = _reading_decoder(collator, model)

    class MeteredTrainer(Trainer):
        harness_counts: _Counts
        optimizer: Any

        def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
            loss = super().training_step(model, inputs, num_items_in_batch)
            self.harness_counts.add(inputs, loss)
            return loss

        def create_optimizer(self, *args: Any, **rest: Any) -> Any:
            if self.optimizer is None:
                self.optimizer = build_optimizer(setup.optimizer, model, setup.learning_rate, setup.weight_decay)
            return self.optimizer

    # The folder is never written to (nothing is saved or logged by Trainer), but Trainer insists on one.
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=setup.micro_batch_size,
            gradient_accumulation_steps=setup.batch_size // setup.micro_batch_size,
            max_steps=setup.steps,
            learning_rate=setup.learning_rate,
            lr_scheduler_type=setup.schedule if setup.schedule != "constant" else "constant_with_warmup",
            warmup_steps=round(setup.warmup_share * setup.steps),
            weight_decay=setup.weight_decay,
            max_grad_norm=setup.max_grad_norm,
            bf16=setup.precision == "bf16-mixed",
            **_recomputation(setup),
            use_cpu=job.hardware.device == "cpu",
            seed=job.seed,
            data_seed=job.seed,
            logging_strategy="no",
            save_strategy="no",
            eval_strategy="no",
            report_to="none",
            disable_tqdm=True,
            remove_unused_columns=False,
            dataloader_pin_memory=job.hardware.device != "cpu",
        )
        return MeteredTrainer(
            model=model, args=arguments, train_dataset=examples, data_collator=collator,
            compute_loss_func=None if kind == "causal" else _mean_over_batch,
        )  # fmt: skip


def _recomputation(setup: TrainingSetup) -> dict[str, bool]:
    """The argument that switches activation checkpointing on; transformers renamed it in 5.x."""
    if not setup.gradient_checkpointing:
        return {}
    from transformers import TrainingArguments

    new = "activation_checkpointing"
    return {new if new in TrainingArguments.__dataclass_fields__ else "gradient_checkpointing": True}


def _observe_training(meter: Meter, setup: TrainingSetup, model: Any, trainer: Any) -> None:
    names = trainable_names(model)
    total = sum(logical_size(parameter) for parameter in model.parameters())
    trainable = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    meter.metric("parameters", total)
    meter.metric("trainable_parameters", trainable)
    meter.metric("trainable_share", trainable / total)
    meter.observe("trainable", names if len(names) <= 400 else [*names[:400], f"... {len(names)} in all"])
    meter.observe("model", describe_model(model))
    meter.observe("setup", {key: value for key, value in vars(setup).items() if value is not None})
    meter.observe("autocast", str(trainer.accelerator.mixed_precision))
