"""Per-operation times of a mount against the disk below and fuse-overlayfs in one run: the table of `make bench`.

Each row is measured ROUNDS times on one after the other, and the medians are told: what else the machine does then
hits all three alike.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

VOLFS = Path(sys.executable).with_name("volfs")
FILES = int(os.environ.get("VOLFS_BENCH_FILES", "3000"))
BIG_MIB = int(os.environ.get("VOLFS_BENCH_MIB", "512"))
ROUNDS = int(os.environ.get("VOLFS_BENCH_ROUNDS", "5"))


def timed(count: int, call: Callable[[], object]) -> float:
    """Microseconds per item."""
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) / count * 1e6


def drop_caches() -> None:
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")


class Bench:
    """The rows, to be called in order, on one file system."""

    def __init__(self, point: Path) -> None:
        self._here = point / "bench"
        self._here.mkdir()
        self._names = [str(self._here / f"file-{i}") for i in range(FILES)]
        self._big = self._here / "big"
        self._block = os.urandom(1 << 20)

    def rows(self) -> dict[str, Callable[[], float]]:
        return {
            "create+write 1 KB, us": lambda: timed(FILES, self._create),
            "open+read 1 KB, us": lambda: timed(FILES, self._read),
            "stat, us": lambda: timed(FILES, lambda: [os.stat(name) for name in self._names]),
            "rename, us": lambda: timed(FILES, lambda: [os.rename(name, name + "x") for name in self._names]),
            "unlink, us": lambda: timed(FILES, lambda: [os.unlink(name + "x") for name in self._names]),
            "4 KiB write, us": self._pages,
            "write+fsync, MiB/s": lambda: 1e6 / timed(BIG_MIB, self._sequential),
            "cold read, MiB/s": self._cold,
            "warm read, MiB/s": self._warm,
        }

    def _create(self) -> None:
        kilobyte = b"x" * 1024
        for name in self._names:
            fd = os.open(name, os.O_CREAT | os.O_WRONLY)
            os.write(fd, kilobyte)
            os.close(fd)

    def _read(self) -> None:
        for name in self._names:
            fd = os.open(name, os.O_RDONLY)
            os.read(fd, 2048)
            os.close(fd)

    def _pages(self) -> float:
        page, fd = b"y" * 4096, os.open(self._here / "pages", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        try:
            return timed(5000, lambda: [os.write(fd, page) for _ in range(5000)])
        finally:
            os.close(fd)

    def _sequential(self) -> None:
        with open(self._big, "wb", buffering=0) as file:
            for _ in range(BIG_MIB):
                file.write(self._block)
            os.fsync(file.fileno())

    def _cold(self) -> float:
        drop_caches()
        return 1e6 / timed(BIG_MIB, self._scan)

    def _warm(self) -> float:
        self._scan()  # the others' cold reads have dropped our pages, too
        return 1e6 / timed(BIG_MIB, self._scan)

    def _scan(self) -> None:
        with open(self._big, "rb", buffering=0) as file:
            while file.read(1 << 20):
                pass


def main() -> None:
    root = Path(tempfile.mkdtemp(prefix="volfs-bench-", dir=os.environ.get("VOLFS_BENCH_DIR"))).resolve()
    env = {**os.environ, "VOLFS_STORE": str(root / "store"), "VOLFS_STATE": str(root / "state")}
    for name in ("disk", "volfs", "overlay", "lower", "upper", "work"):
        (root / name).mkdir()
    found: dict[str, dict[str, list[float]]] = {}
    try:
        subprocess.run([VOLFS, "mount", "--create", "bench", root / "volfs"], env=env, check=True, capture_output=True)
        dirs = f"lowerdir={root}/lower,upperdir={root}/upper,workdir={root}/work"
        subprocess.run(["fuse-overlayfs", "-o", dirs, root / "overlay"], check=True)
        systems = {name: Bench(root / name).rows() for name in ("disk", "volfs", "overlay")}
        for _ in range(ROUNDS):
            for row in systems["disk"]:
                for name, rows in systems.items():
                    found.setdefault(row, {}).setdefault(name, []).append(rows[row]())
    finally:
        for name in ("volfs", "overlay"):
            subprocess.run(["umount", "-l", root / name], capture_output=True, check=False)
        shutil.rmtree(root, ignore_errors=True)
    print(f"{'':24}{'disk':>16}{'volfs':>16}{'fuse-overlayfs':>16}{'vs overlayfs':>14}{'vs disk':>10}")
    for row, measured in found.items():
        disk, ours, other = (statistics.median(values) for values in measured.values())
        faster = ours / other if row.endswith("MiB/s") else other / ours
        of_disk = ours / disk if row.endswith("MiB/s") else disk / ours
        print(f"{row:24}{disk:16.1f}{ours:16.1f}{other:16.1f}{faster:13.2f}x{of_disk:9.2f}x")


if __name__ == "__main__":
    main()
