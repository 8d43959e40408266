"""``build``: rows in, pages and figures out. The same rows give the same bytes.

The last arrow of the flow: nothing is measured and nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas

from harness.analyse.cells import deciding, installation_of
from harness.report.alignment import alignment
from harness.report.compression import compression
from harness.report.compression_costs import compression_costs
from harness.report.content import Content
from harness.report.document import Block, Bullets, Document, Paragraph, Section
from harness.report.explorer import decide, explore
from harness.report.forgetting import forgetting
from harness.report.gpu import gpu
from harness.report.growth import growth
from harness.report.headline import headline
from harness.report.history import every_series, findable, history
from harness.report.ledger import ledger
from harness.report.limits import limits
from harness.report.lora_settings import lora_settings
from harness.report.memory import memory
from harness.report.names import short_names
from harness.report.noise import noise
from harness.report.objective_tables import objectives
from harness.report.optimisations import optimisations
from harness.report.provenance import definitions, machine, validity
from harness.report.ranks import ranks
from harness.report.recorded import recorded
from harness.report.rests_on import rests_on
from harness.report.results import results
from harness.report.serving import serving
from harness.report.speed import speed
from harness.report.students import students
from harness.report.tokenizer_models import tokenizer_models
from harness.report.tokenizer_speed import learning, tokenizer_speed
from harness.report.tradeoffs import tradeoffs
from harness.report.training import training
from harness.report.tuning import tuning, without_trials
from harness.report.vocabularies import languages, lost, vocabularies
from harness.report.writing import write_document


def build(content: Content, out: Path) -> list[Path]:
    """Write ``index.html``, ``README.md`` and ``figures/*.svg`` below ``out``; return what was written."""
    document, found = compose(content), rests_on(content)
    del content  # drawing needs hundreds of megabytes too, and a million rows are as many
    return write_document(document, out, out.parent, found)


def build_suite(
    results_folder: Path | str, suite: str, reports: Path | str = Path("reports"), installation: str | None = None
) -> list[Path]:
    """Build ``reports/<suite>/`` from a results folder; ``UsageError`` where it has no such suite."""
    return build(content_of(results_folder, suite, installation), Path(reports) / suite)


def content_of(results_folder: Path | str, suite: str, installation: str | None = None) -> Content:
    """Read what a report is made of: rows, per-item scores, facts and the plan; ``UsageError`` without such a suite.

    The rows of one installation are reported: the one asked for where it has rows, else the one measured last.
    """
    from harness.analyse.accepted import FILE, read
    from harness.analyse.selftest import last_self_test
    from harness.results.rows import load
    from harness.results.shared import SharedStore
    from harness.results.store import Store

    store = Store(results_folder)
    frame = load(results_folder, suite)
    chosen = installation_of(frame, installation)
    decide_here = set(map(str, deciding(frame, chosen)["record"].unique()))
    kept = recorded(store, suite, chosen, decide_here)
    plans = store.plans(suite)
    plan = plans.get(str(chosen)) or next(iter(plans.values()), {})
    frame = without_trials(frame, plan)
    names = short_names(_methods(frame, plan), plan, kept.found_as)
    # The suite is called as its folder, whatever a file says.
    told = {**names.in_plan(plan), "suite": suite, "settings": names.sentence()}
    full = {names.of(method): str(method) for method in reversed(_methods(frame, plan)) if isinstance(method, str)}
    nights = SharedStore(results_folder).nights(suite).nights
    accepted = read(Path(results_folder) / FILE)
    measured_on = set(map(str, frame.loc[frame["installation"] == chosen, "environment"].dropna().unique()))
    self_test = last_self_test(results_folder, measured_on, chosen)
    rows, items = names.in_frame(frame), names.in_frame(kept.items)
    return Content(rows, items, told, kept.facts, installation, full, nights, accepted, self_test)


def _methods(frame: pandas.DataFrame, plan: Mapping[str, Any]) -> list[Any]:
    """Methods of the plan's cells and steps; of the rows, which may hold more, where there is no plan."""
    cells = [cell.get("method") for cell in plan.get("cells") or []]
    steps = [(step.get("coordinates") or {}).get("method") for step in plan.get("steps") or []]
    return [*cells, *steps] or list(frame["method"].dropna().unique())


def compose(content: Content) -> Document:
    """Put the report together, section by section, in reading order."""
    plan = content.plan
    opening: list[Block] = []
    if plan.get("question"):
        opening.append(Paragraph(str(plan["question"]), "lead"))
    opening.append(Bullets(headline(content), "headline"))
    optional = (
        tuning(content), alignment(content), forgetting(content), lora_settings(content), students(content),
        limits(content), memory(content), optimisations(content), growth(content), ranks(content),
        vocabularies(content), tokenizer_speed(content), languages(content), tokenizer_models(content),
        learning(content), objectives(content),
        compression(content), compression_costs(content), training(content), gpu(content), serving(content),
        speed(content), tradeoffs(content), lost(content), ledger(content), history(content), findable(content),
    )  # fmt: skip
    interactive = (explore(content), decide(content), every_series(content))
    sections = [section for section in interactive if section is not None]
    sections += [results(content), *(section for section in optional if section is not None)]
    sections += [validity(content), noise(content), machine(content), definitions(content)]
    if plan.get("notes"):
        notes = plan["notes"]
        lines = [str(line) for line in notes] if isinstance(notes, list) else str(notes).strip().split("\n\n")
        sections.append(Section("Notes on data and models", [Paragraph(line) for line in lines]))
    return Document(f"{plan.get('suite') or 'Report'}", opening, sections, up="../index.html")
