"""Turns the modules of ``source`` into its views; called once when the data set is prepared, cached as one file.

Validation and test never repeat train: a function whose body or whose docstring also occurs in train is left out of
them, and so is a module most of whose lines do. Choices are made from groups of four bodies of about equal
length, and every body of a group is right exactly once: nothing about a body alone, its length least of all, says
whether it is the right one. The sides of a pair have the same characters (``scrambled``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from harness.data.functions import Function, functions_of, parses
from harness.data.scrambled import scrambled
from harness.data.splits import SPLITS, order_of

BODY_LENGTHS = (40, 700)
GROUP = 4
LENGTH_TOLERANCE = 0.15
LONG_LINE = 40
COPIED_SHARE = 0.5
CLASSES = 8

Views = dict[str, dict[str, list[Any]]]


def build_views(modules: Mapping[str, Mapping[str, str]]) -> Views:
    """Return view -> split -> items from split -> module path -> text. Orders and choices come from hashes alone."""
    kept = {split: _documents(split, modules) for split in SPLITS}
    functions = _functions(kept)
    classes = _classes(functions["train"])
    views: Views = {name: {} for name in ("text", "instructions", "choices", "labels", "text_to_text", "pairs")}
    for split in SPLITS:
        found = functions[split]
        groups = _groups(found)
        views["text"][split] = [kept[split][path] for path in sorted(kept[split], key=order_of)]
        views["instructions"][split] = [{"prompt": each.prompt, "answer": each.body} for each in found]
        views["choices"][split] = [_choice(group, index) for group in groups for index in range(GROUP)]
        views["pairs"][split] = [pair for each in found if (pair := _pair(each)) is not None]
        views["labels"][split] = [
            {"text": each.prompt, "label": _package(each)} for each in found if _package(each) in classes
        ]
        views["text_to_text"][split] = [
            {"source": f"{each.signature}\n{each.body}", "target": _sentence(each.paragraph)} for each in found
        ]
    return views


def _documents(split: str, modules: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Modules of a split without blank and repeated ones, and outside train without copies of train."""
    seen = set() if split == "train" else {text.strip() for text in modules["train"].values()}
    train_lines = set() if split == "train" else _long_lines(modules["train"].values())
    kept = {}
    for path, text in sorted(modules[split].items()):
        lines = _long_lines([text])
        copied = lines and len(lines & train_lines) > COPIED_SHARE * len(lines)
        if text.strip() and text.strip() not in seen and not copied:
            kept[path] = text
        seen.add(text.strip())
    return kept


def _long_lines(texts: Iterable[str]) -> set[str]:
    return {line.strip() for text in texts for line in text.split("\n") if len(line.strip()) >= LONG_LINE}


def _functions(documents: Mapping[str, Mapping[str, str]]) -> dict[str, list[Function]]:
    """Usable functions of each split in hash order, none twice, and none that an earlier split knows."""
    bodies: set[str] = set()
    paragraphs: set[str] = set()
    result = {}
    for split in SPLITS:  # train first: the later splits give way
        every = [each for path, text in documents[split].items() for each in functions_of(path, text)]
        known_bodies, known_paragraphs = set(bodies), set(paragraphs)
        fresh = []
        for each in sorted(every, key=lambda function: order_of(function.key)):
            known = each.normalised_body in known_bodies or each.normalised_paragraph in known_paragraphs
            if not known and _usable(each):
                fresh.append(each)
                known_bodies.add(each.normalised_body)
        result[split] = fresh
        bodies |= {each.normalised_body for each in every}
        paragraphs |= {each.normalised_paragraph for each in every if each.paragraph}
    return result


def _usable(function: Function) -> bool:
    low, high = BODY_LENGTHS
    return bool(function.paragraph) and low <= len(function.body) <= high and parses(function)


def _groups(functions: list[Function]) -> list[list[Function]]:
    """Groups of four bodies within 15 % of each other's length, of four modules; whole groups in hash order."""
    waiting = sorted(functions, key=lambda each: (len(each.body), order_of(each.key)))
    groups = []
    while waiting:
        group = [waiting[0]]
        for each in waiting[1:]:
            if len(group) == GROUP or len(each.body) > len(group[0].body) * (1 + LENGTH_TOLERANCE):
                break
            if each.module not in {member.module for member in group}:
                group.append(each)
        members = {each.key for each in group} if len(group) == GROUP else {group[0].key}
        waiting = [each for each in waiting if each.key not in members]
        if len(group) == GROUP:
            groups.append(sorted(group, key=lambda each: order_of(f"group:{each.key}")))
    return sorted(groups, key=lambda group: order_of(f"groups:{group[0].key}"))


def _choice(group: list[Function], index: int) -> dict[str, Any]:
    """The item whose right body is ``group[index]``; over a group the label takes each position once."""
    shift = order_of(f"choice:{group[0].key}") % GROUP
    label = (index * 3 + shift) % GROUP
    options = [each.body for position, each in enumerate(group) if position != index]
    options.insert(label, group[index].body)
    return {"prompt": group[index].prompt, "options": options, "label": label}


def _pair(function: Function) -> dict[str, str] | None:
    """The real body against one of the same characters that does not hold together; None where there is none."""
    worse = scrambled(function.body, function.key)
    return None if worse is None else {"prompt": function.prompt, "chosen": function.body, "rejected": worse}


def _package(function: Function) -> str:
    """Top-level subpackage: ``polys`` of ``polys/rings.py``."""
    return function.module.split("/")[0].removesuffix(".py")


def _classes(functions: list[Function]) -> frozenset[str]:
    counts = Counter(_package(each) for each in functions)
    return frozenset(sorted(counts, key=lambda name: (-counts[name], name))[:CLASSES])


def _sentence(paragraph: str) -> str:
    flat = " ".join(paragraph.split())
    return flat.split(". ")[0].rstrip(".") + "."
