"""Runs in the environment ``torchao``: quantises the embedded model, computes a layer by hand, writes what it found."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy
import torch

from harness.catalogue import adapter_class, build_params
from harness.contract import Budget, Hardware, Job
from harness.errors import HarnessError
from harness.models.inspect import describe_model, weight_bytes
from harness.models.loading import load_model
from harness.models.sources import open_model
from harness.run.meter import Meter
from harness.run.operation import NoData

LAYER = "model.layers.1.mlp.down_proj"
EMBEDDED = open_model({"kind": "embedded"}, cache=Path(tempfile.mkdtemp()))


def compress(**params):
    adapter = adapter_class("torchao")
    adapter = adapter(build_params(adapter.Params, params, owner="torchao"))
    return adapter.compress(Job(
        params=adapter.params, checkpoint=EMBEDDED, data=NoData(), precision="fp32", hardware=Hardware(), seed=0,
        budget=Budget(steps=1), meter=Meter(), output=Path(tempfile.mkdtemp()),
    ))  # fmt: skip


def by_hand(weight, bits, size):
    """Rounded weights in float64: symmetric over [-127.5, 127.5] at 8 bits, from smallest to largest below."""
    rows = weight.reshape(weight.shape[0], -1, size or weight.shape[1])
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    if bits == 8:
        scale = abs(rows).max(-1, keepdims=True) / 127.5
        codes = numpy.clip(numpy.rint(rows / scale), low, high)
        return (codes * scale).reshape(weight.shape)
    least, most = numpy.minimum(rows.min(-1, keepdims=True), 0), numpy.maximum(rows.max(-1, keepdims=True), 0)
    scale = (most - least) / (high - low)
    zero = numpy.clip(low - numpy.rint(least / scale), low, high)
    codes = numpy.clip(numpy.rint(rows / scale) + zero, low, high)
    return ((codes - zero) * scale).reshape(weight.shape)


def measured(bits, size):
    made = compress(bits=bits, group_size=size)
    model = load_model(made, "fp32", Hardware())
    plain = load_model(EMBEDDED, "fp32", Hardware()).get_submodule(LAYER).weight.detach().double().numpy()
    layer = model.get_submodule(LAYER)
    with torch.no_grad():
        own = layer(torch.eye(layer.in_features)).T.double().numpy()
    expected = by_hand(plain, bits, size)
    step = abs(expected).max() / 2 ** (bits - 1)
    return {
        "described": describe_model(model), "off_the_grid": float((abs(own - expected) > step / 4).mean()),
        "difference": float(abs(own - expected).mean() / abs(expected).mean()), "bytes": weight_bytes(made),
        "away": float(abs(own - plain).mean() / abs(plain).mean()),
    }  # fmt: skip


def main(out):
    found = {f"{bits}_{size}": measured(bits, size) for bits, size in ((8, None), (8, 64), (4, 64), (3, 64))}
    try:
        compress(bits=4, group_size=48)
    except HarnessError as error:
        found["error"] = str(error)
    Path(out).write_text(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
