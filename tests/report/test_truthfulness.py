"""The opening claims no more than the records carry: floors, few seeds, noise between runs, edges of what was tried."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import pytest

from harness.analyse.statistics import Interval
from harness.report.alike import memory_interval, time_interval, told_apart
from harness.report.build import compose
from harness.report.content import Content
from harness.report.document import Bullets, Paragraph, Table
from harness.report.pages import markdown
from harness.results.facts import facts_of
from harness.results.items import items_of
from harness.results.rows import frame_of

MIB = 2**20
STEPS = 40


def content(records: list[dict[str, Any]], plan: dict[str, Any] | None = None) -> Content:
    return Content(frame_of(records), items_of(records), plan or {}, facts_of(records))


def opening(records: list[dict[str, Any]], plan: dict[str, Any] | None = None) -> list[str]:
    document = compose(content(records, plan))
    return next(block for block in document.opening if isinstance(block, Bullets)).items


def said(records: list[dict[str, Any]], begin: str, plan: dict[str, Any] | None = None) -> str:
    found = [item for item in opening(records, plan) if item.startswith(begin)]
    assert len(found) == 1, (begin, opening(records, plan))
    return found[0]


def training(
    synthetic: ModuleType, method: str, seconds: float = 0.1, peak: float = 100.0, seed: int = 0, **changes: Any
) -> dict[str, Any]:
    """A training whose steps wobble by 2 % about ``seconds``, with its peak in MiB."""
    times = [seconds * (1 + 0.02 * (-1) ** place) for place in range(STEPS)]
    metrics = {
        "optimizer_steps": STEPS, "train_tokens": 1000, "step_seconds": seconds, "tokens_per_second": 100 / seconds,
        "peak_memory_rise_bytes": peak * MIB, **changes.pop("metrics", {}),
    }  # fmt: skip
    steps = {"seconds": times, "tokens": [25] * STEPS, "loss": [2.0] * STEPS, "warmup": 0}
    return synthetic.record("train", method, seed=seed, metrics=metrics, optimizer_steps=steps, **changes)


def scored(
    synthetic: ModuleType, method: str, bits: float, task: str = "perplexity", seed: int | None = 0, **changes: Any
) -> dict[str, Any]:
    """Bits per byte on thirty windows of unequal difficulty."""
    sizes = [100] * 30
    nll = [100 * 0.6931471805599453 * (bits + place / 100) for place in range(30)]
    items = {"perplexity": {"window": list(range(30)), "nll": nll, "tokens": sizes, "bytes": sizes}}
    metrics = {"loss": sum(nll) / 3000, "bits_per_byte": sum(nll) / 3000 / 0.6931471805599453}
    return synthetic.record("eval", method, task=task, seed=seed, metrics=metrics, items=items, **changes)


def classified(synthetic: ModuleType, method: str, right: int, of: int = 400, **changes: Any) -> dict[str, Any]:
    correct = [1] * right + [0] * (of - right)
    items = {"classification": {"item": list(range(of)), "correct": correct}}
    metrics = {"classification_accuracy": right / of, "majority_share": 0.458}
    return synthetic.record("eval", method, task="classification", metrics=metrics, items=items, **changes)


@pytest.mark.parametrize(("right", "begin"), [
    (188, "No method is clearly better than answering the commonest class in accuracy on classification (45.8 %): the "
          "best value, 47.0 % [42.5, 52.0] (lora at fp32), is not told apart from it."),
    (280, "Best accuracy on classification: lora at fp32 with 70 %; nothing else is tied with it; answering the "
          "commonest class gets 45.8 %."),
    (150, "No method is clearly better than answering the commonest class"),
])  # fmt: skip
def test_a_best_that_does_not_beat_the_commonest_class_is_none(synthetic: ModuleType, right: int, begin: str) -> None:
    records = [classified(synthetic, "lora", right), classified(synthetic, "full_finetune", right - 40)]
    assert said(records, begin)


def test_the_best_of_many_must_beat_the_floor_by_more(synthetic: ModuleType) -> None:
    """Of 400 items 52 % lie 2.5 standard errors above 45.8 %: enough for the best of two, not for the best of ten."""
    best = classified(synthetic, "lora", 208)
    others = [classified(synthetic, f"lora(rank={rank})", 180) for rank in range(2, 11)]
    assert any("clearly better than answering" in one for one in opening([best, *others]))
    assert not any("clearly better than answering" in one for one in opening([best, others[0]]))


def test_every_seed_must_beat_the_floor(synthetic: ModuleType) -> None:
    records = [classified(synthetic, "lora", right, seed=seed) for seed, right in enumerate((170, 390))]
    records += [classified(synthetic, "full_finetune", 120, seed=seed) for seed in (0, 1)]
    assert any("clearly better than answering" in one for one in opening(records))


def test_two_with_the_same_value_share_the_first_place(synthetic: ModuleType) -> None:
    rights = {"lora": 300, "qlora": 300, "linear_probe": 99}
    records = [classified(synthetic, name, right) for name, right in rights.items()]
    assert "lora at fp32 and qlora at fp32 with 75 %" in said(records, "Best accuracy on classification")
    table = next(block for section in compose(content(records)).sections if section.title == "Results"
                 for block in section.blocks if isinstance(block, Table))  # fmt: skip
    assert [row.values[2].mark for row in table.rows] == ["tied", "tied", ""]


def test_few_seeds_are_said_once_and_three_not(synthetic: ModuleType) -> None:
    def records(*seeds: int) -> list[dict[str, Any]]:
        return [one for seed in seeds for name, bits in (("lora", 2.0), ("full_finetune", 2.5)) for one in (
            training(synthetic, name, seed=seed), scored(synthetic, name, bits + seed / 100, seed=seed),
            scored(synthetic, name, bits + seed / 100, "perplexity(view=instructions)", seed=seed))]  # fmt: skip

    once, twice, thrice = ([one for one in opening(records(*range(count))) if "Trained methods" in one]
                           for count in (1, 2, 3))  # fmt: skip
    assert len(once) == len(twice) == 1 and not thrice
    assert "one seed" in once[0] and "another seed may order them differently" in once[0]
    assert "two seeds" in twice[0] and "two trainings alone cannot tell methods apart" in twice[0]


def test_nothing_is_said_of_seeds_where_nothing_was_trained(synthetic: ModuleType) -> None:
    records = [scored(synthetic, name, bits, seed=None) for name, bits in (("base", 2.0), ("int8", 2.1))]
    assert not any("Trained methods" in one for one in opening(records))


def trials(method: str, losses: Sequence[float]) -> list[dict[str, Any]]:
    best = min(losses)
    return [
        {"method": method, "model": "embedded", "data": "source", "precision": "fp32", "hardware": "cpu(threads=2)",
         "parameter": "learning_rate", "value": 10.0**place, "loss": loss, "chosen": loss == best,
         "step": f"{method}{place}", "of": method}
        for place, loss in enumerate(losses)
    ]  # fmt: skip


def test_the_opening_names_methods_whose_best_rate_lies_at_the_edge(synthetic: ModuleType) -> None:
    records = [one for name, bits in (("lora", 2.0), ("full_finetune", 2.5))
               for one in (training(synthetic, name), scored(synthetic, name, bits))]  # fmt: skip
    tried = [*trials("lora", (1.0, 2.0, 3.0)), *trials("full_finetune", (2.0, 1.0, 3.0)), *trials("qlora", (1.0, 2.0))]
    text = said(records, "Best at the edge of the values tried for learning_rate", {"trials": tried})
    assert text.endswith(": lora.")


def ran(synthetic: ModuleType, method: str, *numbers: float, **axes: Any) -> list[dict[str, Any]]:
    """A training with its score, without which it is nobody's; ``numbers``: seconds and MiB."""
    kept = {name: axes[name] for name in ("model", "hardware", "seed") if name in axes}
    return [training(synthetic, method, *numbers, **axes), scored(synthetic, method, 2.0, **kept)]


Numbers = tuple[float, float]


def layered(synthetic: ModuleType, layers: int, seed: int, plain: Numbers, other: Numbers) -> list[dict[str, Any]]:
    def of(method: str, numbers: Numbers) -> list[dict[str, Any]]:
        observed = {"model": {"layers": layers}}
        return ran(synthetic, method, *numbers, model=f"layers{layers}", seed=seed, observed=observed)

    return [*of("clm", plain), *of("clm + gradient_checkpointing", other)]


def grown(synthetic: ModuleType, last: float) -> list[dict[str, Any]]:
    """Less memory in both seeds from four layers on, but for the second seed of the most."""
    records = []
    for layers in (2, 4, 8, 16):
        peaks = {2: (105.0, 101.0), 4: (80.0, 92.0), 8: (70.0, 75.0), 16: (60.0, last)}[layers]
        for seed in (0, 1):
            records += layered(synthetic, layers, seed, (0.01 * layers, 100.0), (0.013 * layers, peaks[seed]))
    return records


def test_less_memory_is_claimed_from_where_every_seed_agrees(synthetic: ModuleType) -> None:
    text = " ".join(opening(grown(synthetic, 65.0)))
    assert "a step is slower at 16 layers, the most that was tried; it takes less memory from 4 layers on (in" in text
    assert "+ gradient_checkpointing 1.30 x, 0.860 x (0.800 to 0.920)" in text
    doubtful = " ".join(opening(grown(synthetic, 101.0)))
    assert "it takes no less memory at 16 layers" in doubtful


def test_the_exponents_of_growth_stand_with_their_range_in_the_opening(synthetic: ModuleType) -> None:
    four = grown(synthetic, 65.0)
    assert "growth of the time" not in " ".join(opening(four)), "a fit of three numbers to four tells nothing"
    more = [one for seed in (0, 1) for one in layered(synthetic, 32, seed, (0.32, 100.0), (0.416, 50.0))]
    text = " ".join(opening([*four, *more]))
    assert "growth of the time of a step with layers, exponent (its range): plain 1 (1 to 1), about linear" in text


@pytest.mark.parametrize("everywhere", [True, False])
def test_growth_of_memory_is_that_of_tensors_where_they_were_measured_at_every_size(
    synthetic: ModuleType, everywhere: bool
) -> None:
    """Peaks are the same at every depth here, as a heap that keeps much makes them."""
    sizes = (2, 4, 8, 12, 16)
    records = [one for size in sizes for one in layered(synthetic, size, 0, (0.01, 100.0), (0.01, 100.0))]
    for size in sizes if everywhere else sizes[:4]:
        for method, share in (("clm", 10.0), ("clm + gradient_checkpointing", 1.0)):
            metrics = {"tensor_memory_bytes": (50 + share * size) * 2**20}
            records.append(synthetic.record(
                "eval", method, task="training_memory", model=f"layers{size}", seed=0, metrics=metrics
            ))  # fmt: skip
    text = " ".join(opening(records))
    assert ("growth of the memory of tensors with layers, exponent (its range): plain 1 (1 to 1)" in text) is everywhere


@pytest.mark.parametrize(("seconds", "seeds", "apart"), [
    (0.12, 1, False),  # 10 % between runs where nothing was measured: 33 % between two single runs
    (0.12, 2, False), (0.14, 2, True), (0.14, 1, True), (0.102, 3, True),
])  # fmt: skip
def test_a_ratio_of_times_holds_what_runs_of_one_thing_differ_by(
    synthetic: ModuleType, seconds: float, seeds: int, apart: bool
) -> None:
    here = content([one for seed in range(seeds) for method, took in (("clm", 0.1), ("clm + zero", seconds))
                    for one in ran(synthetic, method, took, seed=seed)])  # fmt: skip
    keys = {str(one.key[0]): one.key for one in here.outcomes}
    found = time_interval(here, keys["clm + zero"], keys["clm"])
    assert found is not None and found.estimate == pytest.approx(seconds / 0.1)
    assert told_apart(found) is apart


def test_a_single_peak_is_told_by_what_peaks_differ_by(synthetic: ModuleType) -> None:
    here = content([*ran(synthetic, "clm", 0.1, 100.0), *ran(synthetic, "clm + zero", 0.1, 90.0)])
    keys = {str(one.key[0]): one.key for one in here.outcomes}
    found = memory_interval(here, keys["clm + zero"], keys["clm"])
    assert isinstance(found, Interval) and found.n == 1 and found.contains(1.0), "5 % between runs: 14 % between two"


def test_ranks_say_what_they_exchange_and_how_long_a_step_takes(synthetic: ModuleType) -> None:
    def of(method: str, seconds: float, exchanged: float, hardware: str, ranks: int) -> list[dict[str, Any]]:
        metrics = {"rank_parameter_bytes": MIB, "rank_gradient_bytes": MIB, "rank_optimizer_bytes": 2 * MIB}
        metrics |= {"communication_seconds": exchanged} if ranks else {}
        observed = {"ranks": [{"peak_memory_rise_bytes": MIB}] * ranks} if ranks else {}
        return ran(synthetic, method, seconds, hardware=hardware, metrics=metrics, observed=observed)

    two = "cpu(threads=2, ranks=2)"
    records = [*of("clm", 0.1, 0.0, "cpu(threads=2)", 0), *of("clm", 0.1, 0.025, two, 2),
               *of("clm + zero", 0.2, 0.054, two, 2), *of("clm + zero(stage=1)", 0.11, 0.051, two, 2)]  # fmt: skip
    assert "clm 25 ms; clm + zero 54 ms; clm + zero(stage=1) 51.0 ms" in said(records, "Communication in a step")
    text = said(records, "A step takes, against data parallel")
    assert "clm + zero 2 x; clm + zero(stage=1) 1.10 x (not told from 1)." in text


def tuned(synthetic: ModuleType, forgotten: dict[str, float]) -> list[dict[str, Any]]:
    records = [scored(synthetic, "base", 1.0, seed=None),
               scored(synthetic, "base", 2.0, "perplexity(view=instructions)", seed=None)]  # fmt: skip
    for place, (name, bits) in enumerate(forgotten.items()):
        for seed in (0, 1):
            metrics = {"further_task_bytes": 1000}
            records += [training(synthetic, name, 0.1 * (1 + 2 * place), 100 + seed, seed=seed, metrics=metrics),
                        scored(synthetic, name, 1.0 + bits, seed=seed),
                        scored(synthetic, name, 1.5, "perplexity(view=instructions)", seed=seed)]  # fmt: skip
    return records


def test_fine_tuning_says_its_cost_and_what_is_forgotten(synthetic: ModuleType) -> None:
    plan = {"baseline": "base"}
    records = tuned(synthetic, {"full_finetune": 0.2, "lora": 0.1, "qlora": 0.3})
    text = said(records, "Training against full_finetune at fp32 (step, peak of memory and its range over seeds)", plan)
    assert text.endswith("lora 3.00 x, 1 x (1 to 1); qlora 5 x, 1 x (1 to 1).")
    text = said(records, "Every fine-tuned model forgets", plan)
    assert "from +0.100 [0.100000, 0.100000] (lora) to +0.300 [0.300000, 0.300000] (qlora)" in text
    assert not any("on perplexity (" in one for one in opening(records, plan)), "said by what is forgotten"
    some = said(tuned(synthetic, {"full_finetune": -0.1, "lora": 0.1}), "Forgotten (bits per byte", plan)
    assert "from -0.100" in some and some.endswith("(lora).")


def test_nothing_is_said_of_sizes_or_divergence_where_nothing_compresses(synthetic: ModuleType) -> None:
    plan = {"baseline": "lora(rank=64)"}
    sizes = {"weight_bytes": 4000, "parameters": 1000}
    records = [one for name in ("lora(rank=64)", "lora", "full_finetune")
               for one in ran(synthetic, name, metrics=sizes)]  # fmt: skip
    base = scored(synthetic, "base", 3.0, seed=None)
    base["metrics"]["kl_divergence"] = 0.1
    found = markdown(compose(content([*records, base], plan)))
    assert "smaller than the 16-bit base" not in found and "Compression and distance" not in found
    squeezed = scored(synthetic, "int8", 2.0, seed=None)
    squeezed["metrics"] |= {"kl_divergence": 0.1, **sizes}
    found = markdown(compose(content([*records, base, squeezed], plan)))
    assert "No method makes the weights smaller" in found and "Compression and distance" in found


RANKED = ("full_finetune", "lora", "prefix_tuning")


def ranked(synthetic: ModuleType, **models: Sequence[int]) -> list[dict[str, Any]]:
    return [classified(synthetic, name, right, model=model)
            for model, rights in models.items() for name, right in zip(RANKED, rights, strict=True)]  # fmt: skip


def test_whether_methods_rank_the_same_on_several_models(synthetic: ModuleType) -> None:
    begin = "Ranking of full_finetune, lora, prefix_tuning (classification on one, classification on two)"
    same = said(ranked(synthetic, one=(390, 330, 270), two=(380, 320, 260)), begin)
    assert "3 of 3 pairs are told apart in two places or more: the same for full_finetune before lora" in same
    turned = said(ranked(synthetic, one=(390, 330, 270), two=(320, 380, 260)), begin)
    assert "not the same for full_finetune and lora; the same for full_finetune before prefix_tuning" in turned
    close = said(ranked(synthetic, one=(390, 390, 390), two=(380, 320, 260)), begin)
    assert "cannot be told to be the same or not, as none of 3 pairs is told apart in two places" in close
    poor = said(ranked(synthetic, one=(390, 330, 270), two=(180, 150, 100)), begin)
    assert "classification on two ranks nothing" in poor
    alike = said(ranked(synthetic, one=(390, 330, 270), two=(380, 380, 260)), begin)
    assert "none of 3 pairs is told apart in two places; classification on two ranks nothing" in alike


def test_one_model_alone_has_no_ranking_to_compare(synthetic: ModuleType) -> None:
    assert not any("Ranking of" in one for one in opening(ranked(synthetic, one=(390, 330, 270))))


def lora(synthetic: ModuleType, **bits: Sequence[float]) -> list[dict[str, Any]]:
    """Three ranks and others of one model; names as keywords, ``rank`` alone or with targets."""
    methods = {"r8": "lora", "r16": "lora(rank=16)", "r64": "lora(rank=64)", "all": "lora(target_modules=all-linear)",
               "full": "full_finetune"}  # fmt: skip
    return [one for name, values in bits.items() for seed, value in enumerate(values) for one in (
        training(synthetic, methods[name], seed=seed), scored(synthetic, methods[name], value, seed=seed))]  # fmt: skip


def test_lora_answers_yes_or_no(synthetic: ModuleType) -> None:
    near, worse, r64 = [1.001, 1.000, 1.002], [1.101, 1.100, 1.102], [1.000, 1.001, 1.002]
    plan = {"baseline": "lora(rank=64)"}
    yes = said(lora(synthetic, r8=near, r16=near, r64=r64), "Yes, rank 8 or 16 is enough here", plan)
    assert yes.endswith("not worse than rank 64 as far as 3 seeds tell.")
    assert said(lora(synthetic, r8=worse, r16=worse, r64=r64), "No, rank 8 or 16 is not enough here", plan)
    assert said(lora(synthetic, r8=worse, r16=near, r64=r64), "Rank 16 is enough here, rank 8 is not", plan)
    single = lora(synthetic, r8=near[:1], r16=near[:1], r64=r64[:1])
    assert said(single, "Whether rank 8 or 16 is enough cannot be told", plan)


def test_targets_are_set_against_all_ranks(synthetic: ModuleType) -> None:
    plan = {"baseline": "lora(rank=64)"}
    ranks = {"r8": [1.010, 1.011, 1.012], "r16": [1.005, 1.006, 1.007], "r64": [1.000, 1.001, 1.002]}
    clear = lora(synthetic, **ranks, all=[0.910, 0.912, 0.911], full=[0.950, 0.951, 0.953])
    text = said(clear, "Targets all-linear instead of query and value at rank 8: -0.1", plan)
    assert "more than the 0.0100 between the best and the worst of ranks 8 to 64" in text
    assert text.endswith("from rank 64, the best of them, it is told apart.")
    assert said(clear, "Full fine-tuning against rank 64: -0.0497", plan).endswith("over 3 seeds, better.")
    unsure = lora(synthetic, **ranks, all=[0.8, 1.1, 1.0])
    assert not any("Targets all-linear" in one for one in opening(unsure, plan))


def test_the_legend_agrees_with_the_ties(synthetic: ModuleType) -> None:
    document = compose(content(ranked(synthetic, one=(390, 330, 270))))
    results = next(section for section in document.sections if section.title == "Results")
    legend = next(block for block in results.blocks if isinstance(block, Paragraph)).text
    for words in ("the same to six digits", "spread between seeds", "another seed may order them differently"):
        assert words in legend
