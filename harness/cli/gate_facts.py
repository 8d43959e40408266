"""What a gate says beside its verdicts: what was measured, what does not count, and of what nothing is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from harness.catalogue import plugged_in
from harness.results.record import disturbed
from harness.run.checkouts import HERE, State
from harness.run.interpreters import Interpreter, differing

if TYPE_CHECKING:
    from harness.analyse.gate import Judgement, Pair
    from harness.cli.gate_sides import Known

AGAIN = 1000  # where the numbers of pairs begin that are measured again
NAMED = 12  # packages that a sentence names; pairs.json has all


def facts_of(sides: Mapping[str, Known], pairs: Sequence[Pair], judged: Judgement, seed: int) -> list[str]:
    """Sentences about what was measured; ``seed`` drew the order of the runs."""
    from harness.cli.comparing import counted

    more = sum(pair.number > AGAIN for pair in pairs)
    again = f", and {more} more because something looked worse" if more else ""
    told = [
        f"Base {_code_in_words(sides['base'])}, head {_code_in_words(sides['head'])}: {len(pairs) - more} pairs of "
        f"runs in random order (seed {seed}){again}.",
        environments_in_words(sides["base"].interpreter, sides["head"].interpreter),
    ]
    if plugins := plugged_in():
        told.append(f"Both with --plugin {' --plugin '.join(plugins)}.")
    records = [record for pair in pairs for record in (*pair.base, *pair.head)]
    known = [record["environment"]["hard"] for record in records if record["environment"]["hard"]]
    told += [_machine(known[-1])] if known else []
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


def environments_in_words(base: Interpreter, head: Interpreter) -> str:
    """Python and packages of both sides, and which of them differ."""
    differ = differing(base, head)
    same = base.python == head.python
    python = f"Both on Python {base.python}" if same else f"Base on Python {base.python}, head on {head.python}"
    if not differ:
        return f"{python}, with the same {len(base.packages)} packages."
    more = f" and {len(differ) - NAMED} more" if len(differ) > NAMED else ""
    return f"{python}; packages that differ: {', '.join(differ[:NAMED])}{more}."


def _machine(hard: Mapping[str, object]) -> str:
    """The hard facts of the machine, which are those of both sides: other ones are refused."""
    named = [f"{hard.get('cpu_model')}", f"{hard.get('cores')} cores", f"{hard.get('memory_gib')} GiB"]
    gpus = hard.get("gpus")
    return f"Machine: {', '.join([*named, *map(str, gpus if isinstance(gpus, list) else [])])}."


def _code_in_words(side: Known) -> str:
    state, own, given = side.origin.state, side.interpreter.harness, side.origin.given
    where = f" in {given}" if given else ""
    if state is not None:
        return f"{_state_in_words(state)}{where}"
    commit = f", commit {own.sha[:12]}" if own and own.sha != "unknown" else ""
    return f"the harness {side.interpreter.version}{commit} installed{where}"


def _state_in_words(state: State) -> str:
    if state.ref == HERE:
        return f"{state.sha[:12]} with uncommitted changes" if state.changes else f"{state.sha[:12]} (working tree)"
    return state.sha[:12] if state.sha.startswith(state.ref) else f"{state.sha[:12]} ({state.ref})"
