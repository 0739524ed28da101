"""Each system call that changes the store or the state directory fails once.

`python -m tests.faults.failing_calls [SEED [WORKLOAD...]]`

What needs room fails with ENOSPC, and at every other call EDQUOT; a sync, and what needs none, with EIO. Who asked for
it is told by an errno, or by one line of the command; tried once more it succeeds, as when room was made; what was
answered is there, and `recovery.check` finds all in order.
"""

import errno
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.calls import Call, Calls, Launcher
from tests.faults.recovery import check, end
from tests.faults.workloads import WORKLOADS, Died, Site

_ROOM = ("write", "pwrite64", "pwritev", "pwritev2", "openat", "open", "mkdir", "link", "rename")
NAMES = [name for name in WORKLOADS if name != "delete"]


def error_of(call: Call) -> int:
    if call.name not in _ROOM:
        return errno.EIO
    return errno.EDQUOT if call.number % 2 else errno.ENOSPC


@dataclass(slots=True)
class Sweep:
    """*calls* are those that there are, *tried* those that failed; *told*: how many failures somebody was told of."""

    calls: int = 0
    tried: int = 0
    told: int = 0
    losses: list[str] = field(default_factory=list)


def _run(path: Path, launcher: Launcher, name: str, n: int, seed: int) -> tuple[Site, list[Call]]:
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    site = Site(path, launcher)
    site.random.seed(seed)
    made: list[Call] = []

    def fail(call: Call) -> int:
        made.append(call)
        return error_of(call) if call.number == n else 0

    with Calls((site.store, site.state), fail) as calls:
        site.calls = calls
        try:
            WORKLOADS[name].prepare(site)
            calls.armed = site.patient = True
            WORKLOADS[name].run(site)
        except Died:
            assert site.told, "something failed without a word"
            assert name == "programs", f"it failed a second time: {site.told}"
        finally:
            end(site)
    return site, made


def sweep(path: Path, name: str, points: Callable[[int], Iterable[int]], seed: int = 7) -> Sweep:
    found = Sweep()
    with Launcher() as launcher:
        _, made = _run(path, launcher, name, 0, seed)
        found.calls = len(made)
        for n in points(len(made)):
            found.tried += 1
            try:
                site, made = _run(path, launcher, name, n, seed)
                found.told += bool(site.told)
                try:
                    check(site, site.history.answered)
                finally:
                    end(site)
            except AssertionError as error:
                found.losses.append(f"{name}, {errno.errorcode[error_of(made[n - 1])]} of {made[n - 1]}: {error}")
                print(found.losses[-1], flush=True)
    return found


def main() -> None:
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    path = Path(tempfile.mkdtemp(prefix="volfs-failing-")).resolve() / "host"
    lost = 0
    print(f"seed {seed}\n\n| workload | calls | made to fail | told to a caller | losses |\n|---|---|---|---|---|")
    try:
        for name in sys.argv[2:] or NAMES:
            found = sweep(path, name, lambda count: range(1, count + 1), seed)
            lost += len(found.losses)
            print(f"| {name} | {found.calls} | {found.tried} | {found.told} | {len(found.losses)} |", flush=True)
    finally:
        shutil.rmtree(path.parent, ignore_errors=True)
    sys.exit(1 if lost else 0)


if __name__ == "__main__":
    main()
