"""``harness doctor``: what this machine can run, and how to get the rest."""

from __future__ import annotations

from typing import Any

from harness import catalogue
from harness.cli.terminal import print
from harness.run.environment import gpu_names, library_versions, machine_facts


def examine() -> dict[str, Any]:
    """Look at the machine and at every technique's packages, without importing any of them."""
    techniques = {}
    for name in catalogue.adapter_names():
        kind = catalogue.adapter_class(name)
        refused = [catalogue.refuses_here(kind, device) for device in (["cpu", "cuda"] if gpu_names() else ["cpu"])]
        missing = catalogue.missing_software(kind)
        if all(refused):
            missing = [str(refused[0])]
        techniques[name] = {"runs": not missing, "missing": missing}
    return {"machine": machine_facts(), "libraries": library_versions(), "techniques": techniques}


def show_doctor(found: dict[str, Any]) -> None:
    """Print the findings for people."""
    print("machine")
    for key, value in found["machine"].items():
        print(f"  {key}: {', '.join(map(str, value)) or 'none' if isinstance(value, list | tuple) else value}")
    print("libraries")
    print("  " + ", ".join(f"{name} {version}" for name, version in found["libraries"].items()))
    print("techniques")
    for name, state in found["techniques"].items():
        lacks = "".join(f"; {text}" for text in state["missing"])
        print(f"  {'ok     ' if state['runs'] else 'missing'} {name}{lacks}")
