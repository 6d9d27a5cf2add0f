# SPDX-License-Identifier: Apache-2.0
"""Damage to data: bytes and plain structures with a few places changed, each fixed by its random generator."""

from __future__ import annotations

import copy
import struct
from random import Random
from typing import Any

NUMBERS = [
    0,
    1,
    -1,
    7,
    255,
    256,
    65_536,
    2**31,
    2**63,
    2**64,
    10**30,
    0.5,
    -0.0,
    1e-320,
    1e308,
    float("nan"),
    float("inf"),
]
TEXTS = [
    "",
    " ",
    "x" * 5000,
    "\ud800",
    "\x1b[31m\x07",
    "[/bold]",
    "a\nb",
    "a\0b",
    "../../etc/passwd",
    "\u202etxt",
    "1e3",
]
OTHERS = [None, True, [], [[]], {}, {"a": 1}, {1: 2}, [0] * 1000, ["a", None]]
LENGTHS = [0, 1, 4, 255, 65_535, 2**31 - 1, 2**31, 2**32 - 1]


def damaged_bytes(random: Random, data: bytes, most: int = 5) -> bytes:
    """Flipped bits, wrong lengths, cuts, repetitions and noise."""
    out = bytearray(data or b"\0")
    for _ in range(random.randint(1, most)):
        at = random.randrange(len(out)) if out else 0
        match random.randrange(6):
            case 0 if out:
                out[at] ^= 1 << random.randrange(8)
            case 1:
                del out[at:]
            case 2:
                del out[at : at + random.randint(1, 40)]
            case 3:
                out[at:at] = random.randbytes(random.randint(1, 16))
            case 4:
                at -= at % 4
                out[at : at + 4] = struct.pack("<I", random.choice([*LENGTHS, len(data), random.randrange(2**32)]))
            case _:
                out[at:at] = out[at : at + random.randint(1, 64)] * random.randint(1, 20)
    return bytes(out)


def damaged_data(random: Random, data: Any) -> Any:
    """A deep copy of maps, lists and values with one to three of them replaced, removed or added."""
    data = copy.deepcopy(data)
    for _ in range(random.choice([1, 1, 2, 3])):
        places = list(_places(data))
        if not places:
            return data
        owner, key = random.choice(places)
        match random.randrange(8):
            case 0:
                del owner[key]
            case 1 if isinstance(owner, dict):
                owner[random.choice(["extra", 5, None, "<<", "pretrained", "self"])] = any_value(random)
            case 2 | 3:
                owner[key] = _near(random, owner[key])
            case _:
                owner[key] = any_value(random)
    return data


def any_value(random: Random) -> Any:
    """A number, a text or something else that nobody expects."""
    return copy.deepcopy(random.choice(random.choice([NUMBERS, TEXTS, OTHERS])))


def _near(random: Random, value: Any) -> Any:
    """A value like this one, but wrong."""
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, int | float):
        return random.choice([value + 1, -value, value * 1000, str(value), [value], float("nan"), value / 1e6])
    if isinstance(value, str):
        return random.choice([value.upper(), value + "x", value[:-1], value * 50, [value], value + "\x1b[31m"])
    if isinstance(value, list):
        return random.choice([value[:-1], value * 2, value[::-1], value * 100, dict(enumerate(value)), [value]])
    return random.choice([list(value), {}, {key: [item] for key, item in value.items()}, None])


def _places(data: Any) -> Any:
    for key, value in data.items() if isinstance(data, dict) else enumerate(data):
        yield data, key
        if isinstance(value, dict | list):
            yield from _places(value)
