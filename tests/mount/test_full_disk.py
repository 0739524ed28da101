"""A full disk: ENOSPC to the writer, nothing lost, and all goes on once there is room."""

import errno
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Host


@pytest.fixture
def small(host: Host) -> Iterator[Path]:
    """The store is on a file system of 48 MiB."""
    host.store.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m,mode=700", "tmpfs", host.store], check=True)
    yield host.store
    host.clean()
    subprocess.run(["umount", "-l", host.store], check=False, capture_output=True)


def test_a_full_disk_is_told_to_the_writer_and_the_view_goes_on(host: Host, small: Path) -> None:
    point = host.mount()
    (point / "kept").write_bytes(b"k" * 1_000_000)
    ballast = small / "tmp" / "ballast"
    ballast.write_bytes(bytes(20 << 20))
    with pytest.raises(OSError) as caught:
        (point / "big").write_bytes(bytes(range(256)) * (40 << 12))
    assert caught.value.errno == errno.ENOSPC
    assert (point / "kept").read_bytes() == b"k" * 1_000_000
    (point / "big").unlink()
    (point / "kept").rename(point / "renamed")
    ballast.unlink()
    (point / "more").write_bytes(b"m" * 1_000_000)
    assert "some writes since the last commit are lost" in host.run("commit", point, check=1).stderr
    assert "commit 1" in host.run("commit", point).stdout
    other = host.mount("other", "--read-only")
    assert sorted(path.name for path in other.iterdir()) == ["more", "renamed"]
    assert (other / "renamed").read_bytes() == b"k" * 1_000_000


def test_a_commit_that_finds_the_disk_full_leaves_the_view_as_it_was(host: Host, small: Path) -> None:
    point = host.mount()
    for i in range(300):
        (point / f"file-{i}").write_bytes(b"%d" % i * 100)
    ballast = small / "tmp" / "ballast"
    with open(ballast, "wb", buffering=0) as file, pytest.raises(OSError):
        while True:
            file.write(bytes(4096))
    assert "No space left" in host.run("commit", point, check=1).stderr
    assert (point / "file-7").read_bytes() == b"7" * 100
    ballast.unlink()
    assert "commit 1: 300 files" in host.run("commit", point).stdout
    host.run("umount", point)
    host.mount()
    assert len(list(point.iterdir())) == 300


def test_a_store_that_is_full_is_named(host: Host, small: Path) -> None:
    host.run("create", "v")
    with open(small / "tmp" / "ballast", "wb", buffering=0) as file, pytest.raises(OSError):
        while True:
            file.write(bytes(4096))
    [line] = host.run("create", "w", check=1).stderr.splitlines()
    assert line == f"volfs: No space left on device: {host.store}"
