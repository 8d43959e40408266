"""The decision by hand, and the same in the page's script, on thousands of constraints."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from py_mini_racer import MiniRacer

from harness.analyse.choose import GOALS, Amount, Candidate, Constraints, choose, is_tied, verdict

SCRIPT = Path(__file__).resolve().parents[2] / "harness" / "report" / "templates" / "choose.js"


def one(id, loss=0.0, memory=1e9, seconds=10.0, speed=100.0, ties=(), spread=0.0):
    def amount(value):
        return None if value is None else Amount(value, value - spread * value, value + spread * value)

    return Candidate(id, id, "fp32", amount(loss), amount(memory), amount(seconds), amount(speed), ties=tuple(ties))


TABLE = [
    one("base", loss=0.0, memory=8e9, seconds=0.0, speed=100, ties=["int8"]),
    one("int8", loss=0.001, memory=4e9, seconds=60, speed=70),
    one("int4", loss=0.02, memory=2e9, seconds=90, speed=150),
    one("tiny", loss=0.2, memory=1e9, seconds=3600, speed=400),
]


def ids(found):
    return [candidate.id for candidate in found]


@pytest.mark.parametrize(
    ("bounds", "goal", "ranked"),
    [
        ({}, "quality", ["base", "int8", "int4", "tiny"]),
        ({}, "speed", ["tiny", "int4", "base", "int8"]),
        ({}, "memory", ["tiny", "int4", "int8", "base"]),
        ({"memory": 5e9}, "quality", ["int8", "int4", "tiny"]),
        ({"memory": 5e9, "loss": 0.05}, "speed", ["int4", "int8"]),
        ({"seconds": 80}, "memory", ["int8", "base"]),
        ({"loss": 0.0}, "speed", ["base"]),
        ({"memory": 1e8}, "quality", []),
    ],
)
def test_what_qualifies_is_ranked_by_the_goal(bounds, goal, ranked):
    found = choose(TABLE, Constraints(**bounds), goal)
    assert ids(found.ranked) == ranked
    assert {candidate.id for candidate in TABLE} == {*ranked, *(miss.candidate.id for miss in found.excluded)}


def test_nearest_misses_come_first_with_what_they_would_need():
    found = choose(TABLE, Constraints(memory=0.5e9, loss=0.1), "quality")
    assert found.winner is None
    assert [(miss.candidate.id, dict(miss.by)) for miss in found.excluded] == [
        ("tiny", {"memory": 1e9, "loss": 0.2}), ("int4", {"memory": 2e9}), ("int8", {"memory": 4e9}),
        ("base", {"memory": 8e9}),
    ]  # fmt: skip
    assert [miss.distance for miss in found.excluded] == [2, 4, 8, 16]


def test_what_would_change_the_answer():
    found = choose(TABLE, Constraints(memory=5e9, loss=0.05), "quality")
    assert found.winner.id == "int8"
    told = {(one.constraint, one.looser): (one.bound, one.winner and one.winner.id) for one in found.changes}
    assert told[("memory", True)] == (8e9, "base"), "the best needs all of it"
    assert ("loss", True) not in told, "what misses by quality alone is no better"
    assert told[("memory", False)] == (4e9, "int4")
    assert told[("loss", False)] == (0.001, None), "below that nothing qualifies: base needs more memory"
    assert told[("seconds", False)] == (60, None)


@pytest.mark.parametrize("change", choose(TABLE, Constraints(memory=5e9, loss=0.05), "speed").changes)
def test_each_change_alone_gives_the_answer_that_it_names(change):
    bounds = {"memory": 5e9, "loss": 0.05}
    bounds[change.constraint] = change.bound if change.looser else change.bound * (1 - 1e-6)
    again = choose(TABLE, Constraints(**bounds), "speed")
    assert (again.winner and again.winner.id) == (change.winner and change.winner.id)


def test_an_interval_across_the_bound_is_undecided_and_not_recommended():
    assert verdict(Amount(1.0, 0.8, 1.2), 1.3) == "meets"
    assert verdict(Amount(1.0, 0.8, 1.2), 1.1) == "undecided"
    assert verdict(Amount(1.0, 0.8, 1.2), 0.9) == "undecided"
    assert verdict(Amount(1.0, 0.8, 1.2), 0.7) == "misses"
    assert verdict(None, 1e30) == "misses", "what was not measured meets nothing"
    found = choose([one("a", memory=1e9, spread=0.1)], Constraints(memory=1.05e9), "quality")
    assert found.winner is None and found.excluded[0].undecided
    assert dict(found.excluded[0].by) == {"memory": 1.1e9}


@pytest.mark.parametrize(("goal", "missing"), [("quality", "loss"), ("speed", "speed"), ("memory", "memory")])
def test_what_was_not_measured_by_the_goal_is_not_recommended(goal, missing):
    found = choose([one("a", **{missing: None}), one("b", loss=0.5, memory=9e9, speed=1)], Constraints(), goal)
    assert ids(found.ranked) == ["b"] and [dict(miss.by) for miss in found.excluded] == [{missing: None}]
    nothing = choose([one("a", **{missing: None})], Constraints(), goal)
    assert nothing.winner is None and not nothing.changes


def test_misses_of_a_bound_of_nothing_are_in_order():
    table = [one("far", loss=0.3), one("near", loss=0.1)]
    assert [miss.candidate.id for miss in choose(table, Constraints(loss=0.0), "quality").excluded] == ["near", "far"]


def test_ties_are_told():
    found = choose(TABLE, Constraints(), "quality")
    assert ids(found.tied) == ["int8"] and is_tied(TABLE[1], TABLE[0], "quality"), "either side may say so"
    near = [one("a", speed=100, spread=0.1), one("b", speed=85, spread=0.1), one("c", speed=70, spread=0.1)]
    assert ids(choose(near, Constraints(), "speed").tied) == ["b"]


amounts = st.none() | st.floats(0, 100).map(lambda value: (value, 0.9 * value, 1.2 * value))
candidates = st.lists(st.tuples(amounts, amounts, amounts, amounts), min_size=1, max_size=8)
bounds = st.fixed_dictionaries({}, optional={name: st.floats(0, 120) for name in ("memory", "loss", "seconds")})


@settings(max_examples=200, deadline=None)
@given(candidates, bounds, st.sampled_from(GOALS))
def test_nothing_that_is_recommended_misses_and_a_looser_bound_never_loses(found, given_bounds, goal):
    made = [
        Candidate(str(place), "m", "fp32", *(None if value is None else Amount(*value) for value in values))
        for place, values in enumerate(found)
    ]
    constraints = Constraints(**given_bounds)
    chosen = choose(made, constraints, goal)
    for candidate in chosen.ranked:
        for name, bound in constraints.given().items():
            assert getattr(candidate, name).ends[1] <= bound
    looser = Constraints(**{name: 2 * bound + 1 for name, bound in constraints.given().items()})
    assert set(ids(chosen.ranked)) <= set(ids(choose(made, looser, goal).ranked))


def test_the_pages_script_decides_alike():
    engine = MiniRacer()
    engine.eval(SCRIPT.read_text())
    chance = random.Random(0)

    def amount():
        value = chance.choice([None, 0.0, chance.random()])
        wide = chance.choice([0, 0.3])
        return None if value is None else Amount(value, value * (1 - wide), value * (1 + wide))

    for _ in range(1500):
        names = [f"m{number}" for number in range(chance.randrange(1, 7))]
        table = [
            Candidate(name, name, "fp32", amount(), amount(), amount(), amount(),
                      ties=tuple(chance.sample(names, chance.randrange(len(names)))))
            for name in names
        ]  # fmt: skip
        asked = [name for name in ("memory", "loss", "seconds") if chance.random() < 0.6]
        bound = {name: chance.choice([0.0, chance.random()]) for name in asked}
        goal = chance.choice(GOALS)
        made = choose(table, Constraints(**bound), goal)
        asked = json.dumps([[candidate.to_dict() for candidate in table], bound, goal])
        told = json.loads(engine.eval(f"JSON.stringify(decide(...{asked}))"))
        assert told == {
            "ranked": ids(made.ranked), "tied": ids(made.tied),
            "excluded": [{"id": miss.candidate.id, "needs": dict(miss.by), "undecided": miss.undecided}
                         for miss in made.excluded],
        }  # fmt: skip
