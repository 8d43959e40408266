"""Secrets out of what leaves the machine: records, plans, nights and what is made of them say ``***`` in their place.

Three rules, none of which guesses by how random a text looks: the shapes of known tokens, what stands behind a name
such as ``--token`` or ``password=``, and the values of this process's own variables that are named like secrets.
Standard library alone, because the worker writes records in any environment.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Any

MASK = "***"
SHORT = 200  # characters of a text whose answer is remembered
SHORTEST = 8  # characters of a variable's value that is looked for: a shorter one occurs by chance
_JOINT = "\x1f"  # between the parts of a list, which are looked at together; white space to a regular expression

_SHAPES = (
    r"\bhf_[A-Za-z0-9]{16,}",
    r"\bapi_org_[A-Za-z0-9]{16,}",
    r"\bgh[pousr]_[A-Za-z0-9]{16,}",
    r"\bgithub_pat_[A-Za-z0-9_]{16,}",
    r"\bgl(?:pat|dt|rt|ptt|cbt|soat)-[\w-]{16,}",
    r"\b(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{12,}",
    r"\b[sr]k[-_](?:proj|ant|live|test|or|svcacct|admin)[-_][\w-]{12,}",
    r"\bsk-[\w-]{16,}",
    r"\bxox[a-z]-[\w-]{10,}",
    r"\bxapp-[\w-]{10,}",
    r"\bAIza[\w-]{30,}",
    r"\bya29\.[\w-]{16,}",
    r"\bnpm_[A-Za-z0-9]{16,}",
    r"\bpypi-[\w-]{16,}",
    r"\bdop_v1_[a-f0-9]{32,}",
    r"\bSG\.[\w-]{12,}\.[\w-]{12,}",
    r"\br8_[A-Za-z0-9]{20,}",
    r"\bgsk_[A-Za-z0-9]{20,}",
    r"\bpplx-[A-Za-z0-9]{20,}",
    r"\bwandb_v\d_[A-Za-z0-9_]{16,}",
    r"\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?",
    r"-----BEGIN\s[A-Z0-9\s]*PRIVATE\sKEY(?:\sBLOCK)?-----.*?(?:-----END\s[A-Z0-9\s]*PRIVATE\sKEY(?:\sBLOCK)?-----|\Z)",
    r"(?:[A-Za-z0-9+/=]{16,}\s+)+-----END\s[A-Z0-9\s]*PRIVATE\sKEY(?:\sBLOCK)?-----",  # of which a tail begins within
)
_WORDS = (
    r"passw(?:or)?d|passphrase|pwd|secret(?:[_-]?key)?|api[_-]?key|access[_-]?key(?:[_-]?id)?|private[_-]?key|"
    r"account[_-]?key|signing[_-]?key|encryption[_-]?key|auth[_-]?key|credentials?|"
    r"(?:access|auth|api|refresh|session|security|secret|bearer|hub|hf|gh|github|gitlab|git|id|bot|user|private|"
    r"deploy|wandb|slack|sas|oauth)[_-]?token"
)
_VALUE = r"""(?P<q>["']?)(?!\*\*\*)[^\s"',;&<>]{4,}(?P=q)"""
_WHOLE = re.compile("|".join(_SHAPES), re.DOTALL)
# What stays of a match is its first group: the name before a secret, the protocol before a user.
_AFTER = tuple(
    re.compile(pattern)
    for pattern in (
        r"([A-Za-z][A-Za-z0-9+.-]*://)(?!\*\*\*@)(?:[^\s/@\"'<>?#]+|[^\s@\"'<>]*:[^\s@\"'<>]*)(?=@)",
        r"(?i)([?&#](?:[\w.-]*(?:token|secret|passw(?:or)?d|pwd|api_?key|access_?key|signature|credential|auth)|sig|key)=)"
        r"[^&\s\"'#]+",
        r"(hooks\.slack\.com/services/)[\w/-]+",
        r"(?i)(\bauthorization[\"']?\s*[:=]\s*[\"']?(?:bearer|basic|token|digest)\s+)[^\s\"',]+",
        r"(?i)(\bbearer\s+)[A-Za-z0-9._~+/=-]{12,}",
        r"(?i)((?<!\w)--?[\w-]*(?:token(?!s|i)|secret|passw(?:or)?d|passphrase|api-?key|access-?key|private-?key|credential)"
        r"[\w-]*(?:=|\s+)[\"']?)(?![-\s]|\*\*\*)[^\s\"']+",
        rf"(?i)(\b[\w.-]*(?:{_WORDS})[\"']?\s*(?:=>|[=:])\s*){_VALUE}",
        r"(\b(?:[A-Z0-9_]+_)?(?:TOKEN|SECRET|PASSWORD|PASSWD|KEY|CREDENTIALS|PAT)(?:_[A-Z0-9]+)?=[\"']?)(?!\*\*\*)[^\s\"',;]{4,}",
        r"(\btoken[\"']?\s*[=:]\s*[\"']?)(?=[\w.-]*\d)[\w.-]{12,}",
    )
)
_NAMED = re.compile(
    r"(?i)(?:^|_)(?:TOKEN|SECRETS?|PASSWORD|PASSWD|PASSPHRASE|PWD|KEY|APIKEY|KEYS|CREDENTIALS?|PAT|AUTH|COOKIE)(?:_|$)"
)
_NOT_SECRET = frozenset({"PWD", "OLDPWD", "SSH_AUTH_SOCK"})
# Nothing is looked for where none of these occurs, which is nearly everywhere.
_HINT = re.compile(
    r"(?i)://[^/]*@|token|secret|passw|passphrase|pwd|key|credential|auth|bearer|cookie|sig|PAT\b|hooks\.slack|hf_|api_org_|"
    r"gh[pousr]_|github_pat|gl[a-z]+-|AKIA|ASIA|AROA|AIDA|[sr]k[-_]|xox|xapp-|AIza|ya29|npm_|pypi-|dop_v1|SG\.|r8_|gsk_|pplx-|wandb_|eyJ"
)


def redacted(value: Any, environment: Mapping[str, str] | None = None) -> Any:
    """``value`` (text, or anything of JSON) with every secret masked; what holds none comes back as it is.

    A list of texts is looked at as a whole: an option's value may stand in the next part, a key over many lines.
    """
    own = values_of(os.environ if environment is None else environment)
    return _walked(value, own)


def redacted_text(text: str, own: Sequence[str] = ()) -> str:
    """One text, with the values ``own`` masked as well."""
    return _masked_once(text, tuple(own)) if len(text) <= SHORT else _masked(text, own)


@lru_cache(1 << 14)
def _masked_once(text: str, own: tuple[str, ...]) -> str:
    """Of a short text, of which plans and records are made: the same ones again and again."""
    return _masked(text, own)


def _masked(text: str, own: Sequence[str]) -> str:
    for secret in own:
        if secret in text:
            text = text.replace(secret, MASK)
    if not _HINT.search(text):
        return text
    text = _WHOLE.sub(MASK, text)
    for pattern in _AFTER:
        text = pattern.sub(rf"\g<1>{MASK}", text)
    return text


def values_of(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Values of variables that are named like secrets, the longest first; short ones and paths are left out."""
    return _secret_values(tuple(sorted((name, environment[name]) for name in environment if _is_named_so(name))))


@lru_cache(4096)
def _is_named_so(name: str) -> bool:
    return _NAMED.search(name) is not None


@cache
def _secret_values(named: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    found = {
        value for name, value in named if name not in _NOT_SECRET and len(value) >= SHORTEST and not _harmless(value)
    }
    # A secret is quoted in JSON and in tracebacks too.
    return tuple(sorted(found | {repr(value)[1:-1] for value in found}, key=lambda value: (-len(value), value)))


def _harmless(value: str) -> bool:
    """A path, or one plain lower-case word, which would be masked wherever it occurs."""
    return value.startswith(("/", "~", "./")) or re.fullmatch(r"[a-z]+", value) is not None


def _walked(value: Any, own: Sequence[str]) -> Any:
    if isinstance(value, str):
        return redacted_text(value, own)
    if isinstance(value, dict):
        return {_walked(key, own): _member(key, item, own) for key, item in value.items()}
    if isinstance(value, list | tuple):
        if value and all(isinstance(item, str) for item in value):
            return _texts(value, own)
        if all(item is None or isinstance(item, int | float) for item in value):
            return value
        return [_walked(item, own) for item in value]
    return value


def _member(key: Any, item: Any, own: Sequence[str]) -> Any:
    """A value whose key says that it is a secret is one."""
    if isinstance(item, str) and item and isinstance(key, str) and _is_name_of_one(key):
        return MASK
    return _walked(item, own)


@lru_cache(4096)
def _is_name_of_one(key: str) -> bool:
    return re.search(rf"(?i)(?:^|[_.-])(?:{_WORDS})$", key) is not None


def _texts(parts: Sequence[str], own: Sequence[str]) -> list[str]:
    whole = _JOINT.join(parts)
    masked = redacted_text(whole, own)
    return list(parts) if masked == whole else masked.split(_JOINT)
