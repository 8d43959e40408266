"""The answer in a few sentences, computed from the summary; where nothing can be told apart they say so."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from harness.analyse.size import shrinkage
from harness.analyse.summary import Line, chance_of_no_difference
from harness.metrics import metric as declared
from harness.report.alignment import alignment_in_words
from harness.report.cautions import edges_in_words, seeds_in_words
from harness.report.compression import SQUEEZES, by_divergence, compresses_weights
from harness.report.compression_costs import rounding_in_words
from harness.report.content import Content
from harness.report.floors import CHANCE, Floor, clears, floor_of, over_items
from harness.report.forgetting import forgetting_in_words, is_forgetting
from harness.report.growth import growth_in_words
from harness.report.history import history_in_words
from harness.report.limits import limits_in_words
from harness.report.lora_settings import enough_in_words, lora_in_words
from harness.report.memory import compiled_in_words, memory_in_words
from harness.report.numbers import interval, plain, pretty, signed
from harness.report.objective_tables import objectives_in_words
from harness.report.optimisations import optimisations_in_words
from harness.report.outcomes import Key, Outcome
from harness.report.rankings import rankings_in_words
from harness.report.ranks import ranks_in_words
from harness.report.serving_words import serving_in_words
from harness.report.students import students_in_words
from harness.report.tokenizer_models import tokenizer_of
from harness.report.vocabularies import cutting_in_words, premiums_in_words

MOST_NAMED = 3
MOST_IN_ORDER = 12
QUALITY = ("choice_accuracy", "classification_accuracy", "loss")
# Over different tokenizers a loss per token says nothing.
ACROSS_TOKENIZERS = ("choice_accuracy", "classification_accuracy", "bits_per_byte")


def headline(content: Content) -> list[str]:
    """Sentences on how much was measured, quality, distance from the base, size and speed."""
    nights = history_in_words(content)
    if nights:
        return [_state(content), *nights]
    across_models = objectives_in_words(content)
    if across_models:
        return [_state(content), *across_models, *seeds_in_words(content, (one.key for one in content.outcomes))]
    of_training = [*growth_in_words(content), *ranks_in_words(content), *limits_in_words(content)]
    of_training += memory_in_words(content)
    of_training += optimisations_in_words(content)
    sentences = [_state(content), *of_training, *enough_in_words(content), *lora_in_words(content)]
    sentences += students_in_words(content)
    sentences += alignment_in_words(content)
    sentences += serving_in_words(content)
    compared: list[Key] = []
    for which in content.sets:
        if of_training and not any(content.is_baseline(outcome.key) for outcome in content.groups(which)):
            continue  # which of several lengths or ranks has the lowest loss is not what was asked
        where = content.where(which)
        start = f"On {where}: " if where else ""
        of_quality = [*_qualities(content, which), *forgetting_in_words(content, which)]
        compared += [outcome.key for outcome in content.groups(which)] if of_quality else []
        parts = (cutting_in_words, premiums_in_words, _divergence, rounding_in_words, _smallest, _fastest)
        found = of_quality + [sentence for part in parts for sentence in part(content, which)]
        if not found and not any(content.is_baseline(outcome.key) for outcome in content.groups(which)):
            found += _learned(content, which)
        if found and start:
            found[0] = f"{start}{found[0][0].lower()}{found[0][1:]}"
        sentences += found
    sentences += [*compiled_in_words(content), *rankings_in_words(content)]
    return [*sentences, *seeds_in_words(content, compared), *edges_in_words(content, compared)]


def _state(content: Content) -> str:
    total = len(content.outcomes)
    counts = {
        "done": sum(one.status == "done" for one in content.outcomes),
        "failed": sum(one.failed for one in content.outcomes),
        "skipped": sum(one.status == "skipped" for one in content.outcomes),
    }
    counts["not run yet"] = total - sum(counts.values())
    parts = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    planned = "combination of method and precision was" if total == 1 else "combinations of method and precision were"
    return f"{total} {planned} planned: {parts or 'none'}."


def _qualities(content: Content, which: Key) -> list[str]:
    found = []
    several = len({tokenizer_of(one.key) for one in content.groups(which)}) > 1
    for task in (task for task in content.tasks if not is_forgetting(content, which, task)):
        asked = ACROSS_TOKENIZERS if several else QUALITY
        metric = next((name for name in asked if task in content.tasks_with(name)), None)
        sentence = _quality(content, which, task, metric) if metric else None
        if sentence:
            found.append(sentence)
    return found


def _quality(content: Content, which: Key, task: str, metric: str) -> str | None:
    """Which method is best on one task, by how much over the baseline, and what is tied with it."""
    lines = _lines(content, which, lambda key: content.score(key, task, metric))
    if len(lines) < 2:
        return None
    best = next((line for _, line in lines if line["best"]), None)
    if best is None:
        return None
    tied = [outcome for outcome, line in lines if line["tied"] and line is not best]
    about = f"{declared(metric).label.lower()} on {task}"
    floor = floor_of(content, best)
    if floor is not None and not clears(content, best, floor, len(lines)):
        return _no_better(content, best, floor, about)
    if best["method"] != content.baseline and any(content.is_baseline(outcome.key) for outcome in tied):
        return (
            f"No clear difference from the baseline in {about}: the best value is "
            f"{pretty(best['value'], best['unit'])} ({_name(best)}), and {content.baseline} is tied with it."
        )
    if best["method"] == content.baseline:
        sentence = f"No method improved on the baseline in {about} ({pretty(best['value'], best['unit'])})"
    elif (by_chance := chance_of_no_difference(best)) is not None and by_chance * (len(lines) - 1) > CHANCE:
        return (
            f"No clear difference from the baseline in {about}: {_name(best)} has the best value of {len(lines)}, "
            f"{pretty(best['value'], best['unit'])}{_change(best, content)}, and the best of so many may be by chance."
        )
    else:
        names = " and ".join(_name(line) for _, line in lines if line["equal"]) or _name(best)
        tied = [outcome for outcome, line in lines if line["tied"] and line is not best and not line["equal"]]
        sentence = f"Best {about}: {names} with {pretty(best['value'], best['unit'])}{_change(best, content)}"
    return f"{sentence}{_tied(tied)}{_without_learning(floor)}."


def _no_better(content: Content, best: Line, floor: Floor, about: str) -> str:
    ends = interval(*over_items(content, best), best["unit"])
    return (
        f"No method is clearly better than {floor.how} in {about} ({pretty(floor.share, 'share')}): the best value, "
        f"{pretty(best['value'], best['unit'])}{' ' if ends else ''}{ends} ({_name(best)}), is not told apart from it."
    )


def _without_learning(floor: Floor | None) -> str:
    if floor is None:
        return ""
    how = "chance is" if floor.how == "guessing" else f"{floor.how} gets"
    return f"; {how} {pretty(floor.share, 'share')}"


def _divergence(content: Content, which: Key) -> list[str]:
    """The compressions in order of KL divergence, and whether neighbours can be told apart."""
    task = next(iter(content.tasks_with("kl_divergence")), None)
    if task is None:
        return []
    ordered = [
        (outcome, line) for outcome in by_divergence(content, which, task)
        if _only_compresses(content, outcome) and (line := content.score(outcome.key, task, "kl_divergence"))
    ]  # fmt: skip
    by_precision = [(one, line) for one, line in ordered if one.key[3] == ordered[0][0].key[3]]
    if len(by_precision) < 2:
        return []
    values = _in_order([f"{one.key[0]} {plain(line['value'], 2)}" for one, line in by_precision])
    apart = all(_apart(first, second) for (_, first), (_, second) in pairwise(by_precision))
    how = "intervals apart" if apart else "not all of these intervals are apart"
    moved = _perplexity_moves(content, by_precision[0][0], task)
    return [f"Distance from the base, KL divergence on {task} at {ordered[0][0].key[3]}: {values} ({how}).{moved}"]


def _perplexity_moves(content: Content, outcome: Outcome, task: str) -> str:
    line, loss = (content.score(outcome.key, task, name) for name in ("perplexity", "loss"))
    if line is None or loss is None or line["difference"] is None:
        return ""
    base = line["value"] - line["difference"]
    share = abs(line["difference"]) / base
    if share >= 0.01:
        return ""
    paired = interval(loss["difference_low"], loss["difference_high"])
    return (
        f" {outcome.key[0]} hardly moves perplexity ({100 * line['difference'] / base:+.2g} %); its paired loss "
        f"difference is {signed(loss['difference'], digits=2)} nats per token {paired}."
    )


def _smallest(content: Content, which: Key) -> list[str]:
    lines = _lines(content, which, lambda key: content.made(key, "weight_bytes"))
    parameters = content.base_parameters(which)
    if not lines or not parameters:
        return []
    told: dict[str, str] = {}
    for outcome, line in sorted(lines, key=lambda pair: pair[1]["value"]):
        found = shrinkage(line["value"], parameters, str(outcome.key[0]).rsplit(" > ", 1)[-1])
        if found is not None and found.times >= 1.005:
            told.setdefault(str(outcome.key[0]), found.in_words())
    if not told:
        compresses = any(compresses_weights(outcome.key, SQUEEZES) for outcome, _ in lines)
        return ["No method makes the weights smaller than the 16-bit base."] if compresses else []
    several = "; ".join(f"{method} {words}" for method, words in list(told.items())[:MOST_NAMED])
    return [f"Weights on disk against the 16-bit base: {several}."]


def _fastest(content: Content, which: Key) -> list[str]:
    metric = "decode_tokens_per_second"
    tasks = content.tasks_with(metric)
    task = next(iter(tasks), None)
    where = f" on {task}" if len(tasks) > 1 else ""
    lines = _lines(content, which, lambda key: content.score(key, str(task), metric))
    best = next((line for _, line in lines if line["best"]), None)
    if best is None:
        return []
    tied = [outcome for outcome, line in lines if line["tied"] and line is not best]
    same = next((line for outcome, line in lines if line["tied"] and content.is_baseline(outcome.key)), best)
    if best["method"] != content.baseline and same is not best:
        return [
            f"No method decodes clearly faster than the baseline{where}: {_name(best)} has {plain(best['value'], 3)} "
            f"tokens/s and {_name(same)} {plain(same['value'], 3)}, which cannot be told apart."
        ]
    if best["method"] == content.baseline:
        slower = [line for outcome, line in lines if not line["tied"]]
        note = f"; the slowest reaches {plain(min(line['value'] for line in slower), 3)}" if slower else ""
        return [f"No method decodes faster than the baseline{where} ({plain(best['value'], 3)} tokens/s{note})."]
    return [f"Fastest decoding{where}: {_name(best)} with {plain(best['value'], 3)} tokens/s{_tied(tied)}."]


def _learned(content: Content, which: Key) -> list[str]:
    """How far training from scratch came, where there is no baseline to compare with."""
    found = []
    told: set[tuple[str, ...]] = set()
    for outcome in content.groups(which):
        for stage, lines in content.trained(outcome.key).items():
            steps = lines["optimizer_steps"]["steps"]
            if steps in told:
                continue
            told.add(steps)
            first, last = content.curve_ends(steps)
            if first is not None and last is not None:
                tokens = pretty(lines["train_tokens"]["value"]) if "train_tokens" in lines else "-"
                found.append(
                    f"{declared(first[0]).label} of {outcome.key[0]} ({stage}) went from {plain(first[1])} to "
                    f"{plain(last[1])} over {tokens} tokens."
                )
    return found


def _lines(content: Content, which: Key, find: Callable[[Key], Line | None]) -> list[tuple[Outcome, Line]]:
    found = [(outcome, find(outcome.key)) for outcome in content.groups(which)]
    return [(outcome, line) for outcome, line in found if line is not None]


def _in_order(named: list[str]) -> str:
    """All of a few, or the ends of many."""
    if len(named) <= MOST_IN_ORDER:
        return " < ".join(named)
    ends = MOST_NAMED
    return f"{' < '.join(named[:ends])} < {len(named) - 2 * ends} more < {' < '.join(named[-ends:])}"


def _only_compresses(content: Content, outcome: Outcome) -> bool:
    return not content.trained(outcome.key) and not content.is_baseline(outcome.key)


def _apart(first: Line, second: Line) -> bool:
    ends = (first["high"], second["low"])
    return None not in ends and bool(ends[0] < ends[1])


def _change(line: Line, content: Content) -> str:
    if line["difference"] is None:
        return ""
    unit = line["unit"]
    change = signed(line["difference"], unit)
    if unit == "share":
        change = f"{100 * line['difference']:+.3g} percentage points"
    ends = interval(line["difference_low"], line["difference_high"], unit)
    return f" ({change}{' ' if ends else ''}{ends} against {content.baseline})"


def _tied(tied: list[Outcome]) -> str:
    names = [f"{one.key[0]} at {one.key[3]}" for one in tied]
    if not names:
        return "; nothing else is tied with it"
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"; tied with it: {', '.join(names[:MOST_NAMED])}{more}"


def _name(line: Line) -> str:
    return f"{line['method']} at {line['precision']}"
