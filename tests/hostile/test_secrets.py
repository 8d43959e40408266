"""Twenty secrets planted wherever a record, a log or a report could pick them up: none is in any file that is written."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from worlds import leaves, ran, tree

from harness import catalogue
from harness.analyse.case import Case, Place
from harness.metrics import METRICS
from harness.redaction import MASK, redacted, redacted_text, values_of
from harness.report.ci.writing import write_outputs
from harness.results.nights import night_of
from harness.results.record import blank, read, write
from harness.results.store import Store

# None of them was ever valid; they are put together here so that no scanner takes this file for a leak.
SECRETS = {
    "hf": "hf_" + "AbCdEfGhIjKlMnOpQrStUvWxYz012345",
    "github": "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8",
    "github fine": "github_pat_" + "11ABCDEFG0abcdefghijkl_MNOPQRSTUVWXYZ",
    "gitlab": "glpat-" + "x1Y2z3W4v5U6t7S8r9Q0",
    "aws id": "AKIA" + "IOSFODNN7EXAMPLE",
    "aws key": "wJalrXUtnFEMI/K7MDENG/" + "bPxRfiCYEXAMPLEKEY",
    "openai": "sk-" + "proj-abcDEF123456ghiJKL7890mnoPQR",
    "anthropic": "sk-ant-" + "api03-abcdefghijklmnop1234567890",
    "slack": "xoxb-" + "123456789012-abcdefghijkl",
    "google": "AIza" + "SyA1234567890abcdefghijklmnopqrstuv",
    "npm": "npm_" + "abcdefghijklmnopqrstuvwxyz0123456789",
    "pypi": "pypi-" + "AgEIcHlwaS5vcmcCJDAwMDAwMDAwLTAwMDA",
    "jwt": "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
    "url": "hunter2-in-a-url",
    "query": "s3cretQueryValue",
    "bearer": "abc.DEF-123_456~789+xyz/==",
    "flag": "tok3nBehindAFlag",
    "password": "correct-horse-battery",
    "own": "value-of-a-variable-9",
    "pem": "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC",
}
# How each is met in the wild.
LINES = {
    "hf": "HF_TOKEN={}",
    "github": "fatal: could not read from remote {}",
    "github fine": "using {} for the hub",
    "gitlab": "token {} is expired",
    "aws id": "aws_access_key_id = {}",
    "aws key": "AWS_SECRET_ACCESS_KEY={}",
    "openai": "openai.AuthenticationError: Incorrect API key provided: {}.",
    "anthropic": "x-api-key: {}",
    "slack": "slack {}",
    "google": "https://maps.example/api?x=1&key={}",
    "npm": "//registry.example/:_authToken={}",
    "pypi": "  password: {}",
    "jwt": "cookie session={}",
    "url": "origin\thttps://someone:{}@git.example/a/b.git (fetch)",
    "query": "GET https://files.example/x?X-Amz-Signature={}&a=b",
    "bearer": "Authorization: Bearer {}",
    "flag": "run --token {} --again",
    "password": "RuntimeError: login failed (password='{}')",
    "own": "config says {}",
    "pem": "-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----",
}
PLANTED = {name: LINES[name].format(secret) for name, secret in SECRETS.items()}


@pytest.fixture(autouse=True)
def own_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SERVICE_API_KEY", SECRETS["own"])


def leaked(text: str) -> list[str]:
    return [name for name, secret in SECRETS.items() if secret in text or json.dumps(secret)[1:-1] in text]


def files_with_secrets(folder: Path) -> dict[str, list[str]]:
    """The files below a folder that hold a secret, the cache left out, which stays on the machine."""
    found = {}
    for path in folder.rglob("*"):
        if not path.is_file() or ".cache" in path.relative_to(folder).parts:
            continue
        if names := leaked(path.read_bytes().decode("utf-8", "replace")):
            found[str(path.relative_to(folder))] = names
    return found


def test_there_are_twenty() -> None:
    assert len(SECRETS) == len(set(SECRETS.values())) == 20


@pytest.mark.parametrize("name", SECRETS)
def test_each_is_masked_as_it_is_met(name: str) -> None:
    own = values_of(os.environ)
    assert not leaked(redacted_text(PLANTED[name], own)) and MASK in redacted_text(PLANTED[name], own)
    assert not leaked(redacted_text(f"before {PLANTED[name]} after\nnext", own))
    assert redacted_text(redacted_text(PLANTED[name], own), own) == redacted_text(PLANTED[name], own)
    assert not leaked(json.dumps(redacted({"a": [PLANTED[name]], PLANTED[name]: {"b": PLANTED[name].split("\n")}})))
    # a traceback prints a value as Python does
    assert not leaked(redacted_text(f"ValueError: {PLANTED[name]!r}", own))


def test_arguments_are_looked_at_together() -> None:
    command = [
        "harness",
        "run",
        "x",
        "--token",
        SECRETS["flag"],
        "--api-key=abcd1234",
        "-p",
        "x",
        "--hub-token",
        "z9y8x7w6",
    ]
    assert redacted(command) == [
        "harness",
        "run",
        "x",
        "--token",
        MASK,
        f"--api-key={MASK}",
        "-p",
        "x",
        "--hub-token",
        MASK,
    ]


def test_a_key_over_many_lines_of_a_log_is_gone() -> None:
    lines = ["first", "-----BEGIN PRIVATE KEY-----", SECRETS["pem"], "abc/def+ghi", "-----END PRIVATE KEY-----", "last"]
    told = redacted(lines)
    assert told[0] == "first" and told[-1] == "last" and not leaked(str(told)) and "abc/def" not in str(told)
    cut = redacted(lines[:3])
    assert not leaked(str(cut)), "one that the tail of a log cuts off too"


@pytest.mark.parametrize(
    "text",
    [
        "harness run suites/quick.yaml --again",
        "lora(learning_rate=0.01, rank=4) > int8",
        "tokens=512 max_new_tokens: 48",
        "pad_token='[PAD]'",
        "eos_token=<|endoftext|> bos_token_id=1",
        "tokens_per_second 512.5 tok/s",
        "--max-tokens 100 --tokenizer bpe --num-tokens=5",
        "https://arxiv.org/abs/2106.09685?context=cs.LG#x",
        "git@github.com:org/repo.git",
        "a1b2c3d4e5f60718293a4b5c6d7e8f9001122334",
        "20261125T225952.543Z-c78674b84d32",
        "key=value",
        "sorted(key=len)",
        "KeyError: 'tokens'",
        "prompt_tokens=128, new_tokens=48, repeats=5",
        "hf_transfer is not installed; HF_HUB_OFFLINE=1",
        "sk-learn sk_test",
        "basic usage: see the docs",
        "no token here",
        "secret sauce",
        "monkey=bananas1",
        "special_tokens={'a': 1}",
        "per_token_loss=3.1415926535897931",
        "masked-token accuracy and pseudo-perplexity",
        "the password is wrong",
        "torch==2.13.0+cpu",
        "s3://bucket/prefix",
        "needs the environment 'gptq': harness env sync gptq",
        "Permission denied: '/x/.git-credentials'",
        "cross_entropy(token_ids, keys)",
        "tokens: null",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert (
        redacted_text(text, values_of({"X_TOKEN": "short", "Y_KEY": "embedded", "Z_SECRET": "/a/path/that/is/long"}))
        == text
    )


def test_nothing_that_the_project_says_of_itself_is_masked() -> None:
    techniques = [catalogue.adapter_class(name) for name in catalogue.adapter_names()]
    tasks = [catalogue.task_class(name) for name in catalogue.task_names()]
    said = [text for kind in (*techniques, *tasks) for text in (kind.summary, kind.__doc__ or "")]
    said += [text for metric in METRICS.values() for text in (metric.label, metric.how)]
    assert [text for text in said if redacted_text(text) != text] == []


def test_committed_records_are_masked_nowhere() -> None:
    """Every record of this repository, as it would be written today: nothing of it looks like a secret."""
    root, seen = Path(__file__).parents[2] / "results", 0
    for path in sorted(root.glob("[!.]*/*/*.json"))[::17]:
        if path.parent.name != "nights" and path.name != "plan.json":
            record = read(path)
            assert redacted(record, {}) == record, path
            seen += 1
    assert seen > 20


def test_only_variables_named_like_secrets_count() -> None:
    named = {
        "A_TOKEN": "abcdefgh1",
        "TOKENIZERS_PARALLELISM": "true-true-1",
        "DB_PASSWORD": "p4ssw0rd-long",
        "KEYBOARD": "qwertz-layout-1",
        "PATH": "/usr/bin:/bin",
        "AUTHOR": "Somebody Else 1",
        "PWD": "/somewhere/tree-1",
        "MONKEY": "banana-banana-1",
        "GITHUB_TOKEN": "t0k",
        "api_key": "lower-case-77",
    }
    assert set(values_of(named)) == {"abcdefgh1", "p4ssw0rd-long", "lower-case-77"}


def test_the_environment_in_a_record_is_on_an_allow_list(monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.run.environment import environment_of, soft_facts

    for name, secret in SECRETS.items():
        monkeypatch.setenv(f"PLANTED_{name.replace(' ', '_').upper()}", secret)
    soft_facts.cache_clear()
    told = environment_of({"hardware": {"device": "cpu"}, "isolation": "fork", "context": {"installation": "i"}})
    assert set(told["soft"]) == {
        "python",
        "kernel",
        "system",
        "machine",
        "libc",
        "libraries",
        "governor",
        "gpu_driver",
        "gpu_memory_mib",
        "environment",
    }
    assert not leaked(json.dumps(told))


def _job(**more: Any) -> dict[str, Any]:
    names = ("method", "stage", "technique", "task", "model", "data", "precision", "hardware")
    return {
        "step": "0123456789abcdef",
        "attempt": 1,
        "suite": "s",
        "operation": "eval",
        "coordinates": dict.fromkeys(names) | {"seed": None, "params": {}},
        "context": {"installation": "i", "command": []},
        **more,
    }


def _planted_records() -> Iterator[dict[str, Any]]:
    """A record with each secret in every text that a record has, one after another."""
    for number, text in enumerate(PLANTED.values()):
        record = blank(_job(step=f"{number:016x}", model={"kind": "hub", "id": text, "token": text}), "failed", text)
        record["command"] = ["harness", "run", text, *text.split()]
        record["log_tail"] = [
            "Traceback (most recent call last):",
            *text.split("\n"),
            f"ValueError: {text}",
            repr(text),
        ]
        record["flags"] = [text]
        record["observed"] = {
            "a": text,
            "b": [{"c": text}],
            text: 1,
            "environ": {"HF_TOKEN": text, "api_key": SECRETS["flag"]},
        }
        record["spans"] = [{"name": text, "seconds": 1.0}]
        record["items"] = {text: {"item": [text], "nll": [1.0]}}
        record["commit"] = {"sha": text, "dirty": True}
        for name in ("method", "model", "data", "task", "stage"):
            record["coordinates"][name] = text
        record["coordinates"]["params"] = {"a": text}
        record["environment"] |= {
            "hard": {"cpu_model": text, "cores": 2},
            "soft": {"python": text, "libraries": {"x": text}},
        }
        yield record


def _planted_store(folder: Path) -> Store:
    """Records, a plan and a night with every secret in every text that they hold."""
    store = Store(folder)
    made = list(_planted_records())
    assert {name for name, secret in SECRETS.items() if any(secret in json.dumps(one) for one in made)} == set(SECRETS)
    for record in made:
        record["environment"]["installation"] = store.installation
        store.write_record(record)
    steps = [
        {"id": f"{number:016x}", "state": "skipped", "reason": text, "coordinates": {"method": text}}
        for number, text in enumerate(PLANTED.values())
    ]
    told = {"question": "\n".join(PLANTED.values()), "notes": list(PLANTED.values())}
    store.write_plan("s", {"format": 1, "suite": "s", **told, "cells": [], "steps": steps})
    night = night_of(store.records("s").records)
    (store.root / "s" / "nights").mkdir()
    (store.root / "s" / "nights" / f"{night.name}.json").write_text(night.to_json())
    return store


def _planted_case(text: str) -> Case:
    place = Place(text, text, text, text, text, text, text, text, text, text, 0)
    return Case(text, place, text, "errored", text, since=text, suspects=(text,))


def test_no_file_that_leaves_the_machine_holds_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], undrawn: None
) -> None:
    store, out = _planted_store(tmp_path / "results"), tmp_path / "out"
    cases, told = [_planted_case(text) for text in PLANTED.values()], "\n".join(PLANTED.values())
    lines = write_outputs(cases, told, [told], out / "junit.xml", out / "told.md", True)
    common = ("--results", store.root)
    for command in [
        ("report", "s", *common, "--reports", tmp_path / "reports"),
        ("rows", *common, "--csv", out / "rows.csv"),
        ("rows", *common, "--parquet", out / "rows.parquet"),
        ("rows", *common, "--json"),
        ("history", "s", *common, "--junit", out / "history.xml", "--markdown", out / "history.md"),
    ]:
        code, said, err = ran(capsys, *command)
        assert code in (0, 1, 2, 3) and not leaked(said + err), command
    assert not leaked("\n".join(lines))
    assert not files_with_secrets(tmp_path)
    assert len(tree(out)) >= 5 and len(store.records("s").records) == 20


def test_a_failing_step_that_shows_its_secrets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, undrawn: None
) -> None:
    """A real worker: a technique that prints every secret and fails with them, started with secrets in its arguments."""
    from harness import catalogue
    from harness.plan.job import jobs
    from harness.plan.plan import plan
    from harness.plan.suite import load_text
    from harness.run.launcher import run

    module = tmp_path / "modules" / "leaky.py"
    module.parent.mkdir()
    module.write_text(LEAKY)
    planted = tmp_path / "planted.json"
    planted.write_text(json.dumps(PLANTED))
    monkeypatch.setenv("PLANTED_FILE", str(planted))
    catalogue.plug_in(str(module))
    store = Store(tmp_path / "results")
    made = plan(load_text(f"model: none\nmethod: leaky\nquestion: {json.dumps(PLANTED['url'])}\n", file="leaky.yaml"))
    store.write_plan("leaky", made.to_dict())
    run(
        jobs(made),
        store,
        isolation="spawn",
        preload=(),
        canary=False,
        command=["harness", "run", "--token", SECRETS["flag"], *PLANTED.values()],
    )
    catalogue._registered.pop("leaky")
    catalogue.forget()
    (failed,) = store.records("leaky").records
    assert (
        failed["status"] == "failed" and MASK in failed["reason"] and any(MASK in line for line in failed["log_tail"])
    )
    assert (
        failed["observed"]["told"]["hf"] == f"HF_TOKEN={MASK}"
        and MASK in failed["flags"][0]
        and MASK in failed["command"]
    )
    code, out, err = ran(capsys, "report", "leaky", "--results", store.root, "--reports", tmp_path / "reports")
    assert code == 0, err
    planted.unlink()
    assert not files_with_secrets(tmp_path) and not leaked(out + err)


LEAKY = '''
import json
import os
from harness.contract import Adapter


class Leaky(Adapter):
    """Prints what it should not."""

    summary = "prints what it should not"
    kinds = frozenset({"none"})
    takes = frozenset()

    def compress(self, job):
        told = json.load(open(os.environ["PLANTED_FILE"]))
        for text in told.values():
            print(text)
        job.meter.observe("told", told)
        job.meter.flag(" ".join(told.values()))
        raise ValueError("; ".join(told.values()))
'''


def test_every_text_of_a_record_is_looked_at() -> None:
    """A field that is added later is masked too: nothing is named."""
    record = next(_planted_records())
    for path in leaves(record):
        planted = json.loads(json.dumps(record))
        holder: Any = planted
        for part in path[:-1]:
            holder = holder[part]
        if isinstance(holder[path[-1]], str):
            holder[path[-1]] = SECRETS["github"]
            assert SECRETS["github"] not in json.dumps(redacted(planted)), path


def test_writing_a_record_masks_and_reading_it_checks_the_digest(tmp_path: Path) -> None:
    record = next(_planted_records())
    path = tmp_path / f"{record['record']}.json"
    write(path, record)
    assert not leaked(path.read_text()) and read(path)["reason"] == f"HF_TOKEN={MASK}"
