"""A technique in the lines of the libraries that a user would write, without the harness. Light: text alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# A folder with adapters in it is opened as the base with them on top, so that the merged model needs one of its own.
MERGED = (
    'source = f"{target}-merged"\n'
    "AutoPeftModelForCausalLM.from_pretrained(target).merge_and_unload().save_pretrained(source)\n"
    "tokenizer.save_pretrained(source)"
)
EXAMPLES = "# examples: mappings of input_ids and labels, tokens without a loss labelled -100, padded by the collator"


@dataclass(frozen=True)
class PlainCode:
    """Python that makes the folder ``target`` of the folder ``source``, and that opens ``target`` as ``model``.

    Both names are variables of the code. ``merge`` makes the ``source`` of a stage that follows, where that is not
    ``target`` itself.
    """

    make: str
    use: str = "model = AutoModelForCausalLM.from_pretrained(target)"
    imports: tuple[str, ...] = ("from transformers import AutoModelForCausalLM",)
    merge: str = ""


def trained(prepare: str, imports: tuple[str, ...], setup: Mapping[str, Any], **rest: Any) -> PlainCode | None:
    """Code that trains what ``prepare`` leaves in ``model`` with transformers' ``Trainer``, by the set-up observed.

    None for an optimiser that ``Trainer`` does not have.
    """
    if setup.get("optimizer") != "adamw":
        return None
    make = f"{prepare}\n{EXAMPLES}\n{arguments('TrainingArguments', setup)}\n" + (
        "collator = DataCollatorForSeq2Seq(tokenizer, padding=True)\n"
        "Trainer(model, arguments, train_dataset=examples, data_collator=collator).train()\n"
        "model.save_pretrained(target)\n"
        "tokenizer.save_pretrained(target)"
    )
    own = "from transformers import AutoModelForCausalLM, DataCollatorForSeq2Seq, Trainer, TrainingArguments"
    return PlainCode(make, imports=(own, *imports), **rest)


def arguments(name: str, setup: Mapping[str, Any], **more: Any) -> str:
    """The line that makes the arguments of a trainer, as the stage was set up; ``more`` are those of its class."""
    micro, whole = setup["micro_batch_size"], setup["batch_size"]
    given: dict[str, Any] = {
        "max_steps": setup["steps"], "per_device_train_batch_size": micro,
        **({"gradient_accumulation_steps": whole // micro} if whole > micro else {}),
        "learning_rate": setup["learning_rate"], "lr_scheduler_type": setup["schedule"],
        "warmup_steps": round(setup["warmup_share"] * setup["steps"]),
        **({"bf16": True} if setup["precision"] == "bf16-mixed" else {}),
        **({"fp16": True} if setup["precision"] == "fp16-mixed" else {}),
        **({"gradient_checkpointing": True} if setup.get("gradient_checkpointing") else {}),
        "save_strategy": "no", "report_to": "none", **more,
    }  # fmt: skip
    if given["lr_scheduler_type"] == "constant":
        given["lr_scheduler_type"] = "constant_with_warmup"
    lines = "".join(f"    {key}={value!r},\n" for key, value in given.items())
    return f"arguments = {name}(\n    target,\n{lines})"


def adapted_code(
    kind: str, options: str, setup: Mapping[str, Any], load: str = "", *, kbit: bool = False
) -> PlainCode | None:
    """Code that trains a PEFT method of the configuration class ``kind`` over a model that ``load`` opens."""
    load = load or "model = AutoModelForCausalLM.from_pretrained(source)"
    names = f"from peft import AutoPeftModelForCausalLM, {kind}, get_peft_model"
    prepare = f'{load}\nmodel = get_peft_model(model, {kind}({options}, task_type="CAUSAL_LM"))'
    below = ", quantization_config=base" if kbit else ""
    imports = (names, "from peft import prepare_model_for_kbit_training") if kbit else (names,)
    return trained(
        prepare, imports, setup, use=f"model = AutoPeftModelForCausalLM.from_pretrained(target{below})",
        merge=MERGED,
    )  # fmt: skip


def low_rank_code(
    params: Any, setup: Mapping[str, Any], *, rslora: bool = False, dora: bool = False, quantized: str = ""
) -> PlainCode | None:
    """Code that trains LoRA by the parameters of a technique; ``quantized`` describes a 4-bit base below it."""
    targets = params.target_modules
    named = targets if targets in (None, "all-linear") else [name.strip() for name in targets.split(",")]
    options = [f"r={params.rank}", f"lora_alpha={params.alpha or 2 * params.rank}"]
    options += [f"target_modules={named!r}"] if named else []
    options += [f"lora_dropout={params.dropout}"] if params.dropout else []
    options += ["use_rslora=True"] if rslora else []
    options += ["use_dora=True"] if dora else []
    if not quantized:
        return adapted_code("LoraConfig", ", ".join(options), setup)
    kind, double, compute = (part.partition("=")[2] for part in quantized.split(", "))
    load = (
        "from transformers import BitsAndBytesConfig\n"
        f"base = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type={kind}, bnb_4bit_use_double_quant={double}, "
        f"bnb_4bit_compute_dtype={compute})\n"
        "model = AutoModelForCausalLM.from_pretrained(source, quantization_config=base)\n"
        "model = prepare_model_for_kbit_training(model)"
    )
    return adapted_code("LoraConfig", ", ".join(options), setup, load, kbit=True)


def quantized_code(options: str) -> PlainCode:
    """Code that loads a model in bitsandbytes' integers by ``options`` and saves it."""
    return PlainCode(
        f"recipe = BitsAndBytesConfig({options})\n"
        "model = AutoModelForCausalLM.from_pretrained(source, quantization_config=recipe)\n"
        "model.save_pretrained(target)\n"
        "tokenizer.save_pretrained(target)",
        imports=("from transformers import AutoModelForCausalLM, BitsAndBytesConfig",),
    )


def aligned_code(
    trainer: str, configuration: str, setup: Mapping[str, Any], columns: str, options: Mapping[str, Any],
    adapters: str = "",
) -> PlainCode | None:  # fmt: skip
    """Code that trains with one of TRL's trainers on examples with ``columns``, through ``adapters`` where given."""
    if setup.get("optimizer") != "adamw":
        return None
    given = f", peft_config={adapters}" if adapters else ""
    # TRL switches both on where nothing is said.
    switched = {"bf16": setup["precision"] == "bf16-mixed", "gradient_checkpointing": bool(
        setup.get("gradient_checkpointing"))}  # fmt: skip
    use = "model = AutoPeftModelForCausalLM.from_pretrained(target)" if adapters else PlainCode.use
    more = ("from peft import AutoPeftModelForCausalLM, LoraConfig",) if adapters else ()
    return PlainCode(
        "model = AutoModelForCausalLM.from_pretrained(source)\n"
        f"# examples: a datasets.Dataset with {columns}\n"
        f"{arguments(configuration, setup, **switched, **options)}\n"
        f"trainer = {trainer}(model, args=arguments, train_dataset=examples, processing_class=tokenizer{given})\n"
        "trainer.train()\n"
        "trainer.save_model(target)",
        use=use,
        imports=("from transformers import AutoModelForCausalLM", f"from trl import {configuration}, {trainer}", *more),
        merge=MERGED if adapters else "",
    )  # fmt: skip
