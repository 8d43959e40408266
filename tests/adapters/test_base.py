"""``base``: neither trains nor compresses, and opens what it was given."""

from __future__ import annotations

from harness.adapters.reference.base import Base
from harness.contract import NoParams


def test_it_makes_no_step_and_changes_nothing(make_job, llama):
    adapter = Base(NoParams())
    job = make_job(llama)
    assert Base.operations() == ()
    assert adapter.train(job) is llama and adapter.compress(job) is llama
    assert list(job.output.iterdir()) == []


def test_it_opens_the_model_at_the_cells_precision(make_job, llama):
    for precision, dtype in (("fp32", "float32"), ("bf16-mixed", "float32"), ("bf16", "bfloat16")):
        scorer = Base(NoParams()).eval(make_job(llama, precision=precision))
        assert set(scorer.describe()["dtypes"]) == {dtype}
        assert (scorer.vocabulary_size, scorer.max_length, scorer.bos_id) == (300, 128, None)
