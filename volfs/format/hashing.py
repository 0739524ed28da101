"""Hashes of names and of stored bytes. May import: nothing of volfs. Must not know: files, stores.

XXH3 is that of https://github.com/Cyan4973/xxHash (0.8): 11.5 GiB/s on one core, so that every block
can be verified at every read. It is no defence against somebody who may write the store.
"""

from collections.abc import Callable

from xxhash import xxh3_64_intdigest, xxh3_128_digest

HASH_BYTES = 16
BLOCK_BYTES = 128 * 1024  # the kernel's read unit: one request, one block, one hash

_MASK_63 = (1 << 63) - 1
FIRST_NAME_HASH = 16  # below stand the readdir cookies of "start", "." and ".."

BlockHash = Callable[[bytes | bytearray | memoryview], bytes]


def name_hash(name: bytes) -> int:
    """The 63-bit hash that orders a directory and is its readdir cookie; at least FIRST_NAME_HASH."""
    value = xxh3_64_intdigest(name) & _MASK_63
    return value if value >= FIRST_NAME_HASH else value + FIRST_NAME_HASH


def block_hash(seed: int) -> BlockHash:
    """The family's hash of blocks and nodes: XXH3-128 seeded with *seed* (64 bits), 16 bytes long."""

    def digest(data: bytes | bytearray | memoryview) -> bytes:
        return xxh3_128_digest(data, seed)

    return digest
