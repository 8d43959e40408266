"""Write the data of `suites/compression_real.yaml`: paragraphs of a text file, the first to test on, the rest to train.

    python scripts/paragraphs.py --text stories.txt --longer-than 200 --test 60 --out local/real

A paragraph is a line. Those of more than so many characters are taken: the first `--test` of them become `test.jsonl`,
the others `train.jsonl`, from which compression is calibrated.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path


def main() -> None:
    """Read one file and write two."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--longer-than", type=int, default=200, metavar="CHARACTERS")
    parser.add_argument("--test", type=int, default=60, metavar="PARAGRAPHS")
    parser.add_argument("--out", type=Path, default=Path("local/real"))
    asked = parser.parse_args()
    lines = (line.strip() for line in asked.text.read_text(encoding="utf-8").split("\n"))
    found = [line for line in lines if len(line) > asked.longer_than]
    if len(found) <= asked.test:
        raise SystemExit(f"{asked.text} has {len(found)} such paragraphs: too few to test on {asked.test} and train")
    asked.out.mkdir(parents=True, exist_ok=True)
    for name, texts in (("test", found[: asked.test]), ("train", found[asked.test :])):
        write(asked.out / f"{name}.jsonl", texts)
        print(f"{asked.out / f'{name}.jsonl'}: {len(texts)} paragraphs")


def write(file: Path, texts: Sequence[str]) -> None:
    """One JSON object a line, with the field `text`."""
    file.write_text("".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts), encoding="utf-8")


if __name__ == "__main__":
    main()
