"""A teacher's answers kept on disk, so that a sequence that comes again asks nobody.

All logits are kept in the type in which the teacher gave them, or the ``top_k`` largest of each position with their
tokens, which take k x 8 bytes or less in place of a vocabulary's worth.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import StepError


@dataclass(frozen=True)
class Kept:
    """Logits [batch, length, vocabulary], or with ``tokens`` [batch, length, k] those of these tokens, largest first.

    Padding holds zeros.
    """

    logits: Any
    tokens: Any = None


class TeacherMemory:
    """Answers by the ids of a sequence, in an unnamed file below ``folder`` that goes with the process."""

    def __init__(self, folder: Path, top_k: int | None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.top_k = top_k
        self.bytes = self.asked = self.recalled = 0
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (it is closed by ``close``)
        self._places: dict[bytes, tuple[int, int]] = {}
        self._dtype: Any = None

    def answer(self, given: Mapping[str, Any], teacher: Callable[[Mapping[str, Any]], Any]) -> Kept:
        """What ``teacher`` says to a batch: of sequences seen before from the file, of the others by asking it."""
        ids = given["input_ids"]
        mask = given["attention_mask"].bool() if given.get("attention_mask") is not None else ids == ids
        keys = [row[kept].cpu().numpy().tobytes() for row, kept in zip(ids, mask, strict=True)]
        missing = [number for number, key in enumerate(keys) if key not in self._places]
        if missing:
            part = {name: value[missing] for name, value in given.items()}
            for number, logits in zip(missing, teacher(part).logits, strict=True):
                self._keep(keys[number], logits[mask[number]])
        self.asked += len(missing)
        self.recalled += len(keys) - len(missing)
        rows = [self._recall(key) for key in keys]
        logits = self._padded([row.logits for row in rows], mask)
        return Kept(logits, self._padded([row.tokens for row in rows], mask) if self.top_k else None)

    def facts(self) -> dict[str, Any]:
        """What was kept: bytes, sequences that were asked and that were recalled."""
        return {"top_k": self.top_k, "bytes": self.bytes, "asked": self.asked, "recalled": self.recalled}

    def close(self) -> None:
        """Let the file go."""
        self._file.close()

    def _keep(self, key: bytes, logits: Any) -> None:
        import torch

        self._dtype = logits.dtype
        parts = [logits]
        if self.top_k:
            if self.top_k > logits.shape[-1]:
                raise StepError(f"top_k {self.top_k} is more than the {logits.shape[-1]} entries of the vocabulary")
            largest = logits.topk(self.top_k)
            parts = [largest.values, largest.indices.to(torch.int32)]
        written = b"".join(part.cpu().contiguous().view(torch.uint8).numpy().tobytes() for part in parts)
        try:
            self._file.seek(self.bytes)
            self._file.write(written)
            self._file.flush()
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.close()
            held = f"{self.bytes / 2**20:.0f} MiB of the teacher's answers are kept"
            raise StepError(f"{held} and no more can be ({error.strerror}): cache=top_k keeps less") from error
        self._places[key] = (self.bytes, len(written))
        self.bytes += len(written)

    def _recall(self, key: bytes) -> Kept:
        import torch

        place, size = self._places[key]
        self._file.seek(place)
        read = torch.frombuffer(bytearray(self._file.read(size)), dtype=torch.uint8)
        if not self.top_k:
            return Kept(read.view(self._dtype))
        width = self._dtype.itemsize
        cut = size * width // (width + 4)
        return Kept(read[:cut].view(self._dtype), read[cut:].view(torch.int32).long())

    def _padded(self, rows: list[Any], mask: Any) -> Any:
        """The rows' values at the positions that ``mask`` [batch, length] keeps, zeros at the others."""
        lengths = mask.sum(-1).tolist()
        width = next(len(row) // length for row, length in zip(rows, lengths, strict=True) if length)
        whole = rows[0].new_zeros((*mask.shape, width), device=mask.device)
        for number, row in enumerate(rows):
            whole[number, mask[number]] = row.view(-1, width).to(mask.device)
        return whole
