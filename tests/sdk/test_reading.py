"""read_file and read_file_into_fileobj: whole, in order, of one commit, verified, in bounded memory."""

import contextlib
import io
import os
import queue
import random
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import volfs
from tests.conftest import Host
from tests.sdk.forms import Form, Handle
from volfs.exception import DamageError, NotFoundError

STORES = ("file", "s3")

MIB = 1 << 20
Sizes = tuple[Handle, dict[int, bytes]]
SIZES = [0, 1, 131072, 131073, 8 * MIB, 8 * MIB + 1, 34 * MIB + 17]  # the last: more pieces than are read ahead


def content(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def upload(vol: volfs.Volume, path: str, data: bytes) -> None:
    with vol.batch_upload(force=True) as batch:
        batch.put_file(io.BytesIO(data), path)


@pytest.fixture(scope="module")
def filled(new_url: Callable[[], str]) -> Iterator[tuple[volfs.Client, dict[int, bytes]]]:
    """A store whose volume `sizes` has a file of each size, named after it."""
    found = {size: content(size) for size in SIZES}
    with (
        tempfile.TemporaryDirectory() as path,
        volfs.Client(new_url() or f"{path}/store", cache_dir=f"{path}/cache") as client,
    ):
        with volfs.Volume.from_name("sizes", create_if_missing=True, client=client).batch_upload() as batch:
            for size, data in found.items():
                batch.put_file(io.BytesIO(data), str(size))
        yield client, found


@pytest.fixture
def sizes(form: Form, filled: tuple[volfs.Client, dict[int, bytes]]) -> tuple[Handle, dict[int, bytes]]:
    client, found = filled
    return form.Volume.from_name("sizes", client=client), found


def test_chunks_are_in_order_and_of_8_mib_at_most(form: Form, sizes: Sizes) -> None:
    vol, contents = sizes
    for size, data in contents.items():
        chunks = form.items(vol.read_file, f"/{size}")
        assert b"".join(chunks) == data
        assert all(type(chunk) is bytes and 0 < len(chunk) <= 8 * MIB for chunk in chunks)


def test_errors_of_reading_come_at_the_first_chunk(form: Form, vol: Handle) -> None:
    form(vol.write_file, "d/f", "x")
    for path, error in (("gone", FileNotFoundError), ("d/f/g", FileNotFoundError), ("d", IsADirectoryError)):
        vol.read_file(path)  # asks nothing yet
        with pytest.raises(error, match=path):
            form.items(vol.read_file, path)
        with pytest.raises(error, match=path):
            form(vol.read_file_into_fileobj, path, io.BytesIO())
    with pytest.raises(IsADirectoryError):
        form.items(vol.read_file, "/")
    with pytest.raises(NotFoundError):
        form.items(vol.read_file, "gone")


def test_a_file_is_that_of_one_commit_while_others_commit(v: volfs.Volume) -> None:
    old = content(40 * MIB)
    upload(v, "f", old)
    chunks = v.read_file("f")
    first = next(chunks)
    upload(v, "f", b"new")
    v.remove_file("f")
    assert b"".join([first, *chunks]) == old
    assert not v.exists("f")


def test_a_reader_who_stops_early_leaves_no_read_behind(v: volfs.Volume, client: volfs.Client) -> None:
    upload(v, "f", content(60 * MIB))
    for _ in range(3):
        chunks = v.read_file("f")
        next(chunks)
        chunks.close()  # type: ignore[attr-defined]
    waiting = client.threads()._work_queue
    with contextlib.suppress(queue.Empty):
        while True:
            assert waiting.get_nowait().future.cancelled()  # a thread that comes to it passes over it


class Progress:
    """Counts what it is told, as a progress bar."""

    def __init__(self) -> None:
        self.bytes = 0

    def __call__(self, *, advance: int) -> None:
        self.bytes += advance


def into(kind: str, path: Path) -> Any:
    """A file object with 10 bytes in it, its position behind the first five."""
    if kind == "memory":
        found: Any = io.BytesIO(b"0123456789")
    elif kind == "append":
        path.write_bytes(b"01234")
        found = path.open("ab")
    else:
        path.write_bytes(b"0123456789")
        found = path.open("r+b", buffering=0 if kind == "raw" else -1)
    found.seek(5)
    return found


@pytest.mark.parametrize("kind", ["memory", "buffered", "raw", "append"])
def test_a_file_object_is_written_from_its_position_on(form: Form, sizes: Sizes, tmp_path: Path, kind: str) -> None:
    vol, contents = sizes
    for size in (0, 1, 131073, 34 * MIB + 17):
        with into(kind, tmp_path / "out") as file:
            progress = Progress()
            done = form(vol.read_file_into_fileobj, str(size), file, progress)
            assert (done, file.tell(), progress.bytes) == (size, 5 + size, size)
            file.write(b"behind")
            file.flush()
            result = file.getvalue() if kind == "memory" else (tmp_path / "out").read_bytes()
        assert result[:5] == b"01234" and result[5 : 5 + size] == contents[size]
        assert result[5 + size :][:6] == b"behind"


def test_a_pipe_is_written_in_order(form: Form, sizes: Sizes) -> None:
    vol, contents = sizes
    readable, writable = os.pipe()
    got: list[bytes] = []

    def read() -> None:
        with os.fdopen(readable, "rb") as file:
            got.append(file.read())

    reader = threading.Thread(target=read)
    reader.start()
    with os.fdopen(writable, "wb") as file:
        assert form(vol.read_file_into_fileobj, str(SIZES[-1]), file) == SIZES[-1]
    reader.join()
    assert got == [contents[SIZES[-1]]]


class Slow(io.RawIOBase):
    """Takes a little at a time, and no more than *most* bytes."""

    def __init__(self, most: int) -> None:
        self.data = bytearray()
        self.most = most

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        taken = bytes(data[: min(70_001, self.most - len(self.data))])
        self.data += taken
        return len(taken)


def test_objects_that_take_a_part_get_the_rest(v: volfs.Volume) -> None:
    upload(v, "f", content(131073))
    slow = Slow(1 << 30)
    assert v.read_file_into_fileobj("f", slow) == 131073  # type: ignore[arg-type]
    assert bytes(slow.data) == content(131073)
    with pytest.raises(OSError, match="takes no more"):
        v.read_file_into_fileobj("f", Slow(100_000))  # type: ignore[arg-type]


def test_an_error_of_the_file_object_is_the_callers(form: Form, sizes: Sizes) -> None:
    vol, _ = sizes

    def refuse(*, advance: int) -> None:
        raise KeyError("of the callback")

    with pytest.raises(KeyError, match="of the callback"):
        form(vol.read_file_into_fileobj, str(SIZES[-1]), io.BytesIO(), refuse)
    with pytest.raises(OSError), open(os.devnull, "rb") as file:
        form(vol.read_file_into_fileobj, "1", file)


def test_holes_stay_holes_and_old_bytes_become_zeros(form: Form, host: Host) -> None:
    point = host.mount()
    with open(point / "sparse", "wb") as file:
        file.seek(100 * MIB)
        file.write(b"end")
    host.run("commit", point)
    with volfs.Client(host.url) as client:
        vol = form.Volume.from_name("v", client=client)
        fresh, old = host.path / "fresh", host.path / "old"
        with open(fresh, "wb") as file:
            form(vol.read_file_into_fileobj, "sparse", file)
        assert (fresh.stat().st_size, fresh.stat().st_blocks < 2048) == (100 * MIB + 3, True)
        old.write_bytes(b"x" * MIB)
        with open(old, "r+b") as file:
            form(vol.read_file_into_fileobj, "sparse", file)
        with open(old, "rb") as file:
            assert file.read(2 * MIB) == bytes(2 * MIB)
        assert sum(len(chunk) for chunk in form.items(vol.read_file, "sparse")) == 100 * MIB + 3


def flip(path: Path, needle: bytes) -> None:
    data = bytearray(path.read_bytes())
    at = data.index(needle)
    data[at] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)


@pytest.mark.local_store
def test_a_flipped_byte_in_a_pack_is_damage_to_that_file_alone(form: Form, client: volfs.Client, place: Path) -> None:
    vol = form.Volume.from_name("v", create_if_missing=True, client=client)
    bad, good = content(200_000), content(200_001)
    with form.block(vol.batch_upload()) as batch:
        batch.put_file(io.BytesIO(bad), "bad")
        batch.put_file(io.BytesIO(good), "good")
    packs = [path for path in (place / "store").rglob("*") if path.is_file() and bad[:64] in path.read_bytes()]
    assert len(packs) == 1
    flip(packs[0], bad[150_000:150_064])
    fresh = form.Volume.from_name("v", client=volfs.Client(client.url))  # nothing of it is in memory
    with pytest.raises(DamageError, match="pack") as caught:
        form.items(fresh.read_file, "bad")
    assert "\n" not in str(caught.value)
    out = io.BytesIO()
    with pytest.raises(DamageError):
        form(fresh.read_file_into_fileobj, "bad", out)
    assert b"".join(form.items(fresh.read_file, "good")) == good


@pytest.mark.local_store
def test_a_missing_pack_is_damage(form: Form, v: volfs.Volume, client: volfs.Client, place: Path) -> None:
    data = content(200_000)
    upload(v, "f", data)
    for path in (place / "store").rglob("*"):
        if path.is_file() and data[:64] in path.read_bytes():
            path.unlink()
    with pytest.raises(DamageError):
        form.items(form.Volume.from_name("v", client=volfs.Client(client.url)).read_file, "f")
