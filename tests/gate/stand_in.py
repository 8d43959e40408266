"""Stands in for the package ``harness`` in a repository of its own: plans and "measures" in milliseconds.

What a run gives is in ``behaviour.json`` beside it, so that two commits differ in it. Standard library alone.
"""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BEHAVIOUR = json.loads((ROOT / "behaviour.json").read_text())


def main() -> int:
    plugins = []
    while sys.argv[1] == "--plugin":
        plugins.append(sys.argv[2])
        del sys.argv[1:3]
    command, suite = sys.argv[1:3]
    results = Path(sys.argv[sys.argv.index("--results") + 1])
    if BEHAVIOUR.get("cannot") == command:
        print("harness: unknown technique 'lorra'; did you mean 'lora'?", file=sys.stderr)
        return 2
    if command == "plan":
        cells = [{"method": name} for name in BEHAVIOUR["methods"]]
        print(json.dumps({"suite": "tiny", "cells": cells, "text": Path(suite).read_text(), "plugins": plugins}))
        return 0
    folder = results / "tiny" / (results / ".cache" / "installation").read_text().strip()
    folder.mkdir(parents=True, exist_ok=True)
    attempt = 1 + len(list(folder.glob("*.json"))) // len(BEHAVIOUR["methods"])
    if stop := BEHAVIOUR.get("stops_at"):
        flag = ROOT / "stopped" if stop.get("once") is None else Path(stop["once"])
        if attempt == stop["attempt"] and not flag.exists():
            flag.write_text("")
            return 130
    time.sleep(BEHAVIOUR.get("sleep", 0))
    for method in BEHAVIOUR["methods"]:
        write(folder, method, attempt)
    with Path(os.environ["STAND_IN_LOG"]).open("a") as log:
        print(ROOT.name, attempt, Path(suite).read_text().strip(), *plugins, file=log)
    return int(BEHAVIOUR.get("status", "done") != "done" or bool(BEHAVIOUR.get("fails")))


def write(folder: Path, method: str, attempt: int) -> None:
    record = json.loads((ROOT / "template.json").read_text())
    draw = random.Random(f"{folder}{method}{attempt}")
    seconds = BEHAVIOUR["seconds"] * (1 + draw.gauss(0, 0.01))
    sha = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    step = f"{method}00000000"
    status = "failed" if method in BEHAVIOUR.get("fails", ()) else BEHAVIOUR.get("status", "done")
    record |= {
        "step": step, "attempt": attempt, "record": f"{step}.{attempt}", "suite": "tiny", "wall_seconds": seconds,
        "flags": ["swapping: memory was read back from swap"] if attempt in BEHAVIOUR.get("disturbed", ()) else [],
        "status": status, "reason": BEHAVIOUR.get("reason"),
        "metrics": {"wall_seconds": seconds, "perplexity": BEHAVIOUR["perplexity"]},
        "commit": {"sha": BEHAVIOUR.get("sha", sha), "dirty": False},
    }
    record["coordinates"] |= {"method": method, "stage": method}
    (folder / f"{step}.{attempt}.json").write_text(json.dumps(record))


sys.exit(main())
