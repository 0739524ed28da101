"""Loss of power at every barrier. `python -m tests.faults.power_loss [SEED [WORKLOAD...]]`.

Each workload is run once, and its calls are recorded with their data. For each sync in it, and the end, `disk` makes
what may be left on the disk just before; a daemon mounts that, and `recovery.check` looks for what was promised then.
"""

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.faults.calls import QUIET, Call, Calls, Launcher
from tests.faults.disk import Image, Recording, ways
from tests.faults.recovery import check, end
from tests.faults.workloads import WORKLOADS, Site, Workload


@dataclass(slots=True, frozen=True)
class Promise:
    """From *call* on: so many steps of the view are durable, and so many commits acknowledged."""

    call: int
    steps: int
    commits: int
    made: bool
    alive: bool
    names: frozenset[str]


class Record:
    """One recorded run of a workload, on one path."""

    def __init__(self, path: Path, launcher: Launcher, workload: Workload, seed: int = 7) -> None:
        self._path = path
        self._launcher = launcher
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        self.site = Site(path, launcher)
        self.site.random.seed(seed)
        self.recording = Recording(str(path))
        self.promises = [Promise(0, 0, 0, False, True, frozenset(self.site.names))]
        self._images: set[bytes] = set()

        def seen(call: Call) -> int:
            self.recording.add(call)
            return 0

        with Calls((path,), seen, data=True) as calls:
            calls.armed = True
            self.site.calls = calls
            self.site.on_answer = self._promise
            try:
                workload.prepare(self.site)
                workload.run(self.site)
                self._promise()
            finally:
                end(self.site)
        self._agrees()

    def _agrees(self) -> None:
        """Nothing was overlooked: all that was recorded is what is there."""
        image = self.recording.image(self.recording.count, ways(0)["all there"])
        recorded = {path: data for path, (data, _) in image.files.items()}
        recorded |= {path: recorded[first] for path, first in image.links.items()}
        found = {}
        for top in (self.site.store, self.site.state):
            for directory, _, names in os.walk(top):
                paths = [Path(directory, name) for name in names if name not in QUIET]
                found |= {str(path.relative_to(self._path)): path.read_bytes() for path in paths if path.is_file()}
        assert recorded == found, sorted(recorded.keys() ^ found.keys()) or "contents differ"

    def _promise(self) -> None:
        site = self.site
        count, durable = self.recording.count, site.history.durable
        self.promises.append(
            Promise(count, durable, max(site.heads), site.made, site.alive, frozenset(site.names))
        )

    def points(self) -> list[tuple[int, str]]:
        """(calls made, way) of each state."""
        return [(barrier, way) for barrier in self.recording.barriers for way in ways(0)]

    def look(self, barrier: int, way: str) -> bool:
        """Whether the state is another than those before. Raises AssertionError when something is lost."""
        image = self.recording.image(barrier, ways(barrier)[way])
        promise = [each for each in self.promises if each.call <= barrier][-1]
        later = [each for each in self.promises if each.call > barrier]
        key = _digest(image, promise)
        if key in self._images:
            return False
        self._images.add(key)
        shutil.rmtree(self._path)
        self._path.mkdir()
        site = Site(self._path, self._launcher)
        _write(self._path, image)
        site.history, site.theirs = self.site.history, self.site.theirs
        site.heads = {seq: tree for seq, tree in self.site.heads.items() if seq <= promise.commits}
        site.pending = self.site.heads.get(promise.commits + 1, self.site.pending)
        site.made = promise.made
        site.alive = promise.alive and all(each.alive for each in later)
        site.names = set(promise.names.union(*(each.names for each in later[:2])))  # maybe just being renamed
        try:
            check(site, promise.steps)
        finally:
            end(site)
        return True


def _digest(image: Image, promise: Promise) -> bytes:
    told = repr((promise.steps, promise.commits, sorted(image.directories), sorted(image.links.items())))
    digest = hashlib.sha256(told.encode())
    for path, (data, mode) in sorted(image.files.items()):
        digest.update(repr((path, mode, len(data))).encode() + data)
    return digest.digest()


def _write(top: Path, image: Image) -> None:
    for path in sorted(image.directories):
        (top / path).mkdir(mode=0o700, exist_ok=True)
    for path, (data, mode) in image.files.items():
        (top / path).write_bytes(data)
        (top / path).chmod(mode)
    for path, first in image.links.items():
        os.link(top / first, top / path)


def sweep(
    path: Path, name: str, chosen: Callable[[Sequence[tuple[int, str]]], Sequence[tuple[int, str]]], seed: int = 7
) -> tuple[int, int, list[str]]:
    """(barriers, states mounted, what was lost)."""
    with Launcher() as launcher:
        record = Record(path, launcher, WORKLOADS[name], seed)
        mounted, losses = 0, []
        for barrier, way in chosen(record.points()):
            try:
                mounted += record.look(barrier, way)
            except AssertionError as error:
                mounted += 1
                losses.append(f"{name}, before call {barrier + 1}, {way}: {error}")
                print(losses[-1], flush=True)
        return len(record.recording.barriers), mounted, losses


def main() -> None:
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    only = sys.argv[2:] or list(WORKLOADS)
    path = Path(tempfile.mkdtemp(prefix="volfs-power-loss-")).resolve() / "host"
    lost = 0
    print(f"seed {seed}\n\n| workload | barriers | states mounted | losses |\n|---|---|---|---|")
    try:
        for name in only:
            barriers, mounted, losses = sweep(path, name, lambda points: points, seed)
            lost += len(losses)
            print(f"| {name} | {barriers} | {mounted} | {len(losses)} |", flush=True)
    finally:
        shutil.rmtree(path.parent, ignore_errors=True)
    sys.exit(1 if lost else 0)


if __name__ == "__main__":
    main()
