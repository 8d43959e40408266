"""Damaged and absurd variants of what the harness reads: of values, and of texts byte by byte. Seeded, so repeatable."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Sequence
from typing import Any

from payloads import EVERY, PATHS

JUNK: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**53,
    2**63,
    2**64,
    10**30,
    -(10**30),
    0.0,
    -0.0,
    1e-320,
    1e30,
    1e99,
    1e150,
    1e308,
    -1e308,
    0.1,
    [],
    {},
    [[]],
    [{}],
    {"a": {}},
    "",
    " ",
    "0",
    "nan",
    "null",
    "a" * 3000,
    [None],
    [1, "a"],
    [1e308] * 3,
    {"seconds": [1]},
    {"step": -1},
    "2026-01-01T00:00:00.000Z",
    "2026-13-45T99:99:99Z",
    "lora(rank=4)",
    "a > b > c",
    "a(" * 30,
    ["x"] * 50,
    {"": ""},
    {"__class__": "x"},
    "\udc80",
    1e16,
    3,
    7,
)


def mutated(value: Any, draw: random.Random, times: int = 1) -> Any:
    """A copy with some of its parts replaced, taken away, doubled or wrapped."""
    made = copy.deepcopy(value)
    for _ in range(times):
        places = list(_places(made))
        if not places:
            return draw.choice(JUNK)
        holder, key = draw.choice(places)
        _change(holder, key, draw)
    return made


def _places(value: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    todo = [value]
    while todo and len(found) < 4000:
        one = todo.pop()
        keys: Sequence[Any] = (
            list(one) if isinstance(one, dict) else range(min(len(one), 12)) if isinstance(one, list) else ()
        )
        for key in keys:
            found.append((one, key))
            todo.append(one[key])
    return found


def _change(holder: Any, key: Any, draw: random.Random) -> None:
    kind = draw.randrange(8)
    if kind == 0:
        del holder[key]
    elif kind == 1:
        holder[key] = [holder[key]]
    elif kind == 2:
        holder[key] = {"x": holder[key]}
    elif kind == 3:
        holder[key] = draw.choice((*EVERY, *PATHS))
    elif kind == 4 and isinstance(holder, dict):
        holder[draw.choice((*EVERY, *PATHS))[:200]] = holder[key]
    elif kind == 5 and isinstance(holder[key], int | float):
        holder[key] = holder[key] * draw.choice((-1, 0, 1e3, 1e-3, 1e12))
    elif kind == 6 and isinstance(holder[key], list) and holder[key]:
        holder[key] = holder[key] * 2 if draw.random() < 0.5 else holder[key][: len(holder[key]) // 2]
    else:
        holder[key] = copy.deepcopy(draw.choice(JUNK))


def damaged(text: bytes, draw: random.Random) -> bytes:
    """The bytes cut, flipped, doubled, or with something in the middle."""
    at = draw.randrange(len(text) + 1)
    kind = draw.randrange(8)
    if kind == 0:
        return text[:at]
    if kind == 1:
        return text[at:]
    if kind == 2 and text:
        at = min(at, len(text) - 1)
        return text[:at] + bytes([text[at] ^ (1 << draw.randrange(8))]) + text[at + 1 :]
    if kind == 3:
        return text[:at] + draw.choice(BITS) + text[at:]
    if kind == 4:
        return text[:at] + text[at : at + 50] * draw.randrange(2, 20) + text[at:]
    if kind == 5:
        return text.replace(b"\n", b"\r\n")
    if kind == 6:
        return b"\xef\xbb\xbf" + text
    return text[:at] + draw.choice(EVERY).encode("utf-8", "surrogatepass") + text[at + 1 :]


BITS = (
    b"\x00",
    b"\xff",
    b"\xed\xa0\x80",
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b"1e999",
    b"1" * 5000,
    b"[" * 3000,
    b"{" * 3000,
    b"\\ud800",
    b"&a ",
    b"*a ",
    b"<<: ",
    b"!!python/object/apply:os.system ['true'] ",
    b"!!binary ",
    b"? ",
    b": ",
    b"- ",
    b"- - - -",
    b"#",
    b"'",
    b'"',
    b"|\n",
    b">\n",
    b"%YAML 9.9\n---\n",
    b"---\n",
    b"...\n",
    b"\t",
    b"0o7",
    b"0x1f",
    b"1:2:3",
    b"2026-99-99",
    b"~",
    b"=",
    b"@",
    b"`",
    b"{}",
    b"[]",
    b"{a: b}",
    b"\xc2\x85",
    b"\xe2\x80\xa8",
    b"(",
    b")",
    b" > ",
    b" + ",
    b"[1, 2]",
    b"(a > b)",
    b"x" * 20000,
    b"9" * 400,
    b"1e400",
    b"..",
    b"../../x",
    b"~root/x",
    b"/etc/passwd",
    b"hub:../..",
    b"hub:a/b@../../x",
    b"random:llama(layers=1e9)",
    b"random:llama(hidden_size=0)",
)


def texts(samples: Sequence[bytes], count: int, seed: int) -> list[bytes]:
    """``count`` damaged variants of the samples."""
    draw = random.Random(seed)
    made = []
    for _ in range(count):
        text = draw.choice(samples)
        for _ in range(draw.randrange(1, 4)):
            text = damaged(text, draw)
        made.append(text)
    return made


def values(samples: Sequence[Any], count: int, seed: int, write: Callable[[Any], bytes] | None = None) -> list[bytes]:
    """``count`` variants of values as JSON."""
    draw = random.Random(seed)
    write = write or (lambda value: json.dumps(value).encode())
    return [write(mutated(draw.choice(samples), draw, draw.randrange(1, 5))) for _ in range(count)]
