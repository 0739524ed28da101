"""Mutations of bytes and of JSON or msgpack values, for fuzzing decoders."""

import random
from typing import Any

# Where decoders err: zeros, ones, the ends of signed and unsigned fields of 1, 2, 4 and 8 bytes.
NUMBERS = (0, 1, 2, 15, 127, 128, 255, 256, 0x7FFF, 0xFFFF, 1 << 20, (1 << 24) + 1, (1 << 31) - 1, 1 << 31)
LARGE = ((1 << 32) - 1, 1 << 32, 1 << 40, (1 << 62), (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
TEXTS = ("", ".", "..", "/", "a/b", "\0", "x" * 300, "\udcff", "../../etc", "{", "1" * 5000)


def mutate(dice: random.Random, data: bytes, other: bytes = b"") -> bytes:
    """*data* with one to four changes; *other* is spliced in at times."""
    found = bytearray(data)
    for _ in range(dice.choice((1, 1, 1, 2, 4))):
        _one(dice, found, other)
    return bytes(found)


def _one(dice: random.Random, data: bytearray, other: bytes) -> None:
    kind = dice.randrange(9)
    at = dice.randrange(len(data) + 1)
    if kind == 0 and data:
        data[at % len(data)] ^= 1 << dice.randrange(8)
    elif kind == 1 and data:
        data[at % len(data)] = dice.choice((0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)))
    elif kind in (2, 3):
        size = dice.choice((2, 4, 8))
        number = dice.choice(NUMBERS + LARGE) & ((1 << 8 * size) - 1)
        data[at : at + size] = number.to_bytes(size, "little")
    elif kind == 4:
        data[at:at] = dice.randbytes(dice.choice((1, 4, 16, 100)))
    elif kind == 5:
        del data[at : at + dice.choice((1, 2, 8, 64))]
    elif kind == 6:
        del data[at:]
    elif kind == 7:
        start = dice.randrange(len(data) + 1)
        data[at:at] = data[start : start + dice.randrange(200)]
    elif other:
        start = dice.randrange(len(other))
        piece = other[start : start + dice.randrange(1, 100)]
        data[at : at + len(piece)] = piece


def mutate_value(dice: random.Random, value: Any, depth: int = 0) -> Any:
    """A value of dicts, lists, numbers, text and bytes with something in it changed, in kind or in size."""
    if isinstance(value, dict) and value and dice.random() < 0.9:
        key = dice.choice(list(value))
        changed = {**value, key: mutate_value(dice, value[key], depth + 1)}
        if dice.random() < 0.1:
            del changed[key]
        return changed
    if isinstance(value, list | tuple) and value and dice.random() < 0.9:
        items = list(value)
        at = dice.randrange(len(items))
        items[at] = mutate_value(dice, items[at], depth + 1)
        if dice.random() < 0.1:
            del items[at]
        elif dice.random() < 0.1:
            items *= dice.choice((2, 50))
        return items
    if isinstance(value, bytes) and dice.random() < 0.7:
        return dice.choice((mutate(dice, value), b"", b"..", b"a/b", b"\0", b"x" * 300))
    if isinstance(value, int) and dice.random() < 0.7:
        return dice.choice((-1, -(1 << 63), *NUMBERS, *LARGE))
    if isinstance(value, str) and dice.random() < 0.7:
        return dice.choice(TEXTS[:7])
    return dice.choice((None, True, 0, 1.5, "text", b"bytes", [], {}, [[[[]]]], {"a": {"b": 1}}))
