"""Real sweeps of fake techniques are killed, starved and confused; ``make faults`` counts in the long form.

Each row states what must hold (``faults.rows``), and every breach is a line of the failure.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from faults.rows import ALL
from faults.tally import World, new_world

SEED = 9
pytestmark = pytest.mark.quiet


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with new_world(SEED) as made:
        yield made


@pytest.mark.parametrize("name", ALL)
def test_what_must_hold_does(world: World, name: str) -> None:
    row = ALL[name]
    tally = row.run(world, row.short)
    if not tally.tried:
        pytest.skip("; ".join(tally.notes))
    assert not tally.breaches, f"{row.must}: " + "\n".join(tally.breaches)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", [name for name, row in ALL.items() if row.long > row.short])
def test_what_must_hold_does_often(world: World, name: str) -> None:
    row = ALL[name]
    tally = row.run(world, row.long)
    if not tally.tried:
        pytest.skip("; ".join(tally.notes))
    assert not tally.breaches, f"{row.must}: " + "\n".join(tally.breaches)
