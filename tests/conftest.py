"""What tests of techniques and tasks share: generated data, a meter that remembers, jobs, a tiny trained model.

Everything here runs through the real adapters, at sizes at which a training of a few steps takes about a second.
"""

from __future__ import annotations

import os

# Before torch is imported anywhere: one thread that does not spin, and no look at the hub.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Tests run beside other work, and none of them is about times.
os.environ.setdefault("HARNESS_REMEASURE", "0")

import contextlib
import gc
import importlib.util
import itertools
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import hypothesis
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from turns import Turns

from harness.catalogue import adapter_class, plug_in
from harness.contract import Adapter, Budget, Checkpoint, Hardware, Job, TrainingSetup
from harness.errors import DataError
from harness.metrics import metric as declared
from harness.parameters import build_params
from harness.plan.expression import parse_call

ROOT = Path(__file__).resolve().parents[1]
TINY = {"hidden_size": 64, "intermediate_size": 128, "layers": 2, "heads": 4, "kv_heads": 2, "context": 128}
VOCABULARY = 300


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--plugin", action="append", default=[], help="a technique or task to test, as for `harness`")


def pytest_configure(config: pytest.Config) -> None:
    # A run that a test started has that test's turn.
    if config.pluginmanager.hasplugin("cacheprovider") and "PYTEST_CURRENT_TEST" not in os.environ:
        config.pluginmanager.register(Turns(config.cache.mkdir("turns")))
    hypothesis.settings.register_profile("beside others", deadline=None)
    hypothesis.settings.load_profile("beside others")
    for text in config.getoption("--plugin"):
        plug_in(text)


class TinyData:
    """Generated functions: their text, their bodies by description, and which of four bodies belongs to one."""

    name = "tiny"
    fingerprint = "tiny-1"

    def __init__(self, train: int = 120) -> None:
        self._views = {
            split: _generated(random.Random(split), count, split)
            for split, count in (("train", train), ("validation", 12), ("test", 12))
        }

    def views(self) -> tuple[str, ...]:
        return ("text", "instructions", "choices", "pairs")

    def view(self, name: str, split: str) -> list[Any]:
        if name not in self.views():
            raise DataError(f"data 'tiny' has no view '{name}'")
        return list(self._views[split][name])


def _generated(chance: random.Random, count: int, split: str) -> dict[str, list[Any]]:
    functions = [_function(chance) for _ in range(count)]
    items = [{"prompt": f'def {name}(a):\n    """{words}"""\n', "answer": body} for name, words, body in functions]
    choices = []
    for item in items:
        label = chance.randrange(4)
        wrong = [other["answer"] for other in chance.sample(items, 5) if other is not item]
        choices.append({"prompt": item["prompt"], "options": [*wrong[:label], item["answer"], *wrong[label:3]]})
        choices[-1]["label"] = label
    texts = ["".join(item["prompt"] + item["answer"] for item in chance.sample(items, 5)) for _ in range(count // 2)]
    pairs = [
        {"prompt": f"# {split}\n" + item["prompt"], "chosen": item["answer"], "rejected": wrong}
        for item, each in zip(items, choices, strict=True)
        for wrong in each["options"][:1] + each["options"][-1:]
        if wrong != item["answer"]
    ]
    return {"text": texts, "instructions": items, "choices": choices, "pairs": pairs}


def _function(chance: random.Random) -> tuple[str, str, str]:
    """Name, description and body; bodies have one to five lines, so that answers are of unequal length."""
    verb, number = chance.choice(["add", "scale", "shift", "raise"]), chance.randrange(10)
    sign = {"add": "+", "scale": "*", "shift": "-", "raise": "**"}[verb]
    lines = [f"    a = a {sign} {number}\n"] * chance.randrange(1, 6)
    return f"{verb}_{number}", f"{verb} {number} {len(lines)} times", "".join(lines) + "    return a\n"


@pytest.fixture(scope="module", autouse=True)
def what_is_there_stays() -> None:
    """As the server does before it forks: each training collects garbage, which is slow among all that is imported."""
    gc.collect()
    gc.freeze()


@dataclass
class RecordingMeter:
    """Implements ``contract.Meter`` and remembers; refuses metrics that are not declared."""

    spans: list[str] = field(default_factory=list)
    open_spans: list[str] = field(default_factory=list)
    steps: list[dict[str, int]] = field(default_factory=list)
    losses: dict[int, float] = field(default_factory=dict)
    points: list[dict[str, float]] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    samples: dict[str, list[float]] = field(default_factory=dict)
    scored: dict[str, dict[str, list[Any]]] = field(default_factory=dict)
    observed: dict[str, Any] = field(default_factory=dict)
    flags: list[str] = field(default_factory=list)
    step_open: bool = False

    @contextlib.contextmanager
    def span(self, name: str) -> Iterator[None]:
        self.spans.append(name)
        self.open_spans.append(name)
        try:
            yield
        finally:
            assert self.open_spans.pop() == name

    def step_begin(self) -> None:
        self.step_open = True

    def step_end(self, *, tokens: int, nonpadding_tokens: int, loss_tokens: int) -> None:
        assert self.step_open, "a step was ended that had not begun"
        assert self.open_spans[-1] == "train", "a step was ended inside another span"
        self.step_open = False
        self.steps.append({"tokens": tokens, "nonpadding_tokens": nonpadding_tokens, "loss_tokens": loss_tokens})

    def step_cancel(self) -> None:
        self.step_open = False

    def step_loss(self, step: int, loss: float) -> None:
        self.losses[step] = loss

    def curve(self, step: int, **values: float) -> None:
        assert all(declared(name) for name in values)
        self.points.append({"step": step, **values})

    def metric(self, name: str, value: float) -> None:
        assert declared(name)
        self.metrics[name] = value

    def sample(self, name: str, values: Sequence[float]) -> None:
        assert declared(name)
        self.samples.setdefault(name, []).extend(values)

    def items(self, name: str, columns: Mapping[str, Sequence[Any]]) -> None:
        assert len({len(column) for column in columns.values()}) == 1
        self.scored[name] = {key: list(column) for key, column in columns.items()}

    def observe(self, name: str, value: Any) -> None:
        self.observed[name] = value

    def flag(self, text: str) -> None:
        self.flags.append(text)

    def training_begins(self, held_bytes: int) -> None:
        assert held_bytes > 0, "no tensor lay in memory when a training began"

    def progress(self) -> None:
        pass


@dataclass
class Ran:
    """What an operation left behind."""

    checkpoint: Checkpoint
    meter: Any
    job: Job
    adapter: Adapter

    @property
    def losses(self) -> list[float]:
        """Training losses in the order of the steps."""
        return [self.meter.losses[step] for step in sorted(self.meter.losses)]


@pytest.fixture(scope="session")
def tiny_data() -> TinyData:
    return TinyData()


@pytest.fixture(scope="session")
def few_data() -> TinyData:
    """Eight training items: at a batch of eight every step sees all of them, so that losses compare step by step."""
    return TinyData(train=8)


@pytest.fixture
def meter() -> RecordingMeter:
    return RecordingMeter()


@pytest.fixture(scope="session")
def make_job(tiny_data: TinyData, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Job]:
    """Make a job: ``make_job(checkpoint, params=..., steps=4, modifiers=["a(x=1)"], **fields of Job)``."""

    def make(
        checkpoint: Checkpoint, *, precision: str = "fp32", seed: int = 0, modifiers: Sequence[str] = (),
        steps: int = 4, batch_size: int = 4, micro_batch_size: int | None = None, sequence_length: int = 64,
        evaluations: int = 0, **fields: Any,
    ) -> Job:  # fmt: skip
        def modify(setup: TrainingSetup) -> TrainingSetup:
            for text in modifiers:
                call = parse_call(text)
                kind: Any = adapter_class(call.name)
                setup = kind(build_params(kind.Params, dict(call.params), owner=call.name)).modify(setup)
            return setup

        given: dict[str, Any] = {
            "params": None, "data": tiny_data, "meter": RecordingMeter(), "output": tmp_path_factory.mktemp("output"),
            "hardware": Hardware(threads=1),
        }  # fmt: skip
        budget = Budget(
            steps=steps, batch_size=batch_size, micro_batch_size=micro_batch_size, sequence_length=sequence_length,
            evaluations=evaluations,
        )  # fmt: skip
        return Job(
            checkpoint=checkpoint, precision=precision, seed=seed, budget=budget, modify=modify, **(given | fields)
        )

    return make


@pytest.fixture(scope="session")
def run(make_job: Callable[..., Job]) -> Callable[..., Ran]:
    """Run one operation for real: ``run("lora", checkpoint, rank=4)``; options of ``make_job`` go in ``job={...}``."""

    def perform(name: str, checkpoint: Checkpoint, *, job: Mapping[str, Any] | None = None, **params: Any) -> Ran:
        kind = adapter_class(name)
        adapter = kind(build_params(kind.Params, params, owner=name))
        asked = make_job(checkpoint, params=adapter.params, **(job or {}))
        made = getattr(adapter, kind.operations()[0])(asked)
        return Ran(made, asked.meter, asked, adapter)

    return perform


@pytest.fixture(scope="session")
def tokenizer_run(run: Callable[..., Ran]) -> Ran:
    return run("bpe", Checkpoint(kind="none", parts={}), vocab_size=VOCABULARY)


@pytest.fixture(scope="session")
def architecture(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Checkpoint]:
    """A blank checkpoint of a tiny architecture: ``architecture("gpt2", layers=1)``."""
    from harness.models.sources import open_model

    cache = tmp_path_factory.mktemp("cache")
    return lambda name="llama", **sizes: open_model(
        {"kind": "architecture", "architecture": name, **TINY, **sizes}, cache=cache
    )


@pytest.fixture(scope="session")
def pretrained(
    run: Callable[..., Ran], tokenizer_run: Ran, architecture: Callable[..., Checkpoint]
) -> Callable[..., Ran]:
    """Train a tiny model from nothing: ``pretrained("bert", "mlm", seed=1, learning_rate=...)``."""

    def make(
        name: str = "llama", technique: str = "clm", *, job: Mapping[str, Any] | None = None, **params: Any
    ) -> Ran:
        blank = architecture(name)
        parts = {**blank.parts, **tokenizer_run.checkpoint.parts}
        return run(technique, Checkpoint(kind="blank", parts=parts), job=job, **params)

    return make


@pytest.fixture(scope="session")
def llama_run(pretrained: Callable[..., Ran]) -> Ran:
    return pretrained(job={"steps": 12, "batch_size": 8, "evaluations": 2})


@pytest.fixture(scope="session")
def llama(llama_run: Ran) -> Checkpoint:
    """A tiny Llama with a byte-level BPE tokenizer, trained for a few steps."""
    return given(llama_run.checkpoint)


@pytest.fixture(scope="session")
def gpt2(pretrained: Callable[..., Ran]) -> Checkpoint:
    return given(pretrained("gpt2", job={"steps": 3}).checkpoint)


@pytest.fixture(scope="session")
def bert_run(pretrained: Callable[..., Ran]) -> Ran:
    return pretrained("bert", "mlm", job={"steps": 20, "batch_size": 8, "evaluations": 2})


@pytest.fixture(scope="session")
def bert(bert_run: Ran) -> Checkpoint:
    """A tiny BERT over the same vocabulary with a mask token, trained for a few steps."""
    return given(bert_run.checkpoint)


@pytest.fixture(scope="session")
def t5_run(pretrained: Callable[..., Ran]) -> Ran:
    return pretrained("t5", "seq2seq", job={"steps": 20, "batch_size": 8, "evaluations": 2})


@pytest.fixture(scope="session")
def t5(t5_run: Ran) -> Checkpoint:
    """A tiny T5 over the same vocabulary with sentinels, trained for a few steps on span corruption."""
    return given(t5_run.checkpoint)


@pytest.fixture(scope="session")
def bart_run(pretrained: Callable[..., Ran]) -> Ran:
    job = {"steps": 20, "batch_size": 8, "evaluations": 2}
    return pretrained("bart", "seq2seq", objective="text_infilling", job=job)


@pytest.fixture(scope="session")
def bart(bart_run: Ran) -> Checkpoint:
    """A tiny BART over the same vocabulary with a mask token, trained for a few steps on text infilling."""
    return given(bart_run.checkpoint)


def given(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint as the next stage is given it: nothing in it is its own."""
    return Checkpoint(kind=checkpoint.kind, parts=checkpoint.parts, opened_by=checkpoint.opened_by)


@pytest.fixture(scope="session")
def as_input() -> Callable[[Checkpoint], Checkpoint]:
    return given


@pytest.fixture(scope="session")
def open_live() -> Callable[..., Any]:
    """Open a checkpoint as a live model, as an evaluation does."""
    from harness.models.loading import load_model

    def open_it(checkpoint: Checkpoint, precision: str = "fp32") -> Any:
        return load_model(checkpoint, precision, Hardware(threads=1)).eval()

    return open_it


@pytest.fixture(scope="session")
def logits(tokenizer_run: Ran) -> Callable[[Any], Any]:
    """Logits of a live model on fixed ids, float32 [2, 24, vocabulary]."""
    import torch

    ids = torch.tensor(list(itertools.islice(itertools.cycle(range(2, 200, 7)), 48))).reshape(2, 24)

    def compute(model: Any) -> Any:
        with torch.no_grad():
            return model(input_ids=ids).logits.float()

    return compute


@pytest.fixture(scope="session")
def stories() -> Checkpoint:
    """The real model stories260K, where the folder of shared files lies beside the checkout."""
    from harness.models.sources import open_folder

    folder = Path(__file__).parents[2] / "shared" / "models" / "stories260K"
    if not folder.is_dir():
        pytest.skip("shared/models/stories260K beside the checkout is not here")
    return open_folder(folder)


@pytest.fixture(scope="session")
def by_hand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Byte-level BPE: the 256 bytes, then ``ab``, `` ab`` and ``abab``; two special tokens in front."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    from harness.vocabularies.learning import SPECIAL

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*SPECIAL, *alphabet, "ab", "Ġab", "abab"]
    merges = [("a", "b"), ("Ġ", "ab"), ("ab", "ab")]
    tokenizer = Tokenizer(models.BPE({word: index for index, word in enumerate(words)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIAL))
    folder = tmp_path_factory.mktemp("by_hand")
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="session")
def shipped_suite(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The file of a shipped suite by name. One over local files is copied beside them, or skipped without them."""
    folder = tmp_path_factory.mktemp("checkout")

    def find(name: str) -> Path:
        file = ROOT / "suites" / f"{name}.yaml"
        if "../local/" not in file.read_text():
            return file
        copy = folder / "suites" / file.name
        if not copy.is_file():
            if "local/languages" in file.read_text():
                _language_files(folder / "local" / "languages")
            else:
                _model_files(folder / "local")
            if "local/real" in file.read_text():
                _real_files(folder / "local")
            if "local/preferences" in file.read_text():
                _preference_files(folder / "local")
            copy.parent.mkdir(exist_ok=True)
            shutil.copy(file, copy)
        return copy

    return find


def _model_files(out: Path) -> None:
    """A trained model beside the checkout."""
    model = ROOT.parent / "shared" / "models" / "stories260K"
    if not model.is_dir():
        pytest.skip("shared/models beside the checkout is not here")
    out.mkdir(exist_ok=True)
    if not (out / "model").exists():
        (out / "model").symlink_to(model)


def _preference_files(out: Path) -> None:
    """Preference pairs beside the checkout."""
    pairs = ROOT.parent / "shared" / "data" / "preferences" / "dpo_en_demo.json"
    if not pairs.is_file():
        pytest.skip("shared/data beside the checkout is not here")
    shutil.copy(pairs, out / "preferences.json")


def _real_files(out: Path) -> None:
    """What scripts/paragraphs.py makes of text that the model knows."""
    text = ROOT.parent / "shared" / "data" / "tinystories" / "tinystories.txt"
    if not text.is_file():
        pytest.skip("shared/data beside the checkout is not here")
    command = [sys.executable, ROOT / "scripts" / "paragraphs.py", "--text", text, "--out", out / "real"]
    subprocess.run(command, check=True, capture_output=True)


def _language_files(out: Path) -> None:
    """What scripts/language_data.py makes of the English and Turkish text beside the checkout."""
    data = ROOT.parent / "shared" / "data"
    if not data.is_dir():
        pytest.skip("shared/data beside the checkout is not here")
    english = [data / "wikitext-2" / "valid.txt", data / "wikitext-2" / "test.txt"]
    command = [
        sys.executable, ROOT / "scripts" / "language_data.py", "--source-text", *english,
        "--target-text", data / "turkish-news" / "train.jsonlines", "--out", out,
        "--source-sentences", data / "pud" / "en_pud-ud-test.conllu",
        "--target-sentences", data / "pud" / "tr_pud-ud-test.conllu",
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture(scope="session")
def synthetic() -> ModuleType:
    """The module that makes the records of a small suite."""
    source = Path(__file__).parent / "report" / "fixtures" / "synthetic.py"
    specification = importlib.util.spec_from_file_location("synthetic_suite", source)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module
