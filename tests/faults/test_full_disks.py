"""Small file systems that run out: of blocks and of inodes; under the store, the state directory, and both."""

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Host
from tests.faults.failing_calls import NAMES, sweep

pytestmark = pytest.mark.slow

_SHARE = 23


class Small:
    """A host whose directory *what* is on a file system of its own; `fill` leaves no room, `free` makes some."""

    def __init__(self, host: Host, what: Path, image: Path | None) -> None:
        self.host = host
        self.what = what
        self.ballast = what / ("tmp" if what == host.store else "ballast")
        what.mkdir()
        if image is None:
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m,mode=700", "tmpfs", what], check=True)
        else:
            subprocess.run(["truncate", "-s", "48M", image], check=True)
            subprocess.run(["mkfs.ext4", "-q", "-m", "0", "-N", "400", "-O", "^has_journal", image], check=True)
            subprocess.run(["mount", "-o", "loop", image, what], check=True)
            os.rmdir(what / "lost+found")
        self.ballast.mkdir(mode=0o700)

    def fill(self) -> None:
        for size in (1 << 20, 4096, 1):
            with open(self.ballast / f"ballast{size}", "wb", buffering=0) as file:
                try:
                    while True:
                        file.write(bytes(size))
                except OSError as error:
                    assert error.errno == errno.ENOSPC

    def take_inodes(self) -> None:
        try:
            for i in range(1000):
                (self.ballast / f"ballast-{i}").touch()
        except OSError as error:
            assert error.errno == errno.ENOSPC

    def free(self) -> None:
        for path in self.ballast.glob("ballast*"):
            path.unlink()


@pytest.fixture(params=["tmpfs", "ext4"])
def small(host: Host, request: pytest.FixtureRequest) -> Iterator[Callable[[str], Small]]:
    made: list[Small] = []

    def make(name: str) -> Small:
        image = host.path / f"{name}.ext4" if request.param == "ext4" else None
        made.append(Small(host, getattr(host, name), image))
        return made[-1]

    yield make
    for point in reversed(host.mounts()):
        if point not in [str(each.what) for each in made]:
            subprocess.run(["umount", "-l", point], check=False)
    for each in made:
        for entry in Path("/proc").iterdir():  # its daemons, else the file system stays
            if entry.name.isdigit() and os.fsencode(host.path) in _command(entry):
                os.kill(int(entry.name), 9)
        subprocess.run(["umount", "-l", each.what], check=False)


def _command(entry: Path) -> bytes:
    try:
        return (entry / "cmdline").read_bytes()
    except OSError:
        return b""


def refused(host: Host, *arguments: object) -> str:
    """One line, that there is no room."""
    done = host.run(*arguments, check=None)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 1 and "No space left" in line, f"{done.returncode}: {line}"
    return line


def whole(host: Host) -> None:
    assert host.run("fsck", "v", "--data").returncode == 0


def test_a_full_store_refuses_what_needs_room_and_all_else_goes_on(host: Host, small: Callable[[str], Small]) -> None:
    disk = small("store")
    point = host.mount()
    (point / "kept").write_bytes(kept := os.urandom(1_000_000))
    host.run("commit", point)
    (point / "new").write_bytes(new := os.urandom(300_000))
    disk.fill()
    refused(host, "commit", point)
    refused(host, "reload", point)
    refused(host, "umount", "--commit", point)
    refused(host, "put", "v", __file__, "put")
    refused(host, "create", "w")
    with pytest.raises(OSError) as caught:
        (point / "large").write_bytes(os.urandom(2_000_000))
    assert caught.value.errno == errno.ENOSPC
    assert (point / "kept").read_bytes() == kept and (point / "new").read_bytes() == new
    assert "kept" in host.run("ls", "v").stdout
    assert host.run("status", point).returncode == 0
    whole(host)
    disk.free()
    host.run("commit", point, check=None)  # tells of the write that was lost
    (point / "large").unlink(missing_ok=True)
    host.run("commit", point, check=None)
    host.run("put", "v", __file__, "put")
    host.run("reload", point)
    assert (point / "put").read_bytes() == Path(__file__).read_bytes() and (point / "new").read_bytes() == new
    host.run("umount", point)
    whole(host)


def test_a_kept_view_resumes_ends_and_is_thrown_away_on_a_full_store(
    host: Host, small: Callable[[str], Small]
) -> None:
    disk = small("store")
    point = host.mount()
    (point / "kept").write_bytes(kept := os.urandom(300_000))
    host.kill(point)
    disk.fill()
    assert "resumed" in host.run("mount", "v", point).stdout
    assert (point / "kept").read_bytes() == kept
    host.run("umount", point)
    refused(host, "umount", "--commit", point)
    disk.free()
    host.run("umount", "--commit", point)
    assert host.mount("m").joinpath("kept").read_bytes() == kept
    (point / "gone").write_bytes(os.urandom(300_000))
    disk.fill()
    host.run("reload", "--discard", point)
    assert os.listdir(point) == ["kept"]
    host.run("umount", point)
    disk.free()
    whole(host)


def test_a_full_state_directory_refuses_mounts_and_stops_no_work(host: Host, small: Callable[[str], Small]) -> None:
    disk = small("state")
    point = host.mount()
    disk.fill()
    (point / "f").write_bytes(content := os.urandom(300_000))
    other = host.path / "other"
    other.mkdir()
    refused(host, "mount", "v", other)
    host.run("status")
    told = host.run("commit", point, check=None)
    disk.free()
    if told.returncode:
        host.run("commit", point)
    assert "f" in host.run("ls", "v").stdout
    assert host.mount("third", "--read-only").joinpath("f").read_bytes() == content
    host.run("mount", "v", other)
    disk.fill()
    for each in (point, other, host.path / "third"):
        host.run("umount", each)
    disk.free()
    assert host.run("status").stdout.splitlines()[1:] == []
    whole(host)


def test_a_store_without_inodes_refuses_commits_and_loses_nothing(host: Host, small: Callable[[str], Small]) -> None:
    disk = small("store")
    point = host.mount()
    (point / "first").write_bytes(b"first")
    if not os.statvfs(disk.what).f_files or os.statvfs(disk.what).f_files > 10_000:
        subprocess.run(["mount", "-o", "remount,nr_inodes=200", disk.what], check=True)
    disk.take_inodes()
    (point / "f").write_bytes(content := os.urandom(100_000))
    refused(host, "commit", point)
    refused(host, "put", "v", __file__, "put")
    assert (point / "f").read_bytes() == content
    disk.free()
    host.run("commit", point)
    host.run("umount", point)
    assert host.mount().joinpath("f").read_bytes() == content
    whole(host)


@pytest.mark.parametrize("name", NAMES)
def test_a_call_that_fails_is_told_and_loses_nothing(name: str, tmp_path: Path) -> None:
    """ENOSPC, EDQUOT and EIO: some of those that `make soak` tries."""
    first = int.from_bytes(os.urandom(2), "little") % _SHARE + 1
    print(f"every {_SHARE}th call from {first} on")
    found = sweep(tmp_path / "host", name, lambda count: range(first, count + 1, _SHARE))
    assert found.losses == []
