"""Perplexity of the embedded model against a plain loop over transformers, and against llama.cpp used by hand."""

from __future__ import annotations

import json
import math
import subprocess

import pytest
from crosschecks import plain_scores
from crosschecks.trainings import EMBEDDED, by_suite, texts
from transformers import AutoTokenizer

from harness import environments
from harness.contract import Checkpoint, NoParams
from harness.models.causal import open_scorer
from harness.tasks.perplexity import Perplexity

WINDOWS, LENGTH = 12, 200


class Modules:
    """Source text that every machine has."""

    name = fingerprint = "modules"

    def view(self, name, split):
        return texts()


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(EMBEDDED)


@pytest.fixture(scope="module")
def windows(tokenizer):
    return plain_scores.windows_of(tokenizer, texts(), LENGTH, WINDOWS)


@pytest.fixture(scope="module")
def plain(windows):
    return plain_scores.by_transformers(EMBEDDED, windows)


@pytest.fixture(scope="module")
def scored(make_job):
    """What the task says of the model as it ships."""
    checkpoint = Checkpoint("causal", {"model": EMBEDDED, "tokenizer": EMBEDDED})
    job = make_job(checkpoint, data=Modules())
    task = Perplexity(Perplexity.Params(windows=WINDOWS, length=LENGTH))
    task.score(open_scorer(make_job(checkpoint, params=NoParams())), job)
    return job.meter


def test_every_window_has_the_loss_of_a_plain_loop(scored, plain):
    assert scored.scored["perplexity"]["nll"] == pytest.approx(plain, rel=1e-5)


def test_perplexity_is_its_mean(scored, plain, windows):
    targets = sum(len(window) - 1 for window in windows)
    assert sum(scored.scored["perplexity"]["tokens"]) == targets
    assert scored.metrics["loss"] == pytest.approx(sum(plain) / targets, rel=1e-5)
    assert scored.metrics["perplexity"] == pytest.approx(math.exp(sum(plain) / targets), rel=1e-5)


def test_bits_per_byte_are_over_the_bytes_of_the_scored_tokens(scored, plain, windows, tokenizer):
    """Without a window's first token the text of the rest, as the tokenizer gives it back, has so many bytes."""
    size = sum(len(tokenizer.decode(window[1:]).encode()) for window in windows)
    assert scored.metrics["bits_per_byte"] == pytest.approx(sum(plain) / math.log(2) / size, rel=1e-5)


@pytest.fixture(scope="module")
def gguf(tmp_path_factory):
    """The record of the task on an F16 file that the harness made, and the file."""
    if reason := environments.lacking("gguf"):
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("gguf") / "suite"
    found = by_suite(folder, "gguf(type=F16)", f"perplexity(windows={WINDOWS}, length={LENGTH})", "eval")
    (record,) = (one for one in found if one["coordinates"]["technique"] == "gguf")
    (file,) = folder.glob("results/.cache/checkpoints/*/model/*.gguf")
    return record, file


def in_llama_cpp(file, windows, folder):
    """Losses of the windows in an interpreter that has llama.cpp."""
    (folder / "windows.json").write_text(json.dumps(windows))
    python = environments.folder("gguf") / "bin" / "python"
    command = [str(python), plain_scores.__file__, "--llama-cpp", str(file), str(folder / "windows.json")]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=240).stdout)


@pytest.mark.slow
def test_llama_cpp_used_by_hand_gives_the_same_losses(gguf, windows, plain, tmp_path):
    """As close as digits go to what the task says of the same file, to 0.1 % of transformers, which has other bits."""
    record, file = gguf
    losses = in_llama_cpp(file, windows, tmp_path)
    assert record["items"]["perplexity"]["nll"] == pytest.approx(losses, rel=1e-4)
    assert record["metrics"]["loss"] == pytest.approx(sum(losses) / sum(len(one) - 1 for one in windows), rel=1e-4)
    assert sum(losses) == pytest.approx(sum(plain), rel=1e-3)
