"""`volfs://` as fsspec's users know file systems, and what is promised beyond: commits, snapshots, bounded memory."""

import gc
import io
import json
import logging
import os
import pickle
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import pandas
import pyarrow
import pyarrow.dataset
import pyarrow.fs
import pyarrow.parquet
import pytest
import zarr
from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
from fsspec.tests import abstract

import volfs
from volfs.sdk.fsspec import VolfsFileSystem

STORES = ("file", "s3")

pytestmark = pytest.mark.slow


@pytest.fixture
def store(url: str) -> str:
    """With an empty volume."""
    volfs.Volume.objects.create("v", client=volfs.Client(url))
    return url


def opened(store: str, place: Path) -> Iterator[VolfsFileSystem]:
    yield fsspec.filesystem("volfs", store=store)
    VolfsFileSystem.clear_instance_cache()
    assert not list(place.glob("**/incoming/**/sdk-*"))  # nothing spooled is left


fs = pytest.fixture(opened)


@pytest.fixture
def volume(store: str) -> volfs.Volume:
    return volfs.Volume.from_name("v", client=volfs.Client(store))


def commits(volume: volfs.Volume) -> int:
    return len(volume.log())


# --- fsspec's own suite


class Fixtures(abstract.AbstractFixtures):  # type: ignore[misc]
    @pytest.fixture
    def fs(self, store: str, place: Path) -> Iterator[VolfsFileSystem]:
        yield from opened(store, place)

    @pytest.fixture
    def fs_path(self) -> str:
        return "v/d"

    @pytest.fixture
    def fs_join(self) -> Callable[..., str]:
        return lambda *parts: "/".join(parts)


class TestCopy(abstract.AbstractCopyTests, Fixtures):  # type: ignore[misc]
    pass


class TestGet(abstract.AbstractGetTests, Fixtures):  # type: ignore[misc]
    pass


class TestPut(abstract.AbstractPutTests, Fixtures):  # type: ignore[misc]
    pass


class TestOpen(abstract.AbstractOpenTests, Fixtures):  # type: ignore[misc]
    pass


class TestPipe(abstract.AbstractPipeTests, Fixtures):  # type: ignore[misc]
    pass


# --- looking


def test_listings_tell_what_stat_tells(fs: VolfsFileSystem, volume: volfs.Volume) -> None:
    volume.write_file("d/f", b"12345")
    fs.mkdir("v/d/empty")
    empty, file = fs.ls("volfs://v/d")
    stat = volume.stat("d/f")
    assert (file["name"], file["type"], file["size"], file["islink"]) == ("v/d/f", "file", 5, False)
    assert (file["mode"], file["ino"], file["uid"]) == (stat.mode, stat.inode, os.geteuid())
    assert file["mtime"] == pytest.approx(stat.mtime_ns / 1e9)
    assert fs.modified("v/d/f").timestamp() == pytest.approx(stat.mtime_ns / 1e9, abs=1e-5)
    assert (empty["name"], empty["type"], empty["size"]) == ("v/d/empty", "directory", 0)
    assert fs.info("v/d/f") == file == fs.ls("v/d/f")[0]
    assert fs.ls("v", detail=False) == ["v/d"]
    assert fs.ls("", detail=False) == ["v"] and fs.isdir("v") and fs.isdir("")
    assert fs.find("v") == ["v/d/f"] and fs.glob("v/*/f") == ["v/d/f"] and fs.du("v") == 5
    assert fs.glob("volfs://*/d/?") == ["v/d/f"]


def test_links_are_followed_and_walks_end(fs: VolfsFileSystem, host: Any) -> None:
    fs = fsspec.filesystem("volfs", store=host.url)
    point = host.mount()
    (point / "d").mkdir()
    (point / "d/f").write_text("content")
    (point / "d/self").symlink_to(".")
    (point / "link").symlink_to("d/f")
    (point / "nowhere").symlink_to("missing")
    (point / "out").symlink_to("/etc/passwd")
    host.run("commit", point)
    assert fs.cat("v/link") == fs.cat("v/d/self/self/f") == b"content"
    assert (fs.info("v/link")["type"], fs.info("v/link")["destination"], fs.size("v/link")) == ("file", "d/f", 7)
    assert fs.find("v") == ["v/d/f", "v/d/self", "v/link", "v/nowhere", "v/out"]
    assert fs.lexists("v/nowhere") and not fs.exists("v/nowhere") and not fs.exists("v/out")
    with pytest.raises(OSError, match="out"):
        fs.cat("v/out")
    fs.pipe("v/link", b"written through it")
    assert fs.cat("v/d/f") == b"written through it" and fs.info("v/link")["islink"]
    fs.rm("v/link")
    assert fs.exists("v/d/f") and not fs.lexists("v/link")


def test_a_listing_is_never_stale(fs: VolfsFileSystem, volume: volfs.Volume) -> None:
    assert fs.ls("v") == []
    volume.write_file("a", b"")  # as another program would
    assert fs.ls("v", detail=False) == ["v/a"]
    volfs.Volume.rename("v", "w", client=fs.client)
    volfs.Volume.objects.create("v", client=fs.client)
    assert fs.ls("v") == [] and fs.exists("w/a")


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda fs: fs.open("none/x", "wb"), FileNotFoundError, "volfs create"),
        (lambda fs: fs.mkdir("none"), FileNotFoundError, "volfs create"),
        (lambda fs: fs.open("v/x"), FileNotFoundError, "no x in volume v"),
        (lambda fs: fs.open("v/a b/../x"), FileNotFoundError, r"\.\."),
        (lambda fs: fs.ls("v/x"), FileNotFoundError, "no x"),
        (lambda fs: fs.open("v/d"), IsADirectoryError, "v/d"),
        (lambda fs: fs.open("v/d", "wb"), IsADirectoryError, "v/d"),
        (lambda fs: fs.open("v", "wb"), IsADirectoryError, "v"),
        (lambda fs: fs.open("", "wb"), IsADirectoryError, "name/path"),
        (lambda fs: fs.open("v/d/f/x", "wb"), NotADirectoryError, "d/f"),
        (lambda fs: fs.open("v/d/f", "xb"), FileExistsError, "v/d/f"),
        (lambda fs: fs.open("v/d/f", "r+b"), ValueError, "r\\+b"),
        (lambda fs: fs.mkdir("v/d"), FileExistsError, "d exists"),
        (lambda fs: fs.makedirs("v/d/f", exist_ok=True), FileExistsError, "d/f exists"),
        (lambda fs: fs.mkdir("v/n/m", create_parents=False), FileNotFoundError, "no n"),
        (lambda fs: fs.rmdir("v/d"), OSError, "not empty"),
        (lambda fs: fs.rmdir("v/d/f"), NotADirectoryError, "d/f"),
        (lambda fs: fs.rmdir("v"), OSError, "volfs delete"),
        (lambda fs: fs.rm("v/d"), IsADirectoryError, "d is a directory"),
        (lambda fs: fs.rm_file("v/d"), IsADirectoryError, "d is a directory"),
        (lambda fs: fs.rm("v/x"), FileNotFoundError, "no x"),
        (lambda fs: fs.mv("v/x", "v/y"), FileNotFoundError, "no x"),
        (lambda fs: fs.mv("v/d", "v/d/e"), volfs.exception.InvalidError, "into itself"),
        (lambda fs: fs.cp("v/x", "v/y"), FileNotFoundError, "no x"),
        (lambda fs: fs.touch("v/d"), IsADirectoryError, "v/d"),
        (lambda fs: fs.put("/no such file", "v/y"), FileNotFoundError, "no such file"),
    ],
)
def test_errors_are_those_of_files_and_change_nothing(
    fs: VolfsFileSystem, volume: volfs.Volume, call: Callable[[Any], Any], error: type[Exception], text: str
) -> None:
    fs.pipe("v/d/f", b"1")
    before = commits(volume)
    with pytest.raises(error, match=text) as raised:
        call(fs)
    assert "\n" not in str(raised.value)
    assert commits(volume) == before and fs.find("v") == ["v/d/f"]


def test_volumes_make_directories(fs: VolfsFileSystem, volume: volfs.Volume) -> None:
    volume.make_directory("a/b", parents=True)
    volume.make_directory("a/b", exist_ok=True)
    with pytest.raises(FileExistsError, match="a/b exists"):
        volume.make_directory("a/b")
    with pytest.raises(FileNotFoundError, match="no missing"):
        volume.make_directory("missing/b")
    assert commits(volume) == 1 and fs.find("v", withdirs=True) == ["v", "v/a", "v/a/b"]


# --- writing


def test_a_file_appears_when_it_is_closed_and_whole(fs: VolfsFileSystem, volume: volfs.Volume) -> None:
    with fs.open("v/new/f", "wb") as file:
        file.write(b"one ")
        file.flush()
        assert not fs.exists("v/new") and not volume.log()
        file.write(b"two")
        assert file.tell() == 7
    assert fs.cat("v/new/f") == b"one two" and commits(volume) == 1
    assert volume.stat("new/f").mode & 0o7777 == 0o644


class Failed(Exception):
    pass


@pytest.mark.parametrize(
    "opened",
    [
        lambda fs, url: fs.open(url, "wb"),
        lambda fs, url: fs.open(url, "w"),
        lambda fs, url: fs.open(url, "wb", compression="gzip"),
        lambda fs, url: fs.open(url, "wt", compression="xz"),
        lambda fs, url: fsspec.open(url, "wb", store=fs.client.url),
        lambda fs, url: fsspec.open(url, "w", store=fs.client.url),
        lambda fs, url: fsspec.open(url, "wb", compression="gzip", store=fs.client.url),
    ],
)
def test_nothing_appears_when_the_block_raises(
    fs: VolfsFileSystem, volume: volfs.Volume, opened: Callable[[Any, str], Any]
) -> None:
    fs.pipe("v/f", b"old")
    with pytest.raises(Failed), opened(fs, "volfs://v/f") as file:
        file.write("half" if isinstance(file, io.TextIOBase) else b"half")
        raise Failed
    assert fs.cat("v/f") == b"old" and commits(volume) == 1
    with opened(fs, "volfs://v/f") as file:
        file.write("whole" if isinstance(file, io.TextIOBase) else b"whole")
    assert commits(volume) == 2


def test_a_file_that_is_written_while_an_error_is_handled_appears(fs: VolfsFileSystem) -> None:
    try:
        raise Failed
    except Failed:
        with fs.open("v/last words", "w") as file:
            file.write("saved")
    assert fs.cat("v/last words") == b"saved"


def test_a_file_that_is_never_closed_says_that_it_was_not_written(
    fs: VolfsFileSystem, volume: volfs.Volume, caplog: pytest.LogCaptureFixture
) -> None:
    for mode in ("wb", "w"):
        file = fs.open("v/f", mode)
        file.write(b"x" if mode == "wb" else "x")
        del file
    gc.collect()
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert "volfs://v/f was not written" in caplog.text and not volume.log()


def test_a_written_file_can_be_sought(fs: VolfsFileSystem) -> None:
    with fs.open("v/f", "wb") as file:
        file.write(b"....rest, and more")
        file.seek(0)
        file.write(b"head")
        file.truncate(8)
    assert fs.cat("v/f") == b"headrest"


def test_appending_stores_what_is_appended_and_one_block(fs: VolfsFileSystem, volume: volfs.Volume) -> None:
    start = os.urandom(1_000_001)
    fs.pipe("v/f", start)
    with fs.open("v/f", "ab") as file:
        assert file.tell() == len(start)
        file.write(b"more")
        assert file.tell() == len(start) + 4
    assert fs.cat("v/f") == start + b"more"
    assert volume.log()[0].bytes < 140_000
    with fs.open("v/g", "a") as text:
        text.write("new")
    big = os.urandom(9_000_000)
    with fs.transaction:
        for part in (big, b"end"):
            with fs.open("v/g", "ab") as file:
                file.write(part)
    assert fs.cat("v/g") == b"new" + big + b"end" and commits(volume) == 4


def test_autocommit_false_waits_for_commit(fs: VolfsFileSystem, volume: volfs.Volume) -> None:
    kept, dropped = (fs.open(f"v/{name}", "wb", autocommit=False) for name in ("kept", "dropped"))
    for file in (kept, dropped):
        file.write(b"1")
        file.close()
    assert not volume.log()
    kept.commit()
    dropped.discard()
    assert fs.find("v") == ["v/kept"]


def test_of_many_exclusive_writers_one_wins(fs: VolfsFileSystem, volume: volfs.Volume) -> None:
    files = [fs.open("v/lock", "xb") for _ in range(4)]
    for number, file in enumerate(files):
        file.write(b"%d" % number)

    def close(file: Any) -> bool:
        try:
            file.close()
        except FileExistsError:
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        won = list(threads.map(close, files))
    assert won.count(True) == 1 and fs.cat("v/lock") == b"%d" % won.index(True) and commits(volume) == 1


# --- one commit


def test_a_transaction_is_one_commit(fs: VolfsFileSystem, volume: volfs.Volume, tmp_path: Path) -> None:
    fs.pipe({"v/old": b"old", "v/gone": b"", "v/away/f": b"f"})
    assert commits(volume) == 1
    (tmp_path / "local").write_bytes(b"local")
    with fs.transaction:
        with fs.open("v/new", "w") as file:
            file.write("new")
        fs.cp("v/old", "v/copy")
        fs.mv("v/new", "v/moved")
        fs.mv("v/away", "v/there")
        fs.rm("v/gone")
        fs.put(str(tmp_path / "local"), "v/put")
        fs.mkdir("v/empty")
        fs.touch("v/touched")
        fs.pipe("v/piped", b"piped")
        assert fs.find("v") == ["v/away/f", "v/gone", "v/old"]
    assert commits(volume) == 2
    names = ["empty", "there", "copy", "moved", "old", "piped", "put", "there/f", "touched"]
    assert sorted(fs.find("v", withdirs=True)) == sorted(["v"] + [f"v/{name}" for name in names])
    assert fs.cat(["v/copy", "v/moved", "v/put"]) == {"v/copy": b"old", "v/moved": b"new", "v/put": b"local"}


def test_nothing_of_a_transaction_remains_after_an_exception(fs: VolfsFileSystem, volume: volfs.Volume) -> None:
    with pytest.raises(Failed), fs.transaction:
        fs.pipe("v/a", b"1")
        fs.mkdir("v/d")
        raise Failed
    with pytest.raises(FileNotFoundError, match="no missing"), fs.transaction:
        fs.pipe("v/a", b"1")
        fs.rm("v/missing")
    with pytest.raises(ValueError, match="v/a is still open"), fs.transaction:
        fs.open("v/a", "wb").write(b"1")
    assert not volume.log()
    fs.pipe("v/a", b"1")  # the transaction is over
    assert fs.cat("v/a") == b"1"


def test_calls_on_many_files_are_one_commit_each(fs: VolfsFileSystem, volume: volfs.Volume, tmp_path: Path) -> None:
    (tmp_path / "l/below").mkdir(parents=True)
    for number in range(100):
        (tmp_path / f"l/below/{number}").write_text(str(number))
    seen = fsspec.Callback()
    fs.put(str(tmp_path / "l"), "v/p", recursive=True, callback=seen)
    assert commits(volume) == 1 and seen.size == seen.value == 100
    fs.cp("v/p", "v/q", recursive=True)
    assert commits(volume) == 2 and volume.log()[0].bytes < 100_000  # no data
    fs.mv("v/q/below", "v/r")
    assert commits(volume) == 3
    fs.get("v/r", str(tmp_path / "got"), recursive=True)
    assert {path.name: path.read_text() for path in (tmp_path / "got").iterdir()} == {
        str(n): str(n) for n in range(100)
    }
    fs.rm(["v/p", "v/r/1*"], recursive=True)
    assert commits(volume) == 4 and len(fs.find("v")) == 100 - 11
    fs.rm("v", recursive=True)
    assert commits(volume) == 5 and fs.ls("v") == []


def test_a_put_that_fails_leaves_nothing(fs: VolfsFileSystem, volume: volfs.Volume, tmp_path: Path) -> None:
    (tmp_path / "l").mkdir()
    (tmp_path / "l/a").write_text("a")
    (tmp_path / "l/z").write_text("z")
    fs.pipe("v/p/z/in the way", b"")
    with pytest.raises(IsADirectoryError):
        fs.put(str(tmp_path / "l") + "/", "v/p", recursive=True)
    assert fs.find("v") == ["v/p/z/in the way"]


def test_moves_and_copies_between_volumes(fs: VolfsFileSystem, volume: volfs.Volume) -> None:
    volfs.Volume.objects.create("w", client=fs.client)
    fs.pipe({"v/d/a": b"a", "v/d/e/b": os.urandom(300_000)})
    fs.cp("v/d", "w/copy", recursive=True)
    assert fs.find("w") == ["w/copy/a", "w/copy/e/b"] and fs.cat("w/copy/e/b") == fs.cat("v/d/e/b")
    fs.mv("v/d", "w/moved")
    assert fs.find("v") == [] and fs.cat("w/moved/a") == b"a"
    with pytest.raises(OSError, match="between volumes"), fs.transaction:
        fs.mv("w/moved", "v/back")
    assert fs.exists("w/moved/a")


def test_touch_makes_a_file_or_renews_its_time(fs: VolfsFileSystem) -> None:
    fs.touch("v/f", truncate=False)
    fs.pipe("v/f", b"1")
    before = fs.info("v/f")
    fs.touch("v/f", truncate=False)
    after = fs.info("v/f")
    assert after["mtime"] > before["mtime"] and after["ino"] == before["ino"] and fs.cat("v/f") == b"1"
    fs.touch("v/f")
    assert fs.size("v/f") == 0


# --- reading


def test_an_open_file_stays_on_its_commit(fs: VolfsFileSystem, volume: volfs.Volume) -> None:
    old, new = os.urandom(3_000_000), os.urandom(2_000_000)
    fs.pipe("v/f", old)
    with fs.open("v/f", block_size=1 << 16) as file:
        assert file.read(10) == old[:10]
        fs.pipe("v/f", new)
        assert file.read() == old[10:] and file.size == len(old)
        fs.rm("v/f")
        file.seek(-100, os.SEEK_END)
        assert file.read(1000) == old[-100:]


def test_ranges(fs: VolfsFileSystem) -> None:
    data = os.urandom(500_000)
    fs.pipe({"v/f": data, "v/empty": b""})
    for start, end in ((None, None), (10, 20), (-5, None), (None, -499_990), (200_000, 400_000), (9, 9), (20, 10)):
        assert fs.cat_file("v/f", start, end) == data[start:end]
    assert fs.cat_file("v/f", 499_990, 600_000) == data[-10:] and fs.cat_file("v/empty") == b""
    paths = ["v/f"] * 200 + ["v/missing", "v/empty"]
    starts = [number * 2_500 for number in range(200)] + [0, 0]
    found = fs.cat_ranges(paths, starts, [start + 2_500 for start in starts])
    assert b"".join(found[:200]) == data and isinstance(found[200], FileNotFoundError) and found[201] == b""
    with pytest.raises(FileNotFoundError):
        fs.cat_ranges(["v/missing"], 0, 1, on_error="raise")


@pytest.mark.parametrize("cache", ["readahead", "none", "bytes", "mmap", "blockcache", "first", "all", "background"])
def test_every_cache_reads_the_same(fs: VolfsFileSystem, cache: str) -> None:
    lines = b"".join(b"%d %s\n" % (number, b"x" * (number % 301)) for number in range(3_000))
    fs.pipe("v/f", lines)
    with fs.open("v/f", cache_type=cache, block_size=10_000) as file:
        assert file.readlines() == lines.splitlines(keepends=True)
        file.seek(0)
        assert list(file) == lines.splitlines(keepends=True)
        file.seek(100_000)
        assert file.read(77) == lines[100_000:100_077] and file.readline(3) == lines[100_077:100_080]
    with fs.open("v/f", "r") as text:
        assert text.readlines() == lines.decode().splitlines(keepends=True)


@pytest.mark.local_store("what is spooled is; test_processes measures both stores")
def test_a_big_file_passes_through_in_bounded_memory(store: str) -> None:
    code = """
        import fsspec, hashlib, resource, sys
        fs = fsspec.filesystem("volfs", store=sys.argv[1])
        block, wrote, read = bytearray(range(256)) * 4096, hashlib.md5(), hashlib.md5()
        with fs.open("v/big", "wb") as file:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            for number in range(400):
                block[:2] = number.to_bytes(2)
                wrote.update(block)
                file.write(block)
        with fs.open("v/big") as file:
            while data := file.read(1 << 20):
                read.update(data)
        assert wrote.digest() == read.digest() and fs.size("v/big") == 400 << 20
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), store], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 160 << 10, f"{done.stdout} KiB more than before a file of 400 MiB"


# --- processes, threads, other stores


def test_instances_are_one_per_store(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = volfs.Client(tmp_path / "other")
    volfs.Volume.objects.create("o", client=other)
    monkeypatch.setenv("VOLFS_STORE", store)
    default = fsspec.filesystem("volfs")
    assert default is fsspec.filesystem("volfs") and default.ls("", detail=False) == ["v"]
    assert fsspec.filesystem("volfs", store=str(other.url)).ls("", detail=False) == ["o"]
    by_client = fsspec.filesystem("volfs", client=other)
    assert by_client.ls("", detail=False) == ["o"] and pickle.loads(pickle.dumps(by_client)).ls("", False) == ["o"]
    monkeypatch.setenv("VOLFS_STORE", str(tmp_path / "other"))
    assert default.ls("", detail=False) == ["o"]
    assert fsspec.filesystem("volfs", environment="e", store=other.url).ls("") == []
    with pytest.raises(volfs.exception.InvalidError):
        fsspec.filesystem("volfs", store="ftp://host/store")


@pytest.mark.local_store("no object store survives a fork")
def test_it_pickles_and_survives_a_fork(fs: VolfsFileSystem, volume: volfs.Volume) -> None:
    fs.pipe("v/f", b"0123456789")
    assert pickle.loads(pickle.dumps(fs)) == fs and fsspec.AbstractFileSystem.from_json(fs.to_json()) == fs
    with fs.open("v/f") as file:
        file.seek(4)
        assert pickle.loads(pickle.dumps(file)).read() == b"456789"
    spooled = fs.open("v/parent", "wb")
    spooled.write(b"parent")
    spooled.flush()
    child = os.fork()
    if not child:
        code = 1
        try:
            del spooled
            gc.collect()
            fs.pipe("v/child", fs.cat("v/f"))
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    spooled.close()
    assert fs.cat("v/child") == b"0123456789" and fs.cat("v/parent") == b"parent"


def test_threads_share_one_instance(fs: VolfsFileSystem, volume: volfs.Volume) -> None:
    barrier = threading.Barrier(4)

    def work(number: int) -> list[str]:
        barrier.wait()
        fs.pipe({f"v/{number}/{name}": b"%d" % number for name in range(5)})
        fs.cp(f"v/{number}", f"v/copy{number}", recursive=True)
        found: list[str] = fs.find(f"v/copy{number}")
        return found

    with ThreadPoolExecutor(4) as threads:
        assert [len(found) for found in threads.map(work, range(4))] == [5] * 4
    assert len(fs.find("v")) == 40 and commits(volume) == 8


# --- other libraries


def test_pandas_reads_and_writes_urls(store: str, volume: volfs.Volume) -> None:
    options = {"store": store}
    frame = pandas.DataFrame({"n": range(1000), "text": [f"line {n}" for n in range(1000)]})
    frame.to_parquet("volfs://v/t/frame.parquet", storage_options=options)
    frame.to_csv("volfs://v/t/frame.csv", index=False, storage_options=options)
    frame.to_csv("volfs://v/t/frame.csv.gz", index=False, storage_options=options)
    assert commits(volume) == 3
    read = pandas.read_parquet("volfs://v/t/frame.parquet", columns=["n"], storage_options=options)
    assert read.equals(frame[["n"]])
    for name in ("frame.csv", "frame.csv.gz"):
        assert pandas.read_csv(f"volfs://v/t/{name}", storage_options=options).equals(frame)
    with fsspec.filesystem("volfs", **options).transaction:
        for number in range(3):
            frame.to_parquet(f"volfs://v/many/{number}.parquet", storage_options=options)
    assert commits(volume) == 4 and len(volume.listdir("many")) == 3


def test_arrow_datasets(fs: VolfsFileSystem) -> None:
    table = pyarrow.table({"n": list(range(900)), "part": [n % 3 for n in range(900)]})
    arrow = pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(fs))
    pyarrow.dataset.write_dataset(
        table, "v/set", format="parquet", filesystem=arrow, partitioning=["part"], partitioning_flavor="hive"
    )
    assert len(fs.glob("v/set/part=*/*.parquet")) == 3
    found = pyarrow.dataset.dataset("v/set", format="parquet", filesystem=fs, partitioning="hive")
    assert found.to_table(filter=pyarrow.dataset.field("part") == 1).num_rows == 300
    assert pyarrow.parquet.read_table("v/set", filesystem=fs).num_rows == 900
    arrow.create_dir("v/made/below")
    arrow.move("v/set", "v/made/set")
    with arrow.open_append_stream("v/made/f") as file:
        file.write(b"1")
    arrow.copy_file("v/made/f", "v/made/g")
    infos = arrow.get_file_info(pyarrow.fs.FileSelector("v/made", recursive=False))
    assert [(info.base_name, info.is_file) for info in infos] == [("below", 0), ("f", 1), ("g", 1), ("set", 0)]
    arrow.delete_dir("v/made")
    assert fs.ls("v") == []


def test_zarr_arrays_in_one_commit(fs: VolfsFileSystem, volume: volfs.Volume) -> None:
    target = zarr.storage.FsspecStore(AsyncFileSystemWrapper(fs, asynchronous=True), path="v/array")
    with fs.transaction:
        zarr.create_array(target, name="x", shape=(100, 100), chunks=(50, 50), dtype="i4", fill_value=7)
    assert commits(volume) == 1
    array = zarr.open_group(target)["x"]
    with fs.transaction:
        array[:, :60] = 3
    assert commits(volume) == 2 and int(zarr.open_group(target)["x"][:].sum()) == 3 * 6000 + 7 * 4000


def test_checkpoints_by_url(store: str, volume: volfs.Volume) -> None:
    state = {"step": 7, "weights": os.urandom(3_000_000)}
    with fsspec.open("volfs://v/run/7.pt", "wb", store=store) as file:
        pickle.dump(state, file, protocol=5)
    with fsspec.open("volfs://v/run/7.pt", store=store) as file:
        assert pickle.load(file) == state
    assert json.loads(fsspec.filesystem("volfs", store=store).to_json())["protocol"] == "volfs"
