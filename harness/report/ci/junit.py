"""JUnit XML: one test case per judged series, in the form that Jenkins' schema describes and others read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from xml.etree import ElementTree

from harness.analyse.case import Case, Status, worst_first
from harness.report.ci.told import clean, one_line, particulars

_ELEMENT: dict[Status, str] = {
    "regression": "failure", "errored": "error", "missing": "error", "refused": "error", "insufficient": "skipped",
    "machine moved": "skipped",
}  # fmt: skip
LONGEST_NAME, LONGEST_MESSAGE = 500, 1000


def junit(cases: Sequence[Case], name: str, *, acceptable: bool = True) -> str:
    """The cases, worst first, as one ``testsuite`` of ``name``; text that XML forbids is shown as escapes.

    A regression is a failure; what could not be judged is an error; what says nothing either way is skipped.
    """
    ordered = worst_first(cases)
    found = Counter(_ELEMENT.get(case.status, "passed") for case in ordered)
    counts = {
        "tests": str(len(ordered)), "failures": str(found["failure"]), "errors": str(found["error"]),
        "skipped": str(found["skipped"]), "time": "0",
    }  # fmt: skip
    root = ElementTree.Element("testsuites", {"name": one_line(name, LONGEST_NAME), **counts})
    suite = ElementTree.SubElement(root, "testsuite", {"name": one_line(name, LONGEST_NAME), **counts})
    names = Counter(map(_names, ordered))
    for case in ordered:
        lines = particulars(case, acceptable=acceptable)
        suite.append(_testcase(case, lines, alone=names[_names(case)] == 1))
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _names(case: Case) -> tuple[str, str]:
    group = f"{case.place.suite}.{case.place.operation}"
    return one_line(group, LONGEST_NAME), one_line(case.series, LONGEST_NAME)


def _testcase(case: Case, lines: list[str], *, alone: bool) -> ElementTree.Element:
    group, name = _names(case)
    # Readers know a test by its two names: where the words do not tell two series apart, the id does.
    told = name if alone else f"{name} [{one_line(case.id, 40)}]"
    element = ElementTree.Element("testcase", {"classname": group, "name": told, "time": "0"})
    kind = _ELEMENT.get(case.status)
    if kind is not None:
        message = {"message": one_line(case.why, LONGEST_MESSAGE), "type": case.status}
        if kind == "skipped":
            del message["type"]  # the schema has none there
        ElementTree.SubElement(element, kind, message).text = _body([case.why, *lines])
    elif lines or case.why:
        text = [f"{case.status}: {case.why}" if case.why else case.status, *lines]
        ElementTree.SubElement(element, "system-out").text = _body(text)
    return element


def _body(lines: Sequence[str]) -> str:
    return clean("\n".join(lines).replace("\r\n", "\n").replace("\r", "\n"))
