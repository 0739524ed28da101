"""kill -9 at each request to an S3 server. `python -m tests.faults.kill_requests [SEED [WORKLOAD...]]`.

As `kill_points`, for a store that is far: daemon and command are killed when their n-th request arrives, which is then
not carried out, or is, and its answer lost. Both for each n.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.faults.calls import Launcher
from tests.faults.recovery import check, end
from tests.faults.workloads import WORKLOADS, Died, Site
from tests.proxy import Proxy
from tests.s3 import Weed, credentials

NAMES = ("work", "merge", "resume", "commit of a dead view", "programs", "delete")


class Killing(Proxy):
    """Kills at request number *at* (0: none), counted from `arm` on; *lost*: once it was carried out."""

    def __init__(self, target: str, launcher: Launcher) -> None:
        super().__init__(target)
        self._launcher = launcher
        self.count_ = 0
        self.at, self.lost = 0, False
        self.armed = self.killed = False

    def arm(self) -> None:
        self.armed, self.count_ = True, 0

    def draw(self, verb: str) -> str:
        if self.armed:
            self.count_ += 1
            if self.count_ == self.at:
                self.killed, self.armed = True, False
                self._launcher.kill()
                return "lost" if self.lost else "reset"
        return super().draw(verb)


class Sweep:
    def __init__(self, path: Path, weed: Weed, launcher: Launcher, name: str, seed: int = 7) -> None:
        self._path = path
        self._weed = weed
        self._launcher = launcher
        self._name = name
        self._seed = seed

    def at(self, n: int, *, lost: bool = False) -> int:
        """Returns how many requests were made until then. Raises AssertionError when something is lost."""
        shutil.rmtree(self._path, ignore_errors=True)
        self._path.mkdir()
        workload = WORKLOADS[self._name]
        with Killing(self._weed.endpoint, self._launcher) as proxy:
            url = self._weed.url(f"kills-{os.urandom(6).hex()}", proxy.endpoint)
            site = Site(self._path, self._launcher, url)
            os.environ.update({"VOLFS_STATE": str(site.state), "VOLFS_CACHE": site.env["VOLFS_CACHE"]})
            site.env.update(credentials())
            site.random.seed(self._seed)
            site.killed = lambda: proxy.killed
            try:
                workload.prepare(site)
                proxy.at, proxy.lost = n, lost
                proxy.arm()
                try:
                    workload.run(site)
                except Died:
                    assert proxy.killed, "something failed without being killed"
                proxy.armed = False
                site.killed = lambda: False
                check(site, site.history.answered)
            finally:
                proxy.armed = False
                end(site)
            return proxy.count_


def sweep(
    path: Path, weed: Weed, name: str, points: Callable[[int], Iterable[int]], seed: int = 7
) -> tuple[int, int, list[str]]:
    """(requests there are, kill points swept, what was lost)."""
    os.environ.update(credentials())
    with Launcher() as launcher:
        run = Sweep(path, weed, launcher, name, seed)
        count = run.at(0)
        swept, losses = 0, []
        for n in points(count):
            for lost in (False, True):
                swept += 1
                try:
                    run.at(n, lost=lost)
                except AssertionError as error:
                    losses.append(f"{name}, killed {'after' if lost else 'before'} request {n}: {error}")
                    print(losses[-1], flush=True)
        return count, swept, losses


def main() -> None:
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    top = Path(tempfile.mkdtemp(prefix="volfs-kill-requests-")).resolve()
    lost = 0
    weed = Weed(top / "weed")
    print(f"seed {seed}\n\n| workload | requests | kill points swept | losses |\n|---|---|---|---|")
    try:
        for name in sys.argv[2:] or NAMES:
            count, swept, losses = sweep(top / "host", weed, name, lambda count: range(1, count + 1), seed)
            lost += len(losses)
            print(f"| {name} | {count} | {swept} | {len(losses)} |", flush=True)
    finally:
        weed.stop()
        shutil.rmtree(top, ignore_errors=True)
    sys.exit(1 if lost else 0)


if __name__ == "__main__":
    main()
