"""transformers' ``Trainer`` as the loop needs it: one set-up in, a trainer that counts what it reads out."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.contract import Job, TrainingSetup
from harness.errors import StepError
from harness.models.encoder_decoder import with_decoder_inputs
from harness.models.scoring import IGNORED
from harness.training.change import Loss
from harness.training.counts import Counts
from harness.training.optimizers import build_optimizer
from harness.training.sharding import deepspeed_configuration

Collator = Callable[[Sequence[dict[str, list[int]]]], dict[str, Any]]


@dataclass(frozen=True)
class Form:
    """Another trainer than transformers' own: its class and that of its arguments, and what both take beside the rest.

    It makes its batches itself, of examples in a ``datasets.Dataset``.
    """

    trainer: type
    arguments: type
    options: Mapping[str, Any] = field(default_factory=dict)
    given: Mapping[str, Any] = field(default_factory=dict)


def make_trainer(
    job: Job, setup: TrainingSetup, model: Any, examples: Sequence[Any], collator: Collator, counts: Counts,
    on_optimizer: Callable[[Any], None] = lambda optimizer: None, own_loss: Loss | None = None,
    form: Form | None = None,
) -> Any:  # fmt: skip
    """A ``Trainer`` whose every micro-batch is told to ``counts``, and whose optimiser to ``on_optimizer``.

    With a ``form`` it is that trainer, which makes its batches itself.
    """
    from transformers import Trainer, TrainingArguments

    metered = _metered(form.trainer if form else Trainer, setup, model, counts, on_optimizer, own_loss)
    # The folder is never written to (nothing is saved or logged by Trainer), but Trainer insists on one.
    with tempfile.TemporaryDirectory() as folder:
        arguments = training_arguments(job, setup, folder)
        if form is not None:
            from datasets import Dataset

            whole = {**arguments, "gradient_checkpointing": setup.gradient_checkpointing, **form.options}
            trainer = metered(
                model=model, args=form.arguments(**whole), train_dataset=Dataset.from_list(list(examples)), **form.given
            )
        else:
            if counts.kind == "seq2seq":
                collator = _reading_decoder(collator, model)
            plain = counts.kind == "causal" and own_loss is None
            trainer = metered(
                model=model, args=TrainingArguments(**arguments), train_dataset=examples, data_collator=collator,
                compute_loss_func=None if plain else _mean_over_batch,
            )  # fmt: skip
    if setup.zero_stage is not None:
        _without_compiled_collectives()
    if setup.precision == "fp16-mixed" and job.hardware.device == "cpu":
        _half_precision_on_cpu(trainer)
    return trainer


def _metered(
    base: Any, setup: TrainingSetup, model: Any, counts: Counts, on_optimizer: Callable[[Any], None],
    own_loss: Loss | None,
) -> Any:  # fmt: skip
    """The trainer ``base`` with our counting, our optimisers and, where it is given, another loss."""

    class MeteredTrainer(base):
        optimizer: Any

        def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
            loss = super().training_step(model, inputs, num_items_in_batch)
            counts.add(inputs, loss)
            return loss

        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            if own_loss is None:
                return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
            return own_loss(model, inputs, num_items_in_batch)

        def create_optimizer(self, *args: Any, **rest: Any) -> Any:
            if self.optimizer is None:
                self.optimizer = build_optimizer(setup.optimizer, model, setup.learning_rate, setup.weight_decay)
                on_optimizer(self.optimizer)
            return self.optimizer

    return MeteredTrainer


def padding(tokenizer: Any) -> Collator:
    """Pad inputs and labels to the longest example of the batch."""
    from transformers import DataCollatorForSeq2Seq

    collator: Collator = DataCollatorForSeq2Seq(tokenizer, padding=True)
    return collator


def training_arguments(job: Job, setup: TrainingSetup, folder: str) -> dict[str, Any]:
    """What transformers' ``TrainingArguments``, and what derives from them, are given for a set-up."""
    return dict(
        output_dir=folder,
        per_device_train_batch_size=_per_process(setup.micro_batch_size, job.hardware.ranks),
        gradient_accumulation_steps=setup.batch_size // setup.micro_batch_size,
        max_steps=setup.steps,
        learning_rate=setup.learning_rate,
        lr_scheduler_type=setup.schedule if setup.schedule != "constant" else "constant_with_warmup",
        warmup_steps=round(setup.warmup_share * setup.steps),
        weight_decay=setup.weight_decay,
        max_grad_norm=setup.max_grad_norm,
        bf16=setup.precision == "bf16-mixed",
        fp16=setup.precision == "fp16-mixed",
        **_recomputation(setup),
        deepspeed=deepspeed_configuration(setup),
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


def _per_process(sequences: int, ranks: int) -> int:
    if sequences % ranks:
        raise StepError(f"{ranks} ranks do not divide a batch of {sequences} sequences")
    return sequences // ranks


def _without_compiled_collectives() -> None:
    """DeepSpeed would compile shared-memory collectives on a CPU, which serve inference alone."""
    import deepspeed

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


def _recomputation(setup: TrainingSetup) -> dict[str, bool]:
    """The argument that switches activation checkpointing on; transformers renamed it in 5.x."""
    if not setup.gradient_checkpointing:
        return {}
    from transformers import TrainingArguments

    new = "activation_checkpointing"
    return {new if new in TrainingArguments.__dataclass_fields__ else "gradient_checkpointing": True}


def _half_precision_on_cpu(trainer: Any) -> None:
    """Autocast to fp16 and scale the loss as on a GPU; accelerate leaves both out on a CPU without a word."""
    import torch

    trainer.accelerator.native_amp = True
    trainer.accelerator.scaler = torch.amp.GradScaler("cpu")


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
