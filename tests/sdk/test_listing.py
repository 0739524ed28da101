"""iterdir, listdir, stat, exists, log: what a volume has, without a mount."""

import dataclasses
import fcntl
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import volfs
from tests.conftest import Host
from tests.sdk.forms import Form, Handle
from volfs import FileEntry, FileEntryType
from volfs.exception import InvalidError, NotFoundError
from volfs.store.durable import PASSING

STORES = ("file", "s3")

ROOTS = ["", "/", ".", "./", "//"]


def fill(form: Form, vol: Handle, *paths: str) -> None:
    for path in paths:
        form(vol.write_file, path, path)


def paths(entries: list[FileEntry]) -> list[str]:
    return [entry.path for entry in entries]


@pytest.mark.parametrize("root", ROOTS)
def test_the_root_has_many_names(form: Form, vol: Handle, root: str) -> None:
    assert form.items(vol.iterdir, root) == []
    fill(form, vol, "b", "a/x")
    assert paths(form(vol.listdir, root)) == ["a", "b"]
    assert paths(form.items(vol.iterdir, root)) == ["a", "a/x", "b"]


def test_listdir_is_flat_and_iterdir_deep_unless_told(form: Form, vol: Handle) -> None:
    fill(form, vol, "a/b/x", "a/y")
    assert paths(form(vol.listdir, "a")) == ["a/b", "a/y"]
    assert paths(form(vol.listdir, "/a/", recursive=True)) == ["a/b", "a/b/x", "a/y"]
    assert paths(form.items(vol.iterdir, "a")) == ["a/b", "a/b/x", "a/y"]
    assert paths(form.items(vol.iterdir, "./a", recursive=False)) == ["a/b", "a/y"]


def test_a_directory_comes_before_what_is_in_it_and_names_are_sorted(form: Form, vol: Handle) -> None:
    names = ["z", "a/x", "a-b", "a.b", "a/b/y", "a0", "B", "é", "10", "9", "a/b!"]
    fill(form, vol, *names)
    wanted = ["10", "9", "B", "a", "a/b", "a/b/y", "a/b!", "a/x", "a-b", "a.b", "a0", "z", "é"]
    assert paths(form.items(vol.iterdir, "/")) == wanted
    assert paths(form(vol.listdir, "/")) == [name for name in wanted if "/" not in name]


def test_names_of_a_directory_too_large_for_one_node_are_sorted(client: volfs.Client, v: volfs.Volume) -> None:
    names = [f"{i * 7919 % 5000}-{'n' * 40}" for i in range(5000)]
    with v.batch_upload() as batch:
        for name in names:
            batch.put_file(empty(), f"d/{name}")
    assert paths(v.listdir("d")) == sorted(f"d/{name}" for name in names)
    assert sum(1 for _ in v.iterdir("/")) == 5001


def empty() -> Any:
    with open(os.devnull, "rb") as file:
        return os.fdopen(os.dup(file.fileno()), "rb")


def test_entries_tell_path_type_mtime_and_size(form: Form, vol: Handle) -> None:
    before = int(datetime.now(UTC).timestamp())
    form(vol.write_file, "d/f", b"12345")
    directory, file = form.items(vol.iterdir, "/")
    assert (directory.path, directory.type, file.path, file.type) == (
        "d", FileEntryType.DIRECTORY, "d/f", FileEntryType.FILE
    )  # fmt: skip
    assert (directory.size, file.size) == (0, 5)
    for entry in (directory, file):
        assert isinstance(entry.mtime, int) and before <= entry.mtime <= before + 60
    with pytest.raises(dataclasses.FrozenInstanceError):
        file.size = 1
    assert [field.name for field in dataclasses.fields(FileEntry)] == ["path", "type", "mtime", "size"]
    assert {kind.name: kind.value for kind in FileEntryType} == {
        "UNSPECIFIED": 0, "FILE": 1, "DIRECTORY": 2, "SYMLINK": 3, "FIFO": 4, "SOCKET": 5
    }  # fmt: skip


def test_a_files_own_path_gives_that_one_entry(form: Form, vol: Handle) -> None:
    fill(form, vol, "d/f")
    for path in ("d/f", "/d/f", "d//f", "d/f/"):
        assert paths(form(vol.listdir, path)) == ["d/f"]
        assert paths(form.items(vol.iterdir, path)) == ["d/f"]


def test_a_missing_path_is_told_at_the_first_entry(form: Form, vol: Handle) -> None:
    fill(form, vol, "f")
    for missing in ("gone", "gone/x", "f/x"):
        with pytest.raises(NotFoundError, match=f"no {missing} in volume v"):
            form.items(vol.iterdir, missing)
        with pytest.raises(NotFoundError, match=f"no {missing} in volume v"):
            form(vol.listdir, missing)


def test_globs_are_refused_at_the_first_entry(form: Form, client: volfs.Client) -> None:
    """Before the store is asked: the volume does not even exist."""
    vol = form.Volume.from_name("gone", client=client)
    for pattern in ("*", "d/*", "d/**"):
        with pytest.raises(InvalidError, match="recursive=True"):
            form.items(vol.iterdir, pattern)
        with pytest.raises(InvalidError, match="recursive=True"):
            form(vol.listdir, pattern)
    vol.iterdir("*")  # an iterator: nothing was asked of it yet


@pytest.mark.parametrize("bad", ["..", "a/../b", "n" * 256, "a\0b"])
def test_paths_that_cannot_be_are_refused(form: Form, vol: Handle, bad: str) -> None:
    for call in (vol.listdir, vol.stat, vol.exists, vol.remove_file):
        with pytest.raises(InvalidError, match="path"):
            form(call, bad)
    with pytest.raises(InvalidError, match="is text, not bytes"):
        form(vol.listdir, b"d")


def test_names_of_any_bytes(form: Form, vol: Handle, tmp_path: Path) -> None:
    local = tmp_path / "local"
    local.mkdir()
    name = os.fsdecode(b"bytes \xff\xfe")
    (local / name).write_text("any bytes")
    with form.block(vol.batch_upload()) as batch:
        batch.put_directory(local, "d")
        batch.put_file(local / name, name)
    assert paths(form.items(vol.iterdir, "/")) == [name, "d", f"d/{name}"]
    assert b"".join(form.items(vol.read_file, f"d/{name}")) == b"any bytes"
    form(vol.copy_files, [name], "copy")
    form(vol.remove_file, name)
    with pytest.raises(NotFoundError) as caught:
        form(vol.remove_file, name)
    assert str(caught.value).isprintable() or "\udcff" in str(caught.value)


def test_every_kind_of_entry_is_listed_and_links_are_not_followed(host: Host) -> None:
    point = host.mount()
    (point / "dir").mkdir()
    (point / "dir" / "file").write_text("content")
    os.symlink("dir", point / "to-dir")
    os.symlink("dir/file", point / "to-file")
    os.symlink("nowhere", point / "broken")
    os.symlink("/etc/passwd", point / "outside")
    os.symlink("loop", point / "loop")
    os.mkfifo(point / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(point / "socket"))
    os.mknod(point / "device", 0o20600, os.makedev(1, 3))
    host.run("commit", point)
    with volfs.Client(host.url) as client:
        vol = volfs.Volume.from_name("v", client=client)
        kinds = {entry.path: entry.type for entry in vol.iterdir("/")}
        link = FileEntryType.SYMLINK
        assert kinds == {
            "broken": link, "device": FileEntryType.UNSPECIFIED, "dir": FileEntryType.DIRECTORY,
            "dir/file": FileEntryType.FILE, "fifo": FileEntryType.FIFO, "loop": link, "outside": link,
            "socket": FileEntryType.SOCKET, "to-dir": link, "to-file": link,
        }  # fmt: skip
        assert [entry.path for entry in vol.listdir("to-dir")] == ["to-dir"]
        assert b"".join(vol.read_file("to-file")) == b"".join(vol.read_file("to-dir/file")) == b"content"
        assert (vol.stat("to-dir").target, vol.stat("dir/file").target) == ("dir", None)
        assert vol.exists("broken") and not vol.exists("to-dir/file")
        with pytest.raises(IsADirectoryError, match="to-dir is a directory"):
            list(vol.read_file("to-dir"))
        with pytest.raises(FileNotFoundError):
            list(vol.read_file("broken"))
        for path in ("outside", "loop"):
            with pytest.raises(OSError, match=path):
                list(vol.read_file(path))
        for path in ("fifo", "socket", "device"):
            with pytest.raises(InvalidError, match="no regular file"):
                list(vol.read_file(path))
        vol.copy_files(["to-file"], "by-content")
        vol.copy_files(["to-file"], "as-link", recursive=True)
        assert (vol.stat("by-content").type, vol.stat("as-link").type) == (FileEntryType.FILE, link)
        vol.remove_file("to-dir")
        vol.remove_file("fifo")
        assert vol.exists("dir/file") and not vol.exists("to-dir")


def test_a_listing_is_that_of_one_commit(v: volfs.Volume) -> None:
    for i in range(600):
        v.write_file(f"d{i % 3}/f{i}", "") if i < 9 else None
    entries = v.iterdir("/")
    first = next(entries)
    v.remove_file("/", recursive=True)
    assert [first.path, *paths(list(entries))][-1] == "d2/f8"
    assert v.listdir("/") == []


def test_stat_and_exists(form: Form, vol: Handle, tmp_path: Path) -> None:
    local = tmp_path / "f"
    local.write_bytes(b"x" * 5000)
    local.chmod(0o751)
    with form.block(vol.batch_upload()) as batch:
        batch.put_file(local, "d/f")
    found = form(vol.stat, "d/f")
    assert (found.path, found.type, found.size, found.mode) == ("d/f", FileEntryType.FILE, 5000, 0o100751)
    assert (found.uid, found.gid, found.nlink, found.target) == (os.geteuid(), os.getegid(), 1, None)
    assert found.allocated == 5000 and found.mtime == found.mtime_ns // 10**9
    assert found == form(vol.stat, "/d//f")
    assert form(vol.stat, "/").type == FileEntryType.DIRECTORY and form(vol.stat, "").path == ""
    with pytest.raises(NotFoundError, match="no gone in volume v"):
        form(vol.stat, "gone")
    assert [form(vol.exists, path) for path in ("d/f", "d", "/", "gone", "d/f/x")] == [True, True, True, False, False]


def test_exists_of_a_missing_volume_is_an_error(form: Form, client: volfs.Client) -> None:
    with pytest.raises(NotFoundError, match="'gone'"):
        form(form.Volume.from_name("gone", client=client).exists, "f")


def test_log_tells_of_each_commit(form: Form, vol: Handle) -> None:
    assert form(vol.log) == []
    form(vol.write_file, "a", b"x" * 1000)
    form(vol.write_file, "b", b"y")
    form(vol.remove_file, "a")
    log = form(vol.log)
    assert [(commit.number, commit.files, commit.removed) for commit in log] == [(3, 0, 1), (2, 1, 0), (1, 1, 0)]
    assert log[2].bytes >= 1000 and log[0].host == socket.gethostname() and log[0].lines == ()
    assert datetime.now(UTC) - log[0].created_at < timedelta(minutes=1)


def test_paths_may_be_pure_paths(v: volfs.Volume) -> None:
    v.write_file("d/f", "x")
    assert b"".join(v.read_file(Path("d") / "f")) == b"x"  # type: ignore[arg-type]


def test_threads_and_one_handle(v: volfs.Volume) -> None:
    """Sixteen threads write, list and read through one handle; nothing of anybody is missing."""

    def work(me: int) -> None:
        for i in range(6):
            v.write_file(f"{me}/{i}", f"{me} {i}")
            assert f"{me}/{i}" in paths(v.listdir("/", recursive=True))
            assert b"".join(v.read_file(f"{me}/{i}")) == f"{me} {i}".encode()

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(work, range(16)))
    assert len(v.listdir("/", recursive=True)) == 16 * 7
    assert len(v.log()) == 16 * 6


@pytest.mark.parametrize("locked", [False, True], ids=["before it is opened", "before it is locked"])
def test_a_place_to_work_that_another_program_sweeps_is_made_again(
    v: volfs.Volume, monkeypatch: pytest.MonkeyPatch, locked: bool
) -> None:
    """The other one starts, and takes it for what a killed program has left."""
    swept: list[Path] = []
    module, name = (os, "open") if not locked else (fcntl, "flock")
    real: Any = getattr(module, name)

    def first_sweep(what: Any, *arguments: Any) -> Any:
        path = Path(os.readlink(f"/proc/self/fd/{what}") if locked else os.fspath(what))
        if not swept and path.name.startswith(PASSING):
            swept.append(path)
            path.rmdir()
        return real(what, *arguments)

    v.hydrate()
    monkeypatch.setattr(module, name, first_sweep)
    v.write_file("f", "x")
    assert swept and v.exists("f")


@pytest.mark.local_store
def test_a_killed_programs_pack_is_swept_by_the_next(place: Path, v: volfs.Volume) -> None:
    left = place / "store" / "incoming" / f"{PASSING}left"
    v.write_file("f", "x")
    left.mkdir(parents=True)
    (left / "pack").write_text("half")
    with volfs.Client(place / "store") as client:
        volfs.Volume.from_name("v", client=client).write_file("g", "y")
    assert list((place / "store" / "incoming").iterdir()) == []
