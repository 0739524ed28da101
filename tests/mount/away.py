"""The store goes away while a program writes to a mount. `python -m tests.mount.away SECONDS MIB`.

The daemon's memory stays within a bound, what is written waits on the local disk, a commit says why it cannot be; once
the store is back all goes there, once, and a second host reads every byte.
"""

import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import Host
from tests.mount.test_prefetch import status
from tests.proxy import Proxy
from tests.s3 import Weed, set_credentials

STORE_TIMEOUT_S = 20
# What a daemon may grow by, however much waits: four uploads at once of four parts of 8 MiB, and one that is read, are
# 160 MiB; nodes and blocks 32; the rest is the allocator's.
GROWTH_MIB = 320
_FILE_MIB = 16

WRITER = """
import random, sys, time
from pathlib import Path
point, seconds, mib, each = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
start = time.monotonic()
for n in range(mib):
    with open(point / f"f{n // each}", "ab") as file:
        file.write(random.Random(n).randbytes(1 << 20))
    time.sleep(max(0.0, start + (n + 1) * seconds / mib - time.monotonic()))
"""


@dataclass(frozen=True)
class Figures:
    """MiB, and seconds."""

    away_s: float
    written: int
    before: float
    peak: float
    resident: float
    staged: float
    sent_while_away: float
    refused_s: float
    refused: str
    commit_s: float
    sent: float

    def __str__(self) -> str:
        rows = [
            ("store away", f"{self.away_s:.0f} s, while {self.written} MiB were written"),
            ("the daemon's memory", f"{self.before:.0f} MiB Pss before, {self.peak:.0f} at most (all the time)"),
            ("", f"{self.resident:.0f} MiB Rss at most"),
            ("staged on disk", f"{self.staged:.0f} MiB when the store came back"),
            ("commit while away", f"refused after {self.refused_s:.0f} s: {self.refused}"),
            ("commit afterwards", f"{self.commit_s:.1f} s after the store came back"),
            ("sent to the store", f"{self.sent_while_away:.0f} MiB while away, {self.sent:.0f} MiB in all"),
            ("a second host", f"read {self.written} MiB, every byte as written"),
        ]
        return "\n".join(f"{name:22} {value}" for name, value in rows)


class Memory(threading.Thread):
    """The most that a process has used, looked at ten times a second."""

    def __init__(self, pid: int) -> None:
        super().__init__()
        self._pid = pid
        self._over = threading.Event()
        self.first = self.peak = self._pss()

    def run(self) -> None:
        while not self._over.wait(0.1):
            self.peak = max(self.peak, self._pss())

    def stop(self) -> None:
        self._over.set()
        self.join()

    def _pss(self) -> float:
        """MiB."""
        found = re.search(r"^Pss: +(\d+) kB", Path(f"/proc/{self._pid}/smaps_rollup").read_text(), re.MULTILINE)
        assert found is not None
        return int(found[1]) / 1024

    def resident(self) -> float:
        """MiB, at most since its start."""
        found = re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{self._pid}/status").read_text(), re.MULTILINE)
        assert found is not None
        return int(found[1]) / 1024


def run(path: Path, weed: Weed, seconds: float, mib: int) -> Figures:
    """Raises AssertionError."""
    prefix = f"away-{time.time_ns()}"
    with Proxy(weed.endpoint) as proxy:
        hosts = [Host(path / name, weed.url(prefix, proxy.endpoint)) for name in ("writer", "reader")]
        try:
            for host in hosts:
                host.path.mkdir()
            return _run(*hosts, proxy, seconds, mib)
        finally:
            for host in hosts:
                host.clean()


def _run(host: Host, reader: Host, proxy: Proxy, seconds: float, mib: int) -> Figures:
    point = host.mount("m", "--store-timeout", STORE_TIMEOUT_S)
    (point / "before").write_bytes(b"before")
    host.run("commit", point)
    memory = Memory(host.pid_of(point))
    memory.start()
    try:
        proxy.away = True
        sent, start = proxy.sent_bytes, time.monotonic()
        writer = subprocess.Popen([sys.executable, "-c", WRITER, point, str(seconds), str(mib), str(_FILE_MIB)])
        time.sleep(seconds / 2)
        asked = time.monotonic()
        refused = host.run("commit", point, check=None)
        refused_s = time.monotonic() - asked
        assert refused.returncode != 0 and "is away" in refused.stderr and refused.stderr.count("\n") == 1, refused
        assert writer.wait() == 0
        time.sleep(max(0.0, start + seconds - time.monotonic()))
        away_s = time.monotonic() - start
        sent_while_away = proxy.sent_bytes - sent
        found = status(host, point)
        assert found["uploaded_bytes"] == 0 and found["staging_bytes"] >= mib << 20
        staged = sum(file.stat().st_blocks * 512 for file in host.state.rglob("*") if file.is_file())
        proxy.away = False
        back = time.monotonic()
        while (done := host.run("commit", point, check=None)).returncode:  # an upload had just failed once more
            assert "is away" in done.stderr
        commit_s = time.monotonic() - back
    finally:
        memory.stop()
    resident = memory.resident()
    copy = reader.mount("m", "--read-only")
    for n in range(0, mib, _FILE_MIB):
        data = (copy / f"f{n // _FILE_MIB}").read_bytes()
        assert data == b"".join(random.Random(i).randbytes(1 << 20) for i in range(n, min(n + _FILE_MIB, mib)))
    assert len(list(copy.iterdir())) == -(-mib // _FILE_MIB) + 1
    return Figures(
        away_s, mib, memory.first, memory.peak, resident, staged / (1 << 20), sent_while_away / (1 << 20), refused_s,
        refused.stderr.strip(), commit_s, (proxy.sent_bytes - sent) / (1 << 20),
    )  # fmt: skip


def check(figures: Figures) -> None:
    assert figures.peak < figures.before + GROWTH_MIB, str(figures)
    assert figures.staged >= figures.written, str(figures)
    assert figures.sent_while_away == 0 and figures.sent < figures.written * 1.1 + 10, str(figures)


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 300
    mib = int(sys.argv[2]) if len(sys.argv) > 2 else 2048
    set_credentials()
    path = Path(tempfile.mkdtemp(prefix="volfs-away-")).resolve()
    weed = Weed(path / "weed")
    try:
        figures = run(path, weed, seconds, mib)
    finally:
        weed.stop()
        shutil.rmtree(path, ignore_errors=True)
    print(figures)
    check(figures)


if __name__ == "__main__":
    main()
