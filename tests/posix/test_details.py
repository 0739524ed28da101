"""What the table of calls cannot tell: caches between users, streams of directories, mounts upon mounts, programs."""

import ctypes
import errno
import mmap
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.conftest import Host
from tests.posix.sides import Side

_libc = ctypes.CDLL(None, use_errno=True)
_libc.opendir.restype = _libc.readdir.restype = ctypes.c_void_p
_libc.telldir.restype = ctypes.c_long


def refused(number: int, call: object, *arguments: object) -> None:
    with pytest.raises(OSError) as caught:
        call(*arguments)  # type: ignore[operator]
    assert caught.value.errno == number, caught.value


@pytest.fixture
def mount(host: Host) -> Iterator[Side]:
    """Processes of several users on a mount."""
    side = Side(host.mount())
    side.run("root", [["chmod", ".", 0o755]])
    yield side
    side.close()


def test_rights_changed_by_one_process_hold_for_others_at_once(mount: Side) -> None:
    """With names, attributes and pages cached for ever in the kernel."""
    setup = [["dir", "d", 0o755, 1001, 1001], ["file", "d/f", 0o644, 1001, 1001]]
    assert mount.run("root", setup) == [None, None]
    look = [["open", "f", "d/f", os.O_RDONLY], ["read", "f", 3], ["stat", "d/f"], ["list", "d"]]
    for user in ("other", "group", "owner"):
        assert "EACCES" not in mount.run(user, look)  # all is cached now
    for _ in range(3):
        mount.run("owner", [["chmod", "d/f", 0o600]])
        assert mount.run("other", look[:1]) == mount.run("group", look[:1]) == ["EACCES"]
        mount.run("owner", [["chmod", "d/f", 0o640]])
        assert mount.run("group", look[:1]) == [None] and mount.run("other", look[:1]) == ["EACCES"]
        mount.run("owner", [["chmod", "d", 0o700]])
        assert mount.run("group", look) == ["EACCES", [3, 1259076923], "EACCES", "EACCES"]  # what is open stays so
        mount.run("root", [["chown", "d", 1003, 1003], ["chown", "d/f", 1003, 1003]])
        assert "EACCES" not in mount.run("other", look) and mount.run("owner", look[2:]) == ["EACCES"] * 2
        mount.run("root", [["chown", "d", 1001, 1001], ["chown", "d/f", 1001, 1001], ["chmod", "d", 0o755]])


def test_access_times_are_those_that_were_set(host: Host) -> None:
    """docs/semantics.md: reading does not change them, whatever the mount's relatime says."""
    point = host.mount()
    (point / "f").write_text("text")
    (point / "d").mkdir()
    os.symlink("f", point / "s")
    for name in ("f", "d", "s"):
        os.utime(point / name, ns=(10**18, 2 * 10**18), follow_symlinks=False)
    (point / "f").read_bytes()
    os.listdir(point / "d")
    os.readlink(point / "s")
    with open(point / "f", "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        assert mapped[:4] == b"text"
    (point / "new").touch()
    status = (point / "new").stat()
    assert status.st_atime_ns == status.st_mtime_ns
    for _ in range(2):
        assert [os.lstat(point / name).st_atime_ns for name in ("f", "d", "s")] == [10**18] * 3
        assert os.lstat(point / "new").st_atime_ns == status.st_atime_ns
        host.run("umount", point)
        host.mount()


def test_a_directory_stream_goes_on_where_it_was_while_names_come_and_go(host: Host) -> None:
    point = host.mount()
    names = {f"n{i}" for i in range(600)}
    for name in names:
        (point / name).touch()
    stream = ctypes.c_void_p(_libc.opendir(os.fsencode(point)))

    def following() -> str | None:
        entry = _libc.readdir(stream)
        return ctypes.string_at(entry + 19).decode() if entry else None  # struct dirent, x86-64: d_name at 19

    first: list[str] = []
    marks: list[int] = []
    for _ in range(300):
        marks.append(_libc.telldir(stream))
        first.append(following() or "")
    gone, kept = first[100], [name for name in first[101:200]]
    for name in [gone, *first[250:]]:
        if name not in (".", ".."):
            (point / name).unlink()
    for i in range(300):
        (point / f"later{i}").touch()
    _libc.seekdir(stream, ctypes.c_long(marks[101]))
    assert [following() for _ in range(99)] == [name for name in kept]
    rest: list[str] = []
    while (name := following()) is not None:
        rest.append(name)
    assert len(rest) == len(set(rest))
    missing = names - set(first) - set(rest)
    assert not missing, "what was there all the time has to be told"
    _libc.rewinddir(stream)
    anew: list[str] = []
    while (name := following()) is not None:
        anew.append(name)
    assert sorted(anew) == sorted([".", "..", *os.listdir(point)])
    _libc.closedir(stream)


def test_numbers_and_dots_are_the_same_through_a_bind_mount(host: Host) -> None:
    point = host.mount()
    (point / "d" / "e").mkdir(parents=True)
    (point / "d" / "e" / "f").touch()
    outside = host.path / "bound"
    outside.mkdir()
    subprocess.run(["mount", "--bind", point / "d", outside], check=True)
    try:
        assert os.path.samefile(outside, point / "d")
        assert os.path.samefile(outside / "e" / "f", point / "d" / "e" / "f")
        assert os.path.samefile(outside / "e" / "..", point / "d")
        assert (outside / "..").stat().st_ino == host.path.stat().st_ino
        refused(errno.EXDEV, os.rename, outside / "e" / "f", point / "f")
        refused(errno.EXDEV, os.link, outside / "e" / "f", point / "f")
        refused(errno.EBUSY, os.rmdir, outside)
        refused(errno.EBUSY, os.rename, outside, host.path / "elsewhere")
    finally:
        subprocess.run(["umount", outside], check=True)


def test_programs_that_run_cannot_be_written_and_those_written_cannot_run(host: Host) -> None:
    point = host.mount()
    program = point / "sleep"
    shutil.copy2("/usr/bin/sleep", program)
    with subprocess.Popen([program, "1000"]) as running:
        refused(errno.ETXTBSY, os.open, program, os.O_WRONLY)
        refused(errno.ETXTBSY, os.truncate, program, 0)
        host.run("commit", point)
        os.unlink(program)
        assert running.poll() is None
        running.kill()
    shutil.copy2("/usr/bin/true", program)
    with open(program, "r+b"):
        refused(errno.ETXTBSY, subprocess.run, [program])
    assert subprocess.run([program]).returncode == 0
    (point / "script").write_text("#!/bin/sh\nexit 7\n")
    refused(errno.EACCES, subprocess.run, [point / "script"])
    (point / "script").chmod(0o755)
    assert subprocess.run([point / "script"]).returncode == 7


def test_fifos_and_sockets_join_two_processes(host: Host) -> None:
    point = host.mount()
    os.mkfifo(point / "fifo")
    code = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); print(flush=True)"
    code += "; c = s.accept()[0]; c.sendall(open(sys.argv[2]).read().encode())"
    command = [sys.executable, "-c", code, "s", "fifo"]
    with subprocess.Popen(command, cwd=point, stdout=subprocess.PIPE) as other:
        import socket

        assert other.stdout is not None and other.stdout.readline() == b"\n"
        (point / "s").rename(point / "moved")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(os.fspath(point / "moved"))
            (point / "fifo").write_text("through both")
            assert client.recv(100) == b"through both"
    assert (point / "fifo").stat().st_size == 0


def test_devices_open_where_the_mount_allows_them(host: Host) -> None:
    point = host.mount()
    os.mknod(point / "null", 0o020666, os.makedev(1, 3))
    refused(errno.EACCES, os.open, point / "null", os.O_RDWR)
    subprocess.run(["mount", "-o", "remount,bind,dev", point], check=True)
    fd = os.open(point / "null", os.O_RDWR)
    assert (os.write(fd, b"x"), os.read(fd, 1)) == (1, b"")
    os.close(fd)


def test_what_a_mount_cannot_do_says_so_with_the_errno_that_programs_know(host: Host) -> None:
    """docs/semantics.md lists them; glibc, cp and tar go on without."""
    point = host.mount()
    (point / "f").write_bytes(b"12345")
    refused(errno.EOPNOTSUPP, os.open, point, os.O_TMPFILE | os.O_RDWR)
    for name in ("system.posix_acl_access", "system.posix_acl_default"):
        refused(errno.EOPNOTSUPP, os.getxattr, point / "f", name)
    refused(errno.EOPNOTSUPP, os.setxattr, point / "f", "system.posix_acl_access", b"\2\0\0\0")
    fd = os.open(point / "f", os.O_RDWR)
    for mode in (0, 1, 3, 0x10):  # plain, KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE
        assert _libc.fallocate(fd, mode, ctypes.c_long(0), ctypes.c_long(4096)) == -1
        assert ctypes.get_errno() == errno.EOPNOTSUPP
    os.posix_fallocate(fd, 0, 10_000)  # glibc writes instead
    assert os.pread(fd, 20_000, 0) == b"12345" + bytes(9_995)
    os.ftruncate(fd, 1 << 20)
    assert [os.lseek(fd, 0, whence) for whence in (os.SEEK_DATA, os.SEEK_HOLE)] == [0, 1 << 20]  # all of it is data
    refused(errno.ENXIO, os.lseek, fd, 1 << 20, os.SEEK_DATA)
    os.close(fd)


@pytest.mark.slow
def test_a_whiteout_is_left_by_the_rename_that_asks_for_one(host: Host) -> None:
    """overlayfs asks for it; one that the daemon's death leaves is whole."""
    point = host.mount()
    (point / "d").mkdir()
    (point / "d" / "f").write_text("1")
    (point / "g").write_text("2")
    assert _libc.renameat2(-100, os.fsencode(point / "d" / "f"), -100, os.fsencode(point / "g"), 4) == 0
    for _ in range(2):
        status = (point / "d" / "f").lstat()
        assert (status.st_mode, status.st_rdev, status.st_nlink) == (0o020000, 0, 1)
        assert (point / "g").read_text() == "1"
        host.kill(point)
        host.mount()
    host.run("commit", point)
    assert (host.mount("other") / "d" / "f").lstat().st_mode == 0o020000


def test_a_program_with_capabilities_is_written_by_its_owner_and_loses_them(mount: Side) -> None:
    """The kernel removes the attribute in the writer's name, who may not: that was EPERM."""
    assert mount.run("root", [["file", "f", 0o755, 1001, 1001], ["setcap", "f"]]) == [None, None]
    assert mount.run("other", [["listxattr", "f"]]) == [["security.capability"]]
    assert mount.run("owner", [["removexattr", "f", "security.capability"]]) == ["EPERM"]
    assert mount.run("owner", [["open", "f", "f", os.O_WRONLY], ["write", "f", 2, 1]]) == [None, 2]
    assert mount.run("other", [["listxattr", "f"]]) == [[]]
