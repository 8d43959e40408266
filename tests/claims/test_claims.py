"""The registry of claims: every entry can be read, what is wrong in one is one line, and evidence is what rows say."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from harness.analyse.claimed import judged
from harness.claims import load, read
from harness.errors import UsageError
from harness.report.claims import claims_page
from harness.report.document import Table
from harness.report.pages import html, markdown
from harness.report.technique_results import found_of

ROOT = Path(__file__).resolve().parents[2]
GOOD = """
- id: mine
  technique: lora
  statement: LoRA trains few parameters.
  source: me
  verified: false
  metric: trainable_share
  of: lora
  over: 1
  at_most: 0.05
"""


@pytest.fixture(scope="module")
def found():
    return {one.claim.id: one for one in judged(load(), ROOT / "results")}


def test_every_claim_has_a_source_and_a_test_or_what_one_would_take() -> None:
    claims = load()
    assert len(claims) >= 60 and len({claim.id for claim in claims}) == len(claims)
    for claim in claims:
        assert claim.source and (claim.metric or claim.needs), claim.id
        assert claim.published or claim.needs, claim.id


def test_a_claim_of_ones_own_is_one_entry(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(GOOD)
    assert load([file])[-1].id == "mine"
    (own,) = judged(read(file), ROOT / "results", ["finetuning"])
    assert own.judgement.verdict == "confirmed" and own.chosen is not None and own.chosen.suite == "finetuning"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("  source: me\n", "", "'source' is missing"),
        ("verified: false", "verified: maybe", "'verified' must be true"),
        ("metric: trainable_share", "metric: trainable_shares", "unknown metric 'trainable_shares'; did you mean"),
        ("  at_most: 0.05\n", "", "give at_most, at_least, both of them, or no_worse_than"),
        ("at_most: 0.05", "at_most: 0.05\n  no_worse_than: 2", "give at_most, at_least, both of them"),
        ("at_most: 0.05", "at_most: 0.05\n  at_least: 2", "at_least 2 is above at_most 0.05"),
        ("at_most: 0.05", "at_most: few", "'at_most' must be a number"),
        ("at_most: 0.05", "at_most: 0.05\n  scale: large", "must be a number, not 'large'"),
        ("at_most: 0.05", "at_most: 0.05\n  device: tpu", "unknown device 'tpu'"),
        ("over: 1", "over: 0", "'over' must be a method or a number above 0"),
        ("of: lora", "of: lorra", "unknown technique 'lorra'"),
        ("of: lora", "of: 'lora(rnk=4)'", "'lora' has no parameter 'rnk'"),
        ("of: lora", "of: 'lora(rank=[4, 8])'", "is 2 methods; a side is one"),
        ("at_most: 0.05", "at_most: 0.05\n  counter: note-int8", "'counter' must be a list"),
        ("at_most: 0.05", "at_most: -1", "at_most must be above 0"),
        ("  over: 1\n", "", "a metric needs 'of' and 'over'"),
        ("of: lora", "of: 'lora(rank='", "claim 'mine'"),
        ("technique: lora", "techniques: lora", "unknown field 'techniques'; did you mean 'technique'"),
        ("  metric: trainable_share\n", "", "without a metric it needs 'needs'"),
        ("at_most: 0.05", "at_most: 0.05\n  counter: [nobody]", "counter: no claim 'nobody'"),
        ("- id: mine", "- id: note-int8", "claim 'note-int8' is there twice"),
        ("at_most: 0.05", "at_most: 0.05\n  at_scale: 7B", "'at_scale' is a mapping with of, over and model"),
        ("at_most: 0.05", "at_most: 0.05\n  at_scale: {of: lora, over: qlora, model: llama-7}",
         "at_scale: unknown shape 'llama-7'; did you mean 'llama-7b'"),
        ("at_most: 0.05", "at_most: 0.05\n  at_scale: {of: lora, model: llama-7b}", "at_scale"),
        ("at_most: 0.05", "at_most: 0.05\n  at_scale: {of: lorra, over: qlora, model: llama-7b}", "'lorra'"),
    ],
)
def test_what_is_wrong_in_a_claim_is_one_line(tmp_path: Path, old: str, new: str, told: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(GOOD.replace(old, new))
    with pytest.raises(UsageError, match=told) as error:
        load([file])
    assert "\n" not in str(error.value)


def test_a_file_that_is_none_of_claims_is_said(tmp_path: Path) -> None:
    for text, told in (("id: x", "must be a list of claims"), ("- [", "not valid YAML")):
        (tmp_path / "x.yaml").write_text(text)
        with pytest.raises(UsageError, match=told):
            read(tmp_path / "x.yaml")
    with pytest.raises(UsageError, match="cannot read the claims"):
        read(tmp_path / "none.yaml")


def test_known_truths_come_out(found) -> None:
    """What arithmetic says: bytes of 4-bit weights with their scales, halves of layers, LoRA's share."""
    assert found["note-int4"].judgement.verdict == "direction only", "scales and embeddings are there too"
    assert found["note-distilbert"].judgement.verdict == "direction only", "half the layers is not 60 % smaller"
    assert found["distilbert-size"].judgement.verdict == "confirmed"
    assert found["ckpt-torchtune"].judgement.verdict == "direction only", "memory is saved, at this depth not 41.9 %"
    assert found["note-ckpt-time"].chosen.ratio.low > 1 and found["note-ckpt-time"].chosen.pairs == 10
    assert found["note-lora-speed"].judgement.verdict == "direction only", "faster, and not three times"
    assert found["zero-optimizer"].judgement.verdict == "confirmed"
    assert found["note-prefix"].judgement.verdict == "confirmed"


def test_evidence_is_what_the_records_say(found) -> None:
    one = found["note-int4"].chosen
    assert one is not None
    records = [json.loads(path.read_text()) for path in (ROOT / "results" / one.suite).glob("*/*.json")
               if path.stem.split(".")[0] in one.steps]  # fmt: skip
    assert records and one.ratio.estimate == pytest.approx(records[0]["metrics"]["bits_per_weight"] / 16)
    gptq = found["note-gptq"].chosen
    assert gptq is not None
    folder = ROOT / "results" / gptq.suite
    pair = [json.loads(next(folder.glob(f"*/{step}.*.json")).read_text()) for step in gptq.steps]
    ratio = pair[0]["metrics"]["kl_divergence"] / pair[1]["metrics"]["kl_divergence"]
    assert gptq.ratio.estimate == pytest.approx(ratio, rel=1e-6)
    assert gptq.ratio.low is not None and gptq.ratio.low < ratio < (gptq.ratio.high or 0)


def test_times_are_believed_from_interleaved_runs_alone(found) -> None:
    """suites/claims runs seed after seed; suites/lora and suites/alignment ran method after method."""
    assert found["note-ckpt-time"].chosen.pairs == 10
    others = [one for one, _ in found["note-lora-speed"].others if one.suite == "lora"]
    assert others and all(one.pairs == 0 and one.basis.endswith("not interleaved") for one in others)
    said = "0 interleaved pairs of runs, a verdict on time takes 10"
    assert found["note-dpo"].judgement.why == said


def test_the_memory_model_speaks_at_scale_and_decides_nothing(found) -> None:
    asked = {name: one.at_scale for name, one in found.items() if one.at_scale is not None}
    assert len(asked) >= 8
    assert asked["qlora-48gb"].of < 48e9 and asked["qlora-48gb"].over > 780e9
    assert asked["lora-mem"].of == pytest.approx(350e9, rel=0.05), "arXiv:2106.09685, section 4.2"
    assert 1 / 3.3 < asked["note-lora-memory"].ratio < 1 / 3
    assert 0.5 < asked["note-ckpt-memory"].ratio < 0.7
    assert found["qlora-48gb"].judgement.verdict == "not testable here"
    (row,) = [row for row in _rows(claims_page([found["qlora-48gb"]])) if "qlora-48gb" in row.values[0].text]
    assert "predicted at scale: 42" in row.values[0].note and "llama-65b, 1 x 512 tokens" in row.values[0].note
    assert found["qlora-48gb"].to_dict()["at_scale"]["ratio"] == asked["qlora-48gb"].ratio


def _rows(document):
    return [row for section in document.sections for block in section.blocks if isinstance(block, Table)
            for row in block.rows]  # fmt: skip


def test_a_claim_about_several_methods_takes_them_all(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    also = "  also:\n  - {of: lora, over: 2}\n  - {of: lora(rank=3), over: 1}\n  every: true\n"
    file.write_text(GOOD + also)
    (own,) = judged(read(file), ROOT / "results", ["finetuning"])
    assert own.judgement.why == "2 of 3 ratios were measured, and hold"


def test_a_claim_about_quantisation_names_each_method(found) -> None:
    """int8 contradicts it; int4 and llama.cpp's types neither, and their own pages do not say that they do."""
    one = found["note-quant-speed"]
    verdicts = {ratio.of: judgement.verdict for ratio, judgement in one.sides if ratio.suite == "latency"}
    assert verdicts == {"full_finetune > int8": "contradicted", "full_finetune > int4": "inconclusive"}
    assert {one.claim.sides[ratio.side][0].method for ratio, _ in one.sides} >= {"gguf(type=Q8_0)", "gguf(type=Q4_K_M)"}
    page = markdown(claims_page([one]))
    (sentence,) = [line for line in page.splitlines() if line.startswith("- Quantisation")]
    for text in (sentence, page.rpartition("| note-quant-speed")[2]):
        assert "full_finetune > int8 over full_finetune" in text and " 0.601" in text
        assert "full_finetune > int4 over full_finetune 0.978" in text and "gguf(type=Q8_0) over gguf 0.986" in text
    pages = found_of(["int8", "int4", "gguf"], [one], [])
    said = {name: (told.verdict, told.measured.split()[0]) for name, each in pages.items() for told in each.claims}
    assert said.pop("int8") == ("contradicted", "0.601")
    assert said == {"int4": ("inconclusive", "0.978"), "gguf": ("inconclusive", "0.986")}


def test_the_committed_page_is_what_the_records_give(found) -> None:
    """Whoever measures or changes a claim writes it anew: harness claims --report."""
    assert (ROOT / "reports" / "verdicts" / "README.md").read_text() == markdown(claims_page(list(found.values())))


def test_a_verdict_leads_to_the_rows_that_it_rests_on(found) -> None:
    """The page of the suite is there, and its table, filtered by the address, has rows of the model and precision."""
    measured = [one for one in found.values() if one.chosen is not None]
    assert len(measured) > 50
    rows = {}
    for one in measured:
        (row,) = [row for row in _rows(claims_page([one])) if row.values[0].text.startswith(f"{one.claim.id}: ")]
        file, _, view = row.values[-1].target.partition("#explore?")
        path = ROOT / "reports" / "verdicts" / file
        if path not in rows:
            text = path.read_text().partition('id="explored">')[2].partition("</script>")[0]
            rows[path] = [f"{each['model']} {each['precision']}" for each in json.loads(text)["rows"]]
        words = parse_qs(view)["filter"][0].split()
        assert any(all(word in each for word in words) for each in rows[path]), one.claim.id


def test_the_page_has_every_claim_once_and_is_safe(found) -> None:
    page = claims_page(list(found.values()))
    tables = [block for section in page.sections for block in section.blocks if isinstance(block, Table)]
    first = [row.values[0].text.partition(":")[0] for table in tables for row in table.rows]
    assert sorted(first) == sorted(found)
    assert "<script>alert" not in html(page) and "note-int4" in markdown(page)
