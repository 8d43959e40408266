"""Short names leave out what every cell of a technique shares, and only training settings."""

from __future__ import annotations

import pandas

from harness.report.names import short_names


def test_shared_training_settings_are_left_out() -> None:
    names = short_names(["base", "lora(learning_rate=0.02, rank=4)", "lora(learning_rate=0.02, rank=16) > int8"])
    assert names.of("lora(learning_rate=0.02, rank=4)") == "lora(rank=4)"
    assert names.of("lora(learning_rate=0.02, rank=16) > int8") == "lora(rank=16) > int8"
    long = "lora(learning_rate=0.02, rank=16)"
    assert names.stages[f"{long} > int8", long] == "lora(rank=16)" and names.stages[f"{long} > int8", "int8"] == "int8"
    assert names.of("base") == "base"
    assert names.sentence() == "Settings that every cell of a technique shares: lora: learning_rate=0.02."


def test_what_differs_or_defines_the_technique_stays() -> None:
    names = short_names(["lora(learning_rate=0.01)", "lora(learning_rate=0.02)", "bpe(vocab_size=1024) > clm"])
    assert names.of("lora(learning_rate=0.01)") == "lora(learning_rate=0.01)"
    assert names.of("bpe(vocab_size=1024) > clm") == "bpe(vocab_size=1024) > clm"
    assert names.sentence() == ""


def test_rows_and_plan_are_renamed_alike() -> None:
    full = "lora(learning_rate=0.02, rank=4)"
    names = short_names([full])
    frame = pandas.DataFrame({"method": pandas.Categorical([full, "base"]), "stage": [full, "base"], "value": [1, 2]})
    assert names.in_frame(frame)["method"].tolist() == ["lora(rank=4)", "base"]
    assert names.in_frame(frame)["stage"].tolist() == ["lora(rank=4)", "base"]
    plan = {"cells": [{"method": full}], "steps": [{"coordinates": {"method": full, "stage": full}}], "baseline": full}
    renamed = names.in_plan(plan)
    assert renamed["cells"] == [{"method": "lora(rank=4)"}]
    assert renamed["steps"] == [{"coordinates": {"method": "lora(rank=4)", "stage": "lora(rank=4)"}}]
    assert renamed["baseline"] == "lora(rank=4)"


def test_what_does_not_parse_keeps_its_name() -> None:
    assert short_names(["<script>", None]).of("<script>") == "<script>"


def cell(method: str, seed: int = 0) -> dict[str, object]:
    return {"method": method, "model": "m", "data": "d", "precision": "fp32", "hardware": "cpu", "seed": seed}


def trial(method: str, of: str, chosen: bool) -> dict[str, object]:
    return {"method": method, "of": of, "parameter": "learning_rate", "chosen": chosen}


def test_what_trials_chose_is_left_out_where_they_chose_it() -> None:
    tuned, other = "lora(learning_rate=0.01)", "lora(learning_rate=0.1, rank=4)"
    given = f"bpe > clm > {tuned}"
    trials = [trial("lora", tuned, True), trial("lora", "lora(learning_rate=0.1)", False)]
    trials.append(trial("lora(rank=4)", other, True))
    plan = {"baseline": "lora(rank=4)", "trials": trials, "cells": [cell(tuned), cell(other), cell(given)]}
    names = short_names([tuned, other, given], plan)
    assert [names.of(one) for one in (tuned, other, given)] == ["lora", "lora(rank=4)", given]
    assert names.in_plan(plan)["baseline"] == "lora(rank=4)"
    assert names.sentence() == "Chosen by trials: learning_rate of lora."
    rows = pandas.DataFrame({"method": [tuned, given], "stage": [tuned, "lora(learning_rate=0.01)"]})
    assert names.in_frame(rows)["stage"].tolist() == ["lora", "lora(learning_rate=0.01)"], "given, not chosen"


def test_two_cells_of_one_place_never_get_one_name() -> None:
    tuned, other = "lora(learning_rate=0.01)", "lora(learning_rate=0.1)"
    plan = {"trials": [trial("lora", tuned, True), trial("lora", other, True)], "cells": [cell(tuned), cell(other)]}
    assert short_names([tuned, other], plan).of(tuned) == tuned
    plan["cells"] = [cell(tuned), cell(other, seed=1)]
    assert short_names([tuned, other], plan).of(other) == "lora"


def test_a_fallback_is_never_called_what_it_was_asked_to_be() -> None:
    asked, found = "lora(learning_rate=0.02) > gguf(type=Q4_K_M)", "gguf(type=Q5_0 for Q4_K_M)"
    names = short_names([asked, "gguf(type=Q4_K_M)"], None, {asked: found})
    assert names.of(asked) == f"lora > {found}"
    assert names.stages[asked, "gguf(type=Q4_K_M)"] == found and names.of("gguf(type=Q4_K_M)") == "gguf(type=Q4_K_M)"
