"""A place behind fsspec: an S3 bucket, memory, or another protocol whose package is installed.

Files are written whole by the servers of object stores. Every error of the client becomes one line (see ``reasons``),
and a server that does not answer is given up within a minute.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from harness.errors import StoreError, did_you_mean
from harness.results.reasons import code_of, reason_of

_AT_ONCE = 8
# Two tries of s3fs, each of two tries of botocore: a server that takes no call is given up after 16 seconds, one that
# does not answer after 40. One part at a time: the files are small, and s3fs would ask the size of each before it.
_S3: dict[str, Any] = {
    "config_kwargs": {
        "connect_timeout": 4,
        "read_timeout": 10,
        "retries": {"mode": "standard", "total_max_attempts": 2},
    },
    "max_concurrency": 1,
}
_S3_TRIES = 2
_TAKEN = ("PreconditionFailed", "ConditionalRequestConflict", "412")
_UNCONDITIONAL = ("NotImplemented", "501")


class Remote:
    """Files below ``<protocol>://<root>``; see ``Place`` for what its methods promise."""

    def __init__(self, protocol: str, root: str) -> None:
        self.name = f"{protocol}://{root}"
        self._s3 = protocol in ("s3", "s3a")
        self._client = self._opened(protocol)
        self._root: str = self._client._strip_protocol(self.name).rstrip("/")

    def check_writable(self) -> None:
        """Write a probe, read it back (a web server that is no store takes anything), and delete it."""
        name = f".probe-{secrets.token_hex(4)}"
        path, content = self._path(name), name.encode()
        self.folders("")
        with self._told("written"):
            self._client.pipe_file(path, content)
        with self._told("read"):
            found = self._client.cat_file(path)
        if found != content:
            raise StoreError(f"results store {self.name} does not give back what was written to it; check the URL")
        with self._told(f"cleared of {name} (deleting '.probe-*' must be allowed)"):
            self._client.rm_file(path)

    def folders(self, path: str) -> list[str]:
        """See ``Place``."""
        return self._listed(path, "directory")

    def files(self, path: str) -> list[str]:
        """See ``Place``."""
        return self._listed(path, "file")

    def read(self, paths: Sequence[str]) -> tuple[dict[str, bytes], dict[str, str]]:
        """See ``Place``; all at once where the client can."""
        if not paths:
            return {}, {}
        contents, reasons = {}, {}
        with self._told("read"):
            found = self._client.cat([self._path(path) for path in paths], on_error="return")
            for path in paths:
                content = found[self._path(path)]
                if isinstance(content, FileNotFoundError):
                    reasons[path] = "it was listed and is not there"
                elif isinstance(content, BaseException):
                    raise content
                else:
                    contents[path] = bytes(content)
        return contents, reasons

    def create(self, files: Mapping[str, bytes]) -> list[str]:
        """See ``Place``; several at once, the first error ends it."""
        with self._told("written"), ThreadPoolExecutor(_AT_ONCE) as pool:
            made = list(pool.map(self._create, files, files.values()))
        return [path for path, new in zip(files, made, strict=True) if not new]

    def _create(self, name: str, content: bytes) -> bool:
        path = self._path(name)
        # asked first, because some servers take the condition and ignore it
        if self._client.exists(path):
            return False
        try:
            self._client.pipe_file(path, content, mode="create")
        except FileExistsError:
            return False
        except Exception as error:
            if code_of(error) in _TAKEN:
                return False
            if code_of(error) not in _UNCONDITIONAL:
                raise
            self._client.pipe_file(path, content)
        return True

    def _listed(self, path: str, kind: str) -> list[str]:
        folder = self._path(path)
        with self._told("read"):
            try:
                entries = self._client.ls(folder, detail=True)
            except FileNotFoundError as error:
                # the server's own 404: no such bucket, or no store at all; else s3fs found nothing with the prefix
                if code_of(error):
                    raise
                return []
        found = {entry["name"].rstrip("/"): entry["type"] for entry in entries}
        # a file in the folder's place, and an object store's marker of a folder, are listed as the folder itself
        names = {name.rsplit("/", 1)[-1] for name, of_kind in found.items() if of_kind == kind and name != folder}
        return sorted(name for name in names if name and not name.startswith("."))

    def _path(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root

    def _opened(self, protocol: str) -> Any:
        import fsspec

        try:
            fsspec.get_filesystem_class(protocol)
        except ValueError:
            known = did_you_mean(protocol, fsspec.available_protocols())
            raise StoreError(
                f"results store {self.name}: unknown protocol '{protocol}'{known}; s3 and fsspec's others are known"
            ) from None
        except ImportError as error:
            missing = "pip install 'llm-technique-harness[s3]'" if self._s3 else str(error)
            raise StoreError(f"results store {self.name} needs a package that is not installed: {missing}") from None
        with self._told("opened"):
            # an instance of its own, so that its settings are nobody else's, and no listing is remembered
            options = _S3 if self._s3 else {}
            client = fsspec.filesystem(protocol, skip_instance_cache=True, use_listings_cache=False, **options)
            if self._s3:
                client.retries = _S3_TRIES
            return client

    @contextlib.contextmanager
    def _told(self, doing: str) -> Iterator[None]:
        """Clients raise what they like, botocore's errors are not even ``OSError``; nothing of ours runs inside."""
        try:
            yield
        except Exception as error:
            raise StoreError(
                f"results store {self.name} cannot be {doing}: {reason_of(error, s3=self._s3)}"
            ) from None
