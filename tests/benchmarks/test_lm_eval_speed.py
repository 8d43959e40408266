"""Downstream tasks: scoring against a plain hand-written script, a suite against one lm-eval process per evaluation.

Goals: scoring within 5 % of the script, and a suite at least five times as fast as the processes. On 1000 BLiMP pairs
and stories260K where the folder of shared files lies beside the checkout, else on source lines and the embedded
model. Ratios of processor time, so that neighbours do not decide; wall time is printed beside it.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import statistics
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.contract import Hardware
from harness.models.causal import TransformersScorer
from harness.models.loading import load_model, load_tokenizer
from harness.models.sources import open_folder

pytest.importorskip("lm_eval", reason="pip install lm-eval")

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
PAIRS, ROUNDS, BATCH, PARTS = 1000, 5, 64, 3
PRECISIONS = {"fp32": "float32", "bf16": "bfloat16"}
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "TOKENIZERS_PARALLELISM": "false",
              "HF_HUB_OFFLINE": "1"}  # fmt: skip
TASK = """
task: pairs{part}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder}pairs{part}.jsonl}}}}
test_split: test
output_type: multiple_choice
doc_to_text: ""
doc_to_choice: "{{{{[good, bad]}}}}"
doc_to_target: 0
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
"""
SUITE = """
name: downstream
question: What does a suite of downstream tasks cost?
model: {model}
precision: [{precisions}]
hardware: {{device: cpu, threads: 1}}
method: base
tasks: [{tasks}]
"""


def model_folder() -> Path:
    shared = SHARED / "models" / "stories260K"
    return shared if shared.is_dir() else ROOT / "harness" / "models" / "embedded"


def sentences() -> list[tuple[str, str]]:
    """Pairs that differ in little."""
    archive = SHARED / "data" / "blimp" / "BLiMP.zip"
    if not archive.is_file():
        lines = [line.strip() for name in ("argparse", "typing", "inspect", "ast", "csv", "enum", "difflib")
                 for line in Path(str(importlib.import_module(name).__file__)).read_text().splitlines()]  # fmt: skip
        kept = [line for line in lines if len(line.split()) > 4][:PAIRS]
        return [(line, " ".join([*line.split()[:-2], *line.split()[:-3:-1]])) for line in kept]
    with zipfile.ZipFile(archive) as opened:
        names = sorted(name for name in opened.namelist() if name.startswith("data/") and name.endswith(".jsonl"))
        rows = [json.loads(line) for name in names for line in opened.read(name).decode().splitlines()[:15]]
    return [(row["sentence_good"], row["sentence_bad"]) for row in rows[:PAIRS]]


def plain(model: Any, tokenizer: Any, pairs: list[tuple[str, str]]) -> list[float]:
    """The script that one would write: sorted by length, batches of 64, nothing shared."""
    import torch

    texts = [tokenizer(text)["input_ids"] for pair in pairs for text in pair]
    order = sorted(range(len(texts)), key=lambda place: -len(texts[place]))
    found = [0.0] * len(texts)
    for start in range(0, len(order), BATCH):
        places = order[start : start + BATCH]
        ids = torch.zeros(len(places), len(texts[places[0]]), dtype=torch.long)
        for row, place in enumerate(places):
            ids[row, : len(texts[place])] = torch.tensor(texts[place])
        with torch.no_grad():
            scores = torch.log_softmax(model(input_ids=ids).logits[:, :-1], -1).gather(2, ids[:, 1:, None])[..., 0]
        for row, place in enumerate(places):
            found[place] = float(scores[row, : len(texts[place]) - 1].sum())
    return found


def test_scoring_costs_what_a_plain_script_does(benchmark: Any) -> None:
    import torch
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    from harness.models.answering import ScorerModel

    torch.set_num_threads(1)
    checkpoint = open_folder(model_folder())
    model, tokenizer = load_model(checkpoint, "fp32", Hardware(threads=1)).eval(), load_tokenizer(checkpoint)
    pairs = sentences()
    asked = [Instance("loglikelihood", {}, ("", text), 0) for pair in pairs for text in pair]
    ours = ScorerModel(TransformersScorer(model, tokenizer, "fp32"), "lm_eval", " ")
    theirs = HFLM(pretrained=model, tokenizer=tokenizer, backend="causal", batch_size=BATCH)
    ways: dict[str, Callable[[], Any]] = {
        "plain": lambda: plain(model, tokenizer, pairs),
        "ours": lambda: ours.loglikelihood(asked),
        "lm_eval": lambda: theirs.loglikelihood(asked, disable_tqdm=True),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    found: dict[str, Any] = {}

    def all_ways() -> None:
        for name, way in ways.items():
            began = time.process_time()
            found[name] = way()
            seconds[name].append(time.process_time() - began)

    benchmark.pedantic(all_ways, rounds=ROUNDS, iterations=1, warmup_rounds=1)
    ratios = {name: statistics.median(a / b for a, b in zip(seconds[name], seconds["plain"], strict=True))
              for name in ("ours", "lm_eval")}  # fmt: skip
    benchmark.extra_info.update(ratios)
    print({name: round(min(values), 3) for name, values in seconds.items()}, ratios)
    mine, other = ([one for one, _ in found[name]] for name in ("ours", "lm_eval"))
    assert mine == pytest.approx(other, abs=1e-3)
    assert ratios["ours"] < 1.05


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Path]:
    """The pairs in parts, a task file for each, theirs with whole paths, and a suite of all."""
    pairs, size = sentences(), PAIRS // PARTS
    for part in range(PARTS):
        rows = [{"good": good, "bad": bad} for good, bad in pairs[part * size : (part + 1) * size]]
        (tmp_path / f"pairs{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (tmp_path / f"task{part}.yaml").write_text(TASK.format(part=part, folder=""))
        (tmp_path / f"theirs{part}.yaml").write_text(TASK.format(part=part, folder=f"{tmp_path}/"))
    tasks = ", ".join(f'"lm_eval(task=./task{part}.yaml)"' for part in range(PARTS))
    (tmp_path / "suite.yaml").write_text(
        SUITE.format(model=model_folder(), tasks=tasks, precisions=", ".join(PRECISIONS))
    )
    yield tmp_path


def timed(command: list[str], folder: Path) -> tuple[float, float]:
    """Processor and wall seconds of a command."""
    variables = {**os.environ, **ONE_THREAD, "HF_HOME": str(folder / "hf"), "HARNESS_REMEASURE": "0"}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


@pytest.mark.timeout(1800)
def test_a_suite_costs_a_fifth_of_one_process_for_each_evaluation(files: Path, benchmark: Any) -> None:
    results = files / "results"
    suite = [sys.executable, "-m", "harness", "run", "suite.yaml", "--results", str(results), "--no-report"]
    theirs = [0.0, 0.0]
    for precision in PRECISIONS.values():
        for part in range(PARTS):
            arguments = f"pretrained={model_folder()},dtype={precision}"
            command = [sys.executable, "-m", "lm_eval", "run", "--model", "hf", "--model_args", arguments, "--tasks",
                       str(files / f"theirs{part}.yaml"), "--batch_size", str(BATCH), "--device", "cpu"]  # fmt: skip
            theirs = [a + b for a, b in zip(theirs, timed(command, files), strict=True)]
    ours = benchmark.pedantic(timed, args=(suite, files), rounds=1, iterations=1)
    records = [json.loads(file.read_text()) for file in results.rglob("*.*.json") if "downstream" in file.parts]
    assert sum(record.get("operation") == "eval" and record["status"] == "done" for record in records) == 2 * PARTS
    ratios = [a / b for a, b in zip(theirs, ours, strict=True)]
    benchmark.extra_info.update(processor=ratios[0], wall=ratios[1])
    print(f"{2 * PARTS} evaluations, processor and wall seconds: processes {theirs}, suite {ours}, ratios {ratios}")
    assert ratios[0] > 5


if __name__ == "__main__":
    pytest.main([__file__, "-s"])
