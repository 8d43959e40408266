"""A hub on loopback, as far as the real client asks one: repositories with branches, tags and commits, and its faults.

Small files have git's blob id as their ETag and large ones (``LARGE``) their SHA-256, as on the hub. What is asked is
kept in ``requests``.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LARGE = (".safetensors", ".bin", ".parquet", ".model")
Files = Mapping[str, bytes]
_NAME = r"((?:[\w.-]+/)?[\w.-]+?)"
_API = re.compile(rf"/api/(models|datasets)/{_NAME}(?:/(revision|tree|paths-info|refs)(?:/([^/]+))?(/.*)?)?$")
_RESOLVE = re.compile(rf"/(datasets/)?{_NAME}/resolve/([^/]+)/(.+)$")


@dataclass
class Repo:
    """A repository: files by commit, commits by branch and tag."""

    commits: dict[str, Files] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    gated: bool = False
    readers: set[str] = field(default_factory=set)
    private: bool = False

    def commit(self, files: Files, branch: str = "main") -> str:
        """Let ``branch`` point to a new commit of these files; its hash."""
        blobs = {name: git_id(content) for name, content in files.items()}
        told = json.dumps([len(self.commits), blobs], sort_keys=True)
        sha = hashlib.sha1(told.encode(), usedforsecurity=False).hexdigest()
        self.commits[sha] = dict(files)
        self.branches[branch] = sha
        return sha

    def resolve(self, revision: str) -> str | None:
        """The commit that a revision names."""
        named = {**self.tags, **self.branches}.get(revision, revision)
        return named if named in self.commits else None


@dataclass
class Hub:
    """The repositories, and what goes wrong with them.

    ``cut`` closes a connection after so many bytes, once; ``stall`` sends so many and then no more until it is cleared;
    ``corrupt`` sends other bytes under the same headers; ``failing`` answers a part of an address with a status.
    """

    models: dict[str, Repo] = field(default_factory=dict)
    datasets: dict[str, Repo] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    stall: dict[str, int] = field(default_factory=dict)
    corrupt: dict[str, bytes] = field(default_factory=dict)
    failing: dict[str, int] = field(default_factory=dict)
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    url: str = ""

    def model(self, name: str, files: Files) -> str:
        """A further commit of a model; its hash."""
        return self.models.setdefault(name, Repo()).commit(files)

    def dataset(self, name: str, files: Files) -> str:
        """A further commit of a data set; its hash."""
        return self.datasets.setdefault(name, Repo()).commit(files)

    def downloads(self, file: str) -> list[str | None]:
        """The ranges under which a file's bytes were asked for."""
        return [span for method, path, span in self.requests if method == "GET" and path.endswith(f"/{file}")]


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub that answers until the block ends."""
    hub = Hub()

    class Handler(_Handler):
        pass

    Handler.hub = hub
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def git_id(content: bytes) -> str:
    """Git's id of a blob."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def etag(name: str, content: bytes) -> str:
    """What the hub names a file's content by."""
    return hashlib.sha256(content).hexdigest() if name.endswith(LARGE) else git_id(content)


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Nothing on standard error."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_POST(self) -> None:
        self.posted = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = urllib.parse.urlsplit(self.path).path
        self.hub.requests.append((self.command, path, self.headers.get("Range")))
        if token := self.headers.get("Authorization"):
            self.hub.tokens.append(token.removeprefix("Bearer "))
        status = next((status for part, status in self.hub.failing.items() if part in path), None)
        if status is not None:
            self._refuse(status, "", "out of order")
        elif found := _API.match(path):
            self._api(*found.groups())
        elif found := _RESOLVE.match(path):
            self._file(*found.groups(), body=body)
        else:
            self._refuse(404, "", "no such page")

    def _repo(self, kind: str, name: str) -> Repo | None:
        repo = getattr(self.hub, kind).get(name)
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if repo is None or (repo.private and token not in repo.readers):
            self._refuse(404, "RepoNotFound", "Repository not found")
            return None
        return repo

    def _commit(self, repo: Repo, revision: str | None) -> str | None:
        revision = urllib.parse.unquote(revision or "main")
        commit = repo.resolve(revision)
        if commit is None:
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return commit

    def _api(self, kind: str, name: str, what: str | None, revision: str | None, _rest: str | None) -> None:
        repo = self._repo(kind, name)
        if repo is None:
            return
        if what == "refs":
            self._json(_refs(repo))
            return
        commit = self._commit(repo, revision)
        if commit is None:
            return
        files = repo.commits[commit]
        entries = {path: _entry(path, content) for path, content in files.items()}
        if what == "tree":
            self._json([*_folders(files), *entries.values()])
        elif what == "paths-info":
            self._json([entries[path] for path in urllib.parse.parse_qs(self.posted)["paths"] if path in files])
        else:
            siblings = [_sibling(path, content) for path, content in files.items()]
            self._json({"id": name, "sha": commit, "siblings": siblings, "tags": [], "gated": repo.gated})

    def _file(self, dataset: str | None, name: str, revision: str, file: str, *, body: bool) -> None:
        repo = self._repo("datasets" if dataset else "models", name)
        commit = None if repo is None else self._commit(repo, revision)
        if repo is None or commit is None:
            return
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        file = urllib.parse.unquote(file)
        content = repo.commits[commit].get(file)
        if repo.gated and token not in repo.readers:
            self._refuse(403 if token else 401, "GatedRepo", f"Access to {name} is restricted")
        elif content is None:
            self._refuse(404, "EntryNotFound", "Entry not found", commit)
        else:
            mark = etag(file, content)
            headers = {"X-Repo-Commit": commit, "ETag": f'"{mark}"', "Accept-Ranges": "bytes"}
            if file.endswith(LARGE):
                headers |= {"X-Linked-Etag": f'"{mark}"', "X-Linked-Size": str(len(content))}
            self._bytes(file, self.hub.corrupt.get(f"{name}/{file}", content), headers, body=body)

    def _bytes(self, file: str, content: bytes, headers: Mapping[str, str], *, body: bool) -> None:
        begin = 0
        if span := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or ""):
            begin = int(span[1])
            headers = {**headers, "Content-Range": f"bytes {begin}-{len(content) - 1}/{len(content)}"}
        self.send_response(206 if span else 200)
        for key, value in {**headers, "Content-Length": str(len(content) - begin)}.items():
            self.send_header(key, value)
        self.end_headers()
        if not body:
            return
        stalled = self.hub.stall.get(file)
        cut = self.hub.cut.pop(file, None) if stalled is None else stalled
        with contextlib.suppress(OSError):  # whoever asked is gone
            self.wfile.write(content[begin:] if cut is None else content[begin : begin + cut])
            self.wfile.flush()
        while file in self.hub.stall:
            time.sleep(0.05)
        self.close_connection = cut is not None

    def _json(self, value: Any) -> None:
        content = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _refuse(self, status: int, code: str, message: str, commit: str | None = None) -> None:
        self.send_response(status)
        for key, value in {"X-Error-Code": code, "X-Error-Message": message, "X-Repo-Commit": commit}.items():
            if value:
                self.send_header(key, value)
        self.send_header("Content-Length", "0")
        self.end_headers()


def _refs(repo: Repo) -> dict[str, Any]:
    named = (("branches", "heads", repo.branches), ("tags", "tags", repo.tags))
    return {"converts": []} | {
        part: [{"name": one, "ref": f"refs/{where}/{one}", "targetCommit": sha} for one, sha in found.items()]
        for part, where, found in named
    }


def _entry(path: str, content: bytes) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": git_id(content)}
    if path.endswith(LARGE):
        found["lfs"] = {"oid": etag(path, content), "size": len(content), "pointerSize": 134}
    return found


def _sibling(path: str, content: bytes) -> dict[str, Any]:
    found: dict[str, Any] = {"rfilename": path, "size": len(content), "blobId": git_id(content)}
    if path.endswith(LARGE):
        found["lfs"] = {"sha256": etag(path, content), "size": len(content), "pointerSize": 134}
    return found


def _folders(files: Files) -> list[dict[str, Any]]:
    names = {path.rpartition("/")[0] for path in files if "/" in path}
    return [{"type": "directory", "path": name, "oid": git_id(name.encode()), "size": 0} for name in sorted(names)]
