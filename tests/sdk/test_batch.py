"""batch_upload: one commit or nothing."""

import io
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

import volfs
from tests.sdk.forms import Form, Handle
from tests.sdk.test_writing import fill, tree
from volfs.exception import ExecutionError, NotFoundError

STORES = ("file", "s3")

MIB = 1 << 20


@pytest.fixture
def local(tmp_path: Path) -> Path:
    path = tmp_path / "local"
    path.mkdir()
    return path


# --- all or nothing


def test_a_batch_is_one_commit_at_the_blocks_end(form: Form, v: volfs.Volume, vol: Handle, local: Path) -> None:
    (local / "f").write_text("from a path")
    with form.block(vol.batch_upload()) as batch:
        assert batch.put_file(local / "f", "a/path") is None
        batch.put_file(str(local / "f"), PurePosixPath("/a/text"))
        batch.put_file(io.BytesIO(b"from an object"), "object")
        assert v.listdir("/") == []
    assert tree(v) == {"a": None, "a/path": b"from a path", "a/text": b"from a path", "object": b"from an object"}
    assert [(commit.number, commit.files) for commit in v.log()] == [(1, 3)]


def test_an_empty_batch_is_no_commit(form: Form, v: volfs.Volume, vol: Handle, local: Path) -> None:
    with form.block(vol.batch_upload()):
        pass
    with form.block(vol.batch_upload()) as batch:
        batch.put_directory(local, "d")
    assert v.log() == []


def test_an_exception_in_the_block_leaves_nothing_behind(form: Form, v: volfs.Volume, vol: Handle) -> None:
    with pytest.raises(KeyError, match="of the block"), form.block(vol.batch_upload()) as batch:
        batch.put_file(io.BytesIO(b"x"), "f")
        raise KeyError("of the block")
    assert tree(v) == {} and v.log() == []


def test_a_missing_volume_is_told_before_the_block(form: Form, client: volfs.Client) -> None:
    with (
        pytest.raises(NotFoundError, match="'gone'"),
        form.block(form.Volume.from_name("gone", client=client).batch_upload()),
    ):
        raise AssertionError("the block runs")


def test_a_batch_that_made_its_volume(form: Form, client: volfs.Client) -> None:
    vol = form.Volume.from_name("new", create_if_missing=True, client=client)
    with form.block(vol.batch_upload()) as batch:
        batch.put_file(io.BytesIO(b"x"), "f")
    assert form.items(vol.read_file, "f") == [b"x"]


@pytest.mark.parametrize("force", [False, True])
def test_a_missing_local_file_is_told_at_the_blocks_end(
    form: Form, v: volfs.Volume, vol: Handle, local: Path, force: bool
) -> None:
    with pytest.raises(FileNotFoundError, match="gone"), form.block(vol.batch_upload(force=force)) as batch:
        batch.put_file(io.BytesIO(b"x"), "f")
        batch.put_file(local / "gone", "g")
        reached = True
    assert reached and tree(v) == {} and v.log() == []


def test_local_files_are_read_when_the_block_ends(form: Form, v: volfs.Volume, vol: Handle, local: Path) -> None:
    (local / "f").write_text("before")
    with form.block(vol.batch_upload()) as batch:
        batch.put_file(local / "f", "f")
        (local / "f").write_text("after")
    assert tree(v) == {"f": b"after"}


def test_a_batch_may_be_used_by_many_threads(v: volfs.Volume) -> None:
    with v.batch_upload() as batch:
        threads = [
            threading.Thread(target=lambda i=i: batch.put_file(io.BytesIO(b"%d" % i), f"f{i}")) for i in range(16)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(v.listdir("/")) == 16


# --- targets


def test_a_target_that_exists_is_refused_without_force(form: Form, v: volfs.Volume, vol: Handle) -> None:
    fill(v, "d/f")
    refused = pytest.raises(FileExistsError, match=r"d/f exists already in volume v; nothing was uploaded.*force=True")
    with refused, form.block(vol.batch_upload()) as batch:
        batch.put_file(io.BytesIO(b"new"), "new")
        batch.put_file(io.BytesIO(b"new"), "d/f")
    assert tree(v) == {"d": None, "d/f": b"d/f"} and len(v.log()) == 1


def test_force_overwrites_files(form: Form, v: volfs.Volume, vol: Handle) -> None:
    fill(v, "d/f")
    with form.block(vol.batch_upload(force=True)) as batch:
        batch.put_file(io.BytesIO(b"new"), "d/f", mode=0o600)
    assert tree(v) == {"d": None, "d/f": b"new"} and v.stat("d/f").mode == 0o100600


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("target", ["d", "d/f/below", "d/f/below/deeper"])
def test_neither_a_file_over_a_directory_nor_the_other_way(
    form: Form, v: volfs.Volume, vol: Handle, target: str, force: bool
) -> None:
    fill(v, "d/f")
    refused = pytest.raises(FileExistsError, match=r"director.*nothing was uploaded")
    with refused, form.block(vol.batch_upload(force)) as batch:
        batch.put_file(io.BytesIO(b"new"), "new")
        batch.put_file(io.BytesIO(b"new"), target)
    assert tree(v) == {"d": None, "d/f": b"d/f"}


def test_a_directory_is_merged_into_one_that_exists(form: Form, v: volfs.Volume, vol: Handle, local: Path) -> None:
    fill(v, "d/f")
    (local / "g").write_text("g")
    with form.block(vol.batch_upload()) as batch:
        batch.put_directory(local, "d")
    assert tree(v) == {"d": None, "d/f": b"d/f", "d/g": b"g"}
    with pytest.raises(FileExistsError, match="d/g"), form.block(vol.batch_upload()) as batch:
        batch.put_directory(local, "d")


def test_of_two_for_one_target_the_later_counts_with_force_only(form: Form, v: volfs.Volume, vol: Handle) -> None:
    refused = pytest.raises(FileExistsError, match="f is given twice in one batch; nothing was uploaded")
    with refused, form.block(vol.batch_upload()) as batch:
        batch.put_file(io.BytesIO(b"one"), "f")
        batch.put_file(io.BytesIO(b"two"), "/f")
    assert tree(v) == {}
    with form.block(vol.batch_upload(force=True)) as batch:
        batch.put_file(io.BytesIO(b"one"), "f")
        batch.put_file(io.BytesIO(b"two"), "/f")
    assert tree(v) == {"f": b"two"}


def test_a_file_and_a_directory_of_one_name_in_one_batch(form: Form, v: volfs.Volume, vol: Handle) -> None:
    for first, second in (("n", "n/f"), ("n/f", "n")):
        with pytest.raises(OSError), form.block(vol.batch_upload(force=True)) as batch:
            batch.put_file(io.BytesIO(b"x"), first)
            batch.put_file(io.BytesIO(b"x"), second)
    assert tree(v) == {} and v.log() == []


@pytest.mark.local_store
def test_known_content_is_not_sent_again(form: Form, v: volfs.Volume, vol: Handle, local: Path, place: Path) -> None:
    (local / "big").write_bytes(os.urandom(20 * MIB))
    (local / "small").write_bytes(os.urandom(100_000))

    def stored() -> int:
        return sum(path.stat().st_size for path in (place / "store").rglob("*") if path.is_file())

    for force in (False, True):
        before = stored() if force else 0
        with form.block(vol.batch_upload(force=force)) as batch:
            batch.put_directory(local, "/")
    assert stored() - before < 20_000
    assert b"".join(v.read_file("big")) == (local / "big").read_bytes()
    with open(local / "big", "r+b") as file:
        file.seek(10 * MIB)
        file.write(b"changed")
    before = stored()
    with form.block(vol.batch_upload(force=True)) as batch:
        batch.put_directory(local, "/")
    assert stored() - before < MIB
    assert b"".join(v.read_file("big")) == (local / "big").read_bytes()


# --- put_file


@pytest.mark.parametrize("path", ["/", "d/", "/d/f/"])
def test_a_remote_path_must_name_a_file(v: volfs.Volume, path: str) -> None:
    with v.batch_upload() as batch, pytest.raises(ValueError, match="must name a file: it ends in '/'"):
        batch.put_file(io.BytesIO(b"x"), path)
    assert tree(v) == {}


@pytest.mark.parametrize("path", ["", "."])
def test_the_root_is_no_file(form: Form, v: volfs.Volume, vol: Handle, path: str) -> None:
    with pytest.raises(IsADirectoryError, match="root of a volume"), form.block(vol.batch_upload()) as batch:
        batch.put_file(io.BytesIO(b"x"), path)
    assert tree(v) == {}


def test_modes_are_the_files_own_and_0o644_for_objects(form: Form, vol: Handle, local: Path) -> None:
    (local / "f").write_text("x")
    (local / "f").chmod(0o4751)
    with open(local / "f", "rb") as file, form.block(vol.batch_upload()) as batch:
        batch.put_file(local / "f", "own")
        batch.put_file(local / "f", "given", mode=0o600)
        batch.put_file(local / "f", "none", mode=0)
        batch.put_file(file, "opened")
        batch.put_file(io.BytesIO(b"x"), "object")
        batch.put_file(io.BytesIO(b"x"), "object-given", 0o755)
    modes = {entry.path: form(vol.stat, entry.path).mode & 0o7777 for entry in form(vol.listdir, "/")}
    assert modes == {
        "own": 0o4751, "given": 0o600, "none": 0, "opened": 0o644, "object": 0o644, "object-given": 0o755
    }  # fmt: skip


def test_objects_are_read_from_their_beginning_if_they_can_seek(
    form: Form, v: volfs.Volume, vol: Handle, local: Path
) -> None:
    (local / "f").write_bytes(b"0123456789")
    memory = io.BytesIO(b"0123456789")
    memory.seek(7)
    readable, writable = os.pipe()
    os.write(writable, b"of a pipe")
    os.close(writable)
    with (
        open(local / "f", "rb") as file,
        open(local / "f", "rb", buffering=0) as raw,
        os.fdopen(readable, "rb") as pipe,
        form.block(vol.batch_upload()) as batch,
    ):
        file.read(4)
        raw.seek(0, os.SEEK_END)
        assert pipe.read(3) == b"of "
        for name, source in {"memory": memory, "file": file, "raw": raw, "pipe": pipe}.items():
            batch.put_file(source, name)
    whole = b"0123456789"
    assert tree(v) == {"file": whole, "memory": whole, "pipe": b"a pipe", "raw": whole}


def test_objects_of_all_sizes_and_short_reads(form: Form, v: volfs.Volume, vol: Handle) -> None:
    class Short(io.RawIOBase):
        def __init__(self, data: bytes) -> None:
            self._rest = data

        def readable(self) -> bool:
            return True

        def read(self, size: int = -1, /) -> bytes:
            piece, self._rest = self._rest[:33_333], self._rest[33_333:]
            return piece

    contents = {size: os.urandom(size) for size in (0, 1, 131072, 131073, 5 * MIB + 1)}
    with form.block(vol.batch_upload()) as batch:
        for size, data in contents.items():
            batch.put_file(Short(data), str(size))
    assert tree(v) == {str(size): data for size, data in sorted(contents.items(), key=lambda item: str(item[0]))}


def test_text_files_and_other_things_are_refused(v: volfs.Volume, local: Path) -> None:
    (local / "f").write_text("x")
    with v.batch_upload() as batch, open(local / "f") as text:
        for wrong in (text, io.StringIO("x"), b"f", 7, None):
            with pytest.raises(TypeError, match="a path or a file object opened in binary mode"):
                batch.put_file(wrong, "f")  # type: ignore[arg-type]
    assert tree(v) == {}


def test_a_directory_is_no_file(form: Form, v: volfs.Volume, vol: Handle, local: Path) -> None:
    with pytest.raises(IsADirectoryError, match="put_directory"), form.block(vol.batch_upload()) as batch:
        batch.put_file(local, "f")
    assert tree(v) == {}


def test_links_are_uploaded_by_content(form: Form, v: volfs.Volume, vol: Handle, local: Path) -> None:
    (local / "f").write_text("content")
    os.symlink("f", local / "link")
    with form.block(vol.batch_upload()) as batch:
        batch.put_file(local / "link", "link")
    assert tree(v) == {"link": b"content"}


def test_what_a_fifo_gives_is_uploaded(form: Form, v: volfs.Volume, vol: Handle, local: Path) -> None:
    os.mkfifo(local / "fifo")
    writer = threading.Thread(target=lambda: (local / "fifo").write_bytes(b"x" * 300_000))
    writer.start()
    with form.block(vol.batch_upload()) as batch:
        batch.put_file(local / "fifo", "f")
    writer.join()
    assert tree(v) == {"f": b"x" * 300_000}


# --- local files that change


def changing(change: Callable[[], object]) -> Any:
    """A file object whose reading, in the middle of an upload, changes another file."""

    class Trigger(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() == 0:
                change()
            return super().read(size)

    return Trigger(b"trigger")


def test_a_file_that_vanishes_before_its_turn_is_told(form: Form, v: volfs.Volume, vol: Handle, local: Path) -> None:
    """The first group of files is loaded with the object; those of later groups are opened after it was read."""
    for i in range(1000):
        (local / f"{i:04}").write_text("x")
    with pytest.raises(FileNotFoundError, match="0999"), form.block(vol.batch_upload()) as batch:
        batch.put_file(changing((local / "0999").unlink), "object")
        for i in range(1000):
            batch.put_file(local / f"{i:04}", f"{i:04}")
    assert tree(v) == {} and v.log() == []


@pytest.mark.parametrize("size", [10_000, 200 * MIB], ids=["small", "large"])
def test_a_file_that_changes_while_it_is_read_is_told(
    form: Form, v: volfs.Volume, vol: Handle, local: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small file is read at once: what was read must be what fstat told. A large one is read by chunks: the first
    read changes it."""
    path = local / "f"
    with open(path, "wb") as file:
        file.truncate(size)
    name, real = ("read", os.read) if size < MIB else ("pread", os.pread)

    def read(fd: int, *arguments: int) -> bytes:
        data: bytes = real(fd, *arguments)
        if os.readlink(f"/proc/self/fd/{fd}") == str(path) and path.stat().st_size == size:
            with open(path, "ab") as file:
                file.write(b"appended by another program")
        return data

    monkeypatch.setattr(os, name, read)
    told = pytest.raises(ExecutionError, match="f changed while it was being uploaded; nothing was uploaded: try again")
    with told, form.block(vol.batch_upload()) as batch:
        batch.put_file(path, "f")
    assert tree(v) == {} and v.log() == []


# --- put_directory


def fill_local(local: Path) -> None:
    (local / "sub" / "deep").mkdir(parents=True)
    (local / "empty").mkdir()
    (local / "f").write_text("f")
    (local / "sub" / "g").write_text("g")
    (local / "sub" / "deep" / "run").write_text("h")
    (local / "sub" / "deep" / "run").chmod(0o755)
    os.symlink("f", local / "to-file")
    os.symlink("sub", local / "to-dir")
    os.symlink("nowhere", local / "broken")
    os.symlink("..", local / "sub" / "loop")
    os.mkfifo(local / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(local)  # a socket's path is at most 108 bytes
        server.bind("socket")
        os.chdir(here)


@pytest.mark.parametrize("remote", ["d", "/d", "/d/", PurePosixPath("d")])
def test_a_directorys_regular_files_are_uploaded_with_their_modes(
    form: Form, v: volfs.Volume, vol: Handle, local: Path, remote: Any
) -> None:
    fill_local(local)
    with form.block(vol.batch_upload()) as batch:
        assert batch.put_directory(local, remote) is None
    assert tree(v) == {
        "d": None, "d/f": b"f", "d/sub": None, "d/sub/deep": None, "d/sub/deep/run": b"h", "d/sub/g": b"g",
        "d/to-file": b"f",
    }  # fmt: skip
    assert v.stat("d/sub/deep/run").mode == 0o100755
    assert len(v.log()) == 1


def test_a_directory_may_be_uploaded_flat(form: Form, v: volfs.Volume, vol: Handle, local: Path) -> None:
    fill_local(local)
    with form.block(vol.batch_upload()) as batch:
        batch.put_directory(str(local), "/", recursive=False)
    assert tree(v) == {"f": b"f", "to-file": b"f"}


def test_a_local_path_that_is_no_directory_is_refused(form: Form, v: volfs.Volume, vol: Handle, local: Path) -> None:
    (local / "f").write_text("x")
    with form.block(vol.batch_upload()) as batch:
        with pytest.raises(NotADirectoryError, match="f is not a directory"):
            batch.put_directory(local / "f", "d")
        with pytest.raises(FileNotFoundError, match="gone"):
            batch.put_directory(local / "gone", "d")
    assert tree(v) == {}


def test_an_unreadable_local_file_uploads_nothing(v: volfs.Volume, local: Path) -> None:
    """Root reads everything but what the kernel refuses: /proc/self/mem at its beginning."""
    with pytest.raises(OSError), v.batch_upload() as batch:
        batch.put_file(io.BytesIO(b"x"), "f")
        batch.put_file("/proc/self/mem", "g")
    assert tree(v) == {}
