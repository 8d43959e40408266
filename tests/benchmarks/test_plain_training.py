"""Training by the harness against a hand-written PyTorch loop, each in a process of its own: the ratio of the rates."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from crosschecks.trainings import by_hand, by_harness

STEPS, WARM_UP, ROUNDS = 24, 4, 2


def test_tokens_per_second_are_those_of_a_plain_loop(tmp_path: Path, benchmark: Any) -> None:
    """In turns; of each way the round that was disturbed least, so that a neighbour's work is in neither."""
    ours: list[float] = []
    plain: list[float] = []

    def turn() -> None:
        place = tmp_path / str(len(ours))
        ours.append(statistics.median(by_harness(place / "harness", STEPS, 1).seconds[WARM_UP:]))
        plain.append(statistics.median(by_hand(place / "hand", STEPS, 1).seconds[WARM_UP:]))

    benchmark.pedantic(turn, rounds=ROUNDS, iterations=1)
    ratio = min(plain) / min(ours)
    benchmark.extra_info["tokens_per_second_ratio"] = ratio
    print(f"harness / plain = {ratio:.3f} tokens/s")
    assert ratio > 0.87
