"""kill -9 at random moments of a random workload. `python -m tests.mount.kills ROUNDS SEED`; also run by the suite."""

import os
import random
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.conftest import Host


class Workload(threading.Thread):
    """Writes, renames and removes until the mount dies. `sure` is what was answered."""

    def __init__(self, point: Path, seed: int, sure: dict[str, bytes]) -> None:
        super().__init__()
        self.point = point
        self.random = random.Random(seed)
        self.sure = sure
        self.doubtful: set[str] = set()  # named in the call that was cut short

    def run(self) -> None:
        try:
            while True:
                self._step()
        except OSError:
            return

    def _step(self) -> None:
        name = f"f{self.random.randrange(12)}"
        path = self.point / name
        verb = self.random.randrange(6)
        self.doubtful = {name}
        if verb <= 3:
            data = self.random.randbytes(self.random.choice((10, 5000, 200_000)))
            fresh = self.point / f"{name}.new"
            self.doubtful = {name, f"{name}.new"}
            with open(fresh, "wb") as file:
                file.write(data)
            self.sure[f"{name}.new"] = data
            os.rename(fresh, path)
            del self.sure[f"{name}.new"]
            self.sure[name] = data
        elif verb == 4 and name in self.sure:
            os.unlink(path)
            del self.sure[name]
        elif verb == 5 and name in self.sure:
            with open(path, "ab") as file:
                file.write(b"tail")
            self.sure[name] += b"tail"
        self.doubtful = set()


def rounds(host: Host, count: int, seed: int) -> None:
    """Raises AssertionError when something that was answered is lost, or a commit is there in part."""
    random_ = random.Random(seed)
    sure: dict[str, bytes] = {}
    point = host.mount()
    other = host.mount("other", "--read-only")
    for round_ in range(count):
        worker = Workload(point, random_.randrange(1 << 30), sure)
        worker.start()
        committer = threading.Thread(target=host.run, args=("commit", point), kwargs={"check": None})
        time.sleep(random_.random() * 0.1)
        if random_.random() < 0.6:
            committer.start()
            time.sleep(random_.random() * 0.06)
        os.kill(host.pid_of(point), signal.SIGKILL)
        worker.join()
        if committer.ident is not None:
            committer.join()
        host.run("mount", "v", point)
        for name in list(worker.doubtful):
            sure.pop(name, None)
            path = point / name
            if path.exists():
                sure[name] = path.read_bytes()
        found = {path.name: path.read_bytes() for path in point.iterdir()}
        assert found == sure, f"round {round_}: {sorted(found.keys() ^ sure.keys())} {_differing(found, sure)}"
        host.run("reload", other)
        for path in other.iterdir():
            path.read_bytes()


def _differing(found: dict[str, bytes], sure: dict[str, bytes]) -> list[str]:
    return [name for name in found.keys() & sure.keys() if found[name] != sure[name]]


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 30)
    print(f"seed {seed}")
    host = Host(Path(tempfile.mkdtemp(prefix="volfs-kills-")).resolve())
    try:
        rounds(host, count, seed)
    finally:
        host.clean()
    print(f"{count} rounds of kill -9: nothing lost")


if __name__ == "__main__":
    main()
