"""``meter_overhead``: pairs by hand, and a meter that is slow on purpose, which must show."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from harness.contract import Hardware
from harness.run.meter import Meter
from harness.tasks.meter_overhead import MeterOverhead
from harness.training import overhead
from harness.training.overhead import Pair, pairs


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WARM_UP": 2, "BATCH": 2, "LENGTH": 32}.items():
        monkeypatch.setattr(overhead, name, value)


def test_the_share_is_the_median_over_pairs(make_job, monkeypatch) -> None:
    def given(meter, apart, hardware, folder, steps):
        assert apart is not meter and type(apart) is type(meter) and steps == 3
        return [Pair(0.1, 0.11), Pair(0.2, 0.24), Pair(0.1, 0.105)]

    monkeypatch.setattr(overhead, "pairs", given)
    job = make_job(None)
    MeterOverhead(MeterOverhead.Params(steps=3)).score(None, job)
    assert job.meter.samples["meter_overhead_share"] == pytest.approx([0.1, 0.2, 0.05])
    assert job.meter.metrics["meter_overhead_share"] == pytest.approx(0.1)
    assert job.meter.observed["step_seconds"] == {"plain": 0.1, "metered": 0.11}


class Slow(Meter):
    """Takes a while at the end of every step, after its own reading of the clock."""

    SECONDS = 0.05

    def step_end(self, **counts: int) -> None:
        super().step_end(**counts)
        time.sleep(self.SECONDS)


def test_time_that_the_meter_takes_after_its_own_reading_is_counted(small: None, tmp_path: Path) -> None:
    meter, apart = Meter(), Slow()
    found = pairs(meter, apart, Hardware(threads=1), tmp_path, 4)
    assert len(found) == 4, "the warm-up is not counted"
    assert all(one.plain > 0 and one.metered > Slow.SECONDS for one in found)
    assert found[0].share == found[0].metered / found[0].plain - 1
    record = meter.finish()
    seconds = {span["name"]: span["seconds"] for span in record["spans"]}
    assert {"plain", "setup", "train"} <= set(seconds)
    assert seconds["plain"] >= sum(one.plain for one in found)
    assert seconds["train"] >= sum(one.metered for one in found)
    assert record["optimizer_steps"] == {} and "tokens_per_second" not in record["metrics"], "nobody's training"
    assert len(apart.steps.seconds) == 6 and set(apart.steps.tokens) == {64}


def test_both_ways_take_the_same_step(small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the same blocks from the same weights; the loop shuffles, so every block is the same here."""
    import torch

    blocks = overhead._blocks(1)
    monkeypatch.setattr(overhead, "_blocks", lambda count: blocks * count)
    models, make = [], overhead._model
    monkeypatch.setattr(overhead, "_model", lambda: models.append(make()) or models[-1])
    apart = Meter()
    pairs(Meter(), apart, Hardware(threads=1), tmp_path, 2)
    plain, metered = models
    ids = torch.tensor(blocks * 2)
    fresh = make()(input_ids=ids, labels=ids).loss.item()
    losses = [model.eval()(input_ids=ids, labels=ids).loss.item() for model in (plain, metered)]
    assert apart.steps.losses[1] == pytest.approx(fresh, rel=1e-5)
    assert max(losses) < fresh - 0.05, "both have learnt"
