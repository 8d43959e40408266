"""``harness predict``: what a method takes in memory, before anything runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from harness.contract import PRECISIONS, Budget, Hardware
from harness.errors import UsageError, did_you_mean
from harness.memory.prediction import LEFT_OUT
from harness.plan.memory import LIBRARIES, OPENED, Stage, held_model, predict_method
from harness.plan.methods import Resolver

UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


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
        print(json.dumps([_as_json(text, at, stages, room, hardware) for text, at, stages in found], indent=1))
    else:
        for text, at, stages in found:
            _show(f"{text} on {model} at {at}, {hardware_in_words(hardware)}", stages, budget, room, hardware)
        print(f"Left out: {LEFT_OUT}.")
    return int(room is not None and any(_most(stages, hardware) > room for _, _, stages in found))


def bytes_of(text: str) -> float:
    """Bytes that a text like ``48GB`` or ``24 GiB`` means; ``UsageError`` for anything else."""
    compact = text.replace(" ", "").upper()
    number = compact.rstrip("BIKMGT")
    unit = compact[len(number) :] or "B"
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if unit not in UNITS or not 0 < value < float("inf"):
        raise UsageError(f"'{text}' is no amount of memory: write a number and a unit, like 8GB or 24GiB")
    return value * UNITS[unit]


def hardware_in_words(hardware: Hardware) -> str:
    """The device, and how many ranks share the work."""
    return hardware.device if hardware.ranks == 1 else f"{hardware.ranks} ranks of {hardware.device}"


def in_words(size: float) -> str:
    """Bytes in decimal units, three digits."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}" if size < 999.5 * factor else f"{size / factor:.0f} {unit}"
    return f"{size:.0f} B"


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
