"""A data set of every view that fine-tuning reads, small enough to learn in a few steps."""

from __future__ import annotations

import random

from harness.training.finetuning import KINDS_OF_VIEW


class Words:
    """A verb that tells the class, the right option and the text that should come of a source."""

    name = "words"
    fingerprint = "words"

    def views(self):
        return tuple(KINDS_OF_VIEW)

    def view(self, name, split):
        chance = random.Random(f"{name}{split}")
        return [self._item(name, chance) for _ in range(96 if split == "train" else 24)]

    def _item(self, view, chance):
        verbs = ["add", "scale", "raise"]
        verb, number = chance.choice(verbs), chance.randrange(10)
        text = f"def {verb}_{number}(a):"
        if view == "labels":
            return {"text": text, "label": verb}
        if view == "choices":
            options = chance.sample(verbs, 2)
            options = options if verb in options else [verb, options[1]]
            return {"prompt": text, "options": [f" return {one}" for one in options], "label": options.index(verb)}
        pair = (text, f"{number} {verb}")
        return dict(zip(("source", "target") if view == "text_to_text" else ("prompt", "answer"), pair, strict=True))
