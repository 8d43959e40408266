"""``gguf``: llama.cpp computes what transformers computes, every type is what it is called, and the suite runs it."""

from __future__ import annotations

import math

import numpy
import pytest
import torch

from harness.contract import Hardware
from harness.errors import StepError
from harness.models.causal import open_scorer
from harness.models.checkpoint import load
from harness.models.importance import mean_squares
from harness.models.inspect import inspect_checkpoint, weight_bytes
from harness.models.loading import load_merged, load_tokenizer
from harness.models.sources import open_model

pytestmark = pytest.mark.usefixtures("gguf_importable")

WORDS = "def add(first, second):\n    return first + second  # 1 + 2 == 3, naïve\n"


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    return open_model({"kind": "embedded"}, cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def in_llama_cpp(run):
    """Compress with ``gguf`` and open it: the run and the scorer."""
    from harness.models.gguf.runtime import FILE, GgufScorer

    def make(checkpoint, **params):
        ran = run("gguf", checkpoint, **params)
        file = ran.checkpoint.parts["model"] / FILE
        return ran, GgufScorer(file, load_tokenizer(checkpoint), threads=2)

    return make


def windows_of(scorer, count=6, length=100):
    ids = [int(value) for value in numpy.random.default_rng(3).integers(3, scorer.vocabulary_size, count * length)]
    text = scorer.encode(WORDS * 40)
    return [text[:length], text[7 : 7 + length], *(ids[n * length : (n + 1) * length] for n in range(count - 2))]


def loss(scorer, windows):
    return -float(numpy.concatenate(scorer.target_log_probabilities(windows)).mean())


def continuation(scorer, prompt, count=40):
    found = []
    scorer.generate([prompt], count, found.extend)
    return found


@pytest.mark.parametrize("name", ["embedded", "stories", "gpt2", "llama"])
def test_f16_agrees_with_transformers_in_fp32(request, name, in_llama_cpp, make_job):
    """Perplexity to 0.5 %, greedy text token for token: a wrong rotation or transposition would be far off."""
    checkpoint = request.getfixturevalue(name)
    plain = open_scorer(make_job(checkpoint))
    ran, scorer = in_llama_cpp(checkpoint, type="F16")
    windows = windows_of(scorer)
    assert not ran.meter.flags
    assert scorer.max_length == plain.max_length and scorer.bos_id == plain.bos_id
    assert math.exp(loss(scorer, windows)) == pytest.approx(math.exp(loss(plain, windows)), rel=0.005)
    assert continuation(scorer, windows[0][:50]) == continuation(plain, windows[0][:50])
    assert scorer.complete([windows[0][:50]], 20) == plain.complete([windows[0][:50]], 20)


@pytest.mark.parametrize(("name", "heads"), [("llama", 2), ("gpt2", 4)])
def test_what_it_keeps_of_each_text(request, name, heads, in_llama_cpp):
    """Keys and values of 2 layers in 16 bits, 16 wide, of every token but the last; some bytes of its own for each."""
    _, scorer = in_llama_cpp(request.getfixturevalue(name), type="F16")
    scorer.generate([[1, 2, 3, 4], [5, 6, 7, 8], [1, 5, 1, 5]], 6, lambda tokens: None)
    found = scorer.key_values
    assert found.positions == 3 * 9 and found.expected_bytes == 2 * 2 * heads * 16 * 27 * 2
    assert found.expected_bytes < found.held_bytes <= found.expected_bytes + 27 * 12 + 3 * 160


def test_what_a_configuration_may_say_otherwise_is_converted_too(in_llama_cpp, make_job, tmp_path, embedded):
    """Biases, a head size of its own, another rotation, an output of its own, more entries than the tokenizer has."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=2056, hidden_size=96, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=32, attention_bias=True, max_position_embeddings=256, tie_word_embeddings=False,
        rope_parameters={"rope_type": "default", "rope_theta": 500000.0}, rms_norm_eps=1e-5, initializer_range=0.3,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.5)
    model.save_pretrained(tmp_path)
    checkpoint = embedded.with_parts(model=tmp_path)
    plain, (_, scorer) = open_scorer(make_job(checkpoint)), in_llama_cpp(checkpoint, type="F32")
    windows = [list(range(3, 163)), list(range(2055, 1955, -1))]
    for ours, theirs in zip(scorer.log_probabilities(windows), plain.log_probabilities(windows), strict=True):
        away = numpy.abs(ours - theirs)
        # Keys and values are kept in 16 bits, and these weights are large.
        assert away.max() < 0.3 and away.mean() < 0.01 and numpy.abs(theirs).max() > 5
    assert scorer._runtime.tokenize(WORDS) == scorer.encode(WORDS)


@pytest.mark.parametrize("name", ["embedded", "stories", "llama"])
def test_text_becomes_the_same_ids_in_the_file(request, name, in_llama_cpp):
    checkpoint = request.getfixturevalue(name)
    ran, scorer = in_llama_cpp(checkpoint, type="F16")
    assert ran.meter.observed["vocabulary"]["model"] in ("gpt2", "llama")
    for text in (WORDS, "  indented\n\n\ttabs", "Ünïcode — 漢字 🙂", "x=1;y=2\r\n", "it's we'll 'quoted'"):
        assert scorer._runtime.tokenize(text) == scorer.encode(text), text


def test_32_bits_are_exact_to_rounding(embedded, in_llama_cpp, make_job):
    """Keys and values alone are kept in 16 bits."""
    plain, (_, scorer) = open_scorer(make_job(embedded)), in_llama_cpp(embedded, type="F32")
    windows = windows_of(scorer)
    for ours, theirs in zip(scorer.log_probabilities(windows), plain.log_probabilities(windows), strict=True):
        assert ours.shape == theirs.shape and ours.dtype == numpy.float32
        assert float((numpy.exp(theirs) * (theirs - ours)).sum(axis=1).max()) < 1e-4
        assert numpy.allclose(numpy.exp(ours).sum(axis=1), 1.0, atol=1e-4)


def test_a_context_grows_with_what_is_read(embedded, in_llama_cpp):
    """Short texts, longer ones, as long as the model takes: llama.cpp aborts where a batch is too small for them."""
    _, scorer = in_llama_cpp(embedded, type="F16")
    text = windows_of(scorer, length=512)[0]
    for length in (5, 60, 200, 255, 257, 400, 512):
        assert len(scorer.target_log_probabilities([text[:length]])[0]) == length - 1
    together: list[list[int]] = []
    scorer.generate([text[:300], text[7:307]], 20, together.append)
    assert len(together) == 20
    with pytest.raises(StepError, match="513 tokens do not fit the model's context of 512"):
        scorer.target_log_probabilities([[*text[:512], 1]])


def test_several_texts_side_by_side_are_each_by_itself(embedded, in_llama_cpp):
    _, scorer = in_llama_cpp(embedded, type="F16")
    prompts = [window[:40] for window in windows_of(scorer, count=4)]
    together = []
    scorer.generate(prompts, 12, together.append)
    apart = [continuation(scorer, one, 12) for one in prompts]
    assert [list(column) for column in zip(*together, strict=True)] == apart


@pytest.mark.parametrize(
    ("kind", "types", "bits"),
    [
        ("Q8_0", {"Q8_0": 29}, 8.5), ("Q6_K", {"Q6_K": 29}, 6.5625), ("Q4_K_M", {"Q4_K": 24, "Q6_K": 5}, 5.12),
        ("Q2_K", {"Q2_K": 16, "Q3_K": 12, "Q6_K": 1}, 3.6),
    ],
)  # fmt: skip
def test_every_type_is_real_at_the_embedded_sizes(embedded, in_llama_cpp, kind, types, bits):
    """And takes the bits of its format: 8 or 6 of each weight, and the scales of its blocks."""
    ran, scorer = in_llama_cpp(embedded, type=kind)
    found = scorer.describe()
    assert found["quantized_layers"] == types and not ran.meter.flags
    assert found["parameters"] == ran.meter.metrics["parameters"] == 2_885_888
    assert 8 * weight_bytes(ran.checkpoint) / found["parameters"] == pytest.approx(bits, rel=0.01)
    stored = inspect_checkpoint(ran.checkpoint)["stored_bytes_by_dtype"]
    assert set(stored) == {"F32", *types}


def test_rows_that_no_k_quant_fits_are_told(stories, in_llama_cpp):
    """stories260K has rows of 64 and 172: llama.cpp quantises them otherwise and says nothing."""
    ran, scorer = in_llama_cpp(stories, type="Q4_K_M")
    (flag,) = ran.meter.flags
    assert flag.startswith("not Q4_K_M throughout: llama.cpp put 36 of 36 matrices in ")
    assert "Q4_K" not in scorer.describe()["quantized_layers"]
    kinds = " and ".join(scorer.describe()["quantized_layers"])
    assert ran.meter.observed["found_as"] == f"gguf(type={kinds} for Q4_K_M)"


def test_a_finer_type_is_nearer(embedded, in_llama_cpp, make_job):
    plain = open_scorer(make_job(embedded))
    windows = windows_of(plain)[:2]
    expected = plain.log_probabilities(windows)
    distance = []
    for kind in ("Q8_0", "Q6_K", "Q4_K_M", "Q3_K_M", "Q2_K"):
        found = in_llama_cpp(embedded, type=kind)[1].log_probabilities(windows)
        pairs = zip(expected, found, strict=True)
        distance.append(float(numpy.concatenate([(numpy.exp(a) * (a - b)).sum(axis=1) for a, b in pairs]).mean()))
    assert distance == sorted(distance)


def test_mean_squares_by_hand(llama, make_job):
    model = load_merged(llama, "fp32", Hardware())
    windows = [list(range(5, 45)), list(range(60, 100))]
    found = mean_squares(model, windows)
    seen = []
    layer = model.model.layers[1].mlp.down_proj
    handle = layer.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        model(input_ids=torch.tensor(windows))
    handle.remove()
    by_hand = seen[0].reshape(-1, layer.in_features).square().mean(dim=0)
    assert numpy.allclose(found["model.layers.1.mlp.down_proj"], by_hand.numpy(), rtol=1e-4)
    assert set(found) == {name for name, one in model.named_modules() if isinstance(one, torch.nn.Linear)}


def test_a_tied_output_is_weighted_under_the_name_that_the_file_has(embedded):
    from harness.models.gguf.making import _importance

    model = load_merged(embedded, "fp32", Hardware())
    found = _importance(model, [list(range(5, 45))])
    assert len(found) == 29 and "output.weight" not in found and found["token_embd.weight"].shape == (256,)


def test_importance_changes_the_codes_and_is_recorded(embedded, run):
    plain, weighted = (
        run("gguf", embedded, type="Q2_K", importance=wanted, calibration_windows=8, calibration_length=64)
        for wanted in (False, True)
    )
    assert weighted.meter.metrics["calibration_tokens"] == 8 * 64 and "calibration" not in plain.meter.observed
    hashes = [inspect_checkpoint(one.checkpoint)["parts"]["model"]["sha256"] for one in (plain, weighted)]
    assert hashes[0] != hashes[1]
    assert weight_bytes(plain.checkpoint) == weight_bytes(weighted.checkpoint)


def test_what_it_cannot_do_is_said_in_one_line(llama, bert, run, tmp_path):
    from harness.models.gguf.quantizing import read_tensors
    from harness.models.gguf.runtime import LlamaCpp

    quantised = run("rtn", llama).checkpoint
    with pytest.raises(StepError, match="rtn int4 weights are quantised already: gguf needs the plain ones"):
        run("gguf", quantised)
    with pytest.raises(StepError, match="gguf converts llama and gpt2 models, this one is bert"):
        run("gguf", bert)
    whole = run("gguf", llama, type="Q8_0").checkpoint.parts["model"] / "model.gguf"
    for name, content in (("cut", whole.read_bytes()[:5000]), ("other", b"not a model"), ("empty", b"")):
        broken = tmp_path / f"{name}.gguf"
        broken.write_bytes(content)
        with pytest.raises(StepError, match=rf"^{name}\.gguf is no whole GGUF file: .*; make it again$"):
            read_tensors(broken)
        with pytest.raises(StepError, match=rf"^llama\.cpp cannot open {name}\.gguf: "):
            LlamaCpp(broken, 1)


SUITE = """
name: small
question: does a suite run a technique of another environment?
data: source
model: embedded
baseline: base
tasks: perplexity(windows=4)
budget: {steps: 2, batch_size: 2, evaluations: 1}
sweeps:
  - method: [base, gguf]
    tasks: [perplexity(windows=4), choice(items=8), "generation_speed(prompt_tokens=16, new_tokens=8, repeats=2)"]
  - {method: [gguf(type=Q4_K_M), "full_finetune > gguf(type=Q8_0)"]}
"""


@pytest.mark.slow
def test_a_suite_runs_it_beside_the_others(run_suite):
    found = run_suite(SUITE)
    assert found["code"] == 0, found["output"]
    base, half = (found[name, "perplexity(windows=4)"] for name in ("base", "gguf"))
    assert half["environment"]["soft"]["environment"] == "gguf"
    assert "llama-cpp-python" in half["environment"]["soft"]["libraries"]
    assert base["environment"]["soft"]["environment"] == "main"
    assert half["environment"]["hard_id"] == base["environment"]["hard_id"]
    assert half["metrics"]["perplexity"] == pytest.approx(base["metrics"]["perplexity"], rel=0.005)
    assert half["metrics"]["kl_divergence"] < 1e-4
    made = load(found["cache"], found["gguf(type=Q4_K_M)", "compress"]["step"])
    assert found["gguf(type=Q4_K_M)", "compress"]["metrics"]["weight_bytes"] == pytest.approx(
        2_885_888 * 5.13 / 8, rel=0.01
    )
    assert made.kind == "causal"
    chain = "full_finetune > gguf(type=Q8_0)"
    assert found[chain, "perplexity(windows=4)"]["status"] == "done"
