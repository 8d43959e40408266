from __future__ import annotations

import pytest

from harness.contract import Hardware
from harness.plan import machine as machine_module
from harness.plan.machine import Machine, this_machine


def reasons(plan):
    return {step.operation: step.reason for step in plan.steps if step.cells}


@pytest.mark.parametrize(
    ("text", "operation", "reason"),
    [
        ("method: base\nhardware: cuda", "eval", "no CUDA device on this machine"),
        ("method: base\nhardware: cpu(threads=64)", "eval", "64 threads asked for, this machine has 2 cores"),
        ("method: elsewhere", "compress", "elsewhere: needs the environment 'nowhere', which nobody has defined"),
        ("method: uninstalled", "compress",
         "uninstalled: package 'no_such_package' is not installed (pip install no_such_package)"),
        ("method: picky\nprecision: bf16", "compress", "picky does not run on cpu (it runs on cuda)"),
        ("method: refuses", "compress", "pointless at fp32"),
        ("method: bpe > clm", "train", "bpe works on blank or none or tokenizer models, this one is causal"),
        ("method: clm\nmodel: blank", "train",
         "clm needs the part 'tokenizer', which neither the model nor an earlier stage gives"),
        ("method: bpe > clm\nmodel: encoder", "train", "clm makes gpt2 or llama models, the blank one is bert"),
        ("method: bpe > full_finetune(view=text_to_text)\nmodel: encoder", "train",
         "full_finetune(view=text_to_text) works on causal or seq2seq models, a bert is masked"),
        ("method: int8 + slower", "compress", "slower changes how a stage trains, and int8 does not train"),
        ("method: base\nmodel: 'random:llama(layers=1)'", "eval", "quality is not applicable: random weights"),
        ("method: base\ntasks: translate", "eval", "translate scores seq2seq models, this one is causal"),
        ("method: base\nmodel: blank", "eval", "choice scores causal or multiple_choice models, this one is blank"),
        ("method: bpe\nmodel: blank", "eval", "choice scores causal or multiple_choice models, this one is blank"),
        ("method: lora\ndata: ./a.txt", "train",
         "lora needs the view 'instructions', which the data './a.txt' does not offer (it has: text)"),
        ("method: base\ndata: ./a.txt", "eval",
         "choice needs the view 'choices', which the data './a.txt' does not offer (it has: text)"),
    ],
)  # fmt: skip
def test_what_cannot_run_says_why(text, operation, reason, planned, tmp_path):
    (tmp_path / "a.txt").write_text("text\n")
    rest = "" if "tasks:" in text else "\ntasks: choice"
    models = "{blank: {architecture: llama}, encoder: {architecture: bert}}"
    plan = planned(f"{text}{rest}\nbudget: {{steps: 5}}\nmodels: {models}\n")
    assert reasons(plan)[operation] == reason
    assert all(step.state == "skipped" for step in plan.steps if step.reason)


T5 = "cannot add T5's bias of positions: use eager or math"
NO_MASK = "kernel=flash takes no mask on a GPU, which padded batches of a {} model need"
NOT_BY_PPO = "ppo trains with neither zero nor gradient_checkpointing nor a fixed attention kernel"


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ("prefix_tuning + gradient_checkpointing",
         "prefix_tuning feeds its prefix through the cache, which gradient_checkpointing has not"),
        ("prefix_tuning + flash_attention", None),
        ("sft > reward_model > ppo + gradient_checkpointing", NOT_BY_PPO),
        ("sft > reward_model > ppo + flash_attention(kernel=math)", NOT_BY_PPO),
        ("sft > reward_model > ppo + flash_attention(kernel=eager)", NOT_BY_PPO),
        ("sft > reward_model > ppo(mini_batches=3)", "mini_batches 3 does not divide a batch of 8"),
        ("sft > reward_model > ppo(response_length=256)", "response_length 256 leaves no prompt in 256 tokens"),
        ("sft + flash_attention > reward_model > ppo", None),
    ],
)  # fmt: skip
def test_what_a_technique_cannot_train_with_is_said_before_anything_has_trained(planned, method, reason):
    plan = planned(f"method: {method}\ntasks: perplexity\nbudget: {{steps: 8}}\n")
    said = {step.stage.text: step.reason for step in plan.steps if step.operation == "train"}
    assert list(said.values())[-1] == reason
    assert not any(list(said.values())[:-1]), "what comes before it can run for other cells"


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize(
    ("model", "method", "on_cpu", "on_cuda"),
    [
        ("t5", "bpe > seq2seq + flash_attention", f"kernel=flash {T5}", f"kernel=flash {T5}"),
        ("t5", "bpe > full_finetune(view=labels) + flash_attention", f"kernel=flash {T5}", f"kernel=flash {T5}"),
        ("t5", "bpe > linear_probe + flash_attention", None, NO_MASK.format("seq2seq")),
        ("t5", "bpe > seq2seq + flash_attention(kernel=math)", None, None),
        ("bart", "bpe > seq2seq + flash_attention", None, NO_MASK.format("seq2seq")),
        ("bert", "bpe > mlm + flash_attention", None, None),
        ("embedded", "full_finetune(view=labels) + flash_attention", None, NO_MASK.format("classifier")),
        ("embedded", "lora(view=choices) + flash_attention", None, NO_MASK.format("multiple_choice")),
        ("embedded", "lora(view=choices) + flash_attention(kernel=math)", None, None),
        ("embedded", "lora + flash_attention", None, None),
        ("embedded", "prefix_tuning + flash_attention", None,
         "prefix_tuning has more keys than queries, which needs a mask: a GPU's kernel=flash takes none"),
    ],
)  # fmt: skip
def test_a_flash_kernel_is_not_planned_where_it_has_no_mask(planned, device, model, method, on_cpu, on_cuda):
    models = "{t5: {architecture: t5}, bart: {architecture: bart}, bert: {architecture: bert}}"
    text = f"model: {model}\nmethod: {method}\nmodels: {models}\nhardware: {device}\nprecision: bf16-mixed\n"
    plan = planned(text + "tasks: training_memory\nbudget: {steps: 8}\n", on=Machine(2, 1))
    (probing,) = [step for step in plan.steps if step.task is not None]
    assert probing.reason == {"cpu": on_cpu, "cuda": on_cuda}[device]


def test_a_skipped_input_gives_its_reason_to_all_that_follow(planned):
    plan = planned("method: lora > refuses > int8\ntasks: perplexity\nbudget: {steps: 5}\n")
    found = [(step.stage.call.name, step.state, step.reason) for step in plan.steps if step.cells]
    assert found[0] == ("lora", "runnable", None)
    assert [item[1:] for item in found[1:]] == [("skipped", "pointless at fp32")] * 3


def test_speed_of_random_weights_is_measured(planned):
    plan = planned("model: 'random:llama(layers=1)'\nmethod: base\ntasks: generation_speed\n")
    assert [step.state for step in plan.steps] == ["runnable"]


def test_random_weights_that_are_trained_are_scored(planned):
    text = "model: blank\nmethod: bpe > clm\ntasks: choice\nbudget: {steps: 5}\n"
    text += "models: {blank: {architecture: llama}}\n"
    assert {step.state for step in planned(text).steps} == {"runnable"}


@pytest.mark.parametrize(
    ("architecture", "stage", "task"),
    [("bert", "linear_probe", "classification"), ("llama", "full_finetune", "choice"),
     ("t5", "full_finetune(view=text_to_text)", "text_generation")],
)  # fmt: skip
def test_an_architecture_can_be_trained_on_a_task_from_nothing(planned, architecture, stage, task):
    text = f"model: blank\nmethod: bpe > {stage}\ntasks: {task}\nbudget: {{steps: 5}}\n"
    plan = planned(text + f"models: {{blank: {{architecture: {architecture}}}}}\n")
    assert {step.state for step in plan.steps} == {"runnable"}


def test_with_the_hardware_the_same_steps_run(planned):
    text = "method: picky\nprecision: bf16\nhardware: cuda\ntasks: choice\n"
    here = planned(text, on=Machine(8, 1))
    there = planned(text)
    assert {step.state for step in here.steps} == {"runnable"}
    assert {step.state for step in there.steps} == {"skipped"}
    assert [step.id for step in here.steps] == [step.id for step in there.steps]


def test_an_environment_that_is_set_up_is_used(planned):
    machine = Machine(2, 0, frozenset({"main", "nowhere"}))
    assert {step.state for step in planned("method: elsewhere\ntasks: choice\n", on=machine).steps} == {"runnable"}


def test_more_devices_than_there_are():
    assert Machine(2, 1).lacks(Hardware("cuda", devices=2)) == "2 CUDA devices asked for, this machine has 1"
    assert Machine(2, 2).lacks(Hardware("cuda", devices=2)) is None


def test_this_machine_is_found_without_torch():
    found = this_machine()
    assert found.cores >= 1 and found.cuda_devices >= 0


def test_hidden_devices_are_not_counted(monkeypatch):
    monkeypatch.setattr(machine_module, "_driver", lambda: True)
    for visible, count in (("", 0), ("-1", 0), ("0", 1), ("0,2", 2)):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert this_machine().cuda_devices == count
    monkeypatch.setattr(machine_module, "_driver", lambda: False)
    assert this_machine().cuda_devices == 0
