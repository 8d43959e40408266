"""What the hub's client raises, as one line: what could not be had, from where, and what to do about it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from harness.errors import UsageError, did_you_mean
from harness.hub.cache import Repository, is_offline
from harness.plain_text import one_line

SIGN_IN = "`hf auth login`, or HF_TOKEN"


@contextmanager
def told(repository: Repository, revision: str, error: type[UsageError]) -> Iterator[None]:
    """Turn what the client raises inside into ``error`` with one line; what is no failure of the hub's stays."""
    try:
        from huggingface_hub import errors
    except ImportError:
        raise error("the hub needs the package huggingface_hub: pip install huggingface_hub") from None
    what = repository.named(revision)
    if is_offline():
        raise error(f"{what} is not in the hub's cache, and HF_HUB_OFFLINE is set: unset it to fetch what is missing")
    try:
        yield
    except UsageError:
        raise
    except errors.GatedRepoError:
        raise error(_gated(what, repository)) from None
    except errors.RevisionNotFoundError:
        raise error(f"{what}: {repository.id} has no such revision{_near(repository, revision)}") from None
    except errors.RepositoryNotFoundError:
        private = f"; if it is private, give a token of an account that may read it: {SIGN_IN}"
        raise error(f"{what} is not on the hub at {endpoint()}: look at its name{private}") from None
    except errors.EntryNotFoundError as problem:
        raise error(f"{what}: a file that the hub lists is not there: {_said(problem)}") from None
    except errors.HfHubHTTPError as problem:
        status = problem.response.status_code if problem.response is not None else "no status"
        raise error(f"{what}: the hub at {endpoint()} answered {status}: {_said(problem)}") from None
    except errors.HTTPError as problem:  # type: ignore[attr-defined]
        kept = "what has arrived is kept, and the same command goes on from there"
        raise error(f"{what}: the hub at {endpoint()} cannot be reached ({_said(problem)}); {kept}") from None
    except OSError as problem:
        raise error(f"{what} cannot be fetched: {problem.strerror or _said(problem)}") from None
    except (ValueError, KeyError, TypeError) as problem:  # what the client finds wrong with a name, or cannot read
        raise error(f"{what}: the hub at {endpoint()} says what cannot be used ({_said(problem)})") from None


def endpoint() -> str:
    """Address of the hub."""
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or "https://huggingface.co"


def _gated(what: str, repository: Repository) -> str:
    from huggingface_hub import get_token

    path = f"datasets/{repository.id}" if repository.kind == "dataset" else repository.id
    own = "the account of the token that was given has not done so" if get_token() else f"then give a token: {SIGN_IN}"
    return f"{what} is gated: accept its conditions at {endpoint()}/{path}; {own}"


def _near(repository: Repository, revision: str) -> str:
    """The nearest branch or tag, and some that there are; nothing where the hub does not say."""
    from huggingface_hub import HfApi

    try:
        refs = HfApi().list_repo_refs(repository.id, repo_type=repository.kind)
    except Exception:  # the answer is complete without it
        return ""
    names = [one.name for one in (*refs.branches, *refs.tags)]
    return f"{did_you_mean(revision, names)} (it has: {', '.join(one_line(name, 40) for name in names[:8])})"


def _said(problem: BaseException) -> str:
    lines = str(problem).strip().splitlines()
    return one_line(lines[0] if lines else type(problem).__name__, 200)
