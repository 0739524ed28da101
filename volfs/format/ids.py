"""Identities: volumes, families, packs, commits. May import: exception. Randomness and time are arguments."""

import re

ID_CHARACTERS = 22
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
PACK_BYTES = 16

_VOLUME = re.compile(r"vo-[0-9A-Za-z]{22}")
_FAMILY = re.compile(r"fa-[0-9A-Za-z]{22}")


def _letters(random: bytes) -> str:
    """22 base-62 characters of 16 random bytes."""
    value = int.from_bytes(random, "big")
    letters = []
    for _ in range(ID_CHARACTERS):
        value, digit = divmod(value, 62)
        letters.append(ALPHABET[digit])
    return "".join(reversed(letters))


def volume_id(random: bytes) -> str:
    """`vo-` and 22 characters, as modal's; *random* are 16 bytes."""
    return "vo-" + _letters(random)


def family_id(random: bytes) -> str:
    return "fa-" + _letters(random)


def commit_token(random: bytes) -> str:
    """By it a committer whose acknowledgement was lost knows its own commit."""
    return _letters(random)


def is_volume_id(text: str) -> bool:
    return _VOLUME.fullmatch(text) is not None


def is_family_id(text: str) -> bool:
    return _FAMILY.fullmatch(text) is not None


def pack_id(time_ns: int, random: bytes) -> bytes:
    """16 bytes that sort by time: milliseconds since 1970 (6 bytes), then *random* (10 bytes)."""
    return (time_ns // 1_000_000).to_bytes(6, "big") + random[:10]
