"""``merge``: the same function in a plain checkpoint, by hand and by PEFT, and what is said where it is another one."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from harness.contract import Hardware
from harness.errors import StepError
from harness.models.inspect import describe_model
from harness.models.loading import load_model
from harness.plan.machine import Machine
from harness.plan.plan import plan
from harness.plan.suite import load_text


@pytest.fixture(scope="module")
def adapted(run, llama, as_input):
    return as_input(run("lora", llama, rank=4, learning_rate=1e-2, job={"steps": 8, "batch_size": 8}).checkpoint)


@pytest.fixture(scope="module")
def merged(run, adapted):
    return run("merge", adapted)


def test_weights_are_the_sum_by_hand(merged, adapted, llama):
    before = load_model(llama, "fp32", Hardware()).state_dict()
    after = load_file(merged.checkpoint.parts["model"] / "model.safetensors")
    adapters = load_file(adapted.parts["peft"] / "adapter_model.safetensors")
    for number in range(2):
        for name in ("q_proj", "v_proj"):
            place = f"model.layers.{number}.self_attn.{name}"
            a, b = (adapters[f"base_model.model.{place}.lora_{side}.weight"] for side in "AB")
            expected = before[f"{place}.weight"] + 2 * b @ a  # alpha is twice the rank
            assert torch.allclose(after[f"{place}.weight"], expected, atol=1e-6)
            assert not torch.equal(after[f"{place}.weight"], before[f"{place}.weight"])
        untouched = f"model.layers.{number}.self_attn.k_proj.weight"
        assert torch.equal(after[untouched], before[untouched])


def test_it_is_a_plain_checkpoint_that_transformers_opens(merged, open_live):
    assert set(merged.checkpoint.parts) == {"model", "tokenizer"} and merged.checkpoint.made == {"model"}
    found = describe_model(open_live(merged.checkpoint))
    assert set(found["layer_classes"]) == {"Embedding", "Linear", "LlamaRMSNorm"} and not found["quantized_layers"]
    assert merged.meter.spans == ["compare", "merge", "save", "compare"]


def test_the_function_stays_the_same(merged, adapted, open_live, logits):
    difference = (logits(open_live(merged.checkpoint)) - logits(open_live(adapted))).abs().max()
    assert difference < 1e-4
    assert 0 < merged.meter.metrics["logit_difference"] < 1e-4
    assert merged.meter.metrics["top1_agreement"] == 1.0
    assert merged.meter.observed["compared"]["positions"] == 4 * 64


def test_sixteen_bits_round_the_sum(run, adapted, open_live, merged):
    low = run("merge", adapted, job={"precision": "bf16"})
    assert set(describe_model(open_live(low.checkpoint, "bf16"))["dtypes"]) == {"bfloat16"}
    assert low.meter.metrics["logit_difference"] > 100 * merged.meter.metrics["logit_difference"]


def test_over_a_quantised_base_it_is_another_model_and_says_so(run, llama, as_input, merged):
    """QLoRA's adapters answer to 4-bit weights; the plain ones are others."""
    over = as_input(run("qlora", llama, rank=4, job={"steps": 2}).checkpoint)
    assert run("merge", over).meter.metrics["logit_difference"] > 100 * merged.meter.metrics["logit_difference"]


def test_conv1d_of_a_gpt2(run, gpt2, as_input):
    adapted = as_input(run("lora", gpt2, rank=2, learning_rate=1e-2, job={"steps": 4}).checkpoint)
    assert 0 < run("merge", adapted).meter.metrics["logit_difference"] < 1e-4


def test_what_cannot_be_merged_is_one_line(run, llama, as_input):
    prefix = as_input(run("prefix_tuning", llama, prefix_length=2, job={"steps": 1}).checkpoint)
    with pytest.raises(StepError, match="prefix_tuning cannot be merged into the weights"):
        run("merge", prefix)


SUITE = "name: x\nmodel: embedded\ndata: source\nprecision: fp32\nhardware: {device: cpu, threads: 2}\n"
BUDGET = "budget: {steps: 2, batch_size: 2, sequence_length: 32}\n"
REASONS = {
    "merge": "merge needs the part 'peft'", "lora > int8 > merge": "merge needs the part 'peft'",
    "prefix_tuning > merge": "prefix_tuning leaves adapters that cannot be merged", "lora > merge": None,
    "lora > merge > int8": None, "lora > merge > full_finetune": None,
}  # fmt: skip


@pytest.mark.parametrize("method", REASONS)
def test_the_plan_knows_where_there_is_something_to_merge(method):
    text = f"{SUITE}method: {method}\ntasks: generation_speed\n{BUDGET}"
    last = plan(load_text(text), machine=Machine(cores=2, cuda_devices=0)).steps[-1]
    assert (REASONS[method] or "") in (last.reason or "") and bool(last.reason) == bool(REASONS[method])


def test_the_merged_model_is_compared_with_the_unmerged_one():
    text = f"{SUITE}method: lora > merge\ntasks: perplexity\n{BUDGET}"
    steps = {step.id: step for step in plan(load_text(text), machine=Machine(cores=2, cuda_devices=0)).steps}
    scored = next(step for step in steps.values() if step.operation == "eval" and step.method_text == "lora > merge")
    assert steps[scored.reference].method_text == "lora"
