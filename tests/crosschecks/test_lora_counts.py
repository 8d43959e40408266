"""LoRA's parameters against what PEFT itself prints for the same configuration of the same model."""

from __future__ import annotations

import re

import pytest

from harness.contract import Hardware
from harness.models.loading import load_model

PRINTED = re.compile(r"trainable params: ([\d,]+) \|\| all params: ([\d,]+) \|\| trainable%: ([\d.]+)")
SETTINGS = [
    ("llama", {"rank": 8}), ("llama", {"rank": 3, "target_modules": "all-linear"}),
    ("llama", {"rank": 4, "target_modules": "k_proj,down_proj"}), ("llama", {"rank": 2, "dora": True}),
    ("gpt2", {"rank": 8}), ("gpt2", {"rank": 5, "target_modules": "all-linear"}),
    ("gpt2", {"rank": 4, "target_modules": "c_fc"}),
]  # fmt: skip


def printed_by_peft(checkpoint, settings, capsys):
    """Trainable and all parameters, and the share, off the line that PEFT prints."""
    peft = pytest.importorskip("peft", reason="peft is not installed")
    targets = settings.get("target_modules")
    named = targets.split(",") if targets and targets != "all-linear" else targets
    config = peft.LoraConfig(
        r=settings["rank"], lora_alpha=16, target_modules=named, use_dora=settings.get("dora", False),
        task_type="CAUSAL_LM",
    )  # fmt: skip
    model = peft.get_peft_model(load_model(checkpoint, "fp32", Hardware()), config)
    capsys.readouterr()
    model.print_trainable_parameters()
    trainable, everything, share = PRINTED.search(capsys.readouterr().out).groups()
    return int(trainable.replace(",", "")), int(everything.replace(",", "")), float(share) / 100


@pytest.mark.filterwarnings("ignore:fan_in_fan_out")
@pytest.mark.parametrize(("name", "settings"), SETTINGS)
def test_as_many_as_peft_prints(run, request, capsys, name, settings):
    checkpoint = request.getfixturevalue(name)
    metrics = run("lora", checkpoint, **settings, job={"steps": 1}).meter.metrics
    trainable, everything, share = printed_by_peft(checkpoint, settings, capsys)
    assert metrics["trainable_parameters"] == trainable
    assert metrics["trainable_share"] == pytest.approx(share, abs=5e-7)  # four digits of a percentage
    assert round(metrics["trainable_parameters"] / metrics["trainable_share"]) == everything
