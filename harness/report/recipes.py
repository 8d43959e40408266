"""The recommended method in the lines of plain libraries, with the settings that were measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.analyse.choose import Candidate
from harness.errors import HarnessError
from harness.plain_code import PlainCode
from harness.plan.methods import ResolvedMethod, Resolver
from harness.report.candidates import Question
from harness.report.content import Content
from harness.report.outcomes import Key


def recipe_of(content: Content, question: Question, winner: Candidate) -> str | None:
    """Python that makes and opens the winner without the harness; None where a stage has no such form."""
    key = next((one.key for one in content.groups(question.which)
                if (str(one.key[0]), str(one.key[3] or "")) == (winner.method, winner.precision)), None)  # fmt: skip
    try:
        method = Resolver().methods(content.full_name(winner.method))[0]
    except HarnessError:
        return None
    return None if key is None else plain_recipe(method, _setups(content, key))


def plain_recipe(method: ResolvedMethod, setups: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The code of a chain; ``setups`` has what was observed of each training stage, by the stage's place."""
    codes: list[PlainCode] = []
    for place, stage in enumerate(method.stages):
        code = stage.call.adapter.in_plain_code(setups.get(str(place), {}))
        if code is None or (stage.modifiers and not set(_names(stage)) <= {"gradient_checkpointing", "mixed_precision",
                                                                           "gradient_accumulation"}):  # fmt: skip
            return None
        codes.append(code)
    imports = _together(["from transformers import AutoTokenizer", *(line for code in codes for line in code.imports)])
    opening = ['source = "PATH OR HUB ID OF YOUR MODEL"', "tokenizer = AutoTokenizer.from_pretrained(source)"]
    lines = [*imports, "", *opening]
    for place, (stage, code) in enumerate(zip(method.stages, codes, strict=True), start=1):
        last = place == len(codes)
        target = [] if code.make.startswith("target =") else [f'target = "step{place}"']
        lines += ["", f"# {stage.text}", *target, code.make]
        if not last:
            lines.append(code.merge or "source = target")
    return "\n".join([*lines, "", "# to use it", codes[-1].use]) + "\n"


def _together(imports: Sequence[str]) -> list[str]:
    """Lines ``from a import b``, one for each module."""
    names: dict[str, set[str]] = {}
    for line in imports:
        module, _, given = line.removeprefix("from ").partition(" import ")
        names.setdefault(module, set()).update(given.split(", "))
    return [f"from {module} import {', '.join(sorted(found))}" for module, found in sorted(names.items())]


def _names(stage: Any) -> list[str]:
    return [one.name for one in stage.modifiers]


def _setups(content: Content, key: Key) -> dict[str, Mapping[str, Any]]:
    """What each stage that trained observed of its set-up, by its place in the chain."""
    places = {name: str(place) for place, name in enumerate(str(key[0]).split(" > "))}
    found = {}
    for stage, lines in content.trained(key).items():
        setup = content.observed(lines["optimizer_steps"]["steps"], "setup")
        if setup is not None and stage in places:
            found[places[stage]] = setup
    return found
