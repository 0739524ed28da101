"""Uploads and downloads by the SDK against `cp -r` on the same disk and a plain obstore upload, in one run.

`python -m bench.sdk`; VOLFS_BENCH_DIR is the disk to use. Each runs in a process of its own: seconds, peak memory.
`cp` and obstore leave what they wrote in the page cache; volfs has it durable when it returns, so both are also shown
with a sync behind them.
"""

import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import obstore

from volfs import Client, Volume

FILES = int(os.environ.get("VOLFS_BENCH_SDK_FILES", "10000"))
BIG_MIB = int(os.environ.get("VOLFS_BENCH_SDK_MIB", "2048"))


def apart(call: Callable[[], None]) -> tuple[float, float]:
    """(seconds, peak MiB) of a call in a child process, imports left out."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            start = time.perf_counter()
            call()
            took = time.perf_counter() - start
            peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
            os.write(writer, f"{took} {peak / 1024}".encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    _, status = os.waitpid(child, 0)
    if status:
        raise SystemExit("bench: a step failed")
    took, peak = os.read(reader, 100).split()
    os.close(reader)
    return float(took), float(peak)


def make_small(path: Path) -> None:
    chance = random.Random(3)
    for i in range(FILES):
        here = path / f"d{i // 100}"
        here.mkdir(parents=True, exist_ok=True)
        (here / f"f{i}").write_bytes(chance.randbytes(10_000))


def make_big(path: Path) -> None:
    path.mkdir()
    block = os.urandom(1 << 20)
    with open(path / "big", "wb") as file:
        for i in range(BIG_MIB):
            file.write(i.to_bytes(8, "little") + block[8:])


def compare(root: Path, source: Path) -> None:
    volume = Volume.from_name(source.name, create_if_missing=True, client=Client(root / "store"))

    def copy() -> None:
        subprocess.run(["cp", "-r", source, root / "copy"], check=True)

    def copy_and_sync() -> None:
        copy()
        os.sync()

    def plain() -> None:
        where = root / "plain"
        where.mkdir()
        store = obstore.store.LocalStore(where)
        for path in sorted(source.rglob("*")):
            if path.is_file():
                obstore.put(store, str(path.relative_to(source)), path)

    def plain_and_sync() -> None:
        plain()
        os.sync()

    def up() -> None:
        with volume.batch_upload() as batch:
            batch.put_directory(source, "/data")

    def down() -> None:
        for entry in volume.iterdir("/data"):
            target = root / "down" / entry.path
            if entry.type == 2:
                target.mkdir(parents=True, exist_ok=True)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                with open(target, "wb") as file:
                    volume.read_file_into_fileobj(entry.path, file)

    for name, call in (
        ("cp -r", copy),
        ("cp -r, sync", copy_and_sync),
        ("obstore put", plain),
        ("obstore put, sync", plain_and_sync),
        ("volfs upload", up),
        ("volfs download", down),
    ):
        for left in ("copy", "plain", "down"):
            shutil.rmtree(root / left, ignore_errors=True)
        os.sync()
        took, peak = apart(call)
        print(f"  {name:24} {took:8.2f} s {peak:8.0f} MiB", flush=True)
    subprocess.run(["diff", "-r", source, root / "down" / "data"], check=True)


def main() -> None:
    root = Path(tempfile.mkdtemp(prefix="volfs-bench-", dir=os.environ.get("VOLFS_BENCH_DIR"))).resolve()
    try:
        print(f"{FILES} files of 10 KB")
        make_small(root / "small")
        compare(root, root / "small")
        print(f"one file of {BIG_MIB} MiB")
        make_big(root / "big")
        compare(root, root / "big")
    finally:
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
