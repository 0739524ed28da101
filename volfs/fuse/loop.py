"""How requests are received: pyfuse3's workers, with cheaper turns. May import: trio, pyfuse3. Must not know: views.

pyfuse3's loop takes a `trio.Lock` and parks in trio's epoll for every request: two passes of the scheduler, and an idle
processor that has to be woken, while most handlers answer without waiting for anything. So the worker whose turn it is
keeps it as long as its handlers do not suspend, and waits for the next request in poll(2) while no other task could
run: at first busily, as the next request mostly follows within some 20 us, then asleep. It watches trio's epoll
descriptor, too, and goes through the scheduler every `_IN_A_ROW` requests, for trio's deadlines. Measured: getxattr 50
-> 19 us, open 63 -> 27, create+write+close 310 -> 175, of which the busy waiting is the larger part.

pyfuse3 finds `trio` by name in its own module (its asyncio support relies on that), so a namespace takes its place.

Invariants: T1 at most one worker has the turn. T2 it suspends with it only to wait for a request; when its handler
suspends, the turn goes on to a waiting worker. T3 it polls only while `_runnable` is empty.

If a caller is killed between our poll and our read of its request, that read blocks, and with it the whole loop (33
times in 190 rounds of killed callers). A timer's signal ends it: EINTR, which pyfuse3 takes for "try again". The timer
runs only while requests come.
"""

import os
import select
import signal
import time
from collections import deque
from types import FrameType, SimpleNamespace

import pyfuse3
import trio
from trio.lowlevel import Abort, RaiseCancelT, Task

_IN_A_ROW = 32
_ASLEEP_MS = 5  # then the callers have something else to do, and we park in trio
_GUARD_S = 0.02

# Busy waiting grows where requests come soon and shrinks where they do not, as KVM's does (virt/kvm/halt_polling.rst).
_BUSY_MAX_NS = 100_000
_BUSY_START_NS = 20_000


class Turns(trio.abc.Instrument):
    """Whose turn it is to receive. Stands for the `trio.Lock` and the `wait_readable` of pyfuse3's workers."""

    def __init__(self) -> None:
        self._holder: Task | None = None
        self._receiving = False  # the holder waits for a request
        self._waiting: deque[Task] = deque()
        self._runnable: set[Task] = set()
        self._row = 0
        self._busy_ns = 0
        self._guarded = False
        self._fd = -1
        self._poll = select.poll().poll
        self._request: list[tuple[int, int]] = []  # what poll says when there is a request and nothing else

    def install(self) -> None:
        """From inside trio's main thread, before `pyfuse3.main`."""
        trio.lowlevel.add_instrument(self)
        signal.signal(signal.SIGALRM, _nothing)
        namespace = SimpleNamespace(**vars(trio))
        namespace.Lock = lambda: self
        namespace.lowlevel = SimpleNamespace(**vars(trio.lowlevel))
        namespace.lowlevel.wait_readable = self._wait_readable
        vars(pyfuse3)["trio"] = namespace

    def remove(self) -> None:
        """No signal comes any more: where nobody handles it, it ends the process."""
        self._guard(on=False)

    # --- the lock

    async def __aenter__(self) -> None:
        if self._holder is None:
            self._holder = trio.lowlevel.current_task()
        elif self._receiving:  # by T2 another has it: who has it and runs does not wait for a request
            me = trio.lowlevel.current_task()
            self._waiting.append(me)

            def abort(_: RaiseCancelT) -> Abort:
                self._waiting.remove(me)
                return Abort.SUCCEEDED

            await trio.lowlevel.wait_task_rescheduled(abort)
        self._receiving = True

    async def __aexit__(self, *_: object) -> None:
        self._receiving = False

    # --- what the scheduler tells

    def task_scheduled(self, task: Task) -> None:
        self._runnable.add(task)

    def before_task_step(self, task: Task) -> None:
        self._runnable.discard(task)

    def after_task_step(self, task: Task) -> None:
        if task is not self._holder or self._receiving:
            return
        self._holder = None
        if self._waiting:
            self._holder = self._waiting.popleft()
            self._receiving = True
            trio.lowlevel.reschedule(self._holder)

    # --- waiting for a request

    async def _wait_readable(self, fd: int) -> None:
        if fd != self._fd:
            self._watch(fd)
        self._row += 1
        if self._row < _IN_A_ROW and not self._runnable:
            if not self._guarded:
                self._guard(on=True)
            if (self._poll(0) or self._next()) == self._request:
                return
        self._row = 0
        self._guard(on=False)
        await trio.lowlevel.wait_readable(fd)
        self._guard(on=True)

    def _next(self) -> list[tuple[int, int]]:
        """Which descriptors are ready, waited for up to `_ASLEEP_MS`."""
        poll, now = self._poll, time.monotonic_ns
        start = now()
        end = start + self._busy_ns
        while True:
            if ready := poll(0):
                return ready
            if now() >= end:
                break
        ready = poll(_ASLEEP_MS)
        if now() - start < _BUSY_MAX_NS:
            self._busy_ns = min(max(2 * self._busy_ns, _BUSY_START_NS), _BUSY_MAX_NS)
        else:
            self._busy_ns //= 2
        return ready

    def _guard(self, *, on: bool) -> None:
        if on is not self._guarded:
            self._guarded = on
            every = _GUARD_S if on else 0.0
            signal.setitimer(signal.ITIMER_REAL, every, every)

    def _watch(self, fd: int) -> None:
        self._fd = fd
        self._request = [(fd, select.POLLIN)]
        poll = select.poll()
        for watched in (fd, *_epolls()):
            poll.register(watched, select.POLLIN)
        self._poll = poll.poll


def _nothing(number: int, frame: FrameType | None) -> None:
    """A signal with a handler interrupts read(2)."""


def _epolls() -> list[int]:
    """This process's epoll descriptors: trio has one, and no public name for it."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{name}") == "anon_inode:[eventpoll]":
                found.append(int(name))
        except FileNotFoundError:
            continue  # the listing's own descriptor
    return found
