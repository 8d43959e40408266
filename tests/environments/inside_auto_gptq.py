"""Runs in the environment ``auto_gptq``: quantises the embedded model on a CPU, which the package refuses.

Two assignments put the CPU where it insists on CUDA; the rest of the run is the adapter's own. What the package
computes with its checkpoint goes to a file, and the checkpoint to a folder, for the maintained library to open.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy
import torch

torch.cuda.synchronize = lambda *_args, **_more: None
import auto_gptq.modeling._base as base  # noqa: E402
from auto_gptq import AutoGPTQForCausalLM, BaseQuantizeConfig  # noqa: E402
from auto_gptq.modeling.llama import LlamaGPTQForCausalLM  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

from harness.catalogue import adapter_class, build_params  # noqa: E402
from harness.contract import Budget, Hardware, Job  # noqa: E402
from harness.data import open_dataset  # noqa: E402
from harness.models.sources import EMBEDDED, open_model  # noqa: E402
from harness.run.meter import Meter  # noqa: E402


def main(out: Path) -> None:
    base.CUDA_0 = base.CPU
    refused = ""
    try:
        AutoGPTQForCausalLM.from_pretrained(str(EMBEDDED), BaseQuantizeConfig(bits=4))
    except OSError as error:
        refused = str(error)

    def open_on_cpu(folder, config, torch_dtype, trust_remote_code):
        plain = AutoModelForCausalLM.from_pretrained(
            folder, torch_dtype=torch_dtype, trust_remote_code=trust_remote_code
        )
        model = LlamaGPTQForCausalLM(plain, False, config)
        keep = model.save_quantized
        model.save_quantized = lambda place, **more: [keep(one, **more) for one in (place, str(out / "own"))]
        return model

    AutoGPTQForCausalLM.from_pretrained = open_on_cpu
    cache = Path(tempfile.mkdtemp())
    adapter = adapter_class("auto_gptq")
    params = build_params(adapter.Params, {"calibration_windows": 16, "group_size": 64}, owner="auto_gptq")
    output = out / "made"
    output.mkdir()
    job = Job(
        params=params, checkpoint=open_model({"kind": "embedded"}, cache=cache), precision="fp32", hardware=Hardware(),
        data=open_dataset({"kind": "source"}, cache=cache), seed=0, budget=Budget(steps=1), meter=Meter(),
        output=output,
    )  # fmt: skip
    made = adapter(params).compress(job)
    opened = AutoGPTQForCausalLM.from_quantized(str(out / "own"), device="cpu", torch_dtype=torch.float32)
    ids = torch.arange(3, 203)[None]
    with torch.no_grad():
        numpy.save(out / "logits.npy", opened.model(input_ids=ids).logits[0].numpy())
    found = {"refused": refused, "model": str(made.parts["model"])}
    (out / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
