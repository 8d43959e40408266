"""``lm_eval(chat_template=auto)``: prompts and answers are those of lm-eval's own ``hf`` model with its option."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from chat_models import save_chat_model

from harness.contract import Checkpoint, NoParams
from harness.models.causal import open_scorer
from harness.models.sources import open_folder
from harness.tasks.lm_eval import LmEval

pytest.importorskip("lm_eval", reason="pip install lm-eval")

ROWS = [{"q": f"What is {number} + 1?", "right": str(number + 1), "wrong": ["no", "a lot"]} for number in range(12)]
DATA = (
    "dataset_path: json\ndataset_kwargs: {{data_files: {{test: {rows}}}}}\ntest_split: test\n"
    'fewshot_split: test\nnum_fewshot: {shots}\ndescription: "Answer in one word."\ndoc_to_text: "{{{{q}}}}"\n'
)
CHOICE = DATA + (
    'task: choice\noutput_type: multiple_choice\ndoc_to_choice: "{{{{[right] + wrong}}}}"\ndoc_to_target: 0\n'
    "metric_list: [{{metric: acc}}, {{metric: acc_norm}}]\n"
)
GENERATION = DATA + (
    'task: generation\noutput_type: generate_until\ndoc_to_target: "{{{{right}}}}"\n'
    'generation_kwargs: {{until: ["?"], max_gen_toks: 12}}\nmetric_list: [{{metric: exact_match}}]\n'
)
KINDS = {"choice": (CHOICE, "loglikelihood"), "generation": (GENERATION, "generate_until")}


@pytest.fixture(scope="module", params=["chatml", "llama-3", "gemma"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return open_folder(save_chat_model(tmp_path_factory.mktemp("chat") / request.param, request.param))


@pytest.fixture
def ask(make_job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Score a task by ours, and by lm-eval's own command's function: requests with their answers, and the meter."""
    import datasets

    from harness.models.answering import ScorerModel

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))

    def perform(checkpoint: Checkpoint, kind: str, shots: int, **params: Any) -> Any:
        from lm_eval import simple_evaluate
        from lm_eval.models.huggingface import HFLM
        from lm_eval.tasks import TaskManager

        text, request = KINDS[kind]
        (tmp_path / "task.yaml").write_text(text.format(rows=tmp_path / "rows.jsonl", shots=shots))
        (tmp_path / "ours.yaml").write_text(text.format(rows="rows.jsonl", shots=shots))
        seen: list[Any] = []
        plain = getattr(ScorerModel, request)

        def watched(self: Any, requests: Any, disable_tqdm: bool = False) -> Any:
            found = plain(self, requests)
            seen.extend(zip([one.args for one in requests], found, strict=True))
            return found

        scorer = open_scorer(make_job(checkpoint, params=NoParams()))
        task = LmEval(LmEval.Params(task="./ours.yaml", **params))
        job = make_job(checkpoint, params=task.params, named=task.named(tmp_path))
        with monkeypatch.context() as patched:
            patched.setattr(ScorerModel, request, watched)
            task.score(scorer, job)
        model = HFLM(pretrained=scorer.model, tokenizer=scorer.tokenizer, backend="causal", batch_size=4)
        found = simple_evaluate(
            model, tasks=[str(tmp_path / "task.yaml")], task_manager=TaskManager(include_defaults=False),
            bootstrap_iters=0, log_samples=True, apply_chat_template=bool(params and scorer.tokenizer.chat_template),
        )  # fmt: skip
        samples = sorted(found["samples"][kind], key=lambda one: one["doc_id"])
        theirs = [
            (tuple(arguments), answers[0]) for sample in samples
            for arguments, answers in zip(sample["arguments"], sample["resps"], strict=True)
        ]  # fmt: skip
        return SimpleNamespace(ours=seen, theirs=theirs, meter=job.meter, tokenizer=scorer.tokenizer)

    return perform


@pytest.mark.parametrize("shots", [0, 2])
def test_choices_are_lm_evals_own(ask: Any, checkpoint: Checkpoint, shots: int) -> None:
    found = ask(checkpoint, "choice", shots, chat_template="auto")
    assert [tuple(asked) for asked, _ in found.ours] == [tuple(asked) for asked, _ in found.theirs]
    assert "assistant" in found.ours[0][0][0]
    assert [one for _, (one, _) in found.ours] == pytest.approx([float(one[0]) for _, one in found.theirs], abs=1e-4)
    assert [greedy for _, (_, greedy) in found.ours] == [one[1] for _, one in found.theirs]


def test_answers_are_lm_evals_own(ask: Any, checkpoint: Checkpoint) -> None:
    found = ask(checkpoint, "generation", 1, chat_template="auto")
    assert [asked[0] for asked, _ in found.ours] == [asked[0] for asked, _ in found.theirs]
    assert [said for _, said in found.ours] == [said for _, said in found.theirs]
    told = found.meter.observed["lm_eval"]["chat_template"]
    refuses = "System role" in found.tokenizer.chat_template
    assert told["systems_left_out"] == (len(ROWS) if refuses else 0) and len(told["template"]) == 16


def test_a_tokenizer_without_a_template_and_none_are_asked_plainly(ask: Any, llama: Checkpoint) -> None:
    auto = ask(llama, "choice", 0, chat_template="auto")
    assert auto.meter.observed["lm_eval"]["chat_template"] == "the tokenizer has none"
    plain = ask(llama, "choice", 0)
    assert auto.ours == plain.ours and "chat_template" not in plain.meter.observed["lm_eval"]
    assert [asked[0] for asked, _ in plain.ours] == [asked[0] for asked, _ in plain.theirs]


def test_the_template_is_part_of_a_step_and_its_absence_is_not() -> None:
    from harness.contract import identifying

    assert "chat_template" not in identifying(LmEval.Params(task="x"))
    assert identifying(LmEval.Params(task="x", chat_template="auto"))["chat_template"] == "auto"
