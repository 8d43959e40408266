"""The section on trainings on a GPU, every number against the record, by hand."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from harness.report.build import compose
from harness.report.content import Content
from harness.report.document import MISSING, Document, Table
from harness.results.facts import facts_of
from harness.results.items import items_of
from harness.results.rows import frame_of

MEASURED = {
    "optimizer_steps": 60.0, "train_tokens": 60_000.0, "tokens_per_second": 10_000.0, "step_seconds": 0.1,
    "model_flops_per_token": 5.4e9, "cuda_step_seconds": 0.09, "gpu_energy_joules": 3000.0, "gpu_power_watts": 500.0,
    "cuda_peak_allocated_bytes": 2 * 2**30, "cuda_peak_reserved_bytes": 3 * 2**30,
}  # fmt: skip
STATE = {"0": {"clock_mhz": 1755, "highest_clock_mhz": 1980, "power_watts": 640.0, "reasons": ["SwPowerCap"]}}


def told(synthetic: ModuleType, metrics: dict[str, float], hardware: str = "cuda") -> Document:
    where: dict[str, Any] = {"hardware": hardware, "precision": "bf16-mixed"}
    records = [
        synthetic.record("train", "lora", seed=0, metrics=metrics, observed={"gpu_state": STATE}, **where),
        synthetic.record("eval", "lora", task="perplexity", seed=0, metrics={"loss": 2.0}, **where),
        synthetic.record("canary", "x", metrics={"canary_gpu_bf16_matmul_seconds": 2 * 8192**3 / 540e12}, **where),
    ]
    return compose(Content(frame_of(records), items_of(records), {}, facts_of(records)))


def test_what_a_training_took_of_the_gpu(synthetic: ModuleType) -> None:
    document = told(synthetic, MEASURED)
    section = next(one for one in document.sections if one.title == "Trainings on the GPU")
    table = next(block for block in section.blocks if isinstance(block, Table))
    step, host, rate, used, power, energy, allocated, reserved, clock = table.rows[0].values[1:]
    assert (step.text, host.text, rate.text) == ("90 ms", "10 %", "10 000")
    assert used.text == "10.00 %"  # 5.4e9 x 10 000 over 540e12
    assert (power.text, energy.text) == ("500 W", "50")
    assert (allocated.text, reserved.text) == ("2 GiB", "3 GiB")
    assert (clock.text, clock.note) == ("1755 of 1980 MHz", "SwPowerCap")


def test_two_gpus_multiply_twice_as_much(synthetic: ModuleType) -> None:
    """Tokens are those of all ranks: over one GPU's products the utilisation would be twice what it is."""
    document = told(synthetic, MEASURED, hardware="cuda(devices=2, ranks=2)")
    section = next(one for one in document.sections if one.title == "Trainings on the GPU")
    table = next(block for block in section.blocks if isinstance(block, Table))
    assert table.rows[0].values[4].text == "5.00 %"


def test_hardware_that_nobody_knows_costs_the_utilisation_and_not_the_report(synthetic: ModuleType) -> None:
    document = told(synthetic, MEASURED, hardware="tpu(")
    section = next(one for one in document.sections if one.title == "Trainings on the GPU")
    table = next(block for block in section.blocks if isinstance(block, Table))
    assert table.rows[0].values[4].text == MISSING


@pytest.mark.parametrize("missing", ["gpu_energy_joules", "step_seconds", "model_flops_per_token"])
def test_what_was_not_told_is_a_dash(synthetic: ModuleType, missing: str) -> None:
    document = told(synthetic, {name: value for name, value in MEASURED.items() if name != missing})
    section = next(one for one in document.sections if one.title == "Trainings on the GPU")
    table = next(block for block in section.blocks if isinstance(block, Table))
    assert [value.text for value in table.rows[0].values].count(MISSING) == 1


def test_without_a_gpu_there_is_no_such_section(synthetic: ModuleType) -> None:
    document = told(synthetic, {name: value for name, value in MEASURED.items() if not name.startswith("cuda")})
    assert "Trainings on the GPU" not in [one.title for one in document.sections]
