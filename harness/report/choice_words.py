"""A decision in words, the same on the command line and in the page. Light: text alone."""

from __future__ import annotations

from harness.analyse.choose import Amount, Change, Choice, Excluded
from harness.memory.units import in_words

NAMES = {"memory": "memory", "loss": "quality loss", "seconds": "time", "speed": "speed"}


def quantity(name: str, value: float) -> str:
    """A number of a candidate, or a bound on it, with its unit."""
    if name == "memory":
        return in_words(value)
    if name == "loss":
        return f"{100 * value:.3g} %"
    if name == "speed":
        return f"{value:.0f} tokens/s" if value >= 100 else f"{value:.3g} tokens/s"
    return duration(value)


def spread(name: str, amount: Amount) -> str:
    """The interval in brackets; nothing where there is none."""
    low, high = amount.ends
    return "" if low == high else f"[{quantity(name, low)}, {quantity(name, high)}]"


def duration(seconds: float) -> str:
    """Seconds in a unit that fits."""
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def bounds_in_words(made: Choice) -> str:
    """The constraints as they were given."""
    given = [f"{NAMES[name]} at most {quantity(name, bound)}" for name, bound in made.constraints.given().items()]
    return ", ".join(given) or "no constraint"


def miss_in_words(miss: Excluded) -> str:
    """Why a candidate is not recommended: what it may reach, or what of it was not measured."""
    told = [
        f"{NAMES[name]} {'was not measured' if needed is None else f'up to {quantity(name, needed)}'}"
        for name, needed in miss.by.items()
    ]
    return f"{'undecided' if miss.undecided else 'no'}: {', '.join(told)}"


def change_in_words(change: Change) -> str:
    """One change of a constraint and what it would lead to."""
    bound = quantity(change.constraint, change.bound)
    follows = "nothing would qualify" if change.winner is None else change.winner.id
    how = f"of {bound} or more" if change.looser else f"below {bound}"
    return f"{NAMES[change.constraint]} {how}: {follows}"
