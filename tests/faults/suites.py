"""Small suites of the fakes, run through the command line."""

from __future__ import annotations

from pathlib import Path

from faults.children import COMMANDS, Child
from faults.tally import World
from harness.results import plan_file

SUITE = """\
name: {name}
question: Does it hold?
model: none
method: [{methods}]
hardware: {{device: cpu, threads: 1}}
tasks: [{tasks}]
budget: {{steps: {steps}}}
limits: {{wall_seconds: {wall}, silence_seconds: 60}}
"""


def write(
    folder: Path, methods: list[str], *, tasks: tuple[str, ...] = ("count",), name: str = "fakes", steps: int = 2,
    wall: int = 60,
) -> Path:  # fmt: skip
    """A suite file; ``methods`` are calls of misbehave without its name: ``act=good, amount=0.1``."""
    path = folder / f"{name}.yaml"
    calls = ", ".join(f'"misbehave({method})"' for method in methods)
    path.write_text(SUITE.format(name=name, methods=calls, tasks=", ".join(tasks), steps=steps, wall=wall))
    return path


def harness(world: World, folder: Path, *arguments: str, mark: str = "", **given: object) -> Child:
    """Start ``harness ARGUMENTS``; results and reports lie in ``folder``."""
    more = ["--results", str(folder / "results")]
    environ = given.pop("environ", None)
    return world.zygote(COMMANDS).start(
        "faults.acts:command", mark=mark, environ=environ, arguments=[*arguments, *more], **given
    )  # type: ignore[arg-type]


def run(world: World, folder: Path, suite: Path, *more: str, **given: object) -> Child:
    """Start ``harness run SUITE --no-report``."""
    return harness(world, folder, "run", str(suite), "--no-report", *more, **given)


def planned(results: Path, suite: str = "fakes") -> list[str]:
    """Steps of the plan of the latest run."""
    (path,) = results.glob(f"{suite}/*/plan.json")
    return [step["id"] for step in plan_file.read(path)["steps"]]
