"""A frame around a small record: magic, version, length, checksum. May import: exception."""

from struct import Struct as Layout

from xxhash import xxh3_64_intdigest

from volfs.exception import DamageError

_FRAME = Layout("<8sIIQ")
FRAME_BYTES = _FRAME.size
MAX_PAYLOAD_BYTES = 16 << 20


def encode_frame(magic: bytes, version: int, payload: bytes) -> bytes:
    """*magic* (8 bytes), version and length of the payload (u32), xxh3-64 of all other bytes, the payload."""
    head = _FRAME.pack(magic, version, len(payload), 0)[:-8]
    return head + xxh3_64_intdigest(head + payload).to_bytes(8, "little") + payload


def decode_frame(data: bytes, magic: bytes, version: int, what: str) -> bytes:
    """The payload. Raises DamageError when *data* is no such frame; *what* names it in the message."""
    if len(data) < FRAME_BYTES or data[:8] != magic:
        raise DamageError(f"not {what}")
    _, found, length, checksum = _FRAME.unpack_from(data)
    if found != version:
        raise DamageError(f"{what} has format version {found}; this volfs knows {version}: upgrade it")
    payload = data[FRAME_BYTES:]
    if length > MAX_PAYLOAD_BYTES or len(payload) != length:
        raise DamageError(f"{what} is cut short")
    if checksum != xxh3_64_intdigest(data[: FRAME_BYTES - 8] + payload):
        raise DamageError(f"{what} does not agree with its checksum")
    return payload
