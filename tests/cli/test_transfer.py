"""get and put: whole or not at all, nothing outside of the destination, and what was interrupted goes on."""

import fcntl
import os
import resource
import stat
import subprocess
from pathlib import Path

import pytest

from tests.cli.test_files import on_terminal, volume
from tests.conftest import VOLFS, Host
from volfs.format.entry import Inode
from volfs.tree.draft import Draft
from volfs.view.packing import PackWriter

PART = ".{}.volfs-part"


def tree(path: Path) -> dict[str, tuple[int, int, bytes | str | None]]:
    """(mode, mtime, content or target) of all below a directory."""
    found: dict[str, tuple[int, int, bytes | str | None]] = {}
    for entry in sorted(path.rglob("*")):
        info = entry.lstat()
        content = os.readlink(entry) if entry.is_symlink() else entry.read_bytes() if entry.is_file() else None
        found[str(entry.relative_to(path))] = (info.st_mode, info.st_mtime_ns, content)
    return found


# --- get


def test_get_keeps_content_modes_times_and_links(host: Host) -> None:
    point = host.mount()
    top = point / "top"
    (top / "d" / "empty").mkdir(parents=True)
    (top / "big").write_bytes(os.urandom(20 << 20))
    for i in range(300):
        (top / "d" / f"f{i}").write_bytes(os.urandom(i * 10))
        (top / "d" / f"f{i}").chmod(0o600 + i % 0o100)
    (top / "d" / "link").symlink_to("../big")
    (top / "away").symlink_to("/nowhere/at/all")
    (top / "sparse").touch()
    os.truncate(top / "sparse", 64 << 20)
    os.utime(top / "d" / "f7", ns=(1, 1234567890123456789))
    (top / "d").chmod(0o555)
    host.run("commit", point)
    into = host.path / "into"
    into.mkdir()
    done = host.run("get", "v", "top", into)
    assert (done.stdout, done.stderr) == ("", "")
    assert tree(into / "top") == tree(top)
    assert (into / "top" / "sparse").stat().st_blocks < 100
    assert [entry.name for entry in into.iterdir()] == ["top"]
    host.run("get", "v", "/", host.path / "all")
    assert tree(host.path / "all") == tree(point)
    host.run("get", "v", "top/d/f7", host.path / "new" / "name")
    assert (host.path / "new" / "name").stat().st_mtime_ns == 1234567890123456789


def test_get_writes_to_standard_output_and_follows_a_link_that_is_named(host: Host) -> None:
    point = host.mount()
    (point / "file").write_text("content\n")
    (point / "link").symlink_to("file")
    os.mkfifo(point / "fifo")
    host.run("commit", point)
    assert host.run("get", "v", "link", "-").stdout == "content\n"
    host.run("get", "v", "link", host.path / "got")
    assert not (host.path / "got").is_symlink() and (host.path / "got").read_text() == "content\n"
    with open(host.path / "redirected", "wb") as out:
        out.write(b"before\n")
        out.flush()
        subprocess.run([VOLFS, "get", "v", "file", "-"], env=host.env, stdout=out, check=True)
    assert (host.path / "redirected").read_bytes() == b"before\ncontent\n"
    assert host.run("get", "v", "/", "-", check=1).stderr == "volfs: / is a directory of volume v\n"
    assert "nothing to get" in host.run("get", "v", "fifo", host.path / "fifo", check=1).stderr
    host.run("get", "v", "missing", host.path / "x", check=4)


def test_get_refuses_what_exists_and_force_replaces_files_only(host: Host) -> None:
    v = volume(host, d__a=b"new", d__b=b"new", f=b"new")
    here = host.path / "here"
    (here / "d").mkdir(parents=True)
    (here / "d" / "a").write_text("old")
    (here / "d" / "mine").write_text("mine")
    refused = host.run("get", "v", "d", here, check=2)
    assert refused.stderr == f"volfs: {here}/d exists already here; overwrite with --force\n"
    host.run("get", "v", "/", here, check=2)
    assert [p.name for p in here.iterdir()] == ["d"] and (here / "d" / "a").read_text() == "old"
    host.run("get", "v", "-f", "/", here)
    assert {name: entry[2] for name, entry in tree(here).items()} == {
        "d": None, "d/a": b"new", "d/b": b"new", "d/mine": b"mine", "f": b"new"
    }  # fmt: skip
    (here / "f").unlink()
    (here / "f").mkdir()
    assert f"{here}/f is a directory here" in host.run("get", "v", "-f", "f", here, check=2).stderr
    v.remove_file("d", recursive=True)
    v.write_file("d", b"a file now")
    assert f"{here}/d is a directory here" in host.run("get", "v", "-f", "d", here, check=2).stderr
    assert (here / "d" / "mine").read_text() == "mine"


def test_get_passes_special_files_over_and_says_so(host: Host) -> None:
    point = host.mount()
    (point / "d").mkdir()
    (point / "d" / "file").write_text("x")
    os.mkfifo(point / "d" / "fifo")
    os.mknod(point / "d" / "device", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    host.run("commit", point)
    told = host.run("get", "v", "d", host.path / "got").stderr.splitlines()
    at = host.path / "got"
    assert sorted(told[:2]) == [f"passed over: {at}/device (device)", f"passed over: {at}/fifo (fifo)"]
    assert [p.name for p in (host.path / "got").iterdir()] == ["file"]


def test_get_takes_set_id_bits_away(host: Host) -> None:
    point = host.mount()
    (point / "tool").write_text("#!/bin/sh\n")
    (point / "tool").chmod(0o6755)
    host.run("commit", point)
    assert host.run("ls", "-l", "v").stdout.startswith("-rwsr-sr-x")
    host.run("get", "v", "tool", host.path / "tool")
    assert stat.S_IMODE((host.path / "tool").stat().st_mode) == 0o755


# --- nothing outside of the destination


@pytest.fixture
def outside(host: Host) -> Path:
    found = host.path / "outside"
    found.mkdir()
    (found / "victim").write_text("untouched")
    return found


def untouched(outside: Path) -> bool:
    return [p.name for p in outside.iterdir()] == ["victim"] and (outside / "victim").read_text() == "untouched"


@pytest.mark.parametrize("name", [b"..", b"../outside/evil", b"/outside/evil"])
def test_names_that_no_file_can_have_are_damage_and_nothing_is_written(
    host: Host, outside: Path, name: bytes
) -> None:
    v = volume(host, d__good=b"x")

    def work(draft: Draft, writer: PackWriter) -> None:
        inode = Inode(ino=draft.number(), mode=stat.S_IFDIR | 0o755, nlink=2)
        draft.put((b"d", name), inode)

    v._logic.session().change(work)
    (host.path / "into").mkdir()
    before = sorted(p.name for p in host.path.iterdir())
    for into, options in (("into", ()), ("new", ()), ("into", ("-f",))):
        told = host.run("get", "v", "/", host.path / into, *options, check=5).stderr
        assert "which no file can have" in told
    host.run("ls", "-r", "v", check=5)
    assert untouched(outside)
    assert {p.name for p in host.path.iterdir()} <= {*before, ".new.volfs-part"}


def test_links_planted_by_an_earlier_commit_are_not_followed(host: Host, outside: Path) -> None:
    point = host.mount()
    (point / "t").mkdir()
    (point / "t" / "dir").symlink_to(outside)
    (point / "t" / "up").symlink_to("../outside")
    (point / "t" / "file").symlink_to(outside / "victim")
    host.run("commit", point)
    host.run("get", "v", "t", host.path / "t")
    assert os.readlink(host.path / "t" / "dir") == str(outside)
    for name in ("dir", "up"):
        (point / "t" / name).unlink()
        (point / "t" / name).mkdir()
        (point / "t" / name / "victim").write_text("evil")
    (point / "t" / "file").unlink()
    (point / "t" / "file").write_text("evil")
    host.run("commit", point)
    told = host.run("get", "-f", "v", "t", host.path, check=2).stderr
    assert "is no directory here and a directory in the volume" in told
    assert untouched(outside)
    host.run("get", "-f", "v", "t/file", host.path / "t")
    assert untouched(outside) and (host.path / "t" / "file").read_text() == "evil"
    assert not (host.path / "t" / "file").is_symlink()


def test_a_volume_that_holds_links_with_the_names_of_parts_writes_through_none(host: Host, outside: Path) -> None:
    point = host.mount()
    (point / "t" / "d").mkdir(parents=True)
    for where in (point / "t", point / "t" / "d"):
        (where / "big").write_bytes(b"evil" * (3 << 20))
        (where / PART.format("big")).symlink_to(outside / "victim")
        (where / PART.format("d")).symlink_to(outside)
        (where / "small").write_bytes(b"evil")
        (where / PART.format("small")).symlink_to(outside / "victim")
    long = "n" * 255
    (point / "t" / long).write_text("long")
    host.run("commit", point)
    host.run("get", "v", "t", host.path)
    assert tree(host.path / "t") == tree(point / "t")
    (host.path / "t" / "big").unlink()
    (host.path / "t" / long).unlink()
    host.run("get", "-f", "v", "t", host.path)  # now each file beside its place, among these names
    again, wanted = tree(host.path / "t"), tree(point / "t")
    assert {name: entry[2] for name, entry in again.items()} == {name: entry[2] for name, entry in wanted.items()}
    assert untouched(outside)


def test_links_in_the_place_of_parts_are_not_followed(host: Host, outside: Path) -> None:
    volume(host, f=b"new", d__x=b"new")
    (host.path / PART.format("f")).symlink_to(outside / "victim")
    (host.path / PART.format("d")).symlink_to(outside)
    os.link(outside / "victim", host.path / PART.format("g"))
    host.run("get", "v", "f", host.path)
    host.run("get", "v", "d", host.path)
    host.run("get", "v", "f", host.path / "g")
    assert untouched(outside)
    os.mkfifo(host.path / PART.format("h"))
    host.run("get", "v", "f", host.path / "h")
    assert [(host.path / name).read_text() for name in ("f", "d/x", "g", "h")] == ["new"] * 4


# --- interrupted


def limited(host: Host, limit: int, *arguments: object) -> subprocess.CompletedProcess[str]:
    """volfs, which is told at *limit* bytes of a file that it is too large: an interruption at a known place."""
    return subprocess.run(
        [VOLFS, *map(str, arguments)],
        env=host.env,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )


def test_an_interrupted_file_goes_on_and_is_seen_only_when_whole(host: Host) -> None:
    data = os.urandom(64 << 20)
    v = volume(host, big=data)
    got = host.path / "got"
    cut = limited(host, 24 << 20, "get", "v", "big", got)
    assert (cut.returncode, cut.stderr) == (1, f"volfs: File too large: {got}\n")
    part = host.path / PART.format("got")
    assert not got.exists() and part.stat().st_size >= 24 << 20
    with open(part, "r+b") as file:  # a crash of the machine may have lost what was in the middle
        file.seek(9 << 20)
        file.write(bytes(1 << 20))
    again = host.run("get", "v", "big", got)
    assert again.stderr == "continued: 23.0 MiB of 64.0 MiB were here already\n"
    assert got.read_bytes() == data and not part.exists()
    part.write_bytes(data + b"of a longer one")
    v.write_file("big", b"new " + data)
    again = host.run("get", "-f", "v", "big", got)
    assert again.stderr == ""
    assert got.read_bytes() == b"new " + data


def test_an_interrupted_tree_goes_on_with_what_the_volume_has_now(host: Host) -> None:
    point = host.mount()
    (point / "t" / "gone").mkdir(parents=True)
    (point / "t" / "gone" / "x").write_text("x")
    for i in range(100):
        (point / "t" / f"f{i}").write_bytes(os.urandom(1000))
    (point / "t" / "big").write_bytes(os.urandom(12 << 20))
    host.run("commit", point)
    got = host.path / "got"
    assert limited(host, 1 << 20, "get", "v", "t", got).returncode == 1
    part = host.path / PART.format("got")
    assert part.is_dir() and stat.S_IMODE(part.stat().st_mode) == 0o700 and not got.exists()
    (part / "f5").unlink(missing_ok=True)
    (part / "f5").symlink_to("/etc/passwd")  # whatever stands there
    (part / "gone").mkdir(exist_ok=True)
    subprocess.run(["rm", "-r", point / "t" / "gone"], check=True)
    (point / "t" / "f1").write_bytes(b"changed")
    host.run("commit", point)
    assert "continued: " in host.run("get", "v", "t", got).stderr
    assert tree(got) == tree(point / "t")
    assert not part.exists()


def test_two_downloads_do_not_write_one_target(host: Host) -> None:
    volume(host, f=b"x", d__x=b"x")
    (host.path / PART.format("f")).touch(0o600)
    (host.path / PART.format("d")).mkdir(0o700)
    for name in ("f", "d"):
        held = os.open(host.path / PART.format(name), os.O_RDONLY)
        fcntl.flock(held, fcntl.LOCK_EX)
        told = host.run("get", "v", name, host.path, check=1).stderr
        assert told.startswith(f"volfs: another program is downloading to {host.path}/{name}; wait")
        os.close(held)
        host.run("get", "v", name, host.path)


def test_damage_is_exit_5_and_names_the_file(host: Host) -> None:
    v = volume(host, f=b"x" * 300_000, g=b"good")
    (pack,) = [p for p in host.store.glob("families/*/packs/*") if p.stat().st_size > 300_000]
    pack.chmod(0o600)
    data = bytearray(pack.read_bytes())
    at = data.index(b"x" * 1000) + 500
    data[at] ^= 1
    pack.write_bytes(data)
    assert f"volfs: {host.path}/f: damaged: " in host.run("get", "v", "f", host.path, check=5).stderr
    assert not (host.path / "f").exists()
    host.run("cat", "v", "f", check=5)
    assert b"".join(v.read_file("g")) == b"good"


# --- put


def test_put_goes_into_a_directory_or_to_a_name_in_one_commit(host: Host) -> None:
    v = volume(host)
    (host.path / "d" / "sub").mkdir(parents=True)
    (host.path / "d" / "a").write_text("a")
    (host.path / "d" / "a").chmod(0o751)
    (host.path / "d" / "sub" / "b").write_text("bb")
    assert host.run("put", "v", host.path / "d", "-m", "first").stdout == "commit 1: 2 files, 3 B\n"
    host.run("put", "v", host.path / "d", "other")
    host.run("put", "v", f"{host.path}/d/", "into/it/")
    host.run("put", "v", host.path / "d", "/.")
    host.run("put", "v", host.path / "d" / "a", "x/y")
    host.run("put", "v", host.path / "d" / "a", "x/")
    assert [entry.path for entry in v.listdir("/", recursive=True) if entry.type == 1] == [
        "a", "d/a", "d/sub/b", "into/it/d/a", "into/it/d/sub/b", "other/a", "other/sub/b", "sub/b", "x/a", "x/y",
    ]  # fmt: skip
    assert stat.S_IMODE(v.stat("d/a").mode) == 0o751
    assert [commit.message for commit in v.log()][-1] == "first"
    assert host.run("put", "v", host.path / "none", check=4).stderr == (
        f"volfs: No such file or directory: {host.path}/none\n"
    )
    assert host.run("put", "w", host.path / "d", check=4).stdout == ""


def test_put_refuses_what_exists_and_uploads_nothing_then(host: Host) -> None:
    v = volume(host, d__a=b"old")
    (host.path / "d").mkdir()
    (host.path / "d" / "a").write_text("new")
    (host.path / "d" / "b").write_text("new")
    before = len(v.log())
    assert host.run("put", "v", host.path / "d", check=2).stderr == (
        "volfs: d/a exists already in volume v; nothing was uploaded: overwrite with --force\n"
    )
    assert not v.exists("d/b") and len(v.log()) == before
    host.run("put", "-f", "v", host.path / "d")
    assert b"".join(v.read_file("d/a")) == b"new" and len(v.log()) == before + 1
    assert "d is a directory of volume v" in host.run("put", "-f", "v", host.path / "d" / "a", "d", check=2).stderr


def test_put_tells_what_it_does_not_upload(host: Host) -> None:
    v = volume(host)
    top = host.path / "d"
    (top / "empty").mkdir(parents=True)
    (top / "file").write_text("x")
    (top / "to_file").symlink_to("file")
    (top / "to_dir").symlink_to("empty")
    os.mkfifo(top / "fifo")
    told = host.run("put", "v", top).stderr.splitlines()
    assert sorted(told[:3]) == [f"passed over: {top}/{name}" for name in ("empty", "fifo", "to_dir")]
    assert "are not uploaded" in told[3] and len(told) == 4
    assert [entry.path for entry in v.listdir("d")] == ["d/file", "d/to_file"]
    assert host.run("put", "v", top / "empty").stdout == "nothing to upload\n"


def test_put_reads_standard_input_from_where_it_is(host: Host) -> None:
    v = volume(host)
    data = os.urandom(9 << 20)
    (host.path / "file").write_bytes(data)
    with open(host.path / "file", "rb") as source:
        source.seek(1000)
        subprocess.run([VOLFS, "put", "v", "-", "d/x"], env=host.env, stdin=source, stdout=-1, check=True)
    subprocess.run([VOLFS, "put", "v", "-", "d/y"], env=host.env, input=data, stdout=-1, check=True)
    assert b"".join(v.read_file("d/x")) == data[1000:]
    assert b"".join(v.read_file("d/y")) == data
    assert "standard input has no name" in host.run("put", "v", "-", check=2).stderr


# --- progress


def test_a_terminal_sees_files_bytes_and_rate_and_a_pipe_sees_nothing(host: Host) -> None:
    volume(host)
    (host.path / "d").mkdir()
    for i in range(10):
        (host.path / "d" / f"f{i}").write_bytes(os.urandom(1 << 20))
    code, shown = on_terminal(host, "put", "v", host.path / "d")
    assert code == 0 and "commit 1: 10 files, 10.0 MiB" in shown
    assert "10/10 files" in shown and "10.0/10.0 MiB" in shown and "B/s" in shown
    code, shown = on_terminal(host, "get", "v", "d", host.path / "got")
    assert code == 0 and "10/10 files" in shown and "10.0/10.0 MiB" in shown and "B/s" in shown
    done = host.run("get", "v", "d", host.path / "quiet")
    assert (done.stdout, done.stderr) == ("", "")
