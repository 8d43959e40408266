"""What a gate says beside its verdicts: what was measured, what does not count, and of what nothing is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from harness.results.record import disturbed
from harness.run.checkouts import HERE, State

if TYPE_CHECKING:
    from harness.analyse.gate import Judgement, Pair

AGAIN = 1000  # where the numbers of pairs begin that are measured again


def facts_of(states: Mapping[str, State], pairs: Sequence[Pair], judged: Judgement, seed: int) -> list[str]:
    """Sentences about what was measured; ``seed`` drew the order of the runs."""
    from harness.cli.comparing import counted

    more = sum(pair.number > AGAIN for pair in pairs)
    again = f", and {more} more because something looked worse" if more else ""
    told = [
        f"Base {_state_in_words(states['base'])}, head {_state_in_words(states['head'])}: {len(pairs) - more} pairs of "
        f"runs in random order (seed {seed}){again}."
    ]
    records = [record for pair in pairs for record in (*pair.base, *pair.head)]
    spoiled = sum(map(disturbed, records))
    if spoiled:
        told.append(f"Something else used the machine in {spoiled} of {len(records)} steps: their times do not count.")
    if judged.failed:
        told.append(f"Nothing is known of steps that the base never got done{never_done(judged)}.")
    if judged.added:
        told.append(f"In the head alone: {counted(judged.added, 'step')}.")
    return told


def never_done(judged: Judgement) -> str:
    """``: 3, of which the head did not do 2 either``; nothing where the base got every step done."""
    return f": {judged.failed}, of which the head did not do {judged.both} either" if judged.failed else ""


def _state_in_words(state: State) -> str:
    if state.ref == HERE:
        return f"{state.sha[:12]} with uncommitted changes" if state.changes else f"{state.sha[:12]} (working tree)"
    return state.sha[:12] if state.sha.startswith(state.ref) else f"{state.sha[:12]} ({state.ref})"
