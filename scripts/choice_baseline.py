"""How far word overlap alone gets on the choice items of the embedded data: what a model is to be held against.

Scores an option by the summed inverse document frequency (from the training answers) of the words that it shares
with the prompt, over the square root of its number of words. Prints the accuracies and
writes `docs/reference/choice_source.json`.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.data import open_dataset

OUT = Path("docs/reference/choice_source.json")
ITEMS = 1000


def words(text: str) -> list[str]:
    """Words of a piece of code or prose."""
    return re.findall(r"[A-Za-z_]+", text)


def accuracy(items: list[dict[str, Any]], score: Callable[[str, str], float]) -> float:
    """Share of items whose right option has the largest score."""
    right = 0
    for item in items:
        scores = [score(item["prompt"], option) for option in item["options"]]
        right += scores.index(max(scores)) == item["label"]
    return right / len(items)


def main() -> None:
    """Compute, print and write."""
    data = open_dataset({"kind": "source"}, cache=Path("results/.cache"))
    items = data.view("choices", "test")[:ITEMS]
    answers = data.view("instructions", "train")
    seen = Counter(word for item in answers for word in set(words(item["answer"])))

    def overlap(prompt: str, option: str) -> float:
        theirs = set(words(option))
        shared = set(words(prompt)) & theirs
        return sum(math.log(len(answers) / (1 + seen[word])) for word in shared) / math.sqrt(1 + len(theirs))

    def arguments(prompt: str, option: str) -> float:
        named = set(words(prompt.split('"""')[0])) - {"def", "self"}
        return len(named & set(words(option))) / max(1, len(named))

    found = {
        "data": data.name,
        "fingerprint": data.fingerprint,
        "items": len(items),
        "accuracy": {"words shared": accuracy(items, overlap), "argument names shared": accuracy(items, arguments)},
    }
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found["accuracy"]))


if __name__ == "__main__":
    main()
