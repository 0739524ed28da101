"""What an fsync promises, when fsyncs fail and when a loss of power leaves a part of the log."""

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from tests.view.faults import faulty_volume
from tests.view.mounted import Mounted, new_volume
from volfs.store.local import Local
from volfs.view import reload as reloading
from volfs.view import staging
from volfs.view.reload import Kernel, reload
from volfs.view.segments import Segment

KERNEL = Kernel(lambda: None, list, lambda changes: None, lambda paths: None)


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "SEGMENT_BYTES", 4000)


def written(monkeypatch: pytest.MonkeyPatch, segment: Segment) -> list[tuple[int, int]]:
    """The (offset, length) that are written to this segment from now on."""
    ranges: list[tuple[int, int]] = []
    pwrite, inode = os.pwrite, os.fstat(segment.fd).st_ino

    def spy(fd: int, data: bytes, offset: int) -> int:
        done = pwrite(fd, data, offset)
        if os.fstat(fd).st_ino == inode:
            ranges.append((offset, done))
        return done

    monkeypatch.setattr(os, "pwrite", spy)
    return ranges


def failing(monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    """The next fdatasync fails, and as on Linux none after it."""
    fdatasync = os.fdatasync

    def once(fd: int) -> None:
        monkeypatch.setattr(os, "fdatasync", fdatasync)
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "fdatasync", once)


def test_what_an_fsync_could_not_write_is_written_again_before_the_next_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, volume = new_volume(tmp_path)

    async def main() -> None:
        mounted = Mounted(store, volume, tmp_path, "one")
        await mounted.write("durable", os.urandom(5000))
        await mounted.view.fsync()
        content = os.urandom(200_000)
        await mounted.write("f", content)
        (segment,) = mounted.view.core.staging.segments
        before = segment.synced
        failing(monkeypatch, errno.EIO)
        with pytest.raises(OSError, match="Input/output"):
            await mounted.view.fsync()
        assert segment.synced == before
        size = segment.size
        ranges = written(monkeypatch, segment)
        await mounted.view.fsync()
        again = sorted(each for each in ranges if each[0] < size)
        assert again[0][0] == before and sum(length for _, length in again) == size - before
        assert await mounted.read("f") == content

    trio.run(main)


def test_a_commit_fails_when_what_an_fsync_could_not_write_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, volume = new_volume(tmp_path)

    async def main() -> None:
        mounted = Mounted(store, volume, tmp_path, "one")
        await mounted.write("f", os.urandom(50_000))
        (segment,) = mounted.view.core.staging.segments
        failing(monkeypatch, errno.EIO)
        with pytest.raises(OSError, match="Input/output"):
            await mounted.view.fsync()
        os.pwrite(segment.fd, bytes(1000), segment.size - 1000)  # the page was dropped, and read back from the disk
        for _ in range(2):
            with pytest.raises(OSError, match="an earlier fsync could not write"):
                await mounted.view.fsync()
            with pytest.raises(OSError, match="an earlier fsync could not write"):
                await mounted.commit()
        assert mounted.view.target.commits.latest() is None

    trio.run(main)


def test_the_end_of_the_log_is_durable_before_its_commit_can_come_to_be(tmp_path: Path) -> None:
    """Also where it is not worth keeping, and becomes no pack."""
    backend, store, volume = faulty_volume(tmp_path)

    async def main() -> None:
        mounted = Mounted(store, volume, tmp_path, "one")
        for _ in range(3):
            await mounted.write("f", os.urandom(1 << 20))
        (segment,) = mounted.view.core.staging.segments
        ends: list[tuple[int, int]] = []
        backend.before_put = lambda key: ends.append((segment.synced, segment.size))
        await mounted.commit()
        record = mounted.view.target.commits.latest()
        assert record is not None and segment.pack not in record.packs
        assert [synced == size for synced, size in ends] == [True]

    trio.run(main)


def test_of_two_fsyncs_at_once_none_succeeds_by_the_failure_of_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, volume = new_volume(tmp_path)
    waiting, go_on = threading.Event(), threading.Event()
    fdatasync = os.fdatasync
    calls: list[int] = []

    def slow(fd: int) -> None:
        calls.append(fd)
        if len(calls) > 1:
            fdatasync(fd)
            return
        waiting.set()
        go_on.wait()
        raise OSError(errno.EIO, "lost")

    async def main() -> None:
        mounted = Mounted(store, volume, tmp_path, "one")
        await mounted.write("f", os.urandom(50_000))
        (segment,) = mounted.view.core.staging.segments
        monkeypatch.setattr(os, "fdatasync", slow)
        ranges = written(monkeypatch, segment)
        failures: list[OSError] = []

        def sync() -> None:
            try:
                segment.sync(mounted.view.target.digest)
            except OSError as error:
                failures.append(error)

        threads = [threading.Thread(target=sync) for _ in range(2)]
        threads[0].start()
        waiting.wait()
        threads[1].start()
        go_on.set()
        for thread in threads:
            thread.join()
        assert len(failures) == 1 and segment.synced == segment.size
        assert sum(length for _, length in ranges) == segment.size

    trio.run(main)


def test_after_a_resume_what_was_not_durable_is_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, volume = new_volume(tmp_path)

    async def main() -> None:
        mounted = Mounted(store, volume, tmp_path, "one")
        await mounted.write("durable", os.urandom(50_000))
        await mounted.view.fsync()
        durable = mounted.view.core.staging.segments[0].synced
        await mounted.write("f", os.urandom(20_000))
        mounted = Mounted(store, volume, tmp_path, "one")
        (segment,) = mounted.view.core.staging.segments
        assert segment.synced == durable
        size = segment.size
        ranges = written(monkeypatch, segment)
        await mounted.write("more", b"more")
        await mounted.view.fsync()
        assert ranges == [(durable, size - durable)]

    trio.run(main)


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_behind_a_segment_that_is_missing_nothing_is_replayed(
    missing: int, tmp_path: Path, small_segments: None
) -> None:
    store, volume = new_volume(tmp_path)

    async def main() -> None:
        mounted = Mounted(store, volume, tmp_path, "one")
        for i in range(5):
            await mounted.write(f"f{i}", bytes([i]) * 4000)
        mounted.view.core.staging.segments[missing].path.unlink()  # nothing was synced: its name may be lost
        expected: dict[str, bytes | None] = {f"f{i}": bytes([i]) * 4000 for i in range(missing)}
        mounted = Mounted(store, volume, tmp_path, "one")
        assert await mounted.tree() == expected
        await mounted.write("after", b"after" * 1000)
        await mounted.write("again", b"again" * 1000)
        expected |= {"after": b"after" * 1000, "again": b"again" * 1000}
        for _ in range(2):
            mounted = Mounted(store, volume, tmp_path, "one")
            assert await mounted.tree() == expected
        await mounted.commit()
        assert await Mounted(store, volume, tmp_path, "two").tree() == expected

    trio.run(main)


@pytest.mark.parametrize("back", [0, 1, 2])
def test_segments_that_come_back_after_their_commit_are_not_replayed(
    back: int, tmp_path: Path, small_segments: None
) -> None:
    store, volume = new_volume(tmp_path)

    async def main() -> None:
        mounted = Mounted(store, volume, tmp_path, "one")
        for i in range(3):
            await mounted.write(f"f{i}", bytes([i]) * 4000)
        await mounted.rename("f0", "other")
        segment = mounted.view.core.staging.segments[back]
        lost = segment.path.read_bytes()
        await mounted.commit()
        await mounted.write("new", b"new")
        expected = await mounted.tree()
        segment.path.write_bytes(lost)  # its removal was not durable yet
        for _ in range(2):
            mounted = Mounted(store, volume, tmp_path, "one")
            assert await mounted.tree() == expected
        assert not segment.path.exists()

    trio.run(main)


def test_a_torn_tail_stays_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that came back would end the log in front of what is durable by then."""
    store, volume = new_volume(tmp_path)
    calls: list[str] = []

    def spied(name: str) -> Callable[..., None]:
        call = getattr(os, name)

        def spy(*arguments: int) -> None:
            calls.append(name)
            call(*arguments)

        return spy

    async def main() -> None:
        mounted = Mounted(store, volume, tmp_path, "one")
        await mounted.write("f", b"f" * 500)
        with open(mounted.view.core.staging.segments[0].path, "ab") as file:
            file.write(b"torn")
        for name in ("ftruncate", "fdatasync"):
            monkeypatch.setattr(os, name, spied(name))
        mounted = Mounted(store, volume, tmp_path, "one")
        assert calls == ["ftruncate", "fdatasync"]
        assert await mounted.tree() == {"f": b"f" * 500}

    trio.run(main)


def test_a_pack_that_has_its_name_already_is_made_durable_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _ = new_volume(tmp_path)
    assert isinstance(store.backend, Local)
    path = tmp_path / "store" / "incoming"
    path.mkdir(exist_ok=True)
    (path / "pack").write_bytes(b"pack")
    store.backend.adopt(path / "pack", "families/f/packs/p")
    synced: list[str] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(os.readlink(f"/proc/self/fd/{fd}")), fsync(fd)))
    store.backend.adopt(path / "pack", "families/f/packs/p")  # after one who was killed before the fsync
    assert synced == [f"{store.backend.root}/families/f/packs"]


def test_a_reload_has_its_base_on_disk_before_a_change_is_made_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, volume = new_volume(tmp_path)
    save_base = reloading.save_base

    async def main() -> None:
        mounted = Mounted(store, volume, tmp_path, "one")
        other = Mounted(store, volume, tmp_path, "two")
        await other.write("theirs", b"theirs")
        await other.commit()
        main_thread = threading.get_ident()
        seen: list[tuple[int, bool, int]] = []

        def spy(path: Path, base: reloading.Base) -> None:
            view = mounted.view
            seen.append((view.base.seq, threading.get_ident() == main_thread, len(view.core.staging.segments)))
            save_base(path, base)

        monkeypatch.setattr(reloading, "save_base", spy)
        await reload(mounted.view, KERNEL, discard=False)
        # While the old tree is shown, the log empty, and no request can come in between.
        assert seen == [(0, True, 0)]
        assert await mounted.tree() == {"theirs": b"theirs"}

    trio.run(main)
