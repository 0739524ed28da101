"""What a commit keeps of the log: segments that are worth it, and of the others only what is alive in them."""

import os
import random
from pathlib import Path

import pytest
import trio

from tests.view.faults import faulty_volume, meanwhile, nothing
from tests.view.mounted import Mounted, new_volume
from volfs.format.hashing import BLOCK_BYTES
from volfs.store.store import Store
from volfs.view import staging

MIB = 1 << 20


def packs(path: Path) -> dict[str, os.stat_result]:
    """Every pack of the store."""
    return {pack.name: pack.stat() for pack in (path / "store").glob("families/*/packs/**/*") if pack.is_file()}


async def rewrite(mounted: Mounted, path: str, times: int) -> bytes:
    """Writes half a MiB to one place, again and again; all but the last is dead."""
    for _ in range(times):
        data = os.urandom(MIB // 2)
        await mounted.write(path, data)
    return data


async def same_everywhere(mounted: Mounted, store: Store, path: Path, expected: dict[str, bytes | None]) -> None:
    """In the view itself, in a second view and in a view that goes on where the first one was killed."""
    assert await mounted.tree() == expected
    assert await Mounted(store, mounted.view.volume, path, os.urandom(4).hex()).tree() == expected
    assert await Mounted(store, mounted.view.volume, path, "one").tree() == expected


def test_a_segment_mostly_dead_is_not_kept_and_its_live_data_is_written_anew(tmp_path: Path) -> None:
    store, volume = new_volume(tmp_path)

    async def main() -> None:
        mounted = Mounted(store, volume, tmp_path, "one")
        small, large = os.urandom(1000), os.urandom(2 * BLOCK_BYTES + 77)
        await mounted.write("small", small)
        await mounted.write("large", large[:50_000])
        await mounted.write("large", large[50_000:], 50_000)
        again = await rewrite(mounted, "again", 6)
        (segment,) = mounted.view.core.staging.segments
        expected: dict[str, bytes | None] = {"small": small, "large": large, "again": again}
        before = packs(tmp_path)
        await mounted.commit()
        new = packs(tmp_path).keys() - before.keys()
        assert segment.pack.hex() not in packs(tmp_path)
        assert not segment.path.exists()
        assert sum(packs(tmp_path)[name].st_size for name in new) < len(small) + len(large) + len(again) + 50_000
        await same_everywhere(mounted, store, tmp_path, expected)

    trio.run(main)


def test_a_segment_mostly_alive_becomes_a_pack_as_it_is(tmp_path: Path) -> None:
    store, volume = new_volume(tmp_path)

    async def main() -> None:
        mounted = Mounted(store, volume, tmp_path, "one")
        large = os.urandom(3 * MIB)
        for at in range(0, len(large), BLOCK_BYTES):
            await mounted.write("large", large[at : at + BLOCK_BYTES], at)
        again = await rewrite(mounted, "again", 4)
        (segment,) = mounted.view.core.staging.segments
        inode = segment.path.stat().st_ino
        await mounted.commit()
        assert packs(tmp_path)[segment.pack.hex()].st_ino == inode
        await same_everywhere(mounted, store, tmp_path, {"large": large, "again": again})

    trio.run(main)


def test_a_file_over_its_base_keeps_the_bytes_of_both_when_its_segment_goes(tmp_path: Path) -> None:
    store, volume = new_volume(tmp_path)

    async def main() -> None:
        mounted = Mounted(store, volume, tmp_path, "one")
        content = bytearray(os.urandom(3 * BLOCK_BYTES))
        await mounted.write("f", bytes(content))
        await mounted.commit()
        random_ = random.Random(5)
        for _ in range(40):
            at, data = random_.randrange(len(content) - 3000), random_.randbytes(random_.randrange(1, 3000))
            content[at : at + len(data)] = data
            await mounted.write("f", data, at)
        again = await rewrite(mounted, "again", 6)
        (segment,) = mounted.view.core.staging.segments
        await mounted.commit()
        assert segment.pack.hex() not in packs(tmp_path)
        await same_everywhere(mounted, store, tmp_path, {"f": bytes(content), "again": again})

    trio.run(main)


def test_what_is_written_while_a_segment_is_given_up_lies_over_it(tmp_path: Path) -> None:
    backend, store, volume = faulty_volume(tmp_path)

    async def main() -> None:
        mounted = Mounted(store, volume, tmp_path, "one")
        await mounted.write("f", b"a" * 10_000)
        again = await rewrite(mounted, "again", 6)

        async def write() -> None:
            await mounted.write("f", b"b" * 5000, 2500)

        then = meanwhile(write)

        def hook(key: str) -> None:
            backend.before_put = nothing
            then()

        backend.before_put = hook
        await mounted.commit()
        content = b"a" * 2500 + b"b" * 5000 + b"a" * 2500
        assert await mounted.tree() == {"f": content, "again": again}
        assert await Mounted(store, volume, tmp_path, "two").tree() == {"f": b"a" * 10_000, "again": again}
        assert await Mounted(store, volume, tmp_path, "one").tree() == {"f": content, "again": again}

    trio.run(main)


def test_an_unlinked_file_that_is_open_keeps_its_segment(tmp_path: Path) -> None:
    store, volume = new_volume(tmp_path)

    async def main() -> None:
        mounted = Mounted(store, volume, tmp_path, "one")
        content = os.urandom(BLOCK_BYTES + 99)
        await mounted.write("open", content)
        ino = await mounted.open("open")
        again = await rewrite(mounted, "again", 6)
        (segment,) = mounted.view.core.staging.segments
        await mounted.unlink("open")
        await mounted.commit()
        assert segment.pack.hex() in packs(tmp_path)
        assert await mounted.read_open(ino) == content
        again = await rewrite(mounted, "again", 2)
        await mounted.commit()
        assert await mounted.read_open(ino) == content
        mounted.close(ino)
        mounted.forget(ino)
        await same_everywhere(mounted, store, tmp_path, {"again": again})

    trio.run(main)


@pytest.mark.parametrize("hard_link", [False, True])
def test_an_unlinked_file_that_is_open_reads_on_from_its_base_after_commits(tmp_path: Path, hard_link: bool) -> None:
    store, volume = new_volume(tmp_path)

    async def main() -> None:
        mounted = Mounted(store, volume, tmp_path, "one")
        content = os.urandom(BLOCK_BYTES + 99)
        await mounted.write("open", content)
        if hard_link:
            await mounted.link("open", "other")
        await mounted.commit()
        ino = await mounted.open("open")
        await mounted.unlink("open")
        if hard_link:
            await mounted.unlink("other")
        for i in range(3):
            await mounted.write(f"f{i}", b"x")
            await mounted.commit()
            assert await mounted.read_open(ino) == content
        await mounted.do(lambda: mounted.view.files.write(ino, 10, b"over"))
        await mounted.commit()
        assert await mounted.read_open(ino) == content[:10] + b"over" + content[14:]
        mounted.close(ino)
        mounted.forget(ino)
        await mounted.commit()
        await same_everywhere(mounted, store, tmp_path, {f"f{i}": b"x" for i in range(3)})
        assert ino not in mounted.view.core.inodes.live

    trio.run(main)


def test_a_file_removed_while_it_is_committed_is_in_that_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "SEGMENT_BYTES", 100_000)  # its data fills segments in which nothing else lies
    backend, store, volume = faulty_volume(tmp_path)

    async def main() -> None:
        mounted = Mounted(store, volume, tmp_path, "one")
        content = os.urandom(2 * BLOCK_BYTES)
        await mounted.write("goes", content)
        await mounted.write("stays", b"stays")
        assert len(mounted.view.core.staging.segments) > 1

        async def remove() -> None:
            ino = await mounted.find("goes")
            await mounted.unlink("goes")
            mounted.forget(ino)

        then = meanwhile(remove)

        def hook(key: str) -> None:
            backend.before_get = nothing
            then()

        backend.before_get = hook  # the tree is built, no pack is made yet
        await mounted.commit()
        assert await mounted.tree() == {"stays": b"stays"}
        assert await Mounted(store, volume, tmp_path, "two").tree() == {"goes": content, "stays": b"stays"}
        assert await Mounted(store, volume, tmp_path, "one").tree() == {"stays": b"stays"}

    trio.run(main)
