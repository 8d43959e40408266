"""The decision form moved by hand answers as ``harness choose`` does."""

from __future__ import annotations

import json
import random

import pytest
from selenium.webdriver import ActionChains
from selenium.webdriver.common.keys import Keys
from typer.testing import CliRunner

from harness.analyse.choose import Constraints, choose
from harness.cli.commands import app
from harness.report.candidates import candidates_of, question_of
from harness.report.decision import build_decision

NAMES = ("memory", "loss", "seconds")
OPTIONS = {"memory": "--memory={!r}B", "loss": "--max-quality-loss={!r}", "seconds": "--time={!r}s"}


@pytest.fixture(scope="module")
def asked(content):
    question = question_of(content, model=None, hardware=None, quality=None)
    return question, candidates_of(content, question)


def slider(browser, name):
    return browser.find(f"#decision input[name={name}]")


def stops(candidates, name):
    """Where a slider can stand, by the form's rule; past the last there is no limit."""
    return sorted({getattr(one, name).ends[1] for one in candidates if getattr(one, name) is not None})


def places(browser):
    """Where each slider stands."""
    return browser.run("return Object.fromEntries([...document.querySelectorAll('#decision input[type=range]')]"
                       ".map((one) => [one.name, Number(one.value)]))")  # fmt: skip


def bounds(browser, candidates):
    every = {name: stops(candidates, name) for name in NAMES}
    return {name: every[name][place] for name, place in places(browser).items() if place < len(every[name])}


def answer(browser):
    """Ranked, tied and excluded candidates as the table shows them."""
    rows = [(f"{method} @ {precision}", state) for method, precision, state, *_ in browser.rows("#answer")]
    ranked = [one for one, state in rows if state in ("recommended", "tied with it", "qualifies")]
    tied = {one for one, state in rows if state == "tied with it"}
    return ranked, tied, [row for row in rows if row[0] not in ranked]


def move(browser, name, place, steps, chance):
    """Put a slider to a place: by a drag of its thumb, then the arrows for what the drag missed."""
    one = slider(browser, name)
    if chance.random() < 0.5:
        width = one.size["width"]
        here = places(browser)[name]
        inside = width - 16  # a thumb is as wide as 16 pixels
        offset = [round((at / steps - 0.5) * inside) for at in (here, place)]
        ActionChains(browser.driver, duration=0).move_to_element_with_offset(one, offset[0], 0).click_and_hold() \
            .move_by_offset(offset[1] - offset[0], 0).release().perform()  # fmt: skip
    else:
        one.click()
    off = place - places(browser)[name]
    if off:
        browser.press(*[Keys.ARROW_RIGHT if off > 0 else Keys.ARROW_LEFT] * abs(off))


def test_thirty_settings_by_hand_answer_as_the_command(browser, page, asked, results):
    _, candidates = asked
    chance = random.Random(8)
    browser.open(page, "#decide")
    every = {name: stops(candidates, name) for name in NAMES}
    put = {name: len(every[name]) for name in NAMES}
    assert places(browser) == put, "no limit at first"
    seen = set()
    for number in range(30):
        goal = chance.choice(("quality", "speed", "memory"))
        browser.find(f"#decision input[value={goal}]").click()
        for name in chance.sample(NAMES, 2):
            put[name] = chance.randint(0, len(every[name]))
            move(browser, name, put[name], len(every[name]), chance)
        assert places(browser) == put
        given = bounds(browser, candidates)
        made = choose(candidates, Constraints(**given), goal)
        ranked, tied, excluded = answer(browser)
        assert ranked == [one.id for one in made.ranked], (goal, given)
        assert tied == {one.id for one in made.tied}
        assert [one for one, _ in excluded] == [miss.candidate.id for miss in made.excluded]
        assert [state.startswith("undecided") for _, state in excluded] == [miss.undecided for miss in made.excluded]
        winner = browser.find("#winner").text
        assert winner.startswith(ranked[0].replace(" @ ", " at ") if ranked else "Nothing meets these constraints")
        seen.add((tuple(ranked), *sorted(tied)))
        if number % 15 == 0:  # each reads the records again
            options = [OPTIONS[name].format(bound) for name, bound in given.items()]
            command = ["choose", "quick", "--results", str(results), "--goal", goal, "--json", *options]
            told = json.loads(CliRunner().invoke(app, command).stdout)
            assert [one["id"] for one in told["ranked"]] == ranked and told["winner"] == (ranked or [None])[0]
            assert [one["id"] for one in told["excluded"]] == [one for one, _ in excluded]
    assert len(seen) >= 15, "the settings differ in their answers"


def test_the_form_without_a_mouse(browser, page, asked):
    _, candidates = asked
    browser.open(page, "#decide")
    browser.find("#decision input[value=quality]").click()
    browser.press(Keys.ARROW_RIGHT)
    assert browser.find("#decision input[value=speed]").is_selected()
    browser.press(Keys.TAB, Keys.HOME)
    told = slider(browser, "memory").get_attribute("aria-valuetext")
    assert told.startswith("at most ") and browser.find("output[data-of=memory]").text == told
    made = choose(candidates, Constraints(memory=stops(candidates, "memory")[0]), "speed")
    assert answer(browser)[0] == [one.id for one in made.ranked]
    browser.press(Keys.END)
    assert browser.find("output[data-of=memory]").text == "no limit"
    browser.press(Keys.ENTER)
    assert browser.driver.current_url.endswith("#decide"), "a form that is not sent anywhere"


@pytest.mark.parametrize(
    ("goal", "given"),
    [("quality", {}), ("speed", {"loss": 0.02}), ("memory", {"loss": 0.02, "seconds": 60.0}),
     ("speed", {"memory": 1e6})],
)  # fmt: skip
def test_the_page_of_a_decision_opens_with_what_was_asked(browser, content, asked, tmp_path, goal, given):
    question, candidates = asked
    made = choose(candidates, Constraints(**given), goal)
    page, *_ = build_decision(content, question, candidates, made, None, tmp_path / "quick" / "choose")
    browser.open(page)
    ranked, tied, excluded = answer(browser)
    assert ranked == [one.id for one in made.ranked] and tied == {one.id for one in made.tied}
    assert [one for one, _ in excluded] == [miss.candidate.id for miss in made.excluded]
