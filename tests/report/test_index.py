"""The page over all reports says what they say, and leads to them."""

from __future__ import annotations

import re
from pathlib import Path

from harness.report.document import Bullets, Document, Paragraph, Section
from harness.report.index import build_index
from harness.report.writing import write_document

REPORTS = Path(__file__).resolve().parents[2] / "reports"


def test_the_committed_index_is_what_the_reports_give(tmp_path):
    for path in REPORTS.glob("*/README.md"):
        (tmp_path / path.parent.name).mkdir()
        (tmp_path / path.parent.name / "README.md").write_text(path.read_text())
    build_index(tmp_path)
    assert (tmp_path / "README.md").read_text() == (REPORTS / "README.md").read_text()
    targets = re.findall(r"\]\(([^)]+)\)", (REPORTS / "README.md").read_text())
    assert len(targets) >= 19 and all((REPORTS / target).is_file() for target in targets)


def test_names_and_sentences_come_back_as_they_were(tmp_path):
    hostile = "a|b *c* [d](e) <script>alert(1)</script> `f` # g ~h~ 2. i"
    told = [Paragraph(hostile, "lead"), Bullets(["3 combinations of x were planned: 3 done.", hostile, "- 1. two"])]
    write_document(Document("mine", told, [Section("Results", [])]), tmp_path / "mine")
    page, text = build_index(tmp_path)
    shown = text.read_text()
    assert "combinations" not in shown and shown.count("alert(1)") == 2
    assert "<script>alert" not in page.read_text() and "<script>" not in shown
    again = re.search(r"\[mine\]\(mine/README\.md\): (.*?)<br>", shown)[1]
    whole = (tmp_path / "mine" / "README.md").read_text()
    assert f"**{again}**" in whole, "escaped once, not twice"


def test_a_folder_without_reports_gets_no_index(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "README.md").write_text("no title\n")
    assert build_index(tmp_path) == [] and not (tmp_path / "index.html").exists()
