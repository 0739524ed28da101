"""How many uploads are under way at once. May import: nothing. Thread-safe.

All share one line, and each request has its time limit: sixteen parts of 8 MiB at once need 6.4 MiB/s to be done in
20 s, and fail together, again and again, on a line that has less.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Slots:
    """*most* at first; half as many after each failure, one more after each success; at least one."""

    def __init__(self, most: int) -> None:
        self._most = self.allowed = most
        self._used = 0
        self._freed = threading.Condition()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Waits for a slot. What is raised inside is a failure."""
        with self._freed:
            while self._used >= self.allowed:
                self._freed.wait()
            self._used += 1
        done = False
        try:
            yield
            done = True
        finally:
            with self._freed:
                self._used -= 1
                self.allowed = min(self.allowed + 1, self._most) if done else max(self.allowed // 2, 1)
                self._freed.notify_all()
