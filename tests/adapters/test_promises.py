"""What holds of every technique that adds to a base: its live weights stay, what is said to learn moves, PEFT reads it.

The files of a base say nothing of this: a technique could change the loaded weights and never write them.
"""

from __future__ import annotations

import importlib
from collections import Counter
from dataclasses import replace

import pytest
import torch
from fakes.words import Words
from peft import PeftModel
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from harness.contract import Hardware
from harness.models.loading import load_merged

# Where a technique's change is made, by which name, and what the tensors that it adds are called.
ADDED = {
    "lora": ("harness.training.lora", "low_rank", ("lora_",)),
    "qlora": ("harness.training.lora", "low_rank", ("lora_",)),
    "prefix_tuning": ("harness.training.prefix", "prefix", ("prompt_encoder",)),
    "bottleneck_adapter": ("harness.training.bottleneck", "bottleneck", ("bottleneck_", "modules_to_save")),
}
SHORT = {"steps": 4, "batch_size": 8}


@pytest.mark.parametrize("technique", sorted(ADDED))
def test_the_live_base_stays_and_all_else_moves(run, llama, few_data, monkeypatch, hashes, technique):
    place, name, added = ADDED[technique]
    module, seen = importlib.import_module(place), {}
    make = getattr(module, name)

    def making(*given, **options):
        change = make(*given, **options)

        def prepare(model, setup):
            seen["base"] = hashes(model)
            seen["model"] = change.prepare(model, setup)
            seen["start"] = hashes(seen["model"])
            return seen["model"]

        return replace(change, prepare=prepare)

    monkeypatch.setattr(module, name, making)
    run(technique, llama, learning_rate=0.05, job={**SHORT, "data": few_data})
    end = hashes(seen["model"])
    assert not Counter(seen["base"].values()) - Counter(end.values()), "a tensor of the base is another one now"
    moved = {tensor for tensor in end if end[tensor] != seen["start"][tensor]}
    assert moved == {tensor for tensor in end if any(part in tensor for part in added)}


@pytest.mark.parametrize("technique", ["prefix_tuning", "qlora"])
def test_plain_peft_opens_what_is_saved(run, llama, open_live, logits, technique):
    """LoRA's and the bottlenecks' own tests say it of these."""
    made = run(technique, llama, learning_rate=0.05, job=SHORT).checkpoint
    how = {}
    if technique == "qlora":
        how["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.float32,
        )  # fmt: skip
    base = AutoModelForCausalLM.from_pretrained(made.parts["model"], **how)
    plain = PeftModel.from_pretrained(base, str(made.parts["peft"])).eval()
    assert torch.allclose(logits(plain), logits(open_live(made)), atol=1e-5)


@pytest.mark.parametrize("technique", ["lora", "prefix_tuning"])
def test_several_share_one_base(run, llama, open_live, logits, technique):
    made = [run(technique, llama, learning_rate=0.05, job={**SHORT, "seed": seed}).checkpoint for seed in (0, 1)]
    model = PeftModel.from_pretrained(open_live(llama), str(made[0].parts["peft"]), adapter_name="0")
    model.load_adapter(str(made[1].parts["peft"]), adapter_name="1")
    model.eval()
    for place in (0, 1, 0):
        model.set_adapter(str(place))
        assert torch.equal(logits(model), logits(open_live(made[place])))
    assert not torch.equal(logits(open_live(made[0])), logits(open_live(made[1])))


@pytest.mark.parametrize(
    "params", [{"dora": True}, {"rank_stabilized": True}, {"target_modules": "all-linear"}], ids=["dora", "rs", "all"]
)
def test_merged_variants_are_the_unmerged(run, llama, open_live, logits, params):
    made = run("lora", llama, rank=4, learning_rate=0.02, **params, job=SHORT).checkpoint
    merged = load_merged(made, "fp32", Hardware()).eval()
    assert torch.allclose(logits(merged), logits(open_live(made)), atol=1e-5)
    assert (logits(merged) - logits(open_live(llama))).abs().max() > 1e-3


@pytest.mark.parametrize(("name", "view"), [("t5", "text_to_text"), ("bart", "text_to_text"), ("bert", "labels")])
def test_a_prefix_is_2_x_layers_x_width_x_length_everywhere(run, request, name, view):
    """Of an encoder and decoder that of the decoder; beside it a head of three classes learns."""
    job = {"steps": 1, "data": Words(), "sequence_length": 48}
    ran = run("prefix_tuning", request.getfixturevalue(name), view=view, prefix_length=5, job=job)
    head = 3 * 64 + 3 if view == "labels" else 0
    assert ran.meter.metrics["trainable_parameters"] == 2 * 2 * 64 * 5 + head
