"""A store that is away: what is cached is read, writing goes on, what cannot be says why; then all is well."""

import errno
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import Host
from tests.mount import away
from tests.mount.test_prefetch import status
from tests.proxy import Proxy
from tests.s3 import Weed
from volfs import Client, Volume
from volfs.exception import ServiceError

pytestmark = pytest.mark.slow

LIMIT_S = 3
WARM, COLD, OLD = (random.Random(n).randbytes(3 << 20) for n in range(3))


@dataclass
class Far:
    """A host whose store is behind a proxy."""

    host: Host
    proxy: Proxy

    def mount(self, name: str, *options: object, limit_s: float = LIMIT_S) -> Path:
        return self.host.mount(name, "--store-timeout", limit_s, *options)


@pytest.fixture
def far(weed: Weed, tmp_path: Path) -> Iterator[Far]:
    """`old/f` was committed first, then `warm`, then `cold`: each in a pack of its own, which no neighbour brings."""
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        pytest.skip("needs root and /dev/fuse")
    prefix = f"away-404-416-{time.time_ns()}"  # errors tell the URL: numbers in it are no answer of the store
    with Proxy(weed.endpoint) as proxy:
        host = Host(tmp_path, weed.url(prefix, proxy.endpoint))
        volume = Volume.from_name("v", create_if_missing=True, client=Client(host.url, cache_dir=tmp_path / "other"))
        for path, data in (("old/f", OLD), ("warm", WARM), ("cold", COLD)):
            volume.write_file(path, data)
        try:
            yield Far(host, proxy)
        finally:
            proxy.away = False
            host.clean()


def fails(call: Callable[[], object]) -> None:
    with pytest.raises(OSError) as caught:
        call()
    assert caught.value.errno == errno.EIO


def forgotten(path: Path) -> bytes:
    """A file's bytes as the daemon has them, not the page cache."""
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return file.read()


def test_what_is_cached_is_read_what_is_not_is_eio_and_no_eio_stays(far: Far) -> None:
    point = far.mount("m")
    assert (point / "warm").read_bytes() == WARM
    opened = os.open(point / "cold", os.O_RDONLY)
    far.proxy.away = True
    try:
        for _ in range(2):
            assert sorted(os.listdir(point)) == ["cold", "old", "warm"]
            assert (point / "cold").stat().st_size == len(COLD)
            assert forgotten(point / "warm") == WARM
            fails(lambda: os.pread(opened, 100, 1 << 20))
            fails(lambda: (point / "cold").read_bytes())
            for name in ("f", "none"):
                fails(lambda name=name: (point / "old" / name).stat())  # type: ignore[misc]
        fails(lambda: os.listdir(point / "old"))
        far.proxy.away = False
        assert os.pread(opened, len(COLD), 0) == COLD == (point / "cold").read_bytes()
        assert os.listdir(point / "old") == ["f"] and (point / "old" / "f").read_bytes() == OLD
        assert not (point / "old" / "none").exists()
    finally:
        os.close(opened)


def test_without_a_limit_a_read_waits_for_the_store(far: Far) -> None:
    point = far.mount("m", limit_s=0)
    assert (point / "warm").read_bytes() == WARM
    found: list[bytes | OSError] = []

    def read() -> None:
        try:
            found.append((point / "cold").read_bytes())
        except OSError as error:
            found.append(error)

    far.proxy.away = True
    reader = threading.Thread(target=read)
    reader.start()
    reader.join(2 * LIMIT_S)
    assert reader.is_alive(), f"{found} instead of waiting: {[log.read_text() for log in far.host.state.glob('*/log')]}"
    assert forgotten(point / "warm") == WARM
    far.proxy.away = False
    reader.join(60)
    assert found == [COLD]


def test_writing_goes_on_and_what_arrived_is_not_sent_again(far: Far) -> None:
    point = far.mount("m", limit_s=2 * LIMIT_S)
    (point / "made").write_bytes(b"made")  # a mount asks once, for inode numbers
    data = random.Random(9).randbytes(90 << 20)
    (point / "big").write_bytes(data)
    os.sync()
    while not (arrived := status(far.host, point)["uploaded_bytes"]):
        time.sleep(0.1)
    assert 64 << 20 <= arrived < len(data)
    before = far.proxy.sent_bytes
    far.proxy.away = True
    (point / "more").write_bytes(b"more")
    (point / "warm").rename(point / "renamed")
    with open(point / "cold", "r+b", buffering=0) as file:
        file.write(bytes(8192))  # whole pages: the kernel has the rest of a page read first
    for _ in range(2):
        [line] = far.host.run("commit", point, check=None).stderr.splitlines()
        assert "is away" in line and "volumes/" in line
        fails(lambda: os.getxattr(point, "user.volfs.commit"))
    told = status(far.host, point)
    assert "is away" in told["last_error"] and told["latest"] is None and told["store_error"]
    [line] = far.host.run("reload", point, check=None).stderr.splitlines()
    assert "is away" in line
    assert far.host.run("reload", "--discard", point, check=None).returncode
    assert sorted(os.listdir(point)) == ["big", "cold", "made", "more", "old", "renamed"]
    assert forgotten(point / "big") == data and forgotten(point / "more") == b"more"
    far.proxy.away = False
    assert "commit 4" in far.host.run("commit", point).stdout
    assert far.proxy.sent_bytes - before < arrived  # the rest, some of it twice where this machine is slow
    far.host.env["VOLFS_CACHE"] = str(far.host.path / "second")
    other = far.mount("reader", "--read-only", limit_s=60)
    assert (other / "big").read_bytes() == data and (other / "more").read_bytes() == b"more"
    assert (other / "renamed").read_bytes() == WARM
    assert (other / "cold").read_bytes() == bytes(8192) + COLD[8192:]


def test_a_reload_without_changes_is_refused_and_leaves_the_view(far: Far) -> None:
    point = far.mount("m", "--read-only")
    names = sorted(os.listdir(point))
    far.proxy.away = True
    [line] = far.host.run("reload", point, check=None).stderr.splitlines()
    assert "is away" in line
    fails(lambda: os.getxattr(point, "user.volfs.reload"))
    assert sorted(os.listdir(point)) == names
    far.proxy.away = False
    Volume.from_name("v", client=Client(far.host.url, cache_dir=far.host.path / "other")).write_file("new", b"new")
    far.host.run("reload", point)
    assert (point / "new").read_bytes() == b"new"


def test_a_mount_and_a_program_say_that_the_store_is_away(far: Far) -> None:
    far.proxy.away = True
    point = far.host.path / "m"
    point.mkdir()
    done = far.host.run("mount", "v", point, "--store-timeout", LIMIT_S, check=None)
    [line] = done.stderr.splitlines()
    assert done.returncode and line.startswith("volfs: the store s3://") and "is away" in line
    assert not far.host.mounts() and not list(far.host.state.glob("*/mount.json"))
    far.host.env["VOLFS_STORE_TIMEOUT"] = str(LIMIT_S)
    for command in (("ls", "v"), ("log", "v"), ("create", "w"), ("list",)):
        [line] = far.host.run(*command, check=None).stderr.splitlines()
        assert "is away" in line
    client = Client(far.host.url, cache_dir=far.host.path / "other", timeout_s=LIMIT_S)
    volume = Volume.from_name("v", client=client)
    with pytest.raises(ServiceError, match="is away"):
        volume.listdir("/")
    far.proxy.away = False
    assert {entry.path for entry in volume.listdir("/")} == {"old", "warm", "cold"}
    far.host.mount("m")


@pytest.mark.parametrize("limit_s", [0, 60])
def test_an_unmount_does_not_wait_for_uploads_and_nothing_is_lost(far: Far, limit_s: float) -> None:
    point = far.mount("m", limit_s=limit_s)
    data = random.Random(9).randbytes(70 << 20)
    (point / "made").touch()
    far.proxy.away = True
    (point / "big").write_bytes(data)
    os.sync()
    time.sleep(1.5)  # an upload is under way
    pid = far.host.pid_of(point)
    far.host.run("umount", point)
    deadline = time.monotonic() + 10
    while os.path.exists(f"/proc/{pid}"):
        assert time.monotonic() < deadline, "the daemon waits for a store that is away"
        time.sleep(0.05)
    far.proxy.away = False
    assert far.mount("m", limit_s=60) == point
    assert "commit 4" in far.host.run("commit", point).stdout
    assert forgotten(point / "big") == data


def test_memory_is_bounded_while_the_store_is_away(weed: Weed, tmp_path: Path) -> None:
    """20 s of what `make soak` does for five minutes."""
    figures = away.run(tmp_path, weed, 20, 200)
    print(figures)
    away.check(figures)
