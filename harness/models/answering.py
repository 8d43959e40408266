"""Any scorer as a model of lm-eval: its requests answered by the harness's own runtimes, llama.cpp included.

The rules, by name:

``lm_eval``: those of lm-eval's own ``hf`` model. Text becomes ids by the tokenizer as it is, special tokens in front
where it puts them; blanks at the end of a context go to the continuation; a continuation is what context and
continuation together have more than the context. Where there is no context, or a text is scored as a whole, the
beginning-of-text token stands in front (the end-of-text token without one), *whether or not the tokenizer has put one
already*: of such a text the first is context and the second is scored. What is too long loses its first tokens.

By ``apply_chat_template`` prompts become messages, solved examples turns of their own, as by lm-eval's ``hf`` model: of
a template that refuses a system's message it is left out.

``harness``: the same but for two things. A text has one beginning: no special token is put before a text that is scored
as a whole but the one in front, which is not scored. And where there is no context, nothing separates the continuation
from it: the task's ``target_delimiter`` is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lm_eval.api.model import LM
from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs, postprocess_generated_text
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from harness.data.task_file import sampling
from harness.errors import StepError
from harness.models.chat import rendered, template_mark
from harness.models.continuations import Pair, continuations

LONGEST_ANSWER = 256  # tokens, where a task says nothing


class ScorerModel(LM):  # type: ignore[misc]
    """Answers requests with ``scorer``; ``truncated`` counts contexts that lost their beginning."""

    def __init__(self, scorer: Any, rules: str, delimiter: str) -> None:
        super().__init__()
        if getattr(scorer, "tokenizer", None) is None:
            raise StepError("tasks of lm-eval need a tokenizer of transformers, which this checkpoint does not have")
        self.scorer = scorer
        self.truncated = 0
        self._one_start = rules == "harness"
        self._delimiter = delimiter
        tokenizer = scorer.tokenizer
        own = scorer.bos_id if self._one_start else tokenizer.bos_token_id
        self.tokenizer = tokenizer
        self.systems_left_out = 0
        self._start = tokenizer.eos_token_id if own is None else own
        if self._start is None:
            raise StepError("the tokenizer has neither a beginning-of-text nor an end-of-text token")
        self._written_start = tokenizer.decode(self._start)

    def as_conversations(self) -> dict[str, Any]:
        """What lm-eval's ``build_all_requests`` is told for prompts by the tokenizer's chat template."""
        return {"apply_chat_template": True, "fewshot_as_multiturn": True, "chat_template": self.apply_chat_template}

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """A conversation as text, up to where the answer begins, or within the answer that it ends with."""
        options = {"add_generation_prompt": add_generation_prompt, "continue_final_message": not add_generation_prompt}
        without = [message for message in chat_history if message["role"] != "system"]
        try:
            return rendered(chat_history, self.tokenizer, **options)
        except StepError:
            if without == chat_history:
                raise
        self.systems_left_out += 1
        return rendered(without, self.tokenizer, **options)

    def template(self) -> dict[str, Any]:
        """Which chat template was applied, and from how many prompts a system's message was left out, for a record."""
        return {"template": template_mark(self.tokenizer), "systems_left_out": self.systems_left_out}

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Sum of log-probabilities of each continuation given its context, and whether it is the likeliest text."""
        found = self._scored(self._pairs([request.args for request in requests]))
        return [(float(one.log_probabilities.sum()), one.greedy) for one in found]

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """Sum of log-probabilities of all tokens of each text, cut where the context of the model ends."""
        encoded = self._encoded([request.args[0] for request in requests], special=not self._one_start)
        windows, counts = [], []
        for ids in encoded:
            cut = get_rolling_token_windows(
                token_list=ids, prefix_token=self._start, max_seq_len=self.scorer.max_length, context_len=1
            )
            pairs = [make_disjoint_window(pair) for pair in cut]
            windows += pairs
            counts.append(len(pairs))
        values = iter([float(one.log_probabilities.sum()) for one in continuations(self.scorer, windows)])
        return [sum(next(values) for _ in range(count)) for count in counts]

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """The likeliest text after each context, until one of its stop texts or the end of text, without it."""
        found: list[str] = [""] * len(requests)
        alike: dict[str, list[int]] = {}
        for place, request in enumerate(requests):
            alike.setdefault(repr(sorted(request.args[1].items())), []).append(place)
        for places in alike.values():
            texts = self._generated([requests[place].args[0] for place in places], requests[places[0]].args[1])
            for place, text in zip(places, texts, strict=True):
                found[place] = text
        return found

    def _pairs(self, asked: Sequence[tuple[str, str]]) -> list[Pair]:
        """Ids of contexts and continuations, by the rules."""
        split = [_blanks_moved(context, continuation) for context, continuation in asked if context]
        contexts = self._encoded_once([context for context, _ in split])
        wholes = iter(self._encoded([context + continuation for context, continuation in split], special=True))
        after_nothing = [self._after_nothing(text) for context, text in asked if not context]
        alone = iter(self._encoded(after_nothing, special=False))
        found: list[Pair] = []
        moved = iter(split)
        for context, text in asked:
            if context:
                before = contexts[next(moved)[0]]
                pair = (before, next(wholes)[len(before) :])
            else:
                ids = next(alone)
                pair = (ids[:1], ids[1:]) if ids[:1] == [self._start] else ([self._start], ids)
            if not pair[0] or not pair[1]:
                raise StepError(f"the continuation '{text[:60]}' is no token of its own: this task cannot be scored")
            found.append(pair)
        return found

    def _after_nothing(self, continuation: str) -> str:
        return continuation.removeprefix(self._delimiter) if self._one_start else continuation

    def _scored(self, pairs: Sequence[Pair]) -> Any:
        """Scores of pairs; where one is too long, its context loses its first tokens."""
        room = self.scorer.max_length + 1  # the last token is predicted, not read
        fitting = []
        for context, continuation in pairs:
            if len(continuation) >= room:
                raise StepError(f"a continuation of {len(continuation)} tokens does not fit the context of {room - 1}")
            kept = context[-(room - len(continuation)) :]
            self.truncated += len(kept) < len(context)
            fitting.append((kept, continuation))
        return continuations(self.scorer, fitting)

    def _generated(self, contexts: Sequence[str], options: dict[str, Any]) -> list[str]:
        if reason := sampling(options):
            raise StepError(f"generation_kwargs: {reason}")
        if not hasattr(self.scorer, "complete"):
            raise StepError("this runtime of the model cannot generate until a text ends")
        told = normalize_gen_kwargs(options, LONGEST_ANSWER)
        tokenizer, new_tokens = self.scorer.tokenizer, told["max_gen_toks"]
        end = None if tokenizer.eos_token_id is None else tokenizer.decode(tokenizer.eos_token_id)
        until = handle_stop_sequences(told["until"], eos=end)
        room = self.scorer.max_length - new_tokens
        if room <= 0:
            raise StepError(
                f"max_gen_toks: {new_tokens} new tokens leave no room in the model's context of "
                f"{self.scorer.max_length}; the task file must ask for fewer"
            )
        prompts = self._encoded(contexts, special=True)
        self.truncated += sum(len(prompt) > room for prompt in prompts)
        stops = [text for text in until if text]
        found = self.scorer.complete(
            [prompt[-room:] for prompt in prompts], new_tokens,
            lambda ids: any(stop in self.scorer.decode(ids) for stop in stops),
        )  # fmt: skip
        return [postprocess_generated_text(self.scorer.decode(ids), until, None) for ids in found]

    def _encoded_once(self, texts: Sequence[str]) -> dict[str, list[int]]:
        """Ids of every different text, special tokens as the tokenizer puts them."""
        different = list(dict.fromkeys(texts))
        return dict(zip(different, self._encoded(different, special=True), strict=True))

    def _encoded(self, texts: Sequence[str], *, special: bool) -> list[list[int]]:
        """Ids of texts in one call; to a text that begins with the written token none is put in front."""
        found: list[list[int]] = [[] for _ in texts]
        written = [special and text.startswith(self._written_start) for text in texts]
        for has_it in (False, True):
            places = [place for place, one in enumerate(written) if one is has_it]
            if not places:
                continue
            with_special = special and not has_it
            ids = self.scorer.tokenizer(
                [texts[place] for place in places], add_special_tokens=with_special, verbose=False
            )["input_ids"]
            for place, one in zip(places, ids, strict=True):
                found[place] = list(one)
        return found


def _blanks_moved(context: str, continuation: str) -> tuple[str, str]:
    kept = context.rstrip()
    return kept, context[len(kept) :] + continuation
