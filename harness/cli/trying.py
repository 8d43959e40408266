"""``harness try``: one line for someone with a model and a file: plan what fits, measure, choose, report."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from harness.cli.choosing import Asked, constraints_of, show_choice
from harness.cli.preparing import bring_here
from harness.cli.running import How, run_suite
from harness.cli.terminal import print
from harness.errors import DataError, ModelError, StoreError
from harness.memory.units import bytes_of, in_words
from harness.plan.first_look import first_look, slug
from harness.plan.machine import this_machine
from harness.plan.memory import held_model
from harness.plan.plan import plan
from harness.plan.suite import load_text


def try_on(
    asked: Asked, model: str, file: Path, results: Path, reports: Path, *, steps: int, dry: bool
) -> int:
    """Write the suite, run what it lacks, show the table, the answer and where the pages are; the exit code."""
    constraints_of(asked)  # what is no constraint is said before anything is measured
    if not file.is_file():
        raise DataError(f"data file '{file}' does not exist")
    word = _model(model)
    if word.startswith("hub:") and not dry:
        bring_here(word)  # its sizes say what fits
    name = f"try-{slug(Path(model.removeprefix('hub:')).name)}-{slug(file.stem)}"
    look = partial(first_look, name, word, file, steps=steps, batch=asked.batch, sequence=asked.sequence)
    try:
        held_model(word)
    except ModelError as error:
        print(f"memory is not predicted, nothing is left out for it: {error}")
    too_large = _too_large(look(tunes=False), asked.memory)
    text = look(without=list(too_large))
    for method, size in too_large.items():
        print(f"left out: {method} is predicted to need {in_words(size)}")
    suite = _written(Path(f"{name}.yaml"), text)
    print(f"suite: {suite} (yours to change; the same command goes on where it stopped)")
    if dry:
        return 0
    code = run_suite(str(suite), How(), results=results, reports=reports)
    print()
    chosen = show_choice(replace(asked, suite=name, file=suite), results, reports, as_json=False)
    return code or chosen


def _model(word: str) -> str:
    """A model as suites name it; a folder without ``./`` before it is one too."""
    path = Path(word).expanduser()
    return str(path.resolve()) if path.is_dir() else word


def _too_large(untuned: str, memory: str | None) -> dict[str, float]:
    """Methods of the suite that are predicted not to fit, with the bytes that their largest step would need."""
    machine = this_machine()
    if memory is not None:
        room = bytes_of(memory)
        machine = replace(machine, memory_bytes=min(machine.memory_bytes, room), cuda_memory_bytes=room)
    made = plan(load_text(untuned, folder=Path()), machine=machine)
    found: dict[str, float] = {}
    for cell, steps in zip(made.cells, made.cell_steps, strict=True):
        sizes = [made.doubts[step.id] for step in steps if step.id in made.doubts]
        if sizes:
            found[cell.method] = max(sizes)
    return found


def _written(path: Path, text: str) -> Path:
    """The file with this text: an existing one with another text is left alone."""
    number = 2
    while path.exists() and path.read_text(encoding="utf-8") != text:
        path = path.with_name(f"{path.stem.rpartition('_')[0] or path.stem}_{number}.yaml")
        number += 1
    try:
        if not path.exists():
            with path.open("x", encoding="utf-8") as file:  # a link that leads nowhere yet is not followed
                file.write(text)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}") from None
    return path
