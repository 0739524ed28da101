"""kill -9 at each system call that changes the store or the state directory.

`python -m tests.faults.kill_points [SEED [WORKLOAD...]]`

Each workload is run once to count its calls; then again for each of them: its n-th call is not made, as its process, a
daemon's or a command's, is killed there; so that every call is the last that is made, too. Then `recovery.check`.
SEED is for the contents.
"""

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.faults.calls import Calls, Decide, Launcher, go_on, kill_at
from tests.faults.recovery import check, end
from tests.faults.workloads import WORKLOADS, Died, Site, Workload


class Sweep:
    """One workload on one path; `points` is how many calls it makes."""

    def __init__(self, path: Path, launcher: Launcher, workload: Workload, seed: int = 7) -> None:
        self._path = path
        self._launcher = launcher
        self._workload = workload
        self._seed = seed
        self.names: list[str] = []

    def run(self, decide: Decide = go_on) -> Site:
        """From nothing; returns when the workload has ended, or was killed."""
        shutil.rmtree(self._path, ignore_errors=True)
        self._path.mkdir()
        site = Site(self._path, self._launcher)
        site.random.seed(self._seed)
        self.names = []

        def seen(call: object) -> int:
            self.names.append(str(call))
            return decide(call)  # type: ignore[arg-type]

        with Calls((site.store, site.state), seen) as calls:
            site.calls = calls
            try:
                self._workload.prepare(site)
                calls.armed = True
                self._workload.run(site)
            except Died:
                assert calls.killed is not None, "something failed without being killed"
            finally:
                end(site)
        return site

    def count(self) -> int:
        """The calls it makes, when nothing is killed; what it leaves is checked, too."""
        self._check(self.run())
        return len(self.names)

    def at(self, n: int) -> None:
        """Raises AssertionError when something is lost."""
        self._check(self.run(kill_at(n)))

    def _check(self, site: Site) -> None:
        try:
            check(site, site.history.answered)
        finally:
            end(site)


def sweep(path: Path, name: str, points: Callable[[int], Iterable[int]], seed: int = 7) -> tuple[int, int, list[str]]:
    """(points there are, points swept, what was lost)."""
    with Launcher() as launcher:
        run = Sweep(path, launcher, WORKLOADS[name], seed)
        count = run.count()
        swept, losses = 0, []
        for n in points(count):
            swept += 1
            try:
                run.at(n)
            except AssertionError as error:
                losses.append(f"{name}, killed before {run.names[-1:]}: {error}")
                print(losses[-1], flush=True)
        return count, swept, losses


def main() -> None:
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    only = sys.argv[2:] or list(WORKLOADS)
    path = Path(tempfile.mkdtemp(prefix="volfs-kill-points-")).resolve() / "host"
    lost = 0
    print(f"seed {seed}\n\n| workload | calls | kill points swept | losses |\n|---|---|---|---|")
    try:
        for name in only:
            count, swept, losses = sweep(path, name, lambda count: range(1, count + 1), seed)
            lost += len(losses)
            print(f"| {name} | {count} | {swept} | {len(losses)} |", flush=True)
    finally:
        shutil.rmtree(path.parent, ignore_errors=True)
    sys.exit(1 if lost else 0)


if __name__ == "__main__":
    main()
