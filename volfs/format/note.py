"""Small JSON objects with a checksum, readable by people. May import: exception.

One line of JSON, and a line `xxh3 ` with the 16 hexadecimal digits of XXH3-64 of the first without its end. Those of a
state directory are one line alone: their field `sum` has these digits, of the same line with an empty `sum`.
"""

from typing import TypeVar

import msgspec
from msgspec.structs import replace
from xxhash import xxh3_64_hexdigest

from volfs.exception import DamageError

T = TypeVar("T", bound=msgspec.Struct)
_SUM = b"xxh3 "


def encode_note(value: msgspec.Struct) -> bytes:
    text = msgspec.json.encode(value)
    return text + b"\n" + _SUM + xxh3_64_hexdigest(text).encode() + b"\n"


def decode_note(data: bytes, kind: type[T], what: str) -> T:
    """Raises DamageError when *data* is no such object, or does not agree with its checksum; *what* names it."""
    text, _, rest = data.partition(b"\n")
    if rest != _SUM + xxh3_64_hexdigest(text).encode() + b"\n":
        raise DamageError(f"{what} does not agree with its checksum; run volfs fsck")
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DamageError(f"{what} cannot be read: {error}; run volfs fsck") from error


class Summed(msgspec.Struct, frozen=True, kw_only=True):
    """Base of what stands on one line. *version* 1, of an older volfs, has no *sum*."""

    version: int = 2
    sum: str = ""


S = TypeVar("S", bound=Summed)


def encode_summed(value: Summed) -> bytes:
    return msgspec.json.encode(replace(value, sum=_sum_of(value))) + b"\n"


def decode_summed(data: bytes, kind: type[S], what: str) -> S:
    """Raises DamageError when *data* is no such object, or does not agree with its checksum; *what* names it."""
    try:
        value = msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DamageError(f"{what} cannot be read: {error}") from error
    if value.version not in (1, 2):
        raise DamageError(f"{what} has format version {value.version}; this volfs knows 2: upgrade it")
    if value.sum != ("" if value.version == 1 else _sum_of(value)):
        raise DamageError(f"{what} does not agree with its checksum")
    return value


def _sum_of(value: Summed) -> str:
    return xxh3_64_hexdigest(msgspec.json.encode(replace(value, sum="")))
