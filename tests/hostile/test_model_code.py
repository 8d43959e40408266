"""Models and data that bring code: a canary file says whether any of it ran."""

from __future__ import annotations

import json
import pickle
import shutil
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest

from harness.contract import Hardware
from harness.data.prepared import MANIFEST, PreparedDataset
from harness.errors import DataError, HarnessError, ModelError
from harness.models.sources import EMBEDDED, open_folder
from harness.plan.machine import Machine
from harness.plan.plan import plan
from harness.plan.suite import load_text

HERE = Machine(cores=2, cuda_devices=0)
CODE = "from pathlib import Path\nPath({canary!r}).write_text('ran')\nclass Own:\n    pass\n"


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


@pytest.fixture
def model(tmp_path: Path, canary: Path) -> Path:
    """The embedded model as somebody may hand it on: with code that transformers would run if it were allowed to."""
    folder = tmp_path / "model"
    shutil.copytree(EMBEDDED, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("modeling_own", "configuration_own", "tokenization_own", "conftest", "__init__", "sitecustomize"):
        (folder / f"{name}.py").write_text(CODE.format(canary=str(canary)))
    classes = dict.fromkeys(
        ("AutoModel", "AutoModelForCausalLM", "AutoModelForSequenceClassification"), "modeling_own.Own"
    )
    _change(
        folder / "config.json",
        auto_map={**classes, "AutoConfig": "configuration_own.Own"},
        custom_pipelines={"x": {"impl": "a.B"}},
    )
    _change(
        folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["tokenization_own.Own", "tokenization_own.Own"]}
    )
    return folder


def _change(file: Path, **entries: Any) -> None:
    found = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**found, **entries}))


def _suite(model: Path, **more: str) -> str:
    lines = {"model": str(model), "method": "base", "tasks": "perplexity", **more}
    return "".join(f"{key}: {value}\n" for key, value in lines.items())


def test_planning_runs_no_code_of_a_model(model: Path, canary: Path) -> None:
    made = plan(
        load_text(_suite(model, method="[base, int8, lora(learning_rate=0.1)]", budget="{steps: 1}")), machine=HERE
    )
    assert any(step.state == "runnable" for step in made.steps)
    assert made.doubts == {} or made.doubts
    assert not canary.exists()


@pytest.mark.slow  # torch and transformers are imported
def test_a_known_architecture_is_opened_without_the_code_beside_it(model: Path, canary: Path) -> None:
    from harness.models.loading import load_model, load_tokenizer

    checkpoint = open_folder(model)
    opened, tokenizer = load_model(checkpoint, "fp32", Hardware()), load_tokenizer(checkpoint)
    assert type(opened).__module__.startswith("transformers.") and type(tokenizer).__module__.startswith(
        "transformers."
    )
    assert not canary.exists()


@pytest.mark.slow  # torch and transformers are imported
def test_an_architecture_that_needs_its_code_is_refused_in_one_line(model: Path, canary: Path) -> None:
    from harness.models.loading import load_model

    _change(model / "config.json", model_type="own", architectures=["OwnForCausalLM"])
    with pytest.raises(ModelError, match="cannot load the model") as refused:
        load_model(open_folder(model), "fp32", Hardware())
    assert "\n" not in str(refused.value) and not canary.exists()


@pytest.mark.parametrize(
    "entry",
    [
        {"attn_implementation": "evil/kernel"},
        {"_attn_implementation": "evil/kernel:fn"},
        {"attn_implementation": {"": "evil/kernel"}},
        {"text_config": {"attn_implementation": "evil/kernel"}},
        {"sub": [{"a": {"_attn_implementation_internal": "a/b"}}]},
    ],
)
def test_a_kernel_of_a_repository_is_refused_at_any_depth(model: Path, entry: dict[str, Any]) -> None:
    _change(model / "config.json", **entry)
    with pytest.raises(HarnessError, match="whose code is not run"):
        load_text(_suite(model))
    with pytest.raises(ModelError, match="whose code is not run"):
        open_folder(model)


@pytest.mark.parametrize(
    "lines",
    [
        "trust_remote_code: true\n",
        "models: {m: {path: ./x, trust_remote_code: true}}\n",
        "models: {m: {hub: a/b, code_revision: x}}\n",
        "data_sets: {d: {hub: a/b, trust_remote_code: true}}\n",
        "params: {lora: {trust_remote_code: true}}\n",
        "budget: {steps: 1, trust_remote_code: true}\n",
        "hardware: {device: cpu, trust_remote_code: true}\n",
        "limits: {trust_remote_code: true}\n",
        "sweeps: [{trust_remote_code: true}]\n",
    ],
)
def test_no_key_of_a_suite_trusts_code(lines: str) -> None:
    with pytest.raises(HarnessError, match=r"unknown key|no parameter"):
        load_text(
            f"method: lora(learning_rate=0.1)\ntasks: perplexity\nbudget: {{steps: 1}}\n{lines}"
            if not lines.startswith("budget")
            else f"method: base\ntasks: perplexity\n{lines}"
        )


def test_no_technique_and_no_task_has_such_a_parameter() -> None:
    from harness import catalogue
    from harness.cli.listing import describe_all

    catalogue.forget()
    names = {parameter["name"] for group in describe_all().values() for one in group for parameter in one["parameters"]}
    assert not {name for name in names if "trust" in name or "remote" in name or name.endswith("_kwargs")}
    assert not {"kwargs", "options", "arguments", "config"} & names, "free arguments would reach a library"


class _Bomb:
    def __init__(self, canary: Path) -> None:
        self.canary = str(canary)

    def __reduce__(self) -> Any:
        return (open, (self.canary, "w"))


@pytest.mark.slow  # torch and transformers are imported
def test_pickled_weights_are_not_unpickled(model: Path, canary: Path) -> None:
    from harness.models.loading import load_model

    (model / "model.safetensors").unlink()
    with zipfile.ZipFile(model / "pytorch_model.bin", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(_Bomb(canary)))
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")
    with pytest.raises(ModelError):
        load_model(open_folder(model), "fp32", Hardware())
    (model / "pytorch_model.bin").write_bytes(pickle.dumps(_Bomb(canary), protocol=2))
    with pytest.raises(ModelError):
        load_model(open_folder(model), "fp32", Hardware())
    assert not canary.exists()


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "null",
        "1",
        '{"architectures": 5}',
        '{"architectures": [5]}',
        '{"architectures": {"a": 1}}',
        "{",
        "[" * 100_000,
        "\ufeff{}",
        '{"a": NaN}',
        '{"architectures": ["\\ud800"]}',
    ],
)
def test_a_configuration_that_is_none_is_one_line(model: Path, text: str) -> None:
    (model / "config.json").write_text(text)
    try:
        plan(load_text(_suite(model)), machine=HERE)
    except HarnessError as error:
        assert "\n" not in str(error)


def test_a_weight_file_that_lies_about_itself_is_planned_without_being_read(model: Path) -> None:
    (model / "model.safetensors").write_bytes(struct.pack("<Q", 2**62) + b"{}")
    assert plan(load_text(_suite(model)), machine=HERE).steps


def test_members_of_an_archive_are_read_and_never_extracted(tmp_path: Path) -> None:
    file, outside = tmp_path / "in" / "data.zip", tmp_path / "canary"
    file.parent.mkdir()
    manifest = {
        "format": 1,
        "name": "x",
        "fingerprint": "y",
        "counts": {"text": {"test": 1}, "../../../canary": {"test": 1}},
    }
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(MANIFEST, json.dumps(manifest))
        archive.writestr("text/test.jsonl", '"hello"\n')
        for name in ("../canary", "../../canary", str(outside), "../../../canary/test.jsonl"):
            archive.writestr(name, '"x"\n')
    before = sorted(tmp_path.rglob("*"))
    dataset = PreparedDataset(file)
    assert dataset.view("text", "test") == ["hello"] and dataset.view("../../../canary", "test") == ["x"]
    assert sorted(tmp_path.rglob("*")) == before and not outside.exists()


@pytest.mark.parametrize(
    "manifest",
    [
        [],
        1,
        {"format": 1},
        {"format": 1, "name": "x", "fingerprint": "y", "counts": [1]},
        {"format": 1, "name": 5, "fingerprint": "y", "counts": {}},
        {"format": [1]},
    ],
)
def test_a_prepared_file_that_is_none_is_one_line(tmp_path: Path, manifest: Any) -> None:
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.writestr(MANIFEST, json.dumps(manifest))
    with pytest.raises(DataError):
        PreparedDataset(tmp_path / "data.zip")


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import harness.data.prepared as prepared

    monkeypatch.setattr(prepared, "LARGEST_BYTES", 1000)
    with zipfile.ZipFile(tmp_path / "data.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(MANIFEST, " " * 100_000)
    with pytest.raises(DataError, match="would unpack to 100000 bytes"):
        PreparedDataset(tmp_path / "data.zip")
    raw = bytearray((tmp_path / "data.zip").read_bytes())
    for place in range(0, len(raw), 7):
        broken = raw[:place] + b"\x00\xff" + raw[place + 2 :]
        (tmp_path / "broken.zip").write_bytes(broken)
        with pytest.raises(DataError):
            PreparedDataset(tmp_path / "broken.zip")


def test_plug_ins_are_installed_or_named_by_whoever_types(
    tmp_path: Path, canary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A suite, a results folder and the folder that the command runs in name none."""
    from harness import catalogue

    for name in ("evil.py", "lora.py", "harness_plugin.py"):
        (tmp_path / name).write_text(CODE.format(canary=str(canary)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_PLUGINS", "evil=evil")  # a variable of former versions
    monkeypatch.syspath_prepend(str(tmp_path))
    catalogue.forget()
    for method in (
        "evil",
        "evil:Own",
        "harness_plugin",
        "os.system",
        "harness.adapters.finetuning.lora",
        "'evil'",
        "evil.Own",
    ):
        with pytest.raises(HarnessError):
            load_text(f"method: {json.dumps(method)}\ntasks: perplexity\n")
        with pytest.raises(HarnessError):
            load_text(f"method: base\ntasks: {json.dumps(method)}\n")
    assert not canary.exists()
    catalogue.forget()
