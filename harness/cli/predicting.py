"""``harness predict``: what a method takes in memory, before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.cli.terminal import print, print_json
from harness.contract import PRECISIONS, Budget, Hardware
from harness.errors import UsageError, did_you_mean
from harness.memory.prediction import LEFT_OUT
from harness.memory.units import bytes_of, in_words
from harness.plan.memory import LIBRARIES, OPENED, Stage, held_model, predict_method
from harness.plan.methods import Resolver


def show_prediction(
    method: str, model: str, budget: Budget, precision: str, hardware: Hardware, memory: str | None, *, as_json: bool
) -> int:
    """Predict every method that the expression stands for and print it; 1 where ``memory`` is given and exceeded."""
    if precision not in PRECISIONS:
        raise UsageError(
            f"unknown precision '{precision}'{did_you_mean(precision, PRECISIONS)}; known: {', '.join(PRECISIONS)}"
        )
    room = None if memory is None else bytes_of(memory)
    held = held_model(model)
    found = []
    resolver = Resolver()
    for one in resolver.methods(method):
        each, at = resolver.at_precision(one, precision)
        found.append((each.text, at, predict_method(each, held, budget, at, hardware)))
    if as_json:
        print_json([_as_json(text, at, stages, room, hardware) for text, at, stages in found])
    else:
        for text, at, stages in found:
            _show(f"{text} on {model} at {at}, {hardware_in_words(hardware)}", stages, budget, room, hardware)
        print(f"Left out: {LEFT_OUT}.")
    return int(room is not None and any(_most(stages, hardware) > room for _, _, stages in found))


def hardware_in_words(hardware: Hardware) -> str:
    """The device, and how many ranks share the work."""
    return hardware.device if hardware.ranks == 1 else f"{hardware.ranks} ranks of {hardware.device}"


def _most(stages: Sequence[Stage], hardware: Hardware) -> float:
    """What has to fit: on a CPU the libraries of every process too, on GPUs one rank's device."""
    most = max(stage.prediction.peak for stage in stages)
    return most if hardware.device == "cuda" else (most + LIBRARIES) * hardware.ranks


def _show(title: str, stages: Sequence[Stage], budget: Budget, room: float | None, hardware: Hardware
) -> None:  # fmt: skip
    print(title)
    for stage in stages:
        if stage.text == OPENED:
            print(f"  opened, {budget.batch_size} x {budget.sequence_length} tokens: {stage.parameters:,} parameters")
        else:
            print(f"  {stage.text}: {stage.parameters:,} parameters, {stage.trained:,} of them learn")
        for name, value in stage.prediction.parts.items():
            print(f"    {name:<18} {in_words(value):>9}")
        whose = f" on each of {hardware.ranks} ranks" if hardware.ranks > 1 else ""
        print(f"    {'at once':<18} {in_words(stage.prediction.peak):>9}{whose}, when {stage.prediction.at}")
    if room is not None:
        needed = _most(stages, hardware)
        verdict = "fits" if needed <= room else "does not fit"
        libraries = "" if hardware.device == "cuda" else ", libraries included"
        print(f"  {verdict} {in_words(room)}: {in_words(needed)} predicted{libraries}")


def _as_json(
    text: str, precision: str, stages: Sequence[Stage], room: float | None, hardware: Hardware
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "method": text,
        "precision": precision,
        "stages": [
            {
                "stage": one.text, "parameters": one.parameters, "trained_parameters": one.trained,
                "parts": dict(one.prediction.parts), "moments": dict(one.prediction.moments),
                "peak_bytes": one.prediction.peak, "at": one.prediction.at,
            }
            for one in stages
        ],
        "peak_bytes": max(one.prediction.peak for one in stages),
    }  # fmt: skip
    return found if room is None else found | {"fits": _most(stages, hardware) <= room}
