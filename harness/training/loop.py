"""The one training loop: transformers' ``Trainer``, metered by callbacks.

What the clock of an optimiser step covers: fetching and collating its data, every forward and backward pass of the
accumulated micro-batches, clipping and the optimiser's step. Evaluation and saving are spans of their own.
"""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from harness.contract import Job, Meter, TrainingSetup
from harness.errors import InvalidMeasurement
from harness.models.inspect import describe_model, logical_size, trainable_names
from harness.training.change import Loss
from harness.training.counts import Counts, cost_of_all
from harness.training.kernels import any_kernel, attention_kernel, leave_out_cudnn
from harness.training.memory import foretell
from harness.training.optimizers import never_reached, optimizer_state
from harness.training.sharding import Census, Communication
from harness.training.trainer import Collator, Form, make_trainer, padding

log = logging.getLogger(__name__)
Evaluate = Callable[[], dict[str, float]]


def train(
    job: Job,
    setup: TrainingSetup,
    model: Any,
    tokenizer: Any,
    examples: Sequence[Any],
    evaluate: Evaluate,
    *,
    kind: str = "causal",
    collator: Collator | None = None,
    loss: Loss | None = None,
    form: Form | None = None,
) -> Any:
    """Train ``model`` on ``examples`` for exactly ``setup.steps`` optimiser steps and return it.

    ``kind`` of the model says how labels stand to inputs: shifted by one in a ``causal`` one, in place in a ``masked``
    one, of a second sequence in a ``seq2seq`` one. ``collator`` makes a batch of examples, padding where none is given;
    ``loss`` takes the place of the model's own, ``form`` that of transformers' trainer.
    ``evaluate`` is called before the first step and at ``setup.evaluations`` evenly spaced points, the last step
    among them; what it returns becomes a point of the curve. Raises ``InvalidMeasurement`` where the loss is not
    finite, the steps were not all taken, or a technique's promise about types and gradients is broken.
    """
    meter = job.meter
    caches = getattr(model.config, "use_cache", None)
    with meter.span("setup"):
        counts = Counts(kind, cost_of_all(model, kind) if form is None else None)
        watch = _Watch(job, setup, evaluate, model, counts)
        batches = collator or padding(tokenizer)
        trainer = watch.trainer = make_trainer(
            job, setup, model, examples, batches, counts, watch.watch_optimizer, loss, form
        )  # fmt: skip
        trainer.add_callback(watch.callback())
        _observe_training(meter, setup, model, trainer)
        foretell(job, setup, tokenizer)
        leave_out_cudnn(job, setup)
        kernel = attention_kernel(setup, job.hardware.device, kind, (model, getattr(trainer, "ref_model", None)))
    with meter.span("train"), kernel, warnings.catch_warnings():
        # A product without a gradient is a wrong gradient: torch only warns of it.
        warnings.filterwarnings("error", message=".*autograd kernel was not registered")
        trainer.train()
        if setup.zero_stage == 3:
            trainer.deepspeed.empty_partition_cache()  # the last forward pass left a parameter on its way
    if caches is not None:
        model.config.use_cache = caches  # Trainer switches it off, and a saved model would generate without
    meter.step_cancel()
    # A loss of its own may run another model, whose share nobody counts.
    _tell(meter, watch, counts, whole_flops=loss is None)
    if (taken := int(trainer.state.global_step)) != setup.steps:
        raise InvalidMeasurement(f"{taken} of {setup.steps} optimiser steps were taken")
    _check_what_learnt(meter, setup, model, trainer)
    return model


def _tell(meter: Meter, watch: _Watch, counts: Counts, *, whole_flops: bool) -> None:
    """Hand what a finished training counted to the meter."""
    meter.metric("optimizer_steps", int(watch.trainer.state.global_step))
    if counts.flops and whole_flops:
        meter.metric("model_flops_per_token", counts.flops / counts.all_tokens)
    for step, loss in enumerate(counts.losses(), start=1):
        meter.step_loss(step, loss)
    for name, value in watch.found().items():
        meter.metric(name, value)


class _Watch:
    """Reports steps, evaluations and the curve to the meter, and looks at what only the running trainer knows."""

    def __init__(
        self, job: Job, setup: TrainingSetup, evaluate: Evaluate, model: Any, counts: Counts
    ) -> None:
        self.meter, self.setup, self.evaluate, self.model = job.meter, setup, evaluate, model
        self.counts = counts
        self.trainer: Any = None
        self.overflows = 0
        several = job.hardware.ranks > 1
        self.census = Census(model) if several else None
        self.communication = Communication() if several else None
        self.looking = [one for one in (self.census, self.communication) if one is not None]
        points = range(1, setup.evaluations + 1) if setup.evaluations else ()
        self.due = {round(setup.steps * point / setup.evaluations) for point in points}

    def watch_optimizer(self, optimizer: Any) -> None:
        """Take note of an optimiser that the trainer made."""
        if self.census is not None:
            self.census.watch(optimizer)

    def found(self) -> dict[str, float]:
        """Metrics of the training that are no step's: overflows, bytes per process, communication."""
        found: dict[str, float] = {"overflow_steps": self.overflows} if self.setup.precision == "fp16-mixed" else {}
        if self.census is not None:
            found |= self.census.metrics()
        seconds = self.communication.per_step() if self.communication is not None else None
        return found if seconds is None else found | {"communication_seconds": seconds}

    def point(self, step: int) -> None:
        """Evaluate and add one point to the curve."""
        # Validation pads its batches, which not every kernel takes: what is fixed is the training's.
        with self.meter.span("evaluate"), any_kernel(self.setup):
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

            def on_step_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
                for one in watch.looking:
                    one.begin(state.global_step)

            def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
                for one in watch.looking:
                    one.end()
                watch.meter.step_end(**watch.counts.close())
                watch.overflows += bool(watch.trainer.accelerator.optimizer_step_was_skipped)
                if state.global_step in watch.due:
                    watch.point(state.global_step)
                watch.meter.progress()
                watch.meter.step_begin()

        return Watcher()


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


def _check_what_learnt(meter: Meter, setup: TrainingSetup, model: Any, trainer: Any) -> None:
    """Record the types of what learnt and of the optimiser's state; mixed precision promises 32 bits for both."""
    if setup.zero_stage is not None:
        return  # the state is divided over processes, in partitions that are no parameter's
    if missed := never_reached(model, trainer.optimizer):
        raise InvalidMeasurement(f"no gradient ever reached {len(missed)} trainable parameters, {missed[0]} for one")
    found = {
        "weights": _types(parameter for parameter in model.parameters() if parameter.requires_grad),
        "optimizer_state": _types(optimizer_state(trainer.optimizer)),
    }
    meter.observe("learnt_in", found)
    wrong = sorted({*found["weights"], *found["optimizer_state"]} - {"float32"})
    if wrong and setup.precision.endswith("-mixed"):
        raise InvalidMeasurement(f"{setup.precision} keeps weights and optimiser state in float32, found {wrong}")


def _types(tensors: Any) -> dict[str, int]:
    """Number of values by type."""
    found: Counter[str] = Counter()
    for tensor in tensors:
        found[str(tensor.dtype).removeprefix("torch.")] += tensor.numel()
    return dict(sorted(found.items()))
