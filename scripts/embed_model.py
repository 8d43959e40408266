"""Copy the model that `suites/embedded_model.yaml` trained into the package, as 16-bit weights with its tokenizer.

Run it after `harness run embedded_model`. Beside the weights it writes `provenance.json`: the record that made them,
the recipe, the commit and the hash of every file, so that a reader can check what ships.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from harness.models.checkpoint import load
from harness.models.sources import EMBEDDED
from harness.results.store import Store

SUITE = "embedded_model"
LIMIT_BYTES = 8_000_000


def main() -> None:
    """Find the newest done training record of the suite, convert its checkpoint and write it into the package."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--out", type=Path, default=EMBEDDED)
    arguments = parser.parse_args()
    store = Store(arguments.results)
    record = newest_training(store)
    if arguments.out.exists():
        shutil.rmtree(arguments.out)
    convert(store.cache, record["step"], arguments.out)
    write_provenance(record, arguments.out)
    size = sum(path.stat().st_size for path in arguments.out.iterdir())
    if size > LIMIT_BYTES:
        raise SystemExit(f"{arguments.out} holds {size} bytes, more than {LIMIT_BYTES}")
    print(f"wrote {arguments.out} ({size / 1e6:.2f} MB) from record {record['record']}")


def newest_training(store: Store) -> dict[str, Any]:
    """Return the newest record of a finished `clm` step whose checkpoint is still in the cache."""
    found = [
        record
        for record in store.records(SUITE).records
        if record["status"] == "done" and record["coordinates"]["technique"] == "clm" and record["operation"] == "train"
        and store.has_checkpoint(record["step"])
    ]  # fmt: skip
    if not found:
        raise SystemExit(f"no finished training of suite {SUITE} in {store.root}; run: harness run {SUITE}")
    return dict(max(found, key=lambda record: record["started"]))


def convert(cache: Path, step: str, out: Path) -> None:
    """Write the checkpoint of ``step`` as bfloat16 safetensors with its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    checkpoint = load(cache, step)
    model = AutoModelForCausalLM.from_pretrained(checkpoint.parts["model"], dtype=torch.bfloat16)
    model.save_pretrained(out)
    AutoTokenizer.from_pretrained(checkpoint.parts["tokenizer"]).save_pretrained(out)


def write_provenance(record: dict[str, Any], out: Path) -> None:
    """Write where the files come from, and their hashes."""
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(out.iterdir())}
    job = record["job"]
    content = {
        "record": record["record"],
        "suite": f"suites/{SUITE}.yaml",
        "method": record["coordinates"]["method"],
        "model": job["model"],
        "budget": job["budget"],
        "data_fingerprint": record["environment"]["hard"].get("data_fingerprint"),
        "commit": record["commit"],
        "final": record["curve"][-1] if record["curve"] else None,
        "sha256": files,
    }
    (out / "provenance.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
