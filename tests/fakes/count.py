"""A fake task: gives a fixed number, keeps an artefact, and says whether its reference was there."""

from __future__ import annotations

from typing import Any

from harness.contract import Job, Task


class Count(Task):
    """Scores nothing, reports three facts."""

    summary = "reports fixed numbers"
    kinds = frozenset({"none", "causal"})
    needs = frozenset()
    metrics = ("perplexity",)

    def score(self, scorer: Any, job: Job) -> None:
        """Report."""
        job.meter.metric("perplexity", 5.0)
        job.meter.items("perplexity", {"window": [0, 1], "nll": [1.0, 2.0], "tokens": [1, 1], "bytes": [4, 4]})
        if job.artefacts is not None:
            (job.artefacts / "logits").write_text("kept")
        if job.reference is not None:
            job.meter.observe("reference", (job.reference / "logits").read_text())
