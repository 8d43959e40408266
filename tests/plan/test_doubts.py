"""Which steps are predicted not to fit the machine, before anything runs."""

from __future__ import annotations

from harness.cli.tables import doubts_in_words
from harness.plan.machine import Machine, this_machine
from harness.plan.memory import LIBRARIES
from harness.plan.plan import plan
from harness.plan.suite import load_text

LARGE = "random:llama(hidden_size=4096, intermediate_size=11008, layers=32, heads=32, kv_heads=32, vocab_size=32000)"
SUITE = f"""
name: d
model: ["{LARGE}", embedded]
precision: bf16
method: [full_finetune, lora, lora > int4]
tasks: generation_speed
budget: {{steps: 5, batch_size: 1, sequence_length: 256}}
"""


# Without room for a tokenizer nothing is trained on it.
SKIPPED = SUITE.replace("vocab_size=32000", "vocab_size=1000")
MADE = """
models:
  large: {architecture: llama, hidden_size: 4096, intermediate_size: 11008, layers: 32, heads: 32, kv_heads: 32,
          tie_embeddings: false, from: bpe(vocab_size=32000) > clm, budget: {steps: 5}}
"""
WITH_RECIPE = SUITE.replace(f'"{LARGE}"', "large") + MADE


def planned(gigabytes, text=SUITE, **machine):
    return plan(load_text(text), machine=Machine(cores=2, cuda_devices=0, memory_bytes=gigabytes * 1e9, **machine))


def doubted(found):
    steps = {step.id: step for step in found.steps}
    return {(steps[id].operation, steps[id].method_text, steps[id].model_word.partition(":")[0]) for id in found.doubts}


def test_what_is_too_large_is_doubted_and_nothing_else():
    found = doubted(planned(24, WITH_RECIPE))
    assert found >= {("train", "full_finetune", "large"), ("train", "bpe(vocab_size=32000) > clm", "recipe")}
    assert not {one for one in found if one[2] == "embedded" or one[1].startswith("lora")}
    smaller = doubted(planned(12, WITH_RECIPE))
    assert ("eval", "full_finetune", "large") in smaller, "13.5 GB of weights in 16 bits"
    assert ("eval", "lora > int4", "large") not in smaller, "a quarter of that"
    assert not planned(1000, WITH_RECIPE).doubts


def test_what_is_skipped_is_not_doubted():
    found = planned(0.001, SKIPPED)
    assert {step.state for step in found.steps if step.model_word != "embedded"} == {"skipped"}
    assert {one[2] for one in doubted(found)} == {"embedded"}


def test_the_size_is_the_prediction_with_the_libraries():
    found = planned(0.001)
    sizes = {step.method_text: found.doubts[step.id] for step in found.steps
             if step.id in found.doubts and step.operation == "train" and step.model_word == "embedded"}  # fmt: skip
    assert LIBRARIES < sizes["lora"] < sizes["full_finetune"] < LIBRARIES + 200e6


def test_a_warning_is_one_line_a_kind_of_step_and_in_the_json():
    text = SKIPPED.replace("precision: bf16", "precision: bf16\nseed: [0, 1, 2]")
    found = planned(0.5, text)
    lines = doubts_in_words(found)
    assert len(lines) == len(set(lines)) < len(found.doubts)
    assert lines[0].startswith("warning: train of full_finetune @ embedded bf16 is predicted to need 0.")
    assert lines[0].endswith("GB, more than this machine has")
    assert found.to_dict()["predicted_not_to_fit"] == found.doubts
    assert "predicted_not_to_fit" not in planned(1000, text).to_dict()


def test_several_processes_share_the_machine():
    def size(hardware):
        text = SKIPPED.replace("batch_size: 1", "batch_size: 2")
        found = planned(0.0001, text + f"hardware: {{device: cpu, ranks: {hardware}}}")
        return next(found.doubts[step.id] for step in found.steps
                    if step.operation == "train" and step.state == "runnable")  # fmt: skip

    assert size(2) > 1.9 * LIBRARIES > size(1)


def test_what_is_not_predicted_is_not_doubted():
    text = """
name: d
models: {tiny: {architecture: llama}}
model: tiny
method: tiktoken(encoding=gpt2) > clm
budget: {steps: 5, batch_size: 8, sequence_length: 64}
"""
    found = planned(0.0001, text)
    assert [step.operation for step in found.steps] == ["train", "train"] and not found.doubts


def test_this_machine_knows_its_memory():
    assert 1e8 < this_machine().memory_bytes < 1e14
