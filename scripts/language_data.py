"""Write the data of `suites/languages.yaml`: text of two languages to learn from, and translated sentences to compare.

    python scripts/language_data.py --source-text en.txt --target-text tr.jsonl \
        --source-sentences en.conllu --target-sentences tr.conllu --out local/languages

Text files are plain text, or JSON lines with a field `text`. Sentence files are CoNLL-U (the lines `# text = ...`) or
one sentence per line; both hold the same sentences in the same order. What is written: `source.jsonl` (text of the
source language), `both.jsonl` (half as much of it and equally much of the target language, so that both corpora are
equally long) and `sentences.jsonl`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path

MARK = "# text = "


def main() -> None:
    """Read the four files and write three."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    for side in ("source", "target"):
        parser.add_argument(f"--{side}-text", type=Path, nargs="+", required=True)
        parser.add_argument(f"--{side}-sentences", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("local/languages"))
    asked = parser.parse_args()
    source, target = (documents(files) for files in (asked.source_text, asked.target_text))
    size = min(sum(map(utf8, source)), sum(map(utf8, target)))
    pairs = parallel(asked.source_sentences, asked.target_sentences)
    asked.out.mkdir(parents=True, exist_ok=True)
    write(asked.out / "source.jsonl", (row(text) for text in shortened(source, size)))
    both = [*shortened(source, size // 2), *shortened(target, size // 2)]
    write(asked.out / "both.jsonl", (row(text) for text in both))
    write(asked.out / "sentences.jsonl", (row(f"{first}\n\n{second}", first, second) for first, second in pairs))
    print(f"wrote {asked.out}: 2 x {size} bytes of text, {len(pairs)} sentences")


def documents(files: Iterable[Path]) -> list[str]:
    """Texts of the files: paragraphs of plain ones, the field `text` of JSON lines."""
    found: list[str] = []
    for file in files:
        content = file.read_text(encoding="utf-8")
        if file.suffix in (".jsonl", ".jsonlines"):
            found += [json.loads(line)["text"] for line in content.split("\n") if line.strip()]
        else:
            found += [part.strip() for part in content.split("\n \n") if part.strip()]
    return found


def parallel(first: Path, second: Path) -> list[tuple[str, str]]:
    """Sentences of both files, in pairs; an error where the files do not hold equally many."""
    one, other = sentences(first), sentences(second)
    if len(one) != len(other):
        raise SystemExit(f"{first.name} has {len(one)} sentences and {second.name} {len(other)}: they are not parallel")
    return list(zip(one, other, strict=True))


def sentences(file: Path) -> list[str]:
    """Sentences of a CoNLL-U file, or the lines of any other."""
    lines = file.read_text(encoding="utf-8").split("\n")
    if file.suffix == ".conllu":
        return [line.removeprefix(MARK) for line in lines if line.startswith(MARK)]
    return [line for line in lines if line.strip()]


def shortened(texts: list[str], size: int) -> list[str]:
    """The first texts that fit `size` bytes."""
    kept = []
    for text in texts:
        size -= utf8(text)
        if size < 0:
            break
        kept.append(text)
    return kept


def utf8(text: str) -> int:
    """Bytes of a text."""
    return len(text.encode())


def row(text: str, source: str = "", target: str = "") -> dict[str, str]:
    """One line of a data file."""
    return {"text": text, "source": source, "target": target}


def write(path: Path, rows: Iterable[dict[str, str]]) -> None:
    """Write JSON lines."""
    path.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
