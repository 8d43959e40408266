"""``judged_generation``: answers sampled for held-out prompts, and what a judge thinks of them.

The judge is a reward model that learns from other pairs than the method, to which the plan holds it, and is the same
for every method of a sweep. Beside its reward stands that of the reward model which a policy was trained against:
where the second rises and the first does not, the policy has learnt to please its reward model and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.contract import Adapter, Checkpoint, Job, Task, param
from harness.errors import StepError

SHOWN = 3
JUDGED_PAIRS = 300


class JudgedGeneration(Task):
    """Reward by judge and by training reward model, KL, length and diversity of sampled answers."""

    summary = "sampled answers: a judge's reward, KL from the reference, length, diversity"
    requires = ("torch", "transformers")
    methods = ("judge",)
    metrics = (
        "judge_reward", "judge_accuracy", "training_reward", "kl_from_reference", "answer_tokens", "ended_share",
        "distinct_1", "distinct_2",
    )  # fmt: skip

    @dataclass(frozen=True)
    class Params:
        judge: str | None = param("reward_model(half=second)", "method that makes the judge, from the base model")
        items: int = param(128, "number of prompts", low=2)
        new_tokens: int = param(32, "longest answer, tokens", low=2)
        temperature: float = param(0.7, "of sampling", low=0.01)
        length: int = param(256, "longest prompt with its answer, tokens", low=8)
        split: str = param("test", "split whose prompts are answered", choices=("validation", "test"))

    def view(self) -> str | None:
        """Prompts of preference pairs."""
        return "pairs"

    def conflict(self, chain: Sequence[Adapter], inputs: Mapping[str, Sequence[Adapter]]) -> str | None:
        """A judge of pairs that the method has learnt from."""
        judged_by = [half for adapter in inputs.get("judge", ()) if (half := _half(adapter)) is not None]
        for half in (found for adapter in chain if (found := _half(adapter)) is not None):
            if any("all" in (half, other) or half == other for other in judged_by):
                return f"the judge must not learn from the method's pairs: both read half={half}, or one reads all"
        return None

    def score(self, scorer: Any, job: Job) -> None:
        """Sample one answer for each prompt, then ask the judge, the reward model and the reference about them."""
        from harness.models.chat import tell_rendering
        from harness.models.sampling import sample
        from harness.training.preferences import prompts_that_fit

        given = self.params
        with job.meter.span("data"):
            room = min(given.length, scorer.max_length) - given.new_tokens
            prompts, long = prompts_that_fit(job.data, scorer.tokenizer, room, given.split, limit=given.items)
            job.meter.observe("items", {"scored": len(prompts), "left_out": long})
            tell_rendering(job.meter, job.data.view("pairs", given.split), scorer.tokenizer)
        with job.meter.span("generate"):
            ids = [prompt for _, prompt in prompts]
            answers = sample(
                scorer.model, ids, given.new_tokens, given.temperature, scorer.precision, scorer.eos_id, seed=job.seed
            )
        columns: dict[str, list[Any]] = {"item": [place for place, _ in prompts], "tokens": list(map(len, answers))}
        if "judge" in job.inputs:
            columns["judge_reward"] = self._judged(job.inputs["judge"], prompts, answers, scorer, job)
        if "reward" in job.checkpoint.parts:
            sequences = [prompt + answer for prompt, answer in zip(ids, answers, strict=True)]
            columns["training_reward"] = _scores(job.checkpoint, sequences, job, "reward")
        if "reference" in job.checkpoint.parts:
            columns["kl_from_reference"] = _divergences(scorer, ids, answers, given.temperature, job)
        self._tell(columns, answers, scorer, job)

    def _judged(
        self, judge: Checkpoint, prompts: Sequence[Any], answers: Sequence[list[int]], scorer: Any, job: Job
    ) -> list[float]:
        """The judge's score of each answer; it reads text, by its own tokenizer. Its accuracy is told too."""
        from harness.models.reward import alignment_tokenizer
        from harness.training.examples import prompt_ids, tokenize
        from harness.training.preferences import accuracy, half_for_ties, preference_pairs

        if "reward" not in judge.parts:
            raise StepError("the judge is no reward model: name a method that ends with reward_model")
        tokenizer = alignment_tokenizer(judge)
        items = job.data.view("pairs", self.params.split)
        texts = [scorer.tokenizer.decode(answer, skip_special_tokens=True) for answer in answers]
        sequences = []
        for (place, _), answer, text in zip(prompts, answers, texts, strict=True):
            end = [tokenizer.eos_token_id] if answer and answer[-1] == scorer.eos_id else []
            sequences.append(prompt_ids(items[place]["prompt"], tokenizer) + tokenize(tokenizer, [text])[0] + end)
        pairs = preference_pairs(job.data, tokenizer, self.params.length, self.params.split, limit=JUDGED_PAIRS).found
        sides = [pair.prompt + side for pair in pairs for side in (pair.chosen, pair.rejected)]
        scores = _scores(judge, [*sequences, *sides], job, "judge")
        of_pairs = scores[len(sequences) :]
        margins = [of_pairs[at] - of_pairs[at + 1] for at in range(0, len(of_pairs), 2)]
        job.meter.metric("judge_accuracy", accuracy(margins))
        right = [half_for_ties(margin) for margin in margins]
        job.meter.items("judge", {"item": [pair.place for pair in pairs], "correct": right})
        return scores[: len(sequences)]

    def _tell(self, columns: dict[str, list[Any]], answers: Sequence[list[int]], scorer: Any, job: Job) -> None:
        count = len(answers)
        for name in ("judge_reward", "training_reward", "kl_from_reference"):
            if name in columns:
                job.meter.metric(name, sum(columns[name]) / count)
        job.meter.metric("answer_tokens", sum(columns["tokens"]) / count)
        job.meter.metric("ended_share", sum(answer[-1:] == [scorer.eos_id] for answer in answers) / count)
        for size in (1, 2):
            job.meter.metric(f"distinct_{size}", distinct(answers, size))
        job.meter.items("judged", columns)
        job.meter.observe("samples", [scorer.decode(answer) for answer in answers[:SHOWN]])


def _half(adapter: Adapter) -> str | None:
    """Which half of the pairs a technique learns from; None where it learns from none."""
    return getattr(adapter.params, "half", None) if adapter.view == "pairs" else None


def distinct(answers: Sequence[Sequence[int]], size: int) -> float:
    """Distinct runs of ``size`` tokens over all of them, within answers; 0 where there is none."""
    runs = [tuple(answer[at : at + size]) for answer in answers for at in range(len(answer) - size + 1)]
    return len(set(runs)) / len(runs) if runs else 0.0


def _scores(checkpoint: Checkpoint, sequences: Sequence[list[int]], job: Job, span: str) -> list[float]:
    from harness.models.reward import alignment_tokenizer, open_reward_model, rewards

    with job.meter.span(span):
        tokenizer = alignment_tokenizer(checkpoint)
        model = open_reward_model(checkpoint.parts["reward"], job.precision, job.hardware, tokenizer).eval()
        return rewards(model, sequences, job.precision)


def _divergences(
    scorer: Any, prompts: Sequence[list[int]], answers: Sequence[list[int]], temperature: float, job: Job
) -> list[float]:
    """KL(policy || reference) of each answer's next-token distributions at ``temperature``, summed over its tokens."""
    import numpy

    from harness.models.loading import load_model
    from harness.models.reward import reference_of
    from harness.models.scoring import log_probabilities

    with job.meter.span("reference"):
        reference = load_model(reference_of(job.checkpoint), job.precision, job.hardware).eval()
        sequences = [prompt + answer for prompt, answer in zip(prompts, answers, strict=True)]
        own, other = (log_probabilities(model, sequences, job.precision) for model in (scorer.model, reference))
    found = []
    for prompt, mine, theirs in zip(prompts, own, other, strict=True):
        p, q = (tempered(rows[len(prompt) - 1 :], temperature) for rows in (mine, theirs))
        found.append(float((numpy.exp(p) * (p - q)).sum(dtype="float64")))
    return found


def tempered(log_probabilities: Any, temperature: float) -> Any:
    """Log-probabilities [n, vocabulary] of the same distributions at another temperature."""
    import numpy

    scaled = log_probabilities / temperature
    top = scaled.max(axis=-1, keepdims=True)
    return scaled - top - numpy.log(numpy.exp(scaled - top).sum(axis=-1, keepdims=True))
