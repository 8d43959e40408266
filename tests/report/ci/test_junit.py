"""JUnit XML as two readers understand it, and as the schema that Jenkins publishes describes it."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from junitparser import Error, Failure, JUnitXml, Skipped

from harness.analyse.case import ORDER
from harness.report.ci.junit import junit

# The parts of the Jenkins schema (junit-10.xsd) that can occur here: element -> (attributes, children).
COUNTS = {"tests", "failures", "errors", "skipped", "time"}
SCHEMA = {
    "testsuites": ({"name", *COUNTS}, {"testsuite"}),
    "testsuite": ({"name", *COUNTS}, {"testcase"}),
    "testcase": ({"name", "classname", "time"}, {"failure", "error", "skipped", "system-out"}),
    "failure": ({"message", "type"}, set()),
    "error": ({"message", "type"}, set()),
    "skipped": ({"message"}, set()),
    "system-out": (set(), set()),
}


def check(element):
    """The structure by hand: known elements and attributes, required ones there, counts that are true."""
    attributes, children = SCHEMA[element.tag]
    assert set(element.attrib) <= attributes
    assert {child.tag for child in element} <= children
    if element.tag == "testcase":
        assert element.get("name") and element.get("classname") is not None and len(element) <= 1
    if element.tag in ("testsuite", "testsuites"):
        counted = {"tests": "testcase", "failures": "failure", "errors": "error", "skipped": "skipped"}
        assert {name: int(element.get(name)) for name in counted} == {
            name: len(list(element.iter(tag))) for name, tag in counted.items()
        }
    for child in element:
        check(child)


def parsed(text):
    root = ElementTree.fromstring(text.encode())
    check(root)
    return root


def test_every_status_is_what_ci_makes_of_it(make_case):
    cases = [make_case(status, method=f"m{number}") for number, status in enumerate(reversed(ORDER))]
    root = parsed(junit(cases, "nightly"))
    found = {case.find("*").tag for case in root.iter("testcase")}
    assert found == {"failure", "error", "skipped", "system-out"}
    assert root.attrib == {"name": "nightly", "tests": "9", "failures": "1", "errors": "3", "skipped": "2", "time": "0"}
    kinds = [case.find("*").tag for case in root.iter("testcase")]
    assert kinds == ["failure", "error", "error", "error", "skipped", "skipped", *["system-out"] * 3]


def test_a_second_reader_finds_the_same(make_case):
    cases = [make_case(status, why=f"why {status}", method=status) for status in ORDER]
    text = junit(cases, "nightly")
    suite = next(iter(JUnitXml.fromstring(text.encode())))
    read = {case.name: [(type(one), one.message, one.text) for one in case.result] for case in suite}
    assert len(read) == len(ORDER) == suite.tests
    for case in ElementTree.fromstring(text).iter("testcase"):
        kinds = {"failure": Failure, "error": Error, "skipped": Skipped}
        told = [(kinds[one.tag], one.get("message"), one.text) for one in case if one.tag in kinds]
        assert read[case.get("name")] == told


def test_what_a_regression_says(make_case):
    case = make_case("regression", suspects=("torch 2.12 -> 2.13", "kernel 6.1 -> 6.2"), since="2026", smallest=0.04)
    found = parsed(junit([case], "nightly")).find(".//testcase")
    assert (found.get("classname"), found.get("name")) == (
        "nightly.train", "train lora(rank=8) @ embedded, source, fp32, cpu(threads=2), seed 0: step_seconds"
    )  # fmt: skip
    assert found.find("failure").attrib == {"message": "slower since 3 nights", "type": "regression"}
    body = found.find("failure").text
    for told in ("100 ms -> 125 ms (+25 %, [20, 30] %)", "torch 2.12 -> 2.13; kernel 6.1 -> 6.2", "since 2026", "4 %"):
        assert told in body
    assert 'harness accept 0a1b2c3d4e5f --reason "..."' in body


def test_only_what_can_be_accepted_says_how(make_case):
    for status in ORDER:
        text = junit([make_case(status)], "nightly")
        assert ("harness accept" in text) == (status in ("regression", "missing"))


def test_series_that_words_do_not_tell_apart_have_two_names(make_case):
    cases = [make_case(step=name * 16, id=name * 12) for name in ("a", "b")] + [make_case(method="base")]
    names = [case.get("name") for case in parsed(junit(cases, "nightly")).iter("testcase")]
    assert len(set(names)) == 3
    assert sum(name.endswith(("[aaaaaaaaaaaa]", "[bbbbbbbbbbbb]")) for name in names) == 2


def test_no_case_is_an_empty_suite():
    root = parsed(junit([], "nightly"))
    assert root.get("tests") == "0" and root.find("testsuite") is not None


@pytest.mark.parametrize("status", ORDER)
def test_hostile_text_stays_text(hostile, hostile_case, status):
    text = junit([hostile_case(hostile, status), hostile_case(hostile, status, metric="loss")], hostile)
    root = parsed(text)
    assert len(list(root.iter("testcase"))) == 2
    assert not re.search("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", text)
    assert len(next(iter(JUnitXml.fromstring(text.encode())))) == 2
    found = root.find(".//testcase").find("*")
    visible = re.sub("[^\x21-\x7e]", "", hostile)
    assert visible in re.sub("[^\x21-\x7e]", "", found.text or "") or "\\u" in found.text


def test_names_and_messages_are_cut_but_bodies_are_whole(make_case):
    found = parsed(junit([make_case("errored", why="x" * 10_000, method="m" * 10_000)], "nightly")).find(".//testcase")
    assert len(found.get("name")) == 500 and len(found.find("error").get("message")) == 1000
    assert found.find("error").text.count("x") >= 10_000
