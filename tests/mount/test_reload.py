"""What the kernel has cached is gone when a reload returns, and nobody waits for ever meanwhile."""

import errno
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.conftest import Host

STORES = ("file", "s3")


def state(path: Path) -> tuple[object, ...]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_mode, found.st_nlink, path.read_bytes()


def two(host: Host) -> tuple[Path, Path]:
    return host.mount("one"), host.mount("two")


def carry(host: Host, one: Path, other: Path) -> None:
    host.run("commit", one)
    host.run("reload", other)


def test_sizes_times_and_bytes_are_the_new_ones_under_every_name(host: Host) -> None:
    one, other = two(host)
    (one / "d").mkdir()
    for name in ("grown", "cut", "mode", "d/inner", "linked"):
        (one / name).write_bytes(name.encode() * 1000)
    os.link(one / "linked", one / "d" / "second")
    carry(host, one, other)
    names = ("grown", "cut", "mode", "d/inner", "linked", "d/second")
    assert [state(other / name) for name in names] == [state(one / name) for name in names]
    with open(other / "grown", "ab") as file:  # the kernel has written to it, and keeps its own size and times
        file.write(b"local")
    carry(host, other, one)
    assert state(one / "grown") == state(other / "grown")
    (one / "grown").write_bytes(b"g" * 9000)
    os.truncate(one / "cut", 3)
    os.chmod(one / "mode", 0o600)
    (one / "d" / "inner").write_bytes(b"i")
    (one / "d" / "second").write_bytes(b"through the second name")
    carry(host, one, other)
    assert [state(other / name) for name in names] == [state(one / name) for name in names]


def test_names_made_by_link_and_rename_in_the_view_itself_are_followed(host: Host) -> None:
    one, other = two(host)
    (one / "f").write_bytes(b"first")
    carry(host, one, other)
    assert (other / "f").read_bytes() == b"first"
    os.link(other / "f", other / "g")
    os.rename(other / "g", other / "h")
    carry(host, other, one)
    assert (one / "h").read_bytes() == b"first"
    (one / "f").write_bytes(b"second, longer")
    carry(host, one, other)
    assert state(other / "f") == state(other / "h") == state(one / "f")


def test_a_discarding_reload_shows_the_old_sizes_again(host: Host) -> None:
    one, other = two(host)
    (one / "f").write_bytes(b"kept")
    carry(host, one, other)
    before = state(other / "f")
    (other / "f").write_bytes(b"thrown away soon")
    os.rename(other / "f", other / "moved")
    host.run("reload", other, "--discard")
    assert state(other / "f") == before
    assert os.listdir(other) == ["f"]


def test_absent_names_and_listings_are_told_anew(host: Host) -> None:
    one, other = two(host)
    assert not (other / "new").exists()
    (one / "new").mkdir()
    (one / "new" / "x").write_bytes(b"x")
    carry(host, one, other)
    assert os.listdir(other / "new") == ["x"]
    (one / "new" / "x").unlink()
    (one / "new").rmdir()
    (one / "new").write_bytes(b"a file now")
    carry(host, one, other)
    assert (other / "new").read_bytes() == b"a file now"


def test_a_working_directory_that_moved_has_its_new_path(host: Host) -> None:
    one, other = two(host)
    (one / "a" / "b").mkdir(parents=True)
    carry(host, one, other)
    script = "import os, sys; os.chdir(sys.argv[1]); print(flush=True); input(); print(os.getcwd(), flush=True)"
    command = [sys.executable, "-c", script, str(other / "a" / "b")]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdin and child.stdout
    child.stdout.readline()
    os.rename(one / "a", one / "moved")
    carry(host, one, other)
    child.stdin.write("\n")
    child.stdin.flush()
    assert child.stdout.readline().strip() == str(other / "moved" / "b")
    child.communicate("\n")


@pytest.mark.slow
def test_reloads_under_lookups_creates_and_syncs_neither_deadlock_nor_mix(host: Host) -> None:
    """A file's length tells its content: every reader sees one state or the other."""
    one, other = two(host)
    (one / "d").mkdir()
    carry(host, one, other)
    done = threading.Event()
    seen: list[str] = []

    def reading() -> None:
        while not done.is_set():
            try:
                with open(other / "d" / "f", "rb") as file:
                    size = os.fstat(file.fileno()).st_size
                    data = file.read()
            except FileNotFoundError:
                continue
            if len(data) != size or data != bytes([size % 251]) * size:
                seen.append(f"{size} bytes by stat, {len(data)} read, begins {data[:4]!r}")

    def making() -> None:
        i = 0
        while not done.is_set():
            i += 1
            path = other / "d" / f"made-{i % 7}"
            try:
                path.write_bytes(b"made")
                path.unlink()
                (other / f"top-{i % 3}").mkdir()
                (other / f"top-{i % 3}").rmdir()
            except (FileNotFoundError, FileExistsError):  # what a reload took or brought meanwhile
                continue

    def syncing() -> None:
        while not done.is_set():
            subprocess.run(["sync", str(other)], check=True)
            fd = os.open(other / "d", os.O_RDONLY)
            os.fsync(fd)
            os.close(fd)

    threads = [threading.Thread(target=call) for call in (reading, making, syncing)]
    for thread in threads:
        thread.start()
    moved = 0
    try:
        for i in range(60 if host.url.startswith("file:") else 12):
            size = 1000 + 977 * i
            (one / "d" / "f").write_bytes(bytes([size % 251]) * size)
            (one / "d" / f"more-{i}").write_bytes(b"")
            host.run("commit", one)
            moved += host.run("reload", other, check=None).returncode == 0
    finally:
        done.set()
        for thread in threads:
            thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert not seen
    assert moved > 0
    host.run("reload", other)
    assert (other / "d" / "f").stat().st_size == size


@pytest.mark.slow
def test_very_many_changed_names_are_looked_up_again(host: Host) -> None:
    one, other = two(host)
    for name in ("d", "e"):
        (one / name).mkdir()
    (one / "e" / "f").write_bytes(b"f")
    carry(host, one, other)
    with pytest.raises(OSError) as caught:
        os.stat(other / "d" / "31")
    assert caught.value.errno == errno.ENOENT
    assert (other / "e" / "f").stat().st_size == 1
    for i in range(51_000):
        os.symlink("nowhere", one / "d" / str(i))
    (one / "e" / "f").write_bytes(b"longer")
    carry(host, one, other)
    assert os.readlink(other / "d" / "31") == "nowhere"
    assert (other / "e" / "f").stat().st_size == 6
    assert len(os.listdir(other / "d")) == 51_000


def test_a_reload_that_brings_in_the_others_part_of_the_own_commit_says_so(host: Host) -> None:
    one, two = host.mount("one"), host.mount("two")
    (one / "f").write_text("1")
    host.run("commit", one)
    (two / "g").write_text("2")
    host.run("commit", two)
    assert host.run("reload", two).stdout == "at commit 2: 1 path changed\n"
    assert host.run("reload", two).stdout == "at commit 2: nothing new\n"


def test_an_in_band_reload_that_discarded_says_how_much_when_it_is_asked_again(host: Host) -> None:
    point = host.mount()
    (point / "f").write_text("1")
    first, second = (json.loads(os.getxattr(point, "user.volfs.reload.discard")) for _ in range(2))
    assert first == second and first["discarded_files"] > 0
    assert os.listdir(point) == []


@pytest.mark.parametrize("discard", [False, True])
def test_a_sub_path_that_another_made_meanwhile_shows_what_is_in_it(host: Host, discard: bool) -> None:
    one, other = host.mount("one"), host.mount("other", "--sub-path", "new")
    assert not (other / "f").exists() and os.listdir(other) == []
    if discard:
        (other / "mine").write_text("dropped")
    (one / "new").mkdir()
    (one / "new" / "f").write_text("f")
    host.run("commit", one)
    host.run("reload", other, *(["--discard"] if discard else []))
    assert (other / "f").read_text() == "f"
    assert not (other / "mine").exists() and os.listdir(other) == ["f"]
    assert host.run("umount", other).stdout == ""


def test_a_discarded_sub_path_of_the_view_alone_is_empty_and_usable(host: Host) -> None:
    point = host.mount("m", "--sub-path", "new")
    (point / "f").write_text("dropped")
    host.run("reload", point, "--discard")
    assert not (point / "f").exists() and os.listdir(point) == []
    (point / "g").write_text("g")
    assert "1 file" in host.run("commit", point).stdout
