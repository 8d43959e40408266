"""The plain code of a technique is run, and what it makes is opened: no line of it needs the harness."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict

import pytest

from harness.catalogue import adapter_class, adapter_names
from harness.contract import Budget
from harness.plan.methods import Resolver
from harness.report.recipes import plain_recipe
from harness.training.setup import plain_setup

# What runs here; gptq and gguf need environments of their own, and gguf llama.cpp's tools.
ALWAYS = ("lora > int4",)
LATER = (
    "qlora(rank=4)", "sft > dpo",
    "base", "full_finetune", "lora(rank=4)", "lora(target_modules=all-linear, rank=2, dora=true)",
    "prefix_tuning(prefix_length=4)", "int8", "int4(double_quant=true)", "sft", "dpo(rank=2)",
)  # fmt: skip
EXAMPLES = {
    "plain": "examples = [{'input_ids': [5, 6, 7, 8], 'labels': [-100, 6, 7, 8]}] * 8",
    "sft": "import datasets; examples = datasets.Dataset.from_list([{'prompt': 'def f', 'completion': '(a): b'}] * 8)",
    "dpo": "import datasets; examples = datasets.Dataset.from_list([{'prompt': 'def f', 'chosen': '(a)', "
           "'rejected': 'x'}] * 8)",
}  # fmt: skip


def recipe(text):
    method = Resolver().methods(text)[0]
    setups = {}
    for place, stage in enumerate(method.stages):
        if stage.learns:
            setup = plain_setup(stage.call.params, Budget(steps=3, batch_size=2, sequence_length=32), "fp32", 3)
            setups[str(place)] = asdict(setup)
    return plain_recipe(method, setups)


@pytest.mark.parametrize("text", [*ALWAYS, *(pytest.param(text, marks=pytest.mark.slow) for text in LATER)])
def test_the_code_runs_without_the_harness(text, llama, tmp_path):
    code = recipe(text)
    assert code is not None and "harness" not in code
    folder = tmp_path / "model"
    folder.mkdir()
    for part in llama.parts.values():
        for file in part.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
    code = code.replace("PATH OR HUB ID OF YOUR MODEL", str(folder))
    lines = []
    for line in code.splitlines():
        if line.startswith("# examples:"):
            kind = "dpo" if "rejected" in line else "sft" if "completion" in line else "plain"
            lines.append(EXAMPLES[kind])
        lines.append(line)
    ask = "print('LOGITS', tuple(model(tokenizer('def f', return_tensors='pt').input_ids).logits.shape))"
    script = tmp_path / "plain.py"
    script.write_text("\n".join([*lines, ask, "print(model)"]))
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1500:]
    assert "LOGITS (1, " in done.stdout
    found = {"lora": "lora_A", "dora": "lora_magnitude", "qlora": "Linear4bit", "int4": "Linear4bit",
             "int8": "Linear8bitLt"}  # fmt: skip
    last = text.split(" > ")[-1]
    for word, layer in found.items():
        if last.startswith(word) or f"{word}=true" in last:
            assert layer in done.stdout


@pytest.mark.parametrize("text", ["ppo", "bottleneck_adapter", "clm", "full_finetune(optimizer=muon)", "zero", "rtn"])
def test_what_has_no_plain_form_says_so(text):
    assert recipe(text) is None


def test_settings_are_those_that_were_observed():
    code = recipe("full_finetune(learning_rate=3e-4, schedule=constant) + gradient_checkpointing")
    assert "learning_rate=0.0003" in code and "lr_scheduler_type='constant_with_warmup'" in code
    assert "max_steps=3" in code and "per_device_train_batch_size=2" in code


def test_every_plain_form_is_python():
    for name in adapter_names():
        kind = adapter_class(name)
        setup = {}
        if "train" in kind.operations() and hasattr(kind.Params(), "learning_rate"):
            setup = asdict(plain_setup(kind.Params(), Budget(steps=3, batch_size=4), "bf16-mixed", 3))
        code = kind(kind.Params()).in_plain_code(setup)
        if code is not None:
            compile("\n".join([*code.imports, code.make, code.merge, code.use]), name, "exec")
