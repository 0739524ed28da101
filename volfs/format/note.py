"""Small JSON objects with a checksum, readable by people. May import: exception.

One line of JSON, and a line `xxh3 ` with the 16 hexadecimal digits of XXH3-64 of the first without its end.
"""

from typing import TypeVar

import msgspec
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
    except msgspec.DecodeError as error:
        raise DamageError(f"{what} cannot be read: {error}; run volfs fsck") from error
