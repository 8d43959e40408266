"""The how-tos and the tutorial are followed: their files are written out of the text, and their commands run."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import environments
from harness.analyse.claimed import judged
from harness.claims import read
from harness.results.store import Store

ROOT = Path(__file__).resolve().parents[2]
TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text()
PLUGINS = {"technique.md": "prune", "task.md": "brackets"}
every_plugin = pytest.mark.parametrize(("page", "name"), PLUGINS.items())


@pytest.fixture
def written(block: Callable[..., str], tmp_path: Path) -> Callable[..., None]:
    """Write the module and the suite of a how-to into ``tmp_path``."""

    def write(page: str, name: str) -> None:
        (tmp_path / f"{name}.py").write_text(block(f"howto/{page}", "python"))
        (tmp_path / f"{name}.yaml").write_text(block(f"howto/{page}", "yaml"))

    return write


@every_plugin
def test_a_plug_in_is_planned(page: str, name: str, written: Any, follow: Any) -> None:
    written(page, name)
    done = follow(f"harness --plugin {name}.py plan {name}.yaml")
    assert done.returncode == 0, done.stderr
    assert " 0 skipped" in done.stdout and f"{name}" in done.stdout and "compress" in done.stdout


@every_plugin
def test_a_plug_in_goes_through_the_contract(page: str, name: str, written: Any, follow: Any, tmp_path: Path) -> None:
    written(page, name)
    asked = f"--plugin {tmp_path / name}.py -k {name} -q -p no:cacheprovider"
    done = follow(f"python -m pytest tests/test_contract.py {asked}", cwd=ROOT)
    assert done.returncode == 0, done.stdout
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 7


def test_a_plug_in_that_breaks_the_contract_fails(written: Any, follow: Any, tmp_path: Path) -> None:
    written("technique.md", "prune")
    file = tmp_path / "prune.py"
    file.write_text(file.read_text().replace('"share of a layer\'s weights that is set to zero"', '""'))
    line = f"python -m pytest tests/test_contract.py --plugin {file} -k 'explained and prune' -q -p no:cacheprovider"
    assert "share has no help" in follow(line, cwd=ROOT).stdout


@pytest.mark.slow
@every_plugin
def test_a_plug_in_is_measured(page: str, name: str, written: Any, follow: Any, tmp_path: Path) -> None:
    written(page, name)
    done = follow(f"harness --plugin {name}.py run {name}.yaml")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "reports" / name / "README.md").is_file()
    records = Store(tmp_path / "results").records(name).records
    assert {record["status"] for record in records} == {"done"}
    if name == "prune":
        made = [record for record in records if "zero_share" in record["observed"]]
        assert sorted(round(record["observed"]["zero_share"], 2) for record in made) == [0.3, 0.6]
        scored = {record["coordinates"]["method"]: record["metrics"] for record in records if record["job"]["task"]}
        text = (ROOT / "docs" / "howto" / "technique.md").read_text()
        said = re.search(r"gave (\S+) bits .*?, (\S+) at .*? and (\S+) at 0\.6", text, re.DOTALL)
        told = list(map(float, said.groups()))
        found = [scored[method]["bits_per_byte"] for method in ("base", "prune", "prune(share=0.6)")]
        assert found == pytest.approx(told, rel=0.01), "docs/howto/technique.md tells other numbers"


@pytest.mark.slow
def test_the_test_of_the_technique_passes(
    block: Any, written: Any, tmp_path: Path, run: Any, llama: Any, open_live: Any
) -> None:
    from harness import catalogue

    written("technique.md", "prune")
    catalogue.plug_in(str(tmp_path / "prune.py"))
    names: dict[str, Any] = {}
    try:
        exec(compile(block("howto/technique.md", "python", 1), "technique.md", "exec"), names)
        names["test_the_share_that_was_asked_for_is_zero"](run, llama, open_live)
    finally:
        catalogue._registered.pop("prune")
        catalogue.forget()
        sys.modules.pop("plugin_prune", None)


def test_the_claims_of_the_how_to_get_their_verdicts(block: Any, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(block("howto/claim.md", "yaml"))
    verdicts = {one.claim.id: one.judgement.verdict for one in judged(read(file), ROOT / "results", ["quick"])}
    assert verdicts == {
        "mine-task-bytes": "confirmed", "mine-decode": "inconclusive", "mine-awq": "not testable here",
    }  # fmt: skip


def test_the_environment_of_the_how_to_is_one(block: Any, tmp_path: Path, monkeypatch: Any) -> None:
    home = tmp_path / "definitions"
    home.mkdir()
    (home / "hqq.toml").write_text(block("howto/environment.md", "toml"))
    monkeypatch.setattr(environments, "DEFINITIONS", home)
    monkeypatch.setenv("HARNESS_ENVIRONMENTS", str(tmp_path / "environments"))
    defined = environments.definition("hqq")
    assert defined.techniques == ("hqq",) and defined.imports == ("hqq",)
    assert all(package.count("==") == 1 for package in defined.packages)
    assert environments.lacking("hqq") == "needs the environment 'hqq': harness env sync hqq"
    names: dict[str, Any] = {}
    exec("from harness.contract import Adapter\n" + block("howto/environment.md", "python"), names)
    assert names["Hqq"].software("eval") == ("hqq", ("torch", "transformers", "hqq"))


@pytest.fixture
def tutorial(block: Any, tmp_path: Path) -> Path:
    """A folder with what the tutorial needs of a clone, and the files that it makes."""
    (tmp_path / "suites").symlink_to(ROOT / "suites")
    shutil.copytree(ROOT / "results" / "quick", tmp_path / "results" / "quick")
    (tmp_path / "functions.py").write_text(block("tutorial.md", "python"))
    (tmp_path / "mine.yaml").write_text(block("tutorial.md", "yaml"))
    return tmp_path


def commands(start: str) -> list[str]:
    """Lines of the tutorial's shell blocks that begin so."""
    text = "".join(re.findall(r"```sh\n(.*?)```", TUTORIAL, re.DOTALL))
    return [line for line in text.splitlines() if line.startswith(start)]


def shown(output: str) -> list[str]:
    """What the tutorial shows of an output: its lines but for those that it cut."""
    text = next(block for block in re.findall(r"```text\n(.*?)```", TUTORIAL, re.DOTALL) if block.startswith(output))
    return [line.rstrip() for line in text.splitlines() if "…" not in line]


def test_the_prediction_of_the_tutorial_is_what_is_predicted(follow: Any) -> None:
    done = follow(commands("harness predict")[0])
    said = [text.rstrip() for text in done.stdout.splitlines()]
    missing = [text for text in shown("lora >") if text not in said]
    assert done.returncode == 0 and missing == [], "docs/tutorial.md shows another output"


def test_the_choice_of_the_tutorial_reads_as_shown(tutorial: Path, follow: Any) -> None:
    """The numbers are of the committed records, which are measured anew now and then; the words are not."""
    done = follow(commands("harness choose quick")[0])
    said = {re.sub(r"[\d.]+", "#", text.rstrip()) for text in done.stdout.splitlines()}
    words = {re.sub(r"[\d.]+", "#", text) for text in shown("quick:") if not text.startswith(" ")}
    assert done.returncode == 0 and words <= said, "docs/tutorial.md shows another output"
    assert re.search(r"^  1  base @ fp32 +loses 0 %, \S+ MB, nothing to make", done.stdout, re.MULTILINE)


def test_the_data_and_the_suite_of_the_tutorial_plan(tutorial: Path, follow: Any) -> None:
    assert follow(commands("python functions.py")[0]).returncode == 0
    pairs = [json.loads(line) for line in (tutorial / "functions.jsonl").read_text().splitlines()]
    assert len(pairs) > 1000 and all(pair["prompt"] and pair["answer"] for pair in pairs)
    said = [line.rstrip() for line in follow(commands("harness plan")[0]).stdout.splitlines()]
    assert all(text in said for text in shown("mine: How"))
    dry = commands("harness try")[0].replace("./your-model", "embedded")
    done = follow(dry)
    assert done.returncode == 0 and (tutorial / "try-embedded-functions.yaml").is_file(), done.stderr


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_tutorial_to_its_end(tutorial: Path, follow: Any) -> None:
    """The sweep and what follows from it: the numbers are the machine's, which method wins is not."""
    follow(commands("python functions.py")[0])
    done = follow(commands("harness run mine.yaml")[0])
    assert done.returncode == 0 and "report: reports/mine/index.html" in done.stdout, done.stderr
    compared = follow(commands("harness compare")[0])
    assert compared.returncode == 1 and "regression     perplexity" in compared.stdout, compared.stderr
    best, small = (follow(line) for line in commands("harness choose mine"))
    assert re.search(r"^  1  full_finetune @ fp32 ", best.stdout, re.MULTILINE), best.stdout + best.stderr
    assert "loses" in small.stdout and "in plain libraries:" in small.stdout
    assert follow(commands("harness claims")[0]).returncode == 0
