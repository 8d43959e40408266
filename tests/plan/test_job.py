from __future__ import annotations

import json
import subprocess
import sys

from harness import catalogue
from harness.parameters import build_params
from harness.plan.job import job, jobs

TEXT = """
name: tiny
method: lora(rank=4) + gradient_checkpointing > int8
tasks: perplexity(view=instructions)
budget: {tokens: 4096, micro_batch_size: 4}
hardware: cpu(threads=2)
limits: {wall_seconds: 60, silence_seconds: 30}
"""


def test_a_job_says_everything_that_a_worker_needs(planned):
    plan = planned(TEXT)
    train = next(one for one in jobs(plan, data_file="x.zip") if one["operation"] == "train")
    assert train == json.loads(json.dumps(train))
    assert train["format"] == 1 and train["suite"] == "tiny" and train["data_file"] == "x.zip"
    assert train["adapter"]["module"] == "harness.adapters.finetuning.lora"
    assert train["adapter"]["params"]["rank"] == 4 and train["adapter"]["params"]["dropout"] == 0.0
    assert train["modifiers"] == [
        {"name": "gradient_checkpointing", "module": "harness.adapters.efficiency.gradient_checkpointing", "params": {}}
    ]
    assert train["task"] is None and train["input"] is None and train["reference"] is None
    assert train["hardware"] == {"device": "cpu", "devices": 1, "threads": 2, "ranks": 1}
    assert train["budget"]["tokens"] == 4096 and train["budget"]["micro_batch_size"] == 4
    assert train["limits"] == {"wall_seconds": 60, "silence_seconds": 30}
    assert train["coordinates"] == {
        "method": "lora(rank=4) + gradient_checkpointing", "stage": "lora(rank=4) + gradient_checkpointing",
        "technique": "lora", "task": None, "model": "embedded", "data": "source", "precision": "fp32",
        "hardware": "cpu(threads=2)", "seed": 0, "params": train["adapter"]["params"],
    }  # fmt: skip


def test_jobs_point_at_each_other(planned):
    found = jobs(planned(TEXT))
    train = next(one for one in found if one["operation"] == "train")
    compress = next(one for one in found if one["operation"] == "compress")
    scored = next(one for one in found if one["coordinates"]["method"].endswith("int8") and one["operation"] == "eval")
    assert compress["input"] == train["step"] and compress["budget"] is None and compress["data"] is None
    assert scored["input"] == compress["step"] and scored["data"] == {"kind": "source"}
    assert scored["task"]["params"]["view"] == "instructions"
    reference = next(one for one in found if one["step"] == scored["reference"])
    assert reference["keeps_artefact"] and not scored["keeps_artefact"]


def test_parameters_of_a_job_build_the_same_parameters(planned):
    plan = planned("method: double(modules=[[q, v]])\ntasks: choice\nbudget: {steps: 5}\n")
    found = json.loads(json.dumps(job(plan.steps[0], plan.suite)))
    kind = catalogue.load_adapter(found["adapter"]["module"])
    params = build_params(kind.Params, found["adapter"]["params"], owner="double")
    assert params == plan.steps[0].stage.call.params


def test_a_step_that_is_not_to_be_run_says_so(planned):
    plan = planned("method: base\nhardware: cuda\ntasks: choice\n")
    found = job(plan.steps[0], plan.suite)
    assert (found["state"], found["reason"]) == ("skipped", "no CUDA device on this machine")
    assert "state" not in job(planned("method: base\ntasks: choice\n").steps[0], plan.suite)


def test_planning_loads_no_heavy_package(tmp_path):
    (tmp_path / "s.yaml").write_text(
        "model: [embedded, small]\nmethod: [base, qlora, int4, clm]\ntasks: [perplexity, choice, generation_speed]\n"
        "budget: {steps: 5}\nmodels: {small: {from: bpe > clm, architecture: llama, budget: {steps: 5}}}\n"
    )
    code = (
        "import sys\nfrom harness.plan.suite import load\nfrom harness.plan.plan import plan\n"
        "from harness.plan.job import jobs\n"
        f"assert jobs(plan(load({str(tmp_path / 's.yaml')!r})))\n"
        "heavy = {'torch', 'transformers', 'numpy', 'pandas', 'pyarrow', 'datasets', 'peft'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
