"""``distillation``, ``distilgpt2``, ``distilbert``: the loss by hand, the right layers, an untouched teacher."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy
import pytest
import torch

from harness.errors import StepError
from harness.models.distilbert import distilbert_of
from harness.training.distilling import Weights, distillation_loss
from harness.training.students import StudentShape, alternate_layers, layers_of, make_student
from harness.training.teacher_memory import TeacherMemory


def softmax(values):
    powers = numpy.exp(values - values.max())
    return powers / powers.sum()


def outputs(generator, width=5, hidden=3):
    return SimpleNamespace(
        logits=torch.tensor(generator.normal(size=(2, 4, width)), dtype=torch.float32),
        hidden_states=(None, torch.tensor(generator.normal(size=(2, 4, hidden)), dtype=torch.float32)),
    )


@pytest.mark.parametrize("shifted", [True, False])
def test_the_loss_equals_a_computation_by_hand(shifted):
    """A causal model learns soft targets where it has labels, a masked one at every token that is no padding."""
    generator = numpy.random.default_rng(0)
    student, teacher = outputs(generator), outputs(generator)
    labels = torch.tensor([[1, 2, -100, 3], [0, 4, 1, -100]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
    weights = Weights(soft=0.7, hard=0.3, cosine=0.2, temperature=2.5)
    soft = hard = 0.0
    softly = 0
    for row in range(2):
        for position in range(4):
            own, other = (one.logits[row, position].double().numpy() for one in (student, teacher))
            p, q = softmax(other / 2.5), softmax(own / 2.5)
            target = position + 1 if shifted else position
            labelled = target <= 3 and labels[row, target] != -100
            if labelled if shifted else bool(mask[row, position]):
                soft += (p * numpy.log(p / q)).sum()
                softly += 1
            if labelled:
                hard -= math.log(softmax(own)[int(labels[row, target])])
    states = [one.hidden_states[-1].flatten(0, 1).double().numpy() for one in (student, teacher)]
    angles = [float(a @ b / numpy.linalg.norm(a) / numpy.linalg.norm(b)) for a, b in zip(*states, strict=True)][:7]
    assert softly == (4 if shifted else 7)
    of_step = 6 if shifted else 7 * 3  # three micro-batches as large as this one
    expected = 0.7 * 2.5**2 * soft / of_step + 0.3 * hard / 6 + 0.2 * (1 - numpy.mean(angles)) / 3
    found = distillation_loss(student, teacher, labels, mask, weights, 6, shifted, parts=3)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_at_a_high_temperature_the_gradient_is_that_of_the_logits_distance():
    """Hinton et al.: with T^2, zero-meaned logits and T large, d loss / d z = (z - v) / N."""
    generator = numpy.random.default_rng(1)
    student, teacher = outputs(generator), outputs(generator)
    for one in (student, teacher):
        one.logits = one.logits - one.logits.mean(-1, keepdim=True)
    student.logits.requires_grad_(True)
    labels = torch.zeros(2, 4, dtype=torch.long)
    distillation_loss(student, teacher, labels, None, Weights(1.0, 0.0, temperature=500.0), 1, False).backward()
    expected = (student.logits - teacher.logits).detach() / 5 / 8  # N = 5 classes, the mean over 8 tokens
    assert torch.allclose(student.logits.grad, expected, atol=1e-3)


def test_alternate_layers_are_those_of_the_published_students():
    assert alternate_layers(12, 6) == [0, 2, 4, 7, 9, 11]
    assert alternate_layers(4, 2) == [0, 3] and alternate_layers(4, 1) == [0] and alternate_layers(3, 3) == [0, 1, 2]


def test_a_student_begins_with_the_teachers_layers_and_all_that_is_no_layer(llama, open_live):
    teacher = open_live(llama)
    depth = len(layers_of(teacher)[1])
    student, chosen = make_student(teacher, StudentShape(layers=1), "causal")
    assert chosen == [0] and depth > 1 and len(layers_of(student)[1]) == 1 == student.config.num_hidden_layers
    prefix, given = layers_of(teacher)
    before, after = teacher.state_dict(), student.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in after), "one layer: all names are the teacher's"
    fresh, none = make_student(teacher, StudentShape(layers=1, from_teacher=False), "causal")
    assert none == [] and not torch.equal(fresh.state_dict()["lm_head.weight"], before["lm_head.weight"])
    assert len(given) == depth and prefix


def deep(config, kind):
    torch.manual_seed(0)
    return kind(config(vocab_size=50, hidden_size=16, intermediate_size=24, num_hidden_layers=4, num_attention_heads=2))


def test_of_four_layers_two_are_the_first_and_the_last():
    from transformers import BertConfig, BertForMaskedLM, LlamaConfig, LlamaForCausalLM

    teacher = deep(LlamaConfig, LlamaForCausalLM)
    student, chosen = make_student(teacher, StudentShape(), "causal")
    assert chosen == [0, 3]
    for own, number in zip(student.model.layers, chosen, strict=True):
        given = teacher.model.layers[number].state_dict()
        assert all(torch.equal(value, given[name]) for name, value in own.state_dict().items())
    bert = deep(BertConfig, BertForMaskedLM)
    small, chosen = make_student(bert, StudentShape(family="distilbert"), "masked")
    for own, number in zip(small.distilbert.transformer.layer, chosen, strict=True):
        query = bert.bert.encoder.layer[number].attention.self.query.weight
        assert torch.equal(own.attention.q_lin.weight, query)
    assert chosen == [0, 3] and small.config.n_layers == 2


def test_widths_are_really_the_students():
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    shape = StudentShape(hidden_size=8, intermediate_size=12, from_teacher=False)
    small, _ = make_student(deep(LlamaConfig, LlamaForCausalLM), shape, "causal")
    assert small.model.layers[0].self_attn.q_proj.weight.shape == (8, 8)
    assert small.model.layers[0].mlp.up_proj.weight.shape == (12, 8)
    teacher = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=16, n_layer=2, n_head=2, n_positions=32))
    small, _ = make_student(teacher, shape, "causal")
    assert small.transformer.h[0].mlp.c_fc.weight.shape == (8, 12)


def test_what_a_teacher_cannot_give_is_said(llama, open_live):
    teacher = open_live(llama)
    with pytest.raises(StepError, match="cannot begin with those of a teacher of 2: init=fresh"):
        make_student(teacher, StudentShape(layers=3), "causal")
    with pytest.raises(StepError, match="another hidden_size cannot begin with the teacher's layers: init=fresh"):
        make_student(teacher, StudentShape(hidden_size=32), "causal")
    with pytest.raises(StepError, match="distilbert makes its student of a BERT, this is a llama"):
        distilbert_of(teacher, [0])


def test_a_distilbert_of_every_layer_computes_what_the_bert_computes(bert_run, open_live):
    """But for the token types, which DistilBERT has not."""
    teacher = open_live(bert_run.checkpoint)
    with torch.no_grad():
        teacher.bert.embeddings.token_type_embeddings.weight.zero_()
    student = distilbert_of(teacher, range(teacher.config.num_hidden_layers)).eval()
    ids = torch.randint(0, 300, (2, 17), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(student(input_ids=ids).logits, teacher(input_ids=ids).logits, atol=1e-5)
    assert not [name for name, _ in student.named_parameters() if "token_type" in name or "pooler" in name]


@pytest.mark.parametrize(
    ("technique", "params"),
    [("distillation", {}), ("distillation", {"view": "instructions"}), ("distillation", {"alpha": 0.0}),
     ("distillation", {"init": "fresh", "hidden_size": 32}), ("distilgpt2", {})],
)  # fmt: skip
def test_a_student_learns_and_the_teacher_stays(run, llama, open_live, folder_hash, technique, params):
    before = folder_hash(llama.parts["model"])
    ran = run(technique, llama, layers=1, job={"steps": 12, "evaluations": 2}, **params)
    assert folder_hash(llama.parts["model"]) == before
    points = ran.meter.points
    assert points[-1]["validation_loss"] < points[0]["validation_loss"]
    student = open_live(ran.checkpoint)
    assert student.config.use_cache, "Trainer switches it off, and every token would read the whole text again"
    assert student.config.num_hidden_layers == 1 and ran.checkpoint.kind == "causal"
    metrics = ran.meter.metrics
    assert metrics["parameters"] < metrics["teacher_parameters"]
    assert (metrics["teacher_seconds"] == 0) == (params.get("alpha") == 0.0), "a teacher without a say is never asked"


def test_a_bert_teaches_a_distilbert(run, bert_run, open_live):
    ran = run("distilbert", bert_run.checkpoint, layers=1, job={"steps": 60, "evaluations": 2})
    assert type(open_live(ran.checkpoint)).__name__ == "DistilBertForMaskedLM" and ran.checkpoint.kind == "masked"
    assert ran.meter.points[-1]["validation_loss"] < ran.meter.points[0]["validation_loss"]
    assert ran.meter.observed["student"]["begins_with_layers"] == [0] and ran.meter.metrics["teacher_seconds"] > 0


@pytest.mark.parametrize("technique", ["distillation", "distilgpt2"])
def test_an_accumulated_batch_is_the_large_one(run, llama, technique):
    job = {"steps": 4, "batch_size": 8, "evaluations": 1}
    options = {"layers": 1, "optimizer": "adamw", "learning_rate": 1e-3}
    whole = run(technique, llama, job=job, **options)
    parts = run(technique, llama, job={**job, "modifiers": ["gradient_accumulation(steps=4)"]}, **options)
    assert parts.losses == pytest.approx(whole.losses, rel=1e-4)


def test_a_quantised_teacher_is_refused(run, llama):
    with pytest.raises(StepError, match="a student is made of plain weights, the teacher's are rtn int8"):
        run("distillation", run("rtn", llama, bits=8).checkpoint, layers=1, job={"steps": 4})


def test_adapters_of_the_teacher_are_merged_first(run, llama, open_live):
    adapted = run("lora", llama, rank=4, job={"steps": 4}).checkpoint
    made = run("distillation", adapted, layers=1, job={"steps": 4}).checkpoint
    assert "peft" not in made.parts and open_live(made).config.num_hidden_layers == 1


LITTLE = {"steps": 12, "batch_size": 64, "evaluations": 1}
"""Several passes over the data of these tests."""


def test_kept_logits_train_as_a_teacher_that_is_asked_every_time(run, llama):
    """To the bit where all is kept; with a whole vocabulary as top k but for the order of its sum."""
    options = {"layers": 1, "view": "instructions", "optimizer": "adamw", "learning_rate": 1e-3}
    asked = run("distillation", llama, job=LITTLE, **options)
    kept = run("distillation", llama, job=LITTLE, cache="logits", **options)
    facts = kept.meter.observed["teacher_cache"]
    assert facts["recalled"] > facts["asked"] > 64, "a later pass has to recall what an earlier one asked"
    assert kept.losses == asked.losses and kept.meter.metrics["teacher_cache_bytes"] == facts["bytes"]
    assert not [path for path in kept.checkpoint.parts["model"].parent.iterdir() if path.name != "model"]
    entries = llama_entries(llama)
    every = run("distillation", llama, job=LITTLE, cache="top_k", top_k=entries, **options)
    assert every.losses == pytest.approx(asked.losses, rel=1e-4)
    few = run("distillation", llama, job=LITTLE, cache="top_k", top_k=8, **options)
    assert few.meter.metrics["teacher_cache_bytes"] == facts["bytes"] * 8 * 8 // (4 * entries)
    assert few.losses[-1] < few.losses[0] and few.losses != asked.losses


def llama_entries(checkpoint):
    import json

    return json.loads((checkpoint.parts["model"] / "config.json").read_text())["vocab_size"]


def test_a_top_k_loss_equals_a_computation_by_hand():
    generator = numpy.random.default_rng(3)
    student, teacher = outputs(generator), outputs(generator)
    largest = teacher.logits.topk(2)
    kept = SimpleNamespace(logits=largest.values, tokens=largest.indices)
    labels = torch.ones(2, 4, dtype=torch.long)
    expected = 0.0
    for row in range(2):
        for position in range(3):
            own = softmax(student.logits[row, position].double().numpy() / 2)
            given = teacher.logits[row, position].double().numpy()
            best = numpy.argsort(-given)[:2]
            target = softmax(given[best] / 2)
            expected += 4 * (target * numpy.log(target / own[best])).sum() / 6
    found = distillation_loss(student, kept, labels, None, Weights(1.0, 0.0, temperature=2.0), 6, True)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_padding_on_either_side_is_no_part_of_what_is_kept(tmp_path):
    memory = TeacherMemory(tmp_path, None)
    asked = []

    def teacher(given):
        asked.append(given["input_ids"].tolist())
        return SimpleNamespace(logits=given["input_ids"].float()[..., None] * torch.tensor([1.0, -1.0]))

    def batch(ids, mask):
        return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}

    memory.answer(batch([[5, 6, 0], [7, 8, 9]], [[1, 1, 0], [1, 1, 1]]), teacher)
    again = memory.answer(batch([[0, 0, 5, 6], [3, 2, 1, 1]], [[0, 0, 1, 1], [1, 1, 1, 1]]), teacher)
    assert asked == [[[5, 6, 0], [7, 8, 9]], [[3, 2, 1, 1]]]
    assert again.logits[..., 0].tolist() == [[0, 0, 5, 6], [3, 2, 1, 1]] and again.tokens is None
    assert memory.facts() == {"top_k": None, "bytes": 9 * 8, "asked": 3, "recalled": 1}
    with pytest.raises(StepError, match="top_k 3 is more than the 2 entries of the vocabulary"):
        TeacherMemory(tmp_path, 3).answer(batch([[1]], [[1]]), teacher)


def test_a_full_disk_is_said(tmp_path, monkeypatch):
    memory = TeacherMemory(tmp_path, None)

    class Full:
        def seek(self, place):
            pass

        def close(self):
            pass

        def write(self, data):
            raise OSError(28, "No space left on device")

    memory._file = Full()
    ids = torch.tensor([[1, 2]])
    with pytest.raises(StepError, match=r"0 MiB of the teacher's answers are kept .*No space left.*cache=top_k keeps"):
        memory.answer({"input_ids": ids}, lambda given: SimpleNamespace(logits=torch.zeros(1, 2, 3)))
