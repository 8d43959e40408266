"""Which files of a folder git keeps: they are somebody's published results, and nothing may take them away."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from harness.errors import StoreError


def tracked_files(folder: Path) -> set[Path]:
    """Files below ``folder`` that git tracks, as ``folder`` joined with relative paths; none outside a repository.

    ``StoreError`` where there is a repository and git cannot say: then nothing is known to be untracked.
    """
    if not _in_repository(folder):
        return set()
    git = shutil.which("git")
    if git is None:
        raise StoreError(f"{folder} lies in a git repository, and git is not installed: what is committed is not known")
    done = subprocess.run(
        [git, "-C", str(folder), "ls-files", "-z"], capture_output=True, check=False, env=os.environ | {"LC_ALL": "C"}
    )
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise StoreError(f"git cannot say what of {folder} is committed: {said[0] if said else done.returncode}")
    return {folder / os.fsdecode(name) for name in done.stdout.split(b"\0") if name}


def _in_repository(folder: Path) -> bool:
    resolved = folder.resolve()
    return any((above / ".git").exists() for above in (resolved, *resolved.parents))
