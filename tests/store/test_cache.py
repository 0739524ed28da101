"""The cache on local disk: it may be shared, removed, full or damaged, and never makes a read fail or wrong."""

import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import Host
from tests.mount.test_prefetch import status
from tests.proxy import Proxy
from tests.s3 import Weed
from volfs import Client, Volume
from volfs.store.cache import PIECE_BYTES, Cache

MIB = 1 << 20
DATA = random.Random(5).randbytes(6 * MIB)
PACK = "family/pack"


def piece(n: int) -> bytes:
    return bytes([n]) * PIECE_BYTES


def pieces(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file() and path.name != "lock")


# --- the cache alone


def test_what_was_put_is_there_for_another_process_that_starts_later(tmp_path: Path) -> None:
    Cache(tmp_path, 64 * MIB).put(PACK, 3, piece(3))
    script = """
import sys
from pathlib import Path
from volfs.store.cache import Cache
found = Cache(Path(sys.argv[1]), 64 << 20).read("family/pack", (3 << 20) + 5, 100)
sys.exit(found != bytes([3]) * 100)
"""
    subprocess.run([sys.executable, "-c", script, tmp_path], check=True)


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 16 * MIB)
    for n in range(12):
        cache.put(PACK, n, piece(n))
        os.utime(tmp_path / PACK / f"{n:06}", (1000 + n, 1000 + n))
    fresh = Cache(tmp_path, 16 * MIB)
    assert fresh.read(PACK, 0, 10) == bytes(10)  # the oldest, used just now
    for n in range(12, 20):
        fresh.put(PACK, n, piece(n))
    held = {int(path.name) for path in pieces(tmp_path)}
    assert fresh.held_bytes() <= 16 * MIB
    assert 0 in held and 19 in held and not held & {1, 2, 3}


def test_a_piece_that_stays_open_is_used_not_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(tmp_path, 16 * MIB)
    cache.put(PACK, 0, piece(0))
    assert cache.read(PACK, 0, 10) == bytes(10)
    os.utime(tmp_path / PACK / "000000", (1000, 1000))  # long ago
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 3600)
    assert cache.read(PACK, 0, 10) == bytes(10)
    assert os.stat(tmp_path / PACK / "000000").st_mtime > 2000


def test_what_others_removed_is_not_held_open_for_ever(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 16 * MIB)
    for n in range(8):
        cache.put(PACK, n, piece(n))
        cache.read(PACK, n * PIECE_BYTES, 10)
    shutil.rmtree(tmp_path / "family")
    assert cache.read(PACK, 5 * PIECE_BYTES, 10) == bytes([5]) * 10  # who has it open reads on
    for n in range(8, 11):
        cache.put(PACK, n, piece(n))  # a 16th of the bound: looks around
    gone = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_link(fd)]
    assert not [path for path in gone if path.startswith(str(tmp_path)) and path.endswith("(deleted)")]


def _is_link(fd: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{fd}")


def _directory(path: Path) -> None:
    path.unlink()
    (path / "inside").mkdir(parents=True)


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _pack_is_a_file(path: Path) -> None:
    shutil.rmtree(path.parent)
    path.parent.write_bytes(b"x")


def _family_is_a_file(path: Path) -> None:
    shutil.rmtree(path.parent.parent)
    path.parent.parent.write_bytes(b"x")


def _dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


@pytest.mark.parametrize("harm", [_directory, _fifo, _pack_is_a_file, _family_is_a_file, _dangling])
def test_what_is_no_file_is_removed_and_put_anew(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    Cache(tmp_path, 64 * MIB).put(PACK, 1, piece(1))
    harm(tmp_path / PACK / "000001")
    cache = Cache(tmp_path, 64 * MIB)
    assert not cache.has(PACK, 1)
    assert cache.read(PACK, PIECE_BYTES, 10) is None
    cache.put(PACK, 1, piece(1))
    assert cache.read(PACK, PIECE_BYTES, 10) == bytes([1]) * 10


def test_a_directory_that_cannot_be_written_is_a_cache_that_keeps_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    cache = Cache(tmp_path / "file" / "cache", 64 * MIB)
    cache.put(PACK, 1, piece(1))
    cache.adopt(PACK, tmp_path / "file")
    assert cache.read(PACK, PIECE_BYTES, 10) is None and cache.held_bytes() == 0


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB without a free byte or inode."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    path = tmp_path / "full"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,nr_inodes=40", "tmpfs", path], check=True)
    (path / "ballast").write_bytes(bytes(7 * MIB))
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def test_a_full_disk_is_a_cache_that_keeps_nothing(full: Path, tmp_path: Path) -> None:
    cache = Cache(full / "cache", 64 * MIB)
    for n in range(3):
        cache.put(PACK, n, piece(n))
    cache.adopt(PACK, Path(sys.executable))
    assert not [path for path in (full / "cache").rglob("*") if path.name.startswith((".", "whole"))]
    for n in range(40):  # no inode for the lock, either
        try:
            (full / f"inode-{n}").touch()
        except OSError:
            break
    Cache(full / "other", 64 * MIB).put(PACK, 1, piece(1))


def test_room_is_made_on_a_full_disk_where_the_cache_has_it(full: Path) -> None:
    (full / "ballast").unlink()
    cache = Cache(full / "cache", 12 * MIB)  # more than there is
    for n in range(12):
        cache.put(PACK, n, piece(n))
    assert cache.read(PACK, 11 * PIECE_BYTES, 10) == bytes([11]) * 10
    assert cache.read(PACK, 0, 10) is None


# --- what is read through it


@pytest.fixture
def filled(weed: Weed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Proxy, str, Path]]:
    """A proxy, the store through it, and the cache of a reader that has read all of `f` once."""
    monkeypatch.setenv("VOLFS_STATE", str(tmp_path / "state"))
    prefix = f"cache-{time.time_ns()}"
    with Proxy(weed.endpoint) as proxy:
        url = weed.url(prefix, proxy.endpoint)
        writer = Volume.from_name("v", create_if_missing=True, client=Client(url, cache_dir=tmp_path / "w"))
        writer.write_file("f", DATA)
        cache = tmp_path / "cache"
        assert read(url, cache) == DATA
        yield proxy, url, cache


def read(url: str, cache: Path, size: str = "1G") -> bytes:
    """By a program of its own, as far as the cache is concerned."""
    volume = Volume.from_name("v", client=Client(url, cache_dir=cache, cache_size=size, timeout_s=20))
    return b"".join(volume.read_file("f"))


def received(proxy: Proxy, act: Callable[[], object]) -> int:
    """Bytes that the store sent meanwhile."""
    before = proxy.received_bytes
    act()
    return proxy.received_bytes - before


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for at in range(0, len(data), 50_000):
        data[at] ^= 1
    path.write_bytes(data)


def _truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 3)


def _empty(path: Path) -> None:
    os.truncate(path, 0)


def _lengthen(path: Path) -> None:
    path.write_bytes(bytes(100) + path.read_bytes())


@pytest.mark.slow
@pytest.mark.parametrize("harm", [_flip, _truncate, _empty, _lengthen, _directory, _fifo, _pack_is_a_file, Path.unlink])
def test_damage_is_fetched_once_more_and_never_served(
    filled: tuple[Proxy, str, Path], harm: Callable[[Path], None]
) -> None:
    proxy, url, cache = filled
    for path in pieces(cache):
        if os.path.lexists(path):
            harm(path)
    assert read(url, cache) == DATA
    got = received(proxy, lambda: read(url, cache))
    assert got < 20_000, "what was mended is not cached"


@pytest.mark.slow
def test_many_readers_of_one_damaged_piece_all_read_on(filled: tuple[Proxy, str, Path]) -> None:
    _, url, cache = filled
    volume = Volume.from_name("v", client=Client(url, cache_dir=cache)).hydrate()
    for _ in range(5):
        for path in pieces(cache):
            _flip(path)
        start = threading.Barrier(8)

        def one(_: int, start: threading.Barrier = start) -> bool:
            start.wait()
            return b"".join(volume.read_file("f")) == DATA

        with ThreadPoolExecutor(8) as threads:
            assert all(threads.map(one, range(8)))


def test_files_that_may_not_be_read_are_put_anew() -> None:
    """For somebody who is not root."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    script = """
import os, tempfile
from pathlib import Path
from volfs.store.cache import Cache
os.seteuid(65534)
with tempfile.TemporaryDirectory() as directory:
    root = Path(directory)
    Cache(root, 64 << 20).put("f/p", 0, b"a" * (1 << 20))
    path = root / "f/p/000000"
    path.chmod(0)
    cache = Cache(root, 64 << 20)
    assert cache.read("f/p", 0, 3) is None
    cache.put("f/p", 0, b"b" * (1 << 20))
    assert cache.read("f/p", 0, 3) == b"bbb"
    path.parent.chmod(0)
    cache = Cache(root, 64 << 20)
    assert cache.read("f/p", 0, 3) is None
    cache.put("f/p", 0, b"c" * (1 << 20))
    assert cache.read("f/p", 0, 3) is None
    path.parent.chmod(0o700)
"""
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.slow
def test_a_wrong_transfer_is_repeated_where_nothing_can_be_kept(filled: tuple[Proxy, str, Path], full: Path) -> None:
    proxy, url, _ = filled
    volume = Volume.from_name("v", client=Client(url, cache_dir=full / "cache", timeout_s=20))

    def mend() -> None:
        while not proxy.faults["corrupt"]:
            time.sleep(0.001)
        proxy.rates = {}

    volume.hydrate()
    volume.listdir("/")
    proxy.rates = {"corrupt": 1.0}
    thread = threading.Thread(target=mend)
    thread.start()
    assert b"".join(volume.read_file("f")) == DATA
    thread.join()


@pytest.mark.slow
def test_reads_go_on_when_the_disk_of_the_cache_is_full(filled: tuple[Proxy, str, Path], full: Path) -> None:
    _, url, _ = filled
    assert read(url, full / "cache") == DATA
    assert read(url, full / "cache", "2M") == DATA


REMOVER = """
import os, random, sys
chance = random.Random(3)
while os.getppid() == int(sys.argv[2]):
    for above, directories, names in os.walk(sys.argv[1]):
        for name in names:
            if chance.random() < 0.5:
                try:
                    os.unlink(os.path.join(above, name))
                except OSError:
                    pass
"""


@pytest.mark.slow
def test_another_process_may_remove_pieces_at_any_moment(filled: tuple[Proxy, str, Path]) -> None:
    _, url, cache = filled
    volume = Volume.from_name("v", client=Client(url, cache_dir=cache, cache_size="4M")).hydrate()
    remover = subprocess.Popen([sys.executable, "-c", REMOVER, cache, str(os.getpid())])
    try:
        with ThreadPoolExecutor(4) as threads:
            assert all(threads.map(lambda _: b"".join(volume.read_file("f")) == DATA, range(24)))
    finally:
        remover.kill()
        remover.wait()
    assert read(url, cache) == DATA


# --- shared by what runs on a host


@pytest.mark.slow
def test_mounts_and_programs_of_a_host_fetch_a_thing_once(weed: Weed, tmp_path: Path) -> None:
    with Proxy(weed.endpoint) as proxy:
        host = Host(tmp_path, weed.url(f"shared-{time.time_ns()}", proxy.endpoint))
        try:
            writer = Volume.from_name("v", create_if_missing=True, client=Client(host.url, cache_dir=tmp_path / "w"))
            writer.write_file("f", DATA)
            one, two = host.mount("one", "--read-only"), host.mount("two", "--read-only")
            first = received(proxy, lambda: (one / "f").read_bytes())
            assert len(DATA) <= first < len(DATA) * 1.2
            assert (two / "f").read_bytes() == DATA
            before = status(host, two)["store_use"]["cache"]
            assert before["hits"] > 0 and before["hit_bytes"] >= len(DATA) and before["misses"] == 0
            assert received(proxy, lambda: read(host.url, tmp_path / "cache")) < 20_000
            host.run("umount", one)
            host.run("umount", two)
            three = host.mount("three", "--read-only")  # after a restart
            got = received(proxy, lambda: (three / "f").read_bytes() == DATA or pytest.fail("wrong"))
            assert got < 20_000
        finally:
            host.clean()
