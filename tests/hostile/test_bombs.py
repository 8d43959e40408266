"""Small texts that ask for much: of depth, of memory, of time. Each is one line of an error, soon."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest
from worlds import ran

from harness.analyse.accepted import read as read_accepted
from harness.claims import read as read_claims
from harness.errors import HarnessError, StoreError, UsageError
from harness.plain_json import DEEPEST, NotPlain, loads
from harness.plan.document import read as read_document
from harness.plan.document import read_text
from harness.plan.expression import LONGEST, parse
from harness.plan.machine import Machine
from harness.plan.plan import plan
from harness.plan.suite import load_text
from harness.results.nights import read_night
from harness.results.record import from_text

pytestmark = pytest.mark.quiet

HERE = Machine(cores=2, cuda_devices=0)
LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
WIDE = ", ".join(f"{number / 10_000:.4f}" for number in range(1, 200))
YAML = {
    "billion laughs": LAUGHS,
    "a mapping of laughs": "a0: &a0 {k: v}\n"
    + "".join(f"a{n}: &a{n} {{p: *a{n - 1}, q: *a{n - 1}, r: *a{n - 1}}}\n" for n in range(1, 40)),
    "merged laughs": "a0: &a0 {k: v}\n"
    + "".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}], k{n}: *a{n - 1}}}\n" for n in range(1, 40)),
    "an alias of itself": "method: &a [base, *a]\n",
    "a mapping of itself": "models: &a {m: *a}\n",
    "a merge of itself": "params: &a {lora: {<<: *a}}\n",
    "deep lists": "method: " + "[" * 100_000,
    "deep mappings": "models: " + "{a: " * 100_000,
    "deep blocks": "".join(" " * n + "a:\n" for n in range(2000)),
    "a list of lists": "method:\n" + "- " * 5000 + "x\n",
    "many documents": "---\nmethod: base\n" * 1000,
    "many aliases": "a: &a x\nb: [" + "*a, " * 1000 + "]\n",
    "many values": "method: [" + "a, " * 320_000 + "a]\n",
    "a key twice": "method: base\nmethod: lora\n",
    "a key that is a list": "? [a, b]\n: c\n",
    "a key that is a mapping": "? {a: b}\n: c\n",
    "a long whole number": "seed: " + "9" * 100_000 + "\n",
    "a large whole number": "seed: 99999999999999999999\n",
    "a number beyond a float": "params: {lora: {alpha: 1e999}}\nmethod: lora\n",
    "a negative one": "params: {lora: {learning_rate: -1e999}}\nmethod: lora\n",
    "not a number": "params: {lora: {learning_rate: .nan}}\nmethod: lora\n",
    "an infinity": "params: {lora: {learning_rate: .inf}}\nmethod: lora\n",
    "sexagesimal": "seed: 190:20:30\n",
    "a date": "seed: 2026-99-99\n",
    "a time": "name: 2026-01-01T25:61:61Z\n",
    "binary": "name: !!binary aGVsbG8=\n",
    "python": "name: !!python/object/apply:os.system ['true']\n",
    "python's module": "name: !!python/name:os.system\n",
    "a set": "method: !!set {a, b}\n",
    "an ordered map": "method: !!omap [a: b]\n",
    "a float tag": "seed: !!float x\n",
    "an int tag": "seed: !!int x\n",
    "a local tag": "seed: !x 1\n",
    "a long tag": "seed: !" + "x" * 5000 + " 1\n",
    "a NUL": 'method: "a\\0b"\n',
    "a raw NUL": "method: a\0b\n",
    "half a pair": 'method: "\\ud800"\n',
    "half a pair, raw": "method: a\ud800b\n",
    "a BOM within": "method: a\ufeffb\n",
    "line separators": "method: a\u2028b\u0085c\n",
    "tabs": "\tmethod: base\n",
    "a directive": "%YAML 9.9\n---\nmethod: base\n",
    "a directive of tags": "%TAG ! tag:evil.example,2026:\n---\nmethod: !x base\n",
    "a line of ten megabytes": "method: " + "a" * 10_000_000 + "\n",
    "nothing": "",
    "a scalar": "base",
    "a list": "- base\n",
    "null": "null\n",
    "only a comment": "# x\n",
    "an anchor alone": "&a\n",
    "a bad escape": 'a: "\\z"\n',
    "a comma": ",",
    "a percent": "%",
    "an at": "@",
    "a backtick": "`",
    "quotes": "'",
    "an unclosed list": "[",
    "an unclosed mapping": "{",
    "a stray end": "}",
    "axes beyond any machine": "method: lora("
    + ", ".join(
        f"{name}=[{WIDE}]" for name in ("learning_rate", "warmup_share", "weight_decay", "max_grad_norm", "dropout")
    )
    + ")\n",
    "axes of many stages": "method: '" + " > ".join(["lora(learning_rate=[" + WIDE + "])"] * 8) + "'\n",
    "cells beyond any machine": f"method: base\nseed: [{', '.join(map(str, range(4000)))}]\nmodel: ["
    + ", ".join(f"'random:llama(seed={n})'" for n in range(4000))
    + "]\n",
    "a parameter's list": "method: lora\nparams: {lora: {learning_rate: ["
    + WIDE
    + "], warmup_share: ["
    + WIDE
    + "], dropout: ["
    + WIDE
    + "], weight_decay: ["
    + WIDE
    + "]}}\n",
    "a method in a method": "method: '" + "distillation(teacher=(" * 300 + "base" + "))" * 300 + "'\n",
    "a chain without end": "method: '" + " > ".join(["int8"] * 3000) + "'\n",
    "a model beyond any machine": "model: random:llama(layers=9007199254740992, hidden_size=9007199254740992)\nmethod: base\ntasks: generation_speed\n",
    "heads beyond the width": "model: random:llama(hidden_size=1, heads=64)\nmethod: base\ntasks: generation_speed\n",
    "a budget beyond any machine": "method: lora(learning_rate=0.1)\nbudget: {tokens: 9007199254740992, batch_size: 9007199254740992, sequence_length: 9007199254740992}\n",
    "limits beyond time": "method: base\nlimits: {wall_seconds: 1e308}\n",
}


REFUSED = set(YAML) - {
    "a BOM within",
    "many documents",
    "tabs",
    "a local tag",
    "limits beyond time",
    "a directive",
    "heads beyond the width",
    "a model beyond any machine",
    "a chain without end",
    "a budget beyond any machine",
    "half a pair",
    "not a number",
    "an infinity",
    "a NUL",
    "line separators",
}


@pytest.mark.parametrize("name", YAML)
def test_a_suite_that_asks_for_too_much_is_refused_or_planned_soon(name: str, tmp_path: Path) -> None:
    text = f"{YAML[name]}tasks: generation_speed\n" if YAML[name].endswith("\n") else YAML[name]
    began = time.process_time()
    try:
        made = plan(load_text(text, folder=tmp_path), machine=HERE)
        json.dumps(made.to_dict(), allow_nan=False)
        assert name not in REFUSED, "it can only be meant to break"
    except HarnessError as error:
        assert len(str(error)) < 50_000
    assert time.process_time() - began < 20, "no timing is measured: 20 s is for ever beside what it takes"


@pytest.mark.parametrize(
    "name",
    [
        "a mapping of laughs",
        "an alias of itself",
        "deep lists",
        "a date",
        "python",
        "a raw NUL",
        "nothing",
    ],
)
def test_claims_and_acceptances_are_read_with_the_same_care(name: str, tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(YAML[name])
    with pytest.raises(UsageError) as refused:
        read_claims(file)
    assert "\n" not in str(refused.value)
    try:
        read_accepted(file)
    except UsageError as error:
        assert "\n" not in str(error)


def test_a_file_of_marks_alone_and_line_ends_of_another_world_read_alike(tmp_path: Path) -> None:
    text = "method: base\ntasks: perplexity\n"
    for number, raw in enumerate(
        (
            text.encode(),
            b"\xef\xbb\xbf" + text.encode(),
            text.replace("\n", "\r\n").encode(),
            text.replace("\n", "\r").encode(),
        )
    ):
        (tmp_path / f"s{number}.yaml").write_bytes(raw)
        assert read_document(tmp_path / f"s{number}.yaml").value == {"method": "base", "tasks": "perplexity"}
    for raw in (b"\xff\xfe" + text.encode("utf-16-le"), b"\xff", b"\xc3\x28", b"\x80" * 100):
        (tmp_path / "bad.yaml").write_bytes(raw)
        with pytest.raises(HarnessError, match="not a text file"):
            read_document(tmp_path / "bad.yaml")


def test_keys_that_hold_texts_keep_them(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("- {series: 12e3, what: 1:2, night: ~, before: 1e3, other: 12e3}\n")
    (found,) = read_document(tmp_path / "x.yaml", ("series", "what", "night")).value
    assert found == {"series": "12e3", "what": "1:2", "night": None, "before": 1000.0, "other": 12000.0}


def test_an_expression_has_an_end() -> None:
    for text in (
        "a" * (LONGEST + 1),
        "a(" * 10_000,
        "(" * 10_000,
        "a > " * 10_000,
        "a(x=" + "[" * 10_000,
        "a(x=" + "(" * 10_000,
        "a(x='" + "y" * LONGEST,
    ):
        with pytest.raises(HarnessError) as refused:
            parse(text)
        assert "\n" not in str(refused.value)


JSON = (
    "[" * 100_000,
    '{"a":' * 100_000,
    "[" * (DEEPEST + 2) + "]" * (DEEPEST + 2),
    "NaN",
    "[Infinity]",
    "-Infinity",
    "1e999",
    "[-1e400]",
    "9" * 5000,
    "9" * 400,
    '{"a": 1e999}',
    "\ufeff1e999",
    '{"sha": "3e123", "a":2.5E+999}',
    "[1,\n3e400]",
    "\x00",
    "",
    "{",
    "nul",
    '{"a" 1}',
    "\ud800",
    "'a'",
)


@pytest.mark.parametrize("text", JSON)
def test_json_that_is_none_is_one_line_for_every_reader(text: str, tmp_path: Path) -> None:
    with pytest.raises(NotPlain) as refused:
        loads(text)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 300
    raw = text.encode("utf-8", "surrogatepass")
    for reader in (lambda: from_text(raw, Path("r.json")), lambda: read_night(raw, "n.json")):
        with pytest.raises(StoreError) as said:
            reader()
        assert "\n" not in str(said.value)


def test_json_as_it_should_be_is_what_it_was() -> None:
    value = {"a": [1, 2.5, None, True, "x", {"é": [[1e100, -1e-300, 2**53]]}], "b": "\u2028"}
    assert loads(json.dumps(value)) == value and loads(json.dumps(value, ensure_ascii=False).encode()) == value
    assert loads('"\\ud83e\\uddea \\ud800"') == "🧪 \ufffd", "a pair is a letter, half of one is none"
    assert loads("[" * DEEPEST + "]" * DEEPEST) is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{}",
        "[" * 100_000,
        '{"format": 1}',
        '{"format": 1, "step": "../../x", "suite": "s"}',
        '{"format": NaN}',
        "\x00",
        '{"format": 1, "step": 5, "suite": [], "operation": {}, "coordinates": 1, "adapter": 1, "hardware": {}, "precision": 1}',
    ],
)
def test_a_job_file_that_is_none_is_one_line(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "job.json"
    file.write_text(text)
    code, _, said = ran(capsys, "run", "--job", file)
    assert code == 2 and said.startswith("harness: ") and said.count("\n") == 1


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
sys.argv = ["harness", "plan", sys.argv[1]]
from harness.cli import main
main()
"""


@pytest.mark.parametrize("name", ["billion laughs", "cells beyond any machine", "a line of ten megabytes"])
def test_a_process_with_little_memory_says_one_line_too(name: str, tmp_path: Path) -> None:
    file = tmp_path / "bomb.yaml"
    file.write_text(YAML[name] + "tasks: generation_speed\n" if YAML[name].endswith("\n") else YAML[name])
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(file)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2 and done.stderr.startswith("harness: ") and done.stderr.count("\n") == 1, done.stderr[
        -500:
    ]
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 3 << 20


def test_depth_and_size_that_only_python_notices_are_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import harness.cli.planning as planning

    for error in (RecursionError("maximum recursion depth exceeded"), MemoryError()):

        def fail(*_: object, error: BaseException = error) -> None:
            raise error

        monkeypatch.setattr(planning, "planned", fail)
        code, _, said = ran(capsys, "plan", "quick")
        assert code == 1 and said.startswith("harness: ") and said.count("\n") == 1


def test_values_of_a_suite_that_no_number_holds(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="too large"):
        read_text("a: 1e309\n", "x")
    with pytest.raises(HarnessError, match="too large"):
        read_text(f"a: {2**53 + 1}\n", "x")
    assert read_text(f"a: {2**53}\nb: 0x1f\nc: 1e5\nd: 1_000\ne: 012\n", "x").value == {
        "a": 2**53,
        "b": "0x1f",
        "c": 1e5,
        "d": 1000,
        "e": 12,
    }
