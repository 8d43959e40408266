"""The table and the picture of "Explore", driven as a reader drives them."""

from __future__ import annotations

import itertools
import re

import pytest
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from harness.report.document import Document, Explorer, Paragraph, Section
from harness.report.pages import html

BODY = "#explore-rows"
FILTER = "#explore-controls input"
WORDS = {"precision": "fp32", "model": "a", "data": "b", "hardware": "cpu", "status": "done"}
METRICS = [{"key": "|checkpoint_bytes", "label": "Size", "task": "", "unit": "B", "direction": "lower"},
           {"key": "t|loss", "label": "Loss", "task": "t", "unit": "1", "direction": "lower"}]  # fmt: skip


def value(content, outcome, task, metric):
    line = content.score(outcome.key, task, metric)
    return None if line is None else line["value"]


def head(browser, number):
    return browser.find(f"#explore-head th:nth-child({number}) button")


def sorting(browser):
    return browser.run("return [...document.querySelectorAll('#explore-head th')].map((one) => one.ariaSort)")


def best(browser):
    said = browser.find("#explore-best").text
    found = re.fullmatch(r"No method beats on both: (.*)\.", said)
    return set() if found is None else set(found[1].split("; "))


def test_typing_filters_and_the_address_keeps_it(browser, page):
    browser.open(page)
    every = browser.rows(BODY)
    assert browser.find("#explore-count").text == f"{len(every)} of {len(every)} rows"
    browser.find(FILTER).click()
    browser.press("LoRA  fp32")
    expected = [row for row in every if "lora" in row[0] and row[1] == "fp32"]
    assert browser.rows(BODY) == expected and 0 < len(expected) < len(every)
    assert browser.find("#explore-count").text == f"{len(expected)} of {len(every)} rows"
    address = browser.until(lambda: "filter=" in browser.driver.current_url and browser.driver.current_url, "kept")
    browser.open(page, "#" + address.partition("#")[2])
    assert browser.rows(BODY) == expected and browser.find(FILTER).get_attribute("value") == "LoRA  fp32"
    assert abs(browser.run("return document.getElementById('explore').getBoundingClientRect().top")) < 2
    browser.find(FILTER).send_keys(*[Keys.BACKSPACE] * 10, "no such method")
    assert browser.rows(BODY) == []
    empty = "No method has both numbers."
    browser.until(lambda: browser.find("#explore-best").text == empty, "an empty picture says so")


def test_a_click_on_a_column_sorts_by_it_and_another_turns_it_round(browser, page, content):
    browser.open(page)
    number = next(place for place, text in enumerate(browser.run(
        "return [...document.querySelectorAll('#explore-head th')].map((one) => one.textContent)"), 1)
        if text == "Bits per byteperplexity")  # fmt: skip
    values = {(str(one.key[0]), str(one.key[3])): value(content, one, "perplexity", "bits_per_byte")
              for one in content.outcomes}  # fmt: skip
    for direction, sign in (("ascending", 1), ("descending", -1)):
        head(browser, number).click()
        shown = [values[row[0], row[1]] for row in browser.rows(BODY)]
        assert None not in shown and shown == sorted(shown, key=lambda one: sign * one)
        assert sorting(browser)[number - 1] == direction and sorting(browser).count("none") == len(sorting(browser)) - 1
    head(browser, 1).click()
    names = [row[0] for row in browser.rows(BODY)]
    assert names == sorted(names) and sorting(browser)[0] == "ascending"


def test_the_keyboard_alone_is_enough_and_the_focus_is_seen(browser, page):
    browser.open(page)
    browser.find(FILTER).click()
    browser.press("int4", Keys.TAB)
    axis = browser.run("return document.activeElement.value")
    browser.press(Keys.ARROW_DOWN)
    assert browser.run("return [document.activeElement.name, document.activeElement.value]") != ["x", axis]
    browser.press(Keys.TAB, Keys.TAB, Keys.TAB)  # the other axis, the list of the best, the table
    focused = "return [document.activeElement.textContent, document.activeElement.closest('th') !== null]"
    while not browser.run(focused)[1]:
        browser.press(Keys.TAB)
    browser.press(Keys.ENTER)
    assert browser.run(focused) == ["Method ▴", True], "the button that was pressed keeps the focus"
    browser.press(Keys.SPACE)
    assert sorting(browser)[0] == "descending"
    assert [row[0][:4] for row in browser.rows(BODY)] == ["int4"] * len(browser.rows(BODY))
    seen = set()
    for _ in range(40):
        browser.press(Keys.TAB)
        told = browser.run("""const one = document.activeElement;
            const { outlineStyle, outlineWidth } = getComputedStyle(one);
            return [one.localName, one.name || "", outlineStyle !== "none" && parseFloat(outlineWidth) >= 1]""")
        assert told[2], f"nothing shows that {told[0]} {told[1]} has the focus"
        seen.add(told[1] or told[0])
        if told[1] == "seconds":
            break
    assert {"button", "goal", "memory", "loss", "seconds"} <= seen, "the form comes after the table"


@pytest.mark.parametrize(
    ("x", "y"),
    [(("generation_speed", "decode_tokens_per_second"), ("perplexity", "bits_per_byte")),
     (("perplexity(view=instructions)", "bits_per_byte"), ("generation_speed", "peak_memory_rise_bytes"))],
)  # fmt: skip
def test_any_two_numbers_make_the_picture(browser, page, content, x, y):
    browser.open(page)
    browser.drawn()
    Select(browser.find("select[name=x]")).select_by_value("|".join(x))
    Select(browser.find("select[name=y]")).select_by_value("|".join(y))
    titles = [Select(browser.find(f"select[name={name}]")).first_selected_option.text for name in "xy"]
    browser.until(lambda: all(one in browser.find("#explore-picture").text for one in titles), "both axes are named")
    points = {}
    for one in content.outcomes:
        found = value(content, one, *x), value(content, one, *y)
        if None not in found:
            a = -found[0] if "tokens" in x[1] else found[0]
            points[f"{one.key[0]} · {one.key[3]}"] = (one.key[1], a, found[1])
    alone = {model for model, *_ in points.values() if sum(other[0] == model for other in points.values()) == 1}
    unbeaten = {
        name for name, (model, a, b) in points.items()
        if model not in alone and not any(
            where == model and c <= a and d <= b and (c, d) != (a, b) for where, c, d in points.values())
    }  # fmt: skip
    assert best(browser) == unbeaten
    marks = browser.run("return ['others', 'best'].map((one) => document.querySelectorAll("
                        "`#explore-picture .mark-symbol.role-mark.${one}_marks path`).length)")  # fmt: skip
    assert marks == [len(points) - len(unbeaten), len(unbeaten)]
    assert browser.run("return document.querySelectorAll('#explore-picture .mark-rule.role-mark line').length")


def overlaps(browser):
    boxes = browser.run("""return [...document.querySelectorAll("#explore-picture .mark-text.role-mark text")]
        .filter((one) => Number(getComputedStyle(one).opacity) > 0)
        .map((one) => one.getBoundingClientRect().toJSON())""")
    place = browser.run("return document.getElementById('explore-picture').getBoundingClientRect().toJSON()")
    outside = [one for one in boxes if one["left"] < place["left"] or one["right"] > place["right"] + 1]
    return outside + [
        (one, two) for one, two in itertools.combinations(boxes, 2)
        if min(one["right"], two["right"]) - max(one["left"], two["left"]) > 1
        and min(one["bottom"], two["bottom"]) - max(one["top"], two["top"]) > 3
    ]  # fmt: skip


@pytest.mark.parametrize("width", [1280, 390])
def test_names_in_the_picture_do_not_cover_one_another(browser, tmp_path, width):
    rows = [{"method": f"a_method_with_a_long_name(number={number})", **WORDS,
             "numbers": {"|checkpoint_bytes": [1e6 + 3e4 * number, None, None], "t|loss": [1 - number / 100, 0, 2]}}
            for number in range(12)]  # fmt: skip
    file = tmp_path / "index.html"
    file.write_text(html(Document("names", [], [Section("Explore", [Explorer(METRICS, rows)])])))
    browser.open(file, width=width)
    browser.drawn()
    assert len(best(browser)) == 12 and not overlaps(browser)
    assert browser.run("return document.querySelectorAll('#explore-picture .mark-text.role-mark text').length") == 12


def test_ten_thousand_rows_move_nothing_and_answer_at_once(browser, tmp_path):
    rows = [{"method": f"m{number}", **WORDS, "numbers": {
                "|checkpoint_bytes": [1e6 + number * 1e3, None, None], "t|loss": [1e4 - number, 9e3, 1.1e4]}}
            for number in range(10_000)]  # fmt: skip
    after = [Section("After", [Paragraph("word " * 200) for _ in range(10)])]
    file = tmp_path / "index.html"
    file.write_text(html(Document("many", [], [Section("Explore", [Explorer(METRICS, rows)]), *after])))
    browser.open(file)
    browser.drawn()
    shifts = browser.run("return window.shifts")
    assert sum(shifts) < 0.001, shifts
    place = "return ['explore-rows', 'after'].map((one) => document.getElementById(one).getBoundingClientRect().top)"
    before = browser.run(place)
    browser.find(FILTER).click()
    browser.press("m99")
    assert browser.find("#explore-count").text == "111 of 10 000 rows" and browser.run(place) == before
    head(browser, 3).click()
    assert browser.rows(BODY)[0][0] == "m9999" and browser.run(place) == before
    browser.until(lambda: "filter=m99" in browser.driver.current_url, "the picture and the address have followed")
    assert browser.run(place) == before and sum(browser.run("return window.shifts")) < 0.001
    browser.find(FILTER).send_keys(*[Keys.BACKSPACE] * 2)
    assert len(browser.rows(BODY)) == 200 and browser.rows(BODY)[0][0] == "m9999"
    assert browser.find("#explore-count").text == "200 of 10 000 rows; filter to see the others"
    slowest = browser.run("""const box = arguments[0]; let most = 0;
        for (const text of ["m1", "m12", "m1", "m"]) {
          const begun = performance.now();
          box.value = text; box.dispatchEvent(new Event("input")); document.body.offsetTop;
          most = Math.max(most, performance.now() - begun);
        } return most;""", browser.find(FILTER))  # fmt: skip
    assert slowest < 1000, f"{slowest} ms between a key and the rows"
