"""Opens that the kernel tries once more. May import: trio. Must not know: views, requests.

An OPEN of an inode that a reload has made another is answered with ESTALE: the kernel then looks the path up again, and
opens what it finds, but once only. If one more reload came between, open(2) would fail with ESTALE. So a reload waits
for those who may still be told so, or were, by the one before.
"""

import os

import trio

_PATIENCE_S = 2.0  # without a change; who may not open the file any more does not come back, and is not seen to end
_LOOK_S = 0.005


class Retries:
    """Threads, by their numbers, whose open(2) has begun before the end of a reload. 0: one that is not seen from here,
    and not waited for."""

    def __init__(self) -> None:
        self._threads: set[int] = set()

    def begin(self, thread: int) -> None:
        """Its OPEN waits for a reload, or is told ESTALE."""
        self._threads.add(thread)

    def end(self, thread: int) -> None:
        """It is told something else, or has found nothing to open."""
        self._threads.discard(thread)

    async def wait_ended(self) -> None:
        """Returns at once when none has begun; at the latest when for a while none has ended."""
        seen: set[int] = set()
        deadline = trio.current_time()
        while threads := self._threads:
            threads.difference_update([thread for thread in threads if not os.path.exists(f"/proc/{thread}")])
            if seen - threads or not seen:
                deadline = trio.current_time() + _PATIENCE_S
            seen = set(threads)
            if trio.current_time() > deadline:
                threads.clear()
            if threads:
                await trio.sleep(_LOOK_S)
