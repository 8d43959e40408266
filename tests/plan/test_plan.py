from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from harness.contract import MEASUREMENT_VERSION, identifying, param
from harness.plan.machine import Machine
from harness.plan.methods import ResolvedCall

GRID = """
precision: [fp32, bf16-mixed]
seed: [0, 1]
method: [base, lora, lora > int8, int8]
tasks: [perplexity, choice]
budget: {steps: 60}
"""


def steps(plan, **wanted):
    def get(step, key):
        return step.operation if key == "operation" else step.coordinates[key]

    return [step for step in plan.steps if all(get(step, key) == value for key, value in wanted.items())]


def only(plan, **wanted):
    (found,) = steps(plan, **wanted)
    return found


def by_id(plan):
    return {step.id: step for step in plan.steps}


def test_a_step_is_planned_once_and_after_what_it_needs(planned):
    plan = planned(GRID)
    seen = set()
    for step in plan.steps:
        assert step.id not in seen
        assert set(step.needs) <= seen
        seen.add(step.id)


def test_a_shared_prefix_is_trained_once(planned):
    plan = planned(GRID)
    training = steps(plan, operation="train")
    assert len(training) == 4
    assert {step.coordinates["method"] for step in training} == {"lora"}
    for step in training:
        assert [plan.cells[number].method for number in step.cells] == ["lora", "lora > int8"]


def test_every_cell_knows_its_steps(planned):
    plan = planned(GRID)
    for number, (cell, found) in enumerate(zip(plan.cells, plan.cell_steps, strict=True)):
        wanted = {"base": 2, "int8": 3, "lora": 3, "lora > int8": 4}[cell.method]
        assert len(found) == wanted
        assert all(number in step.cells for step in found)
        assert {step.coordinates["precision"] for step in found} == {cell.precision}


def test_the_identity_is_canonical_json_of_what_determines_the_result(planned):
    plan = planned(
        "method: 'lora(rank=4) + slower > int8'\ntasks: perplexity\nbudget: {steps: 7}\nhardware: cpu(threads=2)\n"
    )
    for step in plan.steps:
        task = None if step.task is None else {"name": step.task.name, "params": identifying(step.task.params)}
        call = step.stage.call
        identity = {
            "operation": step.operation,
            "adapter": {"name": call.name, "params": identifying(call.params)},
            "modifiers": [{"name": one.name, "params": identifying(one.params)} for one in step.stage.modifiers],
            "task": task,
            "model": {key: value for key, value in step.model.spec.items() if key != "path"},
            "data": dict(step.data.spec) if step.reads_data else None,
            "precision": step.precision,
            "hardware": asdict(step.hardware),
            "seed": step.seed,
            "budget": None if step.budget is None else asdict(step.budget),
            "input": step.input,
            "reference": step.reference,
            "measurement_version": MEASUREMENT_VERSION,
        }
        text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
        assert step.id == hashlib.sha256(text.encode()).hexdigest()[:16]


def test_a_parameter_that_came_later_leaves_the_ids_of_its_neutral_value():
    @dataclass(frozen=True)
    class Before:
        rank: int = param(8, "rank")

    @dataclass(frozen=True)
    class After(Before):
        scaled: bool = param(False, "scaled", neutral=False)

    @dataclass(frozen=True)
    class Later(Before):
        scaled: bool = param(True, "scaled by default now", neutral=False)

    def identity(params):
        return ResolvedCall("x", "m", params, "x").identity

    assert identity(After()) == identity(Later(scaled=False)) == identity(Before())
    assert identity(After(scaled=True)) == identity(Later()) != identity(Before())


def test_a_technique_that_does_something_else_has_other_ids(planned, monkeypatch):
    before = planned("method: lora\nbudget: {steps: 7}\n")
    monkeypatch.setattr(before.steps[0].stage.call.kind, "revision", 1)
    after = planned("method: lora\nbudget: {steps: 7}\n")
    assert {step.id for step in before.steps}.isdisjoint({step.id for step in after.steps})


def test_the_identity_ignores_what_does_not_matter(planned):
    one = planned("name: a\nmethod: lora\ntasks: perplexity\nbudget: {steps: 7}\nlimits: {wall_seconds: 5}\n")
    two = planned("name: b\nmethod: lora\ntasks: perplexity\nbudget: {steps: 7, scope: method}\n", on=Machine(64, 8))
    assert [step.id for step in one.steps] == [step.id for step in two.steps]


def test_the_identity_follows_what_matters(planned):
    text = "method: lora\ntasks: choice\nbudget: {steps: 7}\n"
    variants = [text, text.replace("7", "8"), text + "seed: 1\n", text + "precision: bf16\n",
                text.replace("lora", "lora(rank=9)"), text + "hardware: cpu(threads=1)\n",
                text.replace("lora", "lora + slower")]  # fmt: skip
    ids = [step.id for variant in variants for step in planned(variant).steps]
    assert len(set(ids)) == 2 * len(variants)


def test_references_follow_the_chain(planned):
    plan = planned(GRID)
    at = by_id(plan)
    base = only(plan, method="base", task="perplexity", precision="fp32")
    assert base.reference is None and base.keeps_artefact
    assert only(plan, method="base", task="perplexity", precision="bf16-mixed").reference == base.id
    for step in steps(plan, method="int8", task="perplexity") + steps(plan, method="lora", task="perplexity"):
        assert step.reference == base.id
    for step in steps(plan, method="lora > int8", task="perplexity"):
        reference = at[step.reference]
        assert reference.coordinates["method"] == "lora" and reference.keeps_artefact
        assert (reference.seed, reference.precision) == (step.seed, step.precision)
    assert all(step.reference is None and not step.keeps_artefact for step in steps(plan, task="choice"))


def test_a_reference_that_is_no_cell_is_planned(planned):
    plan = planned("method: int8\nprecision: bf16\ntasks: perplexity\n")
    assert [cell.method for cell in plan.cells] == ["int8"]
    base = only(plan, method="base")
    assert (base.precision, base.cells, base.keeps_artefact, base.state) == ("fp32", [], True, "runnable")


def test_what_is_made_from_nothing_has_no_reference(planned):
    text = (
        "model: blank\nmethod: [bpe > clm, bpe > clm > int8]\ntasks: perplexity\nbudget: {steps: 5}\n"
        "models: {blank: {architecture: llama}}\n"
    )
    plan = planned(text)
    scratch = only(plan, method="bpe > clm", task="perplexity")
    assert scratch.reference is None and scratch.state == "runnable" and scratch.keeps_artefact
    assert only(plan, method="bpe > clm > int8", task="perplexity").reference == scratch.id


def test_a_recipe_is_trained_once_with_its_own_seed_and_precision(planned):
    plan = planned(
        "model: small\nmethod: [base, lora]\nprecision: [fp32, bf16]\nseed: [0, 1]\ntasks: perplexity\n"
        "budget: {steps: 60}\n"
        "models:\n  small: {from: bpe > clm, architecture: llama, seed: 7, precision: bf16-mixed, budget: {steps: 5}}\n"
    )
    recipe = steps(plan, model="recipe:small")
    assert [(step.operation, step.coordinates["method"]) for step in recipe] == [
        ("train", "bpe"), ("train", "bpe > clm"),
    ]  # fmt: skip
    made = recipe[-1]
    assert (made.seed, made.precision, made.budget.steps) == (7, "bf16-mixed", 5)
    assert made.cells == list(range(len(plan.cells)))
    base = only(plan, method="base", precision="fp32")
    assert base.input == made.id and base.seed is None
    assert all(step.input == made.id for step in steps(plan, method="lora", operation="train"))
    assert {step.reference for step in steps(plan, method="lora", operation="eval")} == {base.id}


def test_data_and_seed_matter_only_where_they_are_used(planned, tmp_path):
    (tmp_path / "a.txt").write_text("text\n")
    text = "method: [base, int8]\ndata: [source, ./a.txt]\nseed: [0, 1]\ntasks: [perplexity, generation_speed]\n"
    plan = planned(text)
    assert len(plan.cells) == 4
    assert len(steps(plan, operation="compress")) == 1
    speed = [step for step in steps(plan, operation="eval") if step.task.name == "generation_speed"]
    assert len(speed) == 2 and all(len(step.cells) == 2 for step in speed)
    assert len([step for step in plan.steps if step.task and step.task.name == "perplexity"]) == 4


def test_a_divided_budget_belongs_to_its_cell(planned):
    plan = planned("method: [clm, clm > lora]\ntasks: choice\nbudget: {steps: 60, scope: method}\n")
    found = [(step.coordinates["method"], step.coordinates["stage"], step.budget.steps)
             for step in steps(plan, operation="train")]  # fmt: skip
    assert found == [("clm", "clm", 60), ("clm > lora", "clm", 30), ("clm > lora", "lora", 30)]


def test_a_stage_that_trains_and_compresses_is_two_steps(planned):
    plan = planned("method: double\ntasks: choice\nbudget: {steps: 6}\n")
    train, compress, scored = plan.steps
    assert [train.operation, compress.operation, scored.operation] == ["train", "compress", "eval"]
    assert (compress.input, scored.input) == (train.id, compress.id)
    assert compress.budget is None and compress.seed == 0


def test_a_method_as_a_parameter_is_an_edge(planned):
    plan = planned("method: 'distill(teacher=(lora))'\ntasks: choice\nbudget: {steps: 6}\n")
    teacher = only(plan, technique="lora", operation="train")
    student = only(plan, technique="distill", operation="train")
    assert student.others == (("teacher", teacher.id),)
    assert teacher.id in student.needs
    assert teacher in plan.cell_steps[0]
    other = planned("method: 'distill(teacher=(lora(rank=4)))'\ntasks: choice\nbudget: {steps: 6}\n")
    assert only(other, technique="distill", operation="train").id != student.id


JUDGED = """
precision: [fp32, bf16-mixed]
seed: [0, 1]
method: [sft, "sft > dpo", "sft > reward_model > ppo"]
tasks: [judged_generation]
budget: {steps: 60}
"""


def test_one_judge_scores_every_method_seed_and_precision(planned):
    plan = planned(JUDGED)
    judge = only(plan, method="reward_model(half=second)", operation="train")
    assert (judge.coordinates["precision"], judge.seed, judge.input) == ("fp32", 0, None)
    scores = steps(plan, operation="eval")
    assert len(scores) == 12 and {step.others for step in scores} == {(("judge", judge.id),)}
    assert {step.coordinates["task"] for step in scores} == {"judged_generation"}, "the default is not written out"
    assert not judge.cells, "what the judge costs is no method's"
    rewards = steps(plan, stage="reward_model", operation="train")
    assert len(rewards) == 4 and judge not in rewards


def test_a_judge_of_its_own_is_another_step(planned):
    texts = ["judged_generation", "judged_generation(judge=(sft > reward_model(steps=90, half=second)))"]
    plans = [planned(f"method: sft\ntasks: '{text}'\nbudget: {{steps: 60}}\n") for text in texts]
    assert len({only(plan, operation="eval").id for plan in plans}) == 2
    judge = only(plans[1], technique="reward_model")
    assert judge.coordinates["method"] == "sft > reward_model(steps=90, half=second)" and judge.budget.steps == 90
    assert only(plans[1], operation="eval").coordinates["task"] == texts[1]
    none = planned("method: sft\ntasks: judged_generation(judge=null)\nbudget: {steps: 60}\n")
    assert only(none, operation="eval").others == ()


def test_a_judge_that_cannot_be_made_is_why_the_task_is_skipped(planned):
    plan = planned("method: sft\ntasks: 'judged_generation(judge=(ppo))'\nbudget: {steps: 60}\n")
    assert only(plan, operation="eval").reason == (
        "ppo needs the part 'reward', which neither the model nor an earlier stage gives"
    )


def test_a_judge_never_learns_from_the_methods_pairs(planned):
    def reason(method, task="judged_generation"):
        plan = planned(f"method: '{method}'\ntasks: '{task}'\nbudget: {{steps: 60}}\n")
        return only(plan, operation="eval").reason

    for method in ("dpo(half=second)", "dpo(half=all)", "sft(view=pairs, half=all)", "reward_model(half=second) > ppo",
                   "sft > ppo(reward=(reward_model(half=second)))"):  # fmt: skip
        assert str(reason(method)).startswith("the judge must not learn from the method's pairs"), method
    assert reason("sft(half=all)") is None, "instructions are no pairs"
    assert reason("sft > dpo") is None and reason("dpo(half=all)", "judged_generation(judge=null)") is None
    assert reason("dpo(half=second)", "judged_generation(judge=(reward_model))") is None


def test_ppo_needs_a_reward_model_of_its_chain_or_a_given_one(planned):
    for method, reason in (
        ("sft > ppo", "ppo needs the part 'reward', which neither the model nor an earlier stage gives"),
        ("sft > ppo(reward=(reward_model))", None), ("sft > reward_model > ppo", None),
    ):  # fmt: skip
        plan = planned(f"method: '{method}'\ntasks: preference\nbudget: {{steps: 60}}\n")
        assert only(plan, technique="ppo", operation="train").reason == reason
    shared = planned('''method: ["sft > dpo", "sft > reward_model > ppo"]\ntasks: preference\nbudget: {steps: 60}\n''')
    assert len(steps(shared, technique="sft", operation="train")) == 1


def test_what_is_done_is_not_planned_again(planned):
    first = planned(GRID)
    done = {step.id for step in first.steps}
    assert planned(GRID, done=lambda step: step.id in done).counts()["done"] == len(done)


def test_what_others_still_need_runs_again_where_it_is_gone(planned):
    first = planned("method: lora > int8\ntasks: choice\nbudget: {steps: 6}\n")
    train, compress, scored = first.steps

    def states(done, kept):
        plan = planned(
            "method: lora > int8\ntasks: choice\nbudget: {steps: 6}\n",
            done=lambda step: step.id in done, kept=lambda step: step.id in kept,
        )  # fmt: skip
        return [step.state for step in plan.steps]

    everything = {train.id, compress.id, scored.id}
    assert states(everything, set()) == ["done", "done", "done"]
    assert states({train.id, compress.id}, {compress.id}) == ["done", "done", "runnable"]
    assert states({train.id, compress.id}, {train.id}) == ["done", "runnable", "runnable"]
    assert states({train.id, compress.id}, set()) == ["runnable", "runnable", "runnable"]


def test_the_plan_is_plain_json(planned):
    plan = planned(GRID)
    document = json.loads(json.dumps(plan.to_dict()))
    assert document["format"] == 1 and document["counts"]["cells"] == len(document["cells"])
    ids = {step["id"] for step in document["steps"]}
    assert all(set(cell["steps"]) <= ids for cell in document["cells"])
    assert document["cells"][0]["id"] == plan.cells[0].id


INTERLEAVED = """
interleave: true
seed: [0, 1, 2, 3, 4, 5]
method: [full_finetune, lora, "lora > int8", qlora]
tasks: perplexity
budget: {steps: 60}
"""


def test_interleaved_cells_run_seed_after_seed_in_an_order_of_their_own(planned):
    plan = planned(INTERLEAVED)
    plain = planned(INTERLEAVED.replace("interleave: true\n", ""))
    assert {step.id for step in plan.steps} == {step.id for step in plain.steps}, "the order is no part of a step"
    assert [cell.method for cell in plan.cells] == [cell.method for cell in plain.cells]
    seen = set()
    for step in plan.steps:
        assert set(step.needs) <= seen
        seen.add(step.id)
    trained = [(step.seed, step.coordinates["method"]) for step in plan.steps if step.operation == "train"]
    assert [seed for seed, _ in trained] == sorted(seed for seed, _ in trained)
    orders = {tuple(method for seed, method in trained if seed == wanted) for wanted in range(6)}
    assert len(orders) > 2, "each seed has its own order"
    assert [step.id for step in planned(INTERLEAVED).steps] == [step.id for step in plan.steps], "the same every time"
