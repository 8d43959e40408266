"""From what a user writes to where a store's files lie: a path, ``file://``, ``s3://bucket/prefix``, ``memory://``.

fsspec's other protocols open too where their package is installed. No credentials belong in a URL: it ends up in logs.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

from harness.errors import StoreError
from harness.results.places import Folder, Place
from harness.results.remote import Remote

_SCHEME = re.compile(r"(?P<protocol>[A-Za-z][A-Za-z0-9+.-]+):(?P<rest>.*)", re.DOTALL)
_SECRET = re.compile(r"(?P<protocol>[^:]+:/{0,2})(?:[^@]*:.*|[^/@]*)@")
_FORMS = "a folder or a URL such as s3://bucket/prefix"


def place_at(url: str | Path) -> Place:
    """Open the place that ``url`` names, without touching it; a ``Path`` is a folder, whatever its name looks like.

    ``StoreError`` where it names none.
    """
    if isinstance(url, Path):
        return Folder(url)
    if not url.strip():
        raise StoreError(f"a results store needs a name: {_FORMS}")
    scheme = _SCHEME.match(url)
    if scheme is None:
        return Folder(_expanded(url))
    shown = masked_url(url)
    if shown != url:
        raise StoreError(
            f"results store {shown}: no user, password or query belongs in a store's URL, it would end up in logs; "
            "give credentials in the environment (for s3: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE)"
        )
    protocol, rest = scheme["protocol"].lower(), scheme["rest"]
    if not rest.startswith("//"):
        raise StoreError(f"'{url}' is neither a path nor a URL; a results store is {_FORMS} (a folder: ./{url})")
    rest = rest.removeprefix("//")
    if protocol in ("file", "local"):
        return Folder(_local(url, rest))
    if protocol != "memory" and not rest.strip("/"):
        raise StoreError(f"results store {url} names no bucket; write {protocol}://bucket/prefix")
    if found := re.search(r"[*\[\]]", rest):
        raise StoreError(f"results store {url}: '{found[0]}' cannot be in a store's URL")
    return Remote(protocol, rest.strip("/"))


def masked_url(text: str) -> str:
    """``text`` with user, password and query replaced by ``***``; as it is where it has none of them."""
    text = _SECRET.sub(r"\g<protocol>***@", text, count=1)
    return re.sub(r"\?.*", "?***", text, flags=re.DOTALL)


def _local(url: str, rest: str) -> Path:
    host, slash, path = rest.partition("/")
    if host not in ("", "localhost") or not slash:
        raise StoreError(f"results store {url}: a file:// URL holds an absolute path, as in file:///folder")
    return Path(unquote(f"/{path}"))


def _expanded(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise StoreError(f"results store {path}: {error}; write the path in full") from None
