"""Ranges of inode numbers, claimed from a volume's store. May import: backend, keys. Thread-safe; blocks."""

import threading

from volfs.store import keys
from volfs.store.backend import Backend

RANGE_BITS = 20
_FIRST_INO = 16  # 1 is the root; the others below are kept for later


class Claims:
    """Ranges of 2^20 numbers that are this process's alone, never continued by another.

    *hint*: no range below it is free. A commit record carries it on, so that nobody looks through the ranges again.
    """

    def __init__(self, backend: Backend, volume_id: str, hint: int = 0) -> None:
        self._backend = backend
        self._volume_id = volume_id
        self._lock = threading.Lock()
        self.hint = hint

    def claim(self) -> tuple[int, int]:
        """(first, end) of a range that nobody had."""
        with self._lock:
            n = self.hint
            while not self._backend.put_if_absent(keys.inodes(self._volume_id, n), b"claimed\n"):
                taken = self._backend.children(keys.inode_ranges(self._volume_id), after=keys.inode_range_name(n))
                n = keys.inode_range(taken[-1]) + 1 if taken else n + 1
            self.hint = n + 1
        return max(n << RANGE_BITS, _FIRST_INO), (n + 1) << RANGE_BITS
