"""One file of the hub into its cache, going on where an earlier download was cut off, be it by the end of its process.

``huggingface_hub`` throws away what it has of a file when it fails. So its request is made here, into a file that stays
(``prepared/<etag>.part`` in the repository's folder); what is whole is put where the client looks for it. Only what is
stored in chunks (Xet) is left to the client, which fetches those many at a time.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import re
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from harness.hub.cache import Repository

ATTEMPTS = 3  # each goes on where the one before was cut off; the client has its own within each
SECONDS = 30.0
_ETAG = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")  # git's id of a small file, SHA-256 of a large one


def download(repository: Repository, commit: str, name: str, on_bytes: Callable[[int], None]) -> Path:
    """The file in the cache, unchecked; raises whatever the client raises. ``on_bytes`` is told how much has come."""
    from huggingface_hub.errors import HfHubHTTPError, HTTPError  # type: ignore[attr-defined]

    here = repository.snapshot(commit) / name
    if here.is_file():
        return here
    count = _Count(on_bytes)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _attempt(repository, commit, name, count)
        except HfHubHTTPError:
            raise
        except HTTPError:
            if attempt == ATTEMPTS:
                raise
    raise AssertionError("the last attempt returns or raises")


def _attempt(repository: Repository, commit: str, name: str, count: _Count) -> Path:
    from huggingface_hub import hf_hub_download

    told = metadata_of(repository, commit, name)
    if told.etag and _ETAG.fullmatch(told.etag) and not _in_chunks(told):
        _fill_blob(repository, told, count)
    # It makes the snapshot's link to what is there already.
    found = hf_hub_download(
        repository.id, name, repo_type=repository.kind, revision=commit, tqdm_class=count.bar(), etag_timeout=SECONDS,
    )  # fmt: skip
    return Path(found)


def metadata_of(repository: Repository, commit: str, name: str) -> Any:
    """What the hub says of a file before it is fetched."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    address = hf_hub_url(repository.id, name, repo_type=repository.kind, revision=commit)
    return get_hf_file_metadata(address, timeout=SECONDS)


def _in_chunks(told: Any) -> bool:
    from huggingface_hub import constants

    return bool(told.xet_file_data and importlib.util.find_spec("hf_xet") and not constants.HF_HUB_DISABLE_XET)


def _fill_blob(repository: Repository, told: Any, count: _Count) -> None:
    from huggingface_hub.file_download import http_get

    blob = repository.folder / "blobs" / told.etag
    with _part_of(repository, told.etag) as (part, stream):
        if blob.exists():
            part.unlink(missing_ok=True)
            return
        begin = stream.tell()
        if told.size is not None and begin > told.size:  # of something else
            stream.truncate(0)
            begin = stream.seek(0)
        count.reach(begin)
        http_get(
            told.location, stream, resume_size=begin, headers=_headers(told.location), expected_size=told.size,
            tqdm_class=count.bar(),
        )  # fmt: skip
        stream.flush()
        blob.parent.mkdir(parents=True, exist_ok=True)
        part.replace(blob)


@contextlib.contextmanager
def _part_of(repository: Repository, etag: str) -> Iterator[tuple[Path, BinaryIO]]:
    """What has arrived of a blob, at its end; nobody else writes to it meanwhile."""
    part = repository.folder / "prepared" / f"{etag}.part"
    part.parent.mkdir(parents=True, exist_ok=True)
    with part.open("ab") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        stream.seek(0, 2)
        yield part, stream


def _headers(location: str) -> dict[str, str]:
    """Headers of the download: whoever else keeps the file is not told the token, and nothing is packed on the way."""
    from huggingface_hub import constants
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    found: dict[str, str] = {**build_hf_headers(), "Accept-Encoding": "identity"}
    if urllib.parse.urlsplit(constants.ENDPOINT).netloc != urllib.parse.urlsplit(location).netloc:
        found.pop("authorization", None)
    return found


class _Count:
    """Tells of bytes once, however often a download begins again."""

    def __init__(self, on_bytes: Callable[[int], None]) -> None:
        self.on_bytes = on_bytes
        self.told = 0

    def reach(self, count: int) -> None:
        """So many bytes of the file are here."""
        if count > self.told:
            self.on_bytes(count - self.told)
            self.told = count

    def bar(self) -> Any:
        """A class that the client takes for a progress bar."""
        from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]

        reach: Callable[[int], None] = self.reach

        class Bar(tqdm):
            def __init__(self, *given: Any, **options: Any) -> None:
                self.here = int(options.get("initial") or 0)
                super().__init__(*given, **(options | {"disable": True}))  # type: ignore[no-untyped-call]

            def update(self, n: float | None = 1) -> bool | None:
                self.here += int(n or 0)
                reach(self.here)
                return None

        return Bar
