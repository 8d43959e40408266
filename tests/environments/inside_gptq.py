"""Runs in the environment ``gptq``: quantises the embedded model, takes files apart by hand, writes what it found."""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
from pathlib import Path

import numpy
import torch
from safetensors.torch import load_file

from harness.catalogue import adapter_class, build_params
from harness.contract import Budget, Hardware, Job
from harness.data import open_dataset
from harness.errors import HarnessError
from harness.models.inspect import describe_model, safetensors_header
from harness.models.loading import load_model
from harness.models.rounding import Grid, from_grid, round_to_grid
from harness.models.sources import open_model

# The tests' own helpers lie in the conftest above, which is no module of a package.
_spec = importlib.util.spec_from_file_location("helpers", Path(__file__).parents[1] / "conftest.py")
helpers = importlib.util.module_from_spec(_spec)
sys.modules["helpers"] = helpers
_spec.loader.exec_module(helpers)

LAYER = "model.layers.1.mlp.down_proj"
WHOLE = open_dataset({"kind": "source"}, cache=Path(tempfile.mkdtemp()))


class Text:
    """The first documents of the embedded text: all of it takes seconds to be split every time."""

    name = WHOLE.name
    documents = WHOLE.view("text", "train")[:60]

    def view(self, name, split):
        return self.documents


TEXT = Text()
EMBEDDED = open_model({"kind": "embedded"}, cache=Path(tempfile.mkdtemp()))


def job_of(checkpoint=EMBEDDED, data=TEXT, params=None):
    return Job(
        params=params, checkpoint=checkpoint, data=data, precision="fp32", hardware=Hardware(), seed=0,
        budget=Budget(steps=1), meter=helpers.RecordingMeter(), output=Path(tempfile.mkdtemp()),
    )  # fmt: skip


def compress(name, checkpoint=EMBEDDED, data=TEXT, **params):
    adapter = adapter_class(name)
    adapter = adapter(build_params(adapter.Params, params, owner=name))
    return adapter.compress(job_of(checkpoint, data, adapter.params))


def calibration(count):
    from harness.training.calibration import CalibrationParams, calibration_windows

    return calibration_windows(job_of(), CalibrationParams(calibration_windows=count))


@torch.no_grad()
def loss(model, windows):
    ids = torch.tensor(windows)
    logits = model(input_ids=ids).logits.float()
    return float(torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()))


def unpacked(words, bits, axis):
    """Codes from 32-bit words along an axis, the first code in the lowest bits; 3-bit codes cross the words."""
    words = numpy.moveaxis(words, axis, -1).astype(numpy.uint32)
    stream = ((words[..., None] >> numpy.arange(32, dtype=numpy.uint32)) & 1).reshape(*words.shape[:-1], -1, bits)
    return numpy.moveaxis((stream << numpy.arange(bits, dtype=numpy.uint32)).sum(-1), -1, axis).astype(int)


def gptq_weight(tensors, bits, layer=LAYER):
    """[out, in] by the formula scale x (code - zero point), the stored zero points one too small."""
    parts = {name: tensors[f"{layer}.{name}"] for name in ("qweight", "qzeros", "scales", "g_idx")}
    group = parts["g_idx"].numpy()
    codes = unpacked(parts["qweight"].numpy(), bits, 0)
    zeros = (unpacked(parts["qzeros"].numpy(), bits, 1) + 1) & (2**bits - 1)
    return (parts["scales"].float().numpy()[group] * (codes - zeros[group])).T, codes


def awq_weight(tensors, size, layer=LAYER):
    """[out, in] of 4-bit codes, eight in a word in AWQ's order."""
    def codes_of(name):
        words = tensors[f"{layer}.{name}"].numpy().astype(numpy.uint32)
        codes = (words[..., None] >> (4 * numpy.arange(8, dtype=numpy.uint32))) & 15
        return codes[..., [0, 4, 1, 5, 2, 6, 3, 7]].reshape(words.shape[0], -1).astype(int)

    codes = codes_of("qweight")
    group = numpy.arange(len(codes)) // size
    scales = tensors[f"{layer}.scales"].float().numpy()
    return ((codes - codes_of("qzeros")[group]) * scales[group]).T, codes


def rounded(grid):
    """The embedded model with every layer rounded to the nearest on a grid."""
    model = load_model(EMBEDDED, "fp32", Hardware())
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and name != "lm_head":
            module.weight.data = from_grid(*round_to_grid(module.weight.data, grid))
    return model


def stored_bytes(folder):
    sizes = {}
    for name, item in safetensors_header(folder / "model.safetensors").items():
        kind = "embed_tokens.weight" if name.endswith("embed_tokens.weight") else name.rsplit(".", 1)[-1]
        sizes[kind] = sizes.get(kind, 0) + item["data_offsets"][1] - item["data_offsets"][0]
    return sizes


def measured(name, checkpoint, bits, size, symmetric, windows):
    folder = checkpoint.parts["model"]
    tensors = load_file(folder / "model.safetensors")
    by_hand, codes = gptq_weight(tensors, bits) if name == "gptq" else awq_weight(tensors, size)
    model = load_model(checkpoint, "fp32" if name == "gptq" else "bf16", Hardware())
    layer = model.get_submodule(LAYER)
    states = torch.eye(by_hand.shape[1], dtype=torch.float32 if name == "gptq" else torch.bfloat16)
    with torch.no_grad():
        own = layer(states).float().T.numpy()
    return {
        "bits": bits, "codes": len(numpy.unique(codes)), "largest": float(abs(by_hand).max()),
        "difference": float(abs(own - by_hand).max()), "described": describe_model(model),
        "loss": loss(model, windows), "loss_rtn": loss(rounded(Grid(bits, size, symmetric)), windows),
        "plain_loss": loss(load_model(EMBEDDED, "fp32", Hardware()), windows), "stored": stored_bytes(folder),
    }  # fmt: skip


def scales_cancel(checkpoint):
    """How far AWQ changed a norm, and how far norm x layer is from the plain model's, channel by channel.

    Rounding moves the weights of a channel both ways: its factor stays near 1, unless a scale was not divided out.
    """
    plain, made = (load_file(one.parts["model"] / "model.safetensors") for one in (EMBEDDED, checkpoint))
    norm, layer = "model.layers.1.input_layernorm.weight", "model.layers.1.self_attn.q_proj"
    before, after = plain[norm].float().numpy(), made[norm].float().numpy()
    weight, _ = awq_weight(made, 64, layer)
    product, expected = weight * after, plain[f"{layer}.weight"].float().numpy() * before
    factors = (product * expected).sum(axis=0) / (expected**2).sum(axis=0)
    return float(abs(after / before - 1).max()), float(abs(factors - 1).max())


def errors(made):
    def said(call):
        try:
            call()
        except HarnessError as error:
            return str(error)
        return "nothing"

    few = {"calibration_windows": 16, "calibration_length": 64}
    many = few | {"calibration_windows": 100_000}
    gpt2 = open_model({"kind": "random", "architecture": "gpt2", "layers": 1}, cache=Path(tempfile.mkdtemp()))
    gpt2 = gpt2.with_parts(tokenizer=EMBEDDED.parts["tokenizer"])
    from transformers import CTRLConfig, CTRLLMHeadModel

    folder = Path(tempfile.mkdtemp())
    config = CTRLConfig(vocab_size=2048, n_positions=512, n_embd=64, dff=128, n_layer=1, n_head=2)
    CTRLLMHeadModel(config).save_pretrained(folder)
    ctrl = gpt2.with_parts(model=folder)
    return {
        "group": said(lambda: grouped(few)),
        "again": said(lambda: compress("gptq", made, **few)),
        "short": said(lambda: compress("gptq", calibration_windows=4, calibration_length=10)),
        "gpt2": said(lambda: compress("gptq", gpt2, **few)),
        "few": said(lambda: compress("gptq", data=helpers.TinyData(), **many)),
        "unknown": said(lambda: compress("gptq", ctrl, **few)),
    }


def grouped(few):
    """A group that no choice of the parameter allows, but another model's width might not be a multiple of."""
    from harness.models.calibrated import Recipe, quantize_calibrated

    quantize_calibrated(job_of(), Recipe("gptq", 4, 96, True), [[1] * 64])


def main(out):
    windows = calibration(24)
    shared = {"calibration_windows": 24, "group_size": 64}
    found = {}
    made = compress("gptq", symmetric=False, **shared)
    found["gptq_4"] = measured("gptq", made, 4, 64, False, windows)
    found["gptq_3"] = measured("gptq", compress("gptq", bits=3, symmetric=False, **shared), 3, 64, False, windows)
    act = compress("gptq", activation_order=True, **shared)
    found["gptq_act"] = measured("gptq", act, 4, 64, True, windows)
    awq = compress("awq", calibration_windows=8, group_size=64)
    found["awq_4"] = measured("awq", awq, 4, 64, False, windows)
    changed, away = scales_cancel(awq)
    found["awq_4"] |= {"norms_changed": changed, "unscaled_difference": away}
    found["errors"] = errors(made)
    Path(out).write_text(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
