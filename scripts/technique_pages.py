"""Write docs/techniques: a page for each technique, from its adapter, the claims and the committed records.

    python scripts/technique_pages.py      # what `make docs` does; a minute or two, most of it reading records

The same catalogue, suites, claims and records give the same bytes. Of each suite the records of the installation that
measured last count, as in ``reports/``.
"""

from __future__ import annotations

from pathlib import Path

from harness.analyse.claimed import judged
from harness.catalogue import adapter_names
from harness.claims import load as load_claims
from harness.plan.suite import Suite, load
from harness.report.build import content_of
from harness.report.technique_results import found_of
from harness.report.techniques import write_up
from harness.results.store import Store

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "docs" / "techniques"


def main() -> None:
    """Write every page, and remove those of techniques that are gone."""
    results = ROOT / "results"
    contents = (content_of(results, suite) for suite in reported())
    found = found_of(adapter_names(), judged(load_claims(), results), contents)
    texts = write_up(example_suites(), found)
    OUT.mkdir(exist_ok=True)
    for old in OUT.glob("*.md"):
        if old.name not in texts:
            old.unlink()
    for name, text in texts.items():
        (OUT / name).write_text(text, encoding="utf-8")
    print(f"wrote {len(texts)} pages to {OUT.relative_to(ROOT)}")


def example_suites() -> list[list[Suite]]:
    """Where examples are taken from: the shipped suites that were measured, and for what none of them uses the others.

    Those over files that are not in the project are left out.
    """
    files = [path for path in shipped() if "../local/" not in path.read_text(encoding="utf-8")]
    names = reported()
    measured = [path for path in files if path.stem in names and path.parent.name == "suites"]
    return [[load(path) for path in measured], [load(path) for path in files if path not in measured]]


def shipped() -> list[Path]:
    """Files of the suites that ship."""
    return sorted((ROOT / "suites").rglob("*.yaml"))


def reported() -> list[str]:
    """Shipped suites that have records and a report, to which the pages lead."""
    names = {path.stem for path in shipped()} & set(Store(ROOT / "results").suites())
    return sorted(name for name in names if (ROOT / "reports" / name / "README.md").is_file())


if __name__ == "__main__":
    main()
