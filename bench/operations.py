"""Per-operation times of a mount against the disk below and fuse-overlayfs in one run: the table of `make bench`."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

VOLFS = Path(sys.executable).with_name("volfs")
FILES = int(os.environ.get("VOLFS_BENCH_FILES", "3000"))
BIG_MIB = int(os.environ.get("VOLFS_BENCH_MIB", "512"))


def timed(count: int, call: Callable[[], object]) -> float:
    """Microseconds per item."""
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) / count * 1e6


def drop_caches() -> None:
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")


def measure(point: Path) -> dict[str, float]:
    found: dict[str, float] = {}
    here = point / "bench"
    here.mkdir()
    names = [str(here / f"file-{i}") for i in range(FILES)]
    kilobyte = b"x" * 1024

    def create() -> None:
        for name in names:
            fd = os.open(name, os.O_CREAT | os.O_WRONLY)
            os.write(fd, kilobyte)
            os.close(fd)

    def read() -> None:
        for name in names:
            fd = os.open(name, os.O_RDONLY)
            os.read(fd, 2048)
            os.close(fd)

    found["create+write 1 KB, us"] = timed(FILES, create)
    found["open+read 1 KB, us"] = timed(FILES, read)
    found["stat, us"] = timed(FILES, lambda: [os.stat(name) for name in names])
    found["rename, us"] = timed(FILES, lambda: [os.rename(name, name + "x") for name in names])
    found["unlink, us"] = timed(FILES, lambda: [os.unlink(name + "x") for name in names])
    page, fd = b"y" * 4096, os.open(here / "pages", os.O_CREAT | os.O_WRONLY)
    found["4 KiB write, us"] = timed(5000, lambda: [os.write(fd, page) for _ in range(5000)])
    os.close(fd)
    big, block = here / "big", os.urandom(1 << 20)

    def sequential() -> None:
        with open(big, "wb", buffering=0) as file:
            for _ in range(BIG_MIB):
                file.write(block)
            os.fsync(file.fileno())

    def scan() -> None:
        with open(big, "rb", buffering=0) as file:
            while file.read(1 << 20):
                pass

    found["write+fsync, MiB/s"] = 1e6 / timed(BIG_MIB, sequential)
    drop_caches()
    found["cold read, MiB/s"] = 1e6 / timed(BIG_MIB, scan)
    found["warm read, MiB/s"] = 1e6 / timed(BIG_MIB, scan)
    shutil.rmtree(here)
    return found


def main() -> None:
    root = Path(tempfile.mkdtemp(prefix="volfs-bench-", dir=os.environ.get("VOLFS_BENCH_DIR"))).resolve()
    env = {**os.environ, "VOLFS_STORE": str(root / "store"), "VOLFS_STATE": str(root / "state")}
    for name in ("disk", "volfs", "overlay", "lower", "upper", "work"):
        (root / name).mkdir()
    results: dict[str, dict[str, float]] = {}
    try:
        results["disk"] = measure(root / "disk")
        subprocess.run([VOLFS, "mount", "--create", "bench", root / "volfs"], env=env, check=True, capture_output=True)
        results["volfs"] = measure(root / "volfs")
        dirs = f"lowerdir={root}/lower,upperdir={root}/upper,workdir={root}/work"
        subprocess.run(["fuse-overlayfs", "-o", dirs, root / "overlay"], check=True)
        results["fuse-overlayfs"] = measure(root / "overlay")
    finally:
        for name in ("volfs", "overlay"):
            subprocess.run(["umount", "-l", root / name], capture_output=True, check=False)
        shutil.rmtree(root, ignore_errors=True)
    print(f"{'':24}" + "".join(f"{name:>16}" for name in results) + f"{'vs overlayfs':>14}{'vs disk':>10}")
    for row in results["disk"]:
        values = [column[row] for column in results.values()]
        ours, other, disk = results["volfs"][row], results["fuse-overlayfs"][row], results["disk"][row]
        faster = ours / other if row.endswith("MiB/s") else other / ours
        of_disk = ours / disk if row.endswith("MiB/s") else disk / ours
        print(f"{row:24}" + "".join(f"{value:16.1f}" for value in values) + f"{faster:13.2f}x{of_disk:9.2f}x")


if __name__ == "__main__":
    main()
