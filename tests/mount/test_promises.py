"""The promises of a mount, each on real ones."""

import ctypes
import errno
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import VOLFS, Host
from volfs.format.hashing import BLOCK_BYTES

STORES = ("file", "s3", "moto")


def hold(path: Path) -> "subprocess.Popen[bytes]":
    """A process that has a file open."""
    with open(path) as file:
        return subprocess.Popen(["sleep", "1000"], stdin=file)


def test_nothing_of_one_view_shows_in_another_before_reload(host: Host) -> None:
    one, two = host.mount("one"), host.mount("two")
    (one / "f").write_text("hello")
    assert not (two / "f").exists()
    assert host.run("commit", one).stdout.startswith("commit 1: 1 file, 5 B")
    assert not (two / "f").exists()
    assert os.listdir(two) == []
    assert "commit 0 -> 1" in host.run("reload", two).stdout
    assert (two / "f").read_text() == "hello"
    assert os.listdir(two) == ["f"]
    assert "nothing new" in host.run("reload", two).stdout


def test_nothing_to_commit_says_so_and_succeeds(host: Host) -> None:
    point = host.mount()
    assert host.run("commit", point).stdout == "nothing to commit\n"
    (point / "f").write_text("x")
    host.run("commit", point)
    assert host.run("commit", point).stdout == "nothing to commit\n"


def test_reload_is_refused_while_a_file_is_open_and_names_its_holder(host: Host) -> None:
    one, two = host.mount("one"), host.mount("two")
    (one / "f").write_text("1")
    host.run("commit", one)
    host.run("reload", two)
    holder = hold(two / "f")
    try:
        (one / "f").write_text("22")
        host.run("commit", one)
        refused = host.run("reload", two, check=3)
        assert "f (pid" in refused.stderr and "sleep" in refused.stderr
        assert refused.stdout == ""
        assert (two / "f").read_text() == "1"
        status = json.loads(host.run("status", two, "--json").stdout)
        assert [(f["path"], f["pid"], f["command"]) for f in status["open_files"]] == [("f", holder.pid, "sleep")]
        assert (status["base"], status["latest"]) == (1, 2)
    finally:
        holder.kill()
        holder.wait()
    host.run("reload", two)
    assert (two / "f").read_text() == "22"
    assert (two / "f").stat().st_size == 2


def test_a_reload_shows_every_kind_of_change(host: Host) -> None:
    one, two = host.mount("one"), host.mount("two")
    (one / "d" / "e").mkdir(parents=True)
    for name in ("stays", "grows", "goes", "moves", "mode"):
        (one / "d" / name).write_text(name)
    host.run("commit", one)
    host.run("reload", two)
    before = subprocess.check_output(["find", ".", "-printf", "%p %i\n"], cwd=two, text=True)
    assert "./d/goes" in before
    for name in ("absent", "d/new"):
        assert not (two / name).exists()
    with open(one / "d" / "grows", "a") as file:
        file.write(" more")
    (one / "d" / "goes").unlink()
    (one / "d" / "moves").rename(one / "d" / "e" / "moved")
    (one / "d" / "mode").chmod(0o600)
    (one / "d" / "new").write_text("new")
    (one / "d").rename(one / "absent")
    host.run("commit", one)
    host.run("reload", two)
    assert not (two / "d").exists()
    assert sorted(os.listdir(two / "absent")) == ["e", "grows", "mode", "new", "stays"]
    assert (two / "absent" / "grows").read_text() == "grows more"
    assert (two / "absent" / "e" / "moved").read_text() == "moves"
    assert (two / "absent" / "mode").stat().st_mode & 0o777 == 0o600
    compared = subprocess.run(["diff", "-r", one, two], capture_output=True, text=True, check=False)
    assert compared.stdout == ""


def test_reload_commits_what_is_uncommitted_first(host: Host) -> None:
    point = host.mount()
    (point / "f").write_text("x")
    assert "commit 1: 1 file" in host.run("reload", point).stdout
    assert (point / "f").read_text() == "x"


def test_reload_discard_throws_uncommitted_changes_away(host: Host) -> None:
    point = host.mount()
    (point / "kept").write_text("kept")
    (point / "d").mkdir()
    host.run("commit", point)
    (point / "kept").write_text("changed")
    (point / "new").write_text("x")
    (point / "d").rename(point / "e")
    (point / "e" / "inside").write_text("y")
    host.run("reload", point, "--discard")
    assert sorted(os.listdir(point)) == ["d", "kept"]
    assert (point / "kept").read_text() == "kept"
    assert os.listdir(point / "d") == []
    assert host.run("commit", point).stdout == "nothing to commit\n"


def test_what_was_written_survives_a_killed_daemon(host: Host) -> None:
    point = host.mount()
    (point / "committed").write_text("1")
    host.run("commit", point)
    (point / "d").mkdir()
    (point / "d" / "f").write_bytes(b"x" * 300_000)
    (point / "committed").write_text("2")
    host.kill(point)
    with pytest.raises(OSError) as caught:
        os.listdir(point)
    assert caught.value.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    told = host.run("mount", "v", point).stdout
    assert "resumed" in told and "on commit 1, latest is 1" in told
    assert (point / "d" / "f").read_bytes() == b"x" * 300_000
    assert (point / "committed").read_text() == "2"
    assert "commit 2" in host.run("commit", point).stdout


def test_close_fails_when_the_daemon_died_before_it_had_what_was_written(host: Host) -> None:
    """Also where the kernel has written it back meanwhile, to nobody: then nothing is dirty any more."""
    point = host.mount()
    (point / "f").touch()  # a close that was answered
    fd = os.open(point / "f", os.O_WRONLY)
    os.write(fd, b"old")
    os.fsync(fd)
    host.kill(point)
    os.pwrite(fd, b"new", 1 << 20)  # where nothing has to be read
    ctypes.CDLL(None).syncfs(fd)
    with pytest.raises(OSError) as caught:
        os.close(fd)
    assert caught.value.errno in (errno.ENOTCONN, errno.ECONNABORTED, errno.EIO)
    host.run("mount", "v", point)
    assert (point / "f").read_bytes() == b"old"


@pytest.mark.local_store
def test_an_unmount_keeps_uncommitted_changes(host: Host) -> None:
    point = host.mount()
    (point / "f").write_text("x")
    host.run("umount", point)
    assert os.listdir(point) == []
    assert "kept" in host.run("status").stdout
    assert "resumed" in host.run("mount", "v", point).stdout
    assert (point / "f").read_text() == "x"
    host.run("umount", "--discard", point)
    assert "resumed" not in host.run("mount", "v", point).stdout
    assert os.listdir(point) == []
    (point / "g").write_text("y")
    assert "commit 1: 1 file" in host.run("umount", "--commit", point).stdout
    assert host.run("status").stdout == "no mounts\n"
    assert list((host.store / "incoming").iterdir()) == []


def test_a_refused_reload_names_the_shell_and_not_the_command_that_inherited_its_file(host: Host) -> None:
    point = host.mount()
    (point / "f").write_text("x")
    command = ["sh", "-c", 'exec 3<"$1/f"; "$0" reload "$1"; exit $?', str(VOLFS), str(point)]
    with subprocess.Popen(command, env=host.env, stderr=subprocess.PIPE, text=True) as shell:
        _, told = shell.communicate(timeout=60)
    assert shell.returncode == 3
    assert f"1 file is open: f (pid {shell.pid}, sh); close" in told
    alone = ["sh", "-c", 'exec 3<"$1/f"; exec "$0" reload "$1"', str(VOLFS), str(point)]
    with subprocess.Popen(alone, env=host.env, stderr=subprocess.PIPE, text=True) as volfs:
        _, told = volfs.communicate(timeout=60)
    assert f"f (pid {volfs.pid}, " in told


def test_an_unmount_of_a_busy_mount_names_the_holders(host: Host) -> None:
    point = host.mount()
    (point / "f").write_text("x")
    holder = hold(point / "f")
    try:
        assert f"pid {holder.pid} (sleep)" in host.run("umount", point, check=3).stderr
        assert (point / "f").read_text() == "x"
    finally:
        holder.kill()
        holder.wait()
    host.run("umount", point)


def test_a_read_only_view_refuses_every_change_and_can_reload(host: Host) -> None:
    one = host.mount("one")
    (one / "f").write_text("1")
    host.run("commit", one)
    two = host.mount("two", "--read-only")
    for change in (
        lambda: (two / "g").write_text("x"),
        lambda: (two / "f").unlink(),
        lambda: (two / "d").mkdir(),
        lambda: (two / "f").chmod(0),
        lambda: os.setxattr(two / "f", "user.a", b"b"),
    ):
        with pytest.raises(OSError) as caught:
            change()
        assert caught.value.errno == errno.EROFS
    (one / "f").write_text("2")
    host.run("commit", one)
    host.run("reload", two)
    assert (two / "f").read_text() == "2"


def test_a_sub_path_view_sees_nothing_above_it(host: Host) -> None:
    one = host.mount("one")
    (one / "a" / "b").mkdir(parents=True)
    (one / "a" / "b" / "f").write_text("f")
    (one / "secret").write_text("s")
    os.symlink("a", one / "link")
    host.run("commit", one)
    two = host.mount("two", "--sub-path", "a/b")
    assert os.listdir(two) == ["f"]
    (two / "g").write_text("g")
    host.run("commit", two)
    host.run("reload", one)
    assert (one / "a" / "b" / "g").read_text() == "g"
    (host.path / "three").mkdir()
    assert "symlink" in host.run("mount", "v", host.path / "three", "--sub-path", "link/b", check=1).stderr
    assert "'..'" in host.run("mount", "v", host.path / "three", "--sub-path", "a/../..", check=2).stderr
    host.run("mount", "v", host.path / "three", "--sub-path", "none", "--read-only", check=4)
    fresh = host.mount("three", "--sub-path", "new/deep")
    (fresh / "x").write_text("x")
    host.run("commit", fresh)
    host.run("reload", one)
    assert (one / "new" / "deep" / "x").read_text() == "x"


def test_commit_reload_and_status_work_from_inside_by_attribute(host: Host) -> None:
    one, two = host.mount("one"), host.mount("two")
    (one / "f").write_text("x")
    assert json.loads(os.getxattr(one, "user.volfs.commit.m.from inside"))["seq"] == 1
    assert "from inside" in host.run("log", "v").stdout
    assert json.loads(os.getxattr(two, "user.volfs.reload"))["new"] == 1
    assert (two / "f").read_text() == "x"
    with open(two / "f"), pytest.raises(OSError) as caught:
        os.getxattr(two, "user.volfs.reload")
    assert caught.value.errno == errno.EBUSY
    assert "f (pid" in json.loads(os.getxattr(two, "user.volfs.status"))["last_error"]
    assert os.listxattr(two) == []


def test_an_answer_from_inside_is_not_repeated_once_the_view_has_moved(host: Host) -> None:
    """A caller with a buffer that is large enough asks once: what the next of the pair would have got stays."""
    ask = ctypes.CDLL(None, use_errno=True).getxattr

    def asked_once(point: Path, name: str) -> dict[str, Any]:
        buffer = ctypes.create_string_buffer(1 << 16)
        length = ask(os.fsencode(point), name.encode(), buffer, len(buffer))
        assert length > 0, os.strerror(ctypes.get_errno())
        answer: dict[str, Any] = json.loads(buffer.raw[:length])
        return answer

    one, two = host.mount("one"), host.mount("two")
    (one / "f").write_text("1")
    assert asked_once(one, "user.volfs.commit")["seq"] == 1
    assert asked_once(two, "user.volfs.reload")["new"] == 1
    (two / "g").write_text("2")
    host.run("commit", two)
    assert asked_once(two, "user.volfs.reload")["new"] == 2
    assert asked_once(one, "user.volfs.reload")["new"] == 2
    assert asked_once(one, "user.volfs.commit")["seq"] is None


def test_who_may_write_the_root_may_commit_from_inside_by_any_of_his_groups(host: Host) -> None:
    point = host.mount()
    (point / "f").write_text("x")
    os.chown(point, 0, 1234)
    os.chmod(point, 0o775)
    top = os.open(point, os.O_RDONLY)  # the test's own directory is closed to others

    def ask(groups: list[int]) -> subprocess.CompletedProcess[str]:
        command = ["getfattr", "--absolute-names", "--only-values", "-n", "user.volfs.commit", f"/proc/self/fd/{top}"]
        return subprocess.run(
            command, user=65534, group=65534, extra_groups=groups, pass_fds=[top], capture_output=True, text=True
        )

    refused = ask([])
    assert refused.returncode and "Permission denied" in refused.stderr
    last_error = json.loads(os.getxattr(point, "user.volfs.status"))["last_error"]
    assert "user 65534 (pid " in last_error and "may not write the volume's root" in last_error
    assert json.loads(ask([7, 1234]).stdout)["seq"] == 1
    os.close(top)


def test_sync_of_the_mountpoint_commits(host: Host) -> None:
    point = host.mount()
    (point / "f").write_text("x")
    fd = os.open(point, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
    assert "no commit" in host.run("log", "v").stdout
    subprocess.run(["sync", point], check=True)
    assert len(json.loads(host.run("log", "v", "--json").stdout)) == 1


def test_commits_of_many_views_at_once_are_all_in_the_log(host: Host) -> None:
    points = [host.mount(f"m{i}") for i in range(4)]
    script = 'for i in 1 2 3 4 5; do echo $i > "$1/$2-$i"; echo "$2 $i" > "$1/both"; volfs commit "$1" || exit 1; done'
    env = {**host.env, "PATH": f"{Path(os.sys.executable).parent}:{os.environ['PATH']}"}
    workers = [
        subprocess.Popen(["sh", "-c", script, "sh", str(point), str(i)], env=env, stdout=subprocess.DEVNULL)
        for i, point in enumerate(points)
    ]
    assert [worker.wait(120) for worker in workers] == [0] * 4
    log = json.loads(host.run("log", "v", "--json").stdout)
    assert [commit["seq"] for commit in log] == list(range(20, 0, -1))
    host.run("reload", points[0])
    names = {f"{i}-{j}" for i in range(4) for j in range(1, 6)}
    assert set(os.listdir(points[0])) == names | {"both"}


@pytest.mark.local_store
@pytest.mark.damages
def test_a_damaged_block_is_an_error_for_that_file_alone(host: Host) -> None:
    point = host.mount()
    (point / "good").write_bytes(b"g" * 200_000)
    (point / "bad").write_bytes(b"b" * 200_000)
    host.run("commit", point)
    host.run("umount", point)
    [pack] = [path for path in host.store.glob("families/*/packs/*") if b"bbbbb" in path.read_bytes()]
    data = bytearray(pack.read_bytes())
    data[data.index(b"b" * 1000) + 500] = 0
    pack.chmod(0o600)
    pack.write_bytes(data)
    host.mount()
    with pytest.raises(OSError) as caught:
        (point / "bad").read_bytes()
    assert caught.value.errno == errno.EIO
    assert (point / "good").read_bytes() == b"g" * 200_000


def test_posix_details_that_daemons_forget(host: Host) -> None:
    point = host.mount()
    assert os.statvfs(point).f_namemax == 255
    for call in (lambda: (point / ("n" * 256)).stat(), lambda: (point / ("n" * 256)).write_text("")):
        with pytest.raises(OSError) as caught:
            call()
        assert caught.value.errno == errno.ENAMETOOLONG
    (point / ("n" * 255)).write_text("long")
    (point / "d").mkdir()
    (point / "d" / "sub").mkdir()
    assert (point / "d").stat().st_nlink == 3
    (point / "e").mkdir()
    (point / "d" / "sub").rename(point / "e" / "sub")
    assert ((point / "d").stat().st_nlink, (point / "e").stat().st_nlink) == (2, 3)
    with pytest.raises(OSError) as caught:
        (point / "d").rename(point / "e")
    assert caught.value.errno == errno.ENOTEMPTY
    with open(point / "open", "wb+") as file:
        os.link(point / "open", point / "other")
        assert os.fstat(file.fileno()).st_nlink == 2
        (point / "open").unlink()
        (point / "other").unlink()
        assert os.fstat(file.fileno()).st_nlink == 0
        file.write(b"still")
        file.flush()
        file.seek(0)
        assert file.read() == b"still"
    os.utime(point / "d", ns=(-(10**18), 2**62))
    assert ((point / "d").stat().st_atime_ns, (point / "d").stat().st_mtime_ns) == (-(10**18), 2**62)
    with open(point / "sparse", "wb") as file:
        file.truncate(10**15)
        file.seek(5 * 10**9)
        file.write(b"x")
    assert (point / "sparse").stat().st_size == 10**15
    assert (point / "sparse").stat().st_blocks <= 2 * BLOCK_BYTES // 512
    with pytest.raises(OSError) as caught:
        os.getxattr(point / "sparse", "system.posix_acl_access")
    assert caught.value.errno == errno.EOPNOTSUPP
    os.symlink("t" * 4095, point / "link")
    assert os.readlink(point / "link") == "t" * 4095
    inode = (point / "d").stat().st_ino
    host.run("commit", point)
    host.run("umount", point)
    host.mount()
    assert (point / "d").stat().st_ino == inode
    (point / "sparse").unlink()


def test_mmap_shared_and_append(host: Host) -> None:
    import mmap

    point = host.mount()
    (point / "f").write_bytes(bytes(10_000))
    with open(point / "f", "r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[5000:5005] = b"hello"
        host.run("commit", point)
    other = host.mount("other")
    assert (other / "f").read_bytes()[5000:5005] == b"hello"
    with open(point / "f", "ab") as first, open(point / "f", "ab") as second:
        for i in range(10):
            (first, second)[i % 2].write(b"%d" % i)
            (first, second)[i % 2].flush()
    assert (point / "f").read_bytes()[10_000:] == b"0123456789"


@pytest.mark.parametrize("way", ["missing", "file", "full", "twice"])
def test_a_mountpoint_that_cannot_be_is_refused_with_a_reason(host: Host, way: str) -> None:
    point = host.path / "p"
    if way == "missing":
        assert "does not exist" in host.run("mount", "--create", "v", point, check=4).stderr
        return
    if way == "file":
        point.write_text("")
        assert "not a directory" in host.run("mount", "--create", "v", point, check=2).stderr
        return
    point.mkdir()
    if way == "full":
        (point / "x").write_text("")
        assert "--nonempty" in host.run("mount", "--create", "v", point, check=1).stderr
        host.run("mount", "--create", "v", point, "--nonempty")
        return
    host.run("mount", "--create", "v", point)
    assert "already" in host.run("mount", "v", point, check=2).stderr


def test_a_deleted_volume_refuses_commits_and_reloads(host: Host) -> None:
    point = host.mount()
    (point / "f").write_text("x")
    host.run("delete", "--yes", "v")
    assert "deleted" in host.run("commit", point, check=4).stderr
    assert "deleted" in host.run("reload", "--discard", point, check=4).stderr
    host.run("mount", "v", host.path / "m", check=2)
    assert "no volume" in host.run("info", "v", check=4).stderr


def test_sigterm_unmounts_and_keeps_changes(host: Host) -> None:
    point = host.mount()
    (point / "f").write_text("x")
    pid = host.pid(point)
    os.kill(pid, 15)
    deadline = time.monotonic() + 20
    while str(point) in host.mounts():
        assert time.monotonic() < deadline
    assert "resumed 2 changes" in host.run("mount", "v", point).stdout


def test_times_that_no_record_holds_are_cut_and_do_not_stop_a_commit(host: Host) -> None:
    """A 64-bit number of nanoseconds ends in April 2262."""
    point = host.mount()
    late, early = (1 << 63) - 1, -(1 << 63)
    (point / "late").touch()
    (point / "early").touch()
    os.utime(point / "late", ns=(17_179_869_183 * 10**9, 17_179_869_183 * 10**9))
    os.utime(point / "early", ns=(-17_179_869_183 * 10**9, -17_179_869_183 * 10**9))
    host.run("commit", point)
    other = host.mount("other")  # the kernel's writeback cache keeps what it was told for the first one
    assert ((other / "late").stat().st_atime_ns, (other / "late").stat().st_mtime_ns) == (late, late)
    assert ((other / "early").stat().st_atime_ns, (other / "early").stat().st_mtime_ns) == (early, early)


def test_a_deleted_volume_goes_on_being_read_and_keeps_what_is_uncommitted(host: Host) -> None:
    point = host.mount()
    (point / "f").write_text("1")
    host.run("commit", point)
    (point / "g").write_text("2")
    host.run("delete", "v", "--yes")
    for command in (["commit"], ["reload"], ["reload", "--discard"]):
        assert "was deleted" in host.run(*command, point, check=4).stderr
    assert (point / "f").read_text() + (point / "g").read_text() == "12"
    assert "volume deleted" in host.run("status").stdout
    assert "the volume was deleted" in host.run("status", point).stdout
    status = json.loads(host.run("status", point, "--json").stdout)
    assert (status["volume"], status["latest"], status["deleted"]) == ("v", None, True)
    host.run("umount", point, "--discard")
    assert json.loads(host.run("status", "--json").stdout) == []


def test_status_tells_the_name_that_a_volume_has_now(host: Host) -> None:
    point = host.mount()
    host.run("rename", "v", "w", "--yes")
    assert json.loads(host.run("status", point, "--json").stdout)["volume"] == "w"
