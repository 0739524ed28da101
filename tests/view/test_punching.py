"""Space of the log that nothing needs is given back, and no byte of what is needed with it."""

import errno
import os
import random
from itertools import pairwise
from pathlib import Path

import pytest
import trio

from tests.view.mounted import Mounted, new_volume
from volfs.format import segment as format_segment
from volfs.format.hashing import BLOCK_BYTES
from volfs.format.segment import Dead
from volfs.view import staging
from volfs.view.segments import Segment

MIB = 1 << 20


def allocated(segment: Segment) -> int:
    return segment.path.stat().st_blocks * 512


def dead_ranges(segment: Segment) -> set[tuple[int, int]]:
    """What the log says of this segment, as long as it is the only one."""
    return {
        place
        for placed in segment.scan()
        if isinstance(placed.record, Dead) and placed.record.number == segment.number
        for place in placed.record.ranges
    }


async def punch(mounted: Mounted) -> None:
    """What the daemon's housekeeping does."""
    mounted.view.core.staging.punch()
    await mounted.view.fsync()
    mounted.view.core.staging.punch()


async def fill(mounted: Mounted) -> dict[str, bytes | None]:
    """6 MiB that are overwritten in full, in part, or removed, between others that stay."""
    random_ = random.Random(3)
    for i in range(20):
        await mounted.write(f"stays{i}", random_.randbytes(3000 + i))
        await mounted.write("over", random_.randbytes(BLOCK_BYTES), i * BLOCK_BYTES)
        await mounted.write("cut", random_.randbytes(BLOCK_BYTES), i * BLOCK_BYTES)
        await mounted.write("part", random_.randbytes(BLOCK_BYTES), i * BLOCK_BYTES)
        await mounted.write("gone", random_.randbytes(BLOCK_BYTES), i * BLOCK_BYTES)
    for i in range(20):
        await mounted.write("over", random_.randbytes(BLOCK_BYTES), i * BLOCK_BYTES)
        await mounted.write("part", random_.randbytes(BLOCK_BYTES // 2), i * BLOCK_BYTES)
    await mounted.truncate("cut", 3 * BLOCK_BYTES + 5)
    ino = await mounted.find("gone")
    await mounted.unlink("gone")
    mounted.forget(ino)
    return await mounted.tree()


def test_space_is_given_back_and_content_and_replay_are_right(tmp_path: Path) -> None:
    store, volume = new_volume(tmp_path)

    async def main() -> None:
        mounted = Mounted(store, volume, tmp_path, "one")
        expected = await fill(mounted)
        (segment,) = mounted.view.core.staging.segments
        before = allocated(segment)
        await punch(mounted)
        assert before - allocated(segment) > 5 * MIB
        assert await mounted.tree() == expected
        for _ in range(2):
            mounted = Mounted(store, volume, tmp_path, "one")
            assert await mounted.tree() == expected
            await mounted.write("over", b"x", 7)
            over = expected["over"]
            assert over is not None
            expected["over"] = over[:7] + b"x" + over[8:]
            await punch(mounted)
            assert await mounted.tree() == expected
        await mounted.commit()
        assert await mounted.tree() == expected
        assert await Mounted(store, volume, tmp_path, "two").tree() == expected

    trio.run(main)


def test_a_replay_is_right_when_the_log_names_dead_ranges_that_were_not_punched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, volume = new_volume(tmp_path)

    async def main() -> None:
        mounted = Mounted(store, volume, tmp_path, "one")
        expected = await fill(mounted)
        (segment,) = mounted.view.core.staging.segments
        before = allocated(segment)
        with monkeypatch.context() as patched:
            patched.setattr(Segment, "punch", lambda *arguments: None)
            await punch(mounted)
        assert dead_ranges(segment)
        assert allocated(segment) >= before
        mounted = Mounted(store, volume, tmp_path, "one")
        assert await mounted.tree() == expected
        await punch(mounted)
        (segment, *_) = mounted.view.core.staging.segments
        assert before - allocated(segment) > 5 * MIB  # it is made up for
        assert await Mounted(store, volume, tmp_path, "one").tree() == expected

    trio.run(main)


def test_nothing_is_punched_that_the_log_on_the_disk_does_not_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, volume = new_volume(tmp_path)
    punched: list[tuple[int, int]] = []

    def spy(segment: Segment, position: int, length: int) -> None:
        named = sorted(dead_ranges(segment))
        inside = [(at, n) for at, n in named if position < at + n and at < position + length]
        assert inside and inside[0][0] <= position
        assert inside[-1][0] + inside[-1][1] >= position + length
        assert all(a + n == b for (a, n), (b, _) in pairwise(inside))
        last = [placed.end for placed in segment.scan() if isinstance(placed.record, Dead)][-1]
        assert segment.synced >= last
        punched.append((position, length))

    monkeypatch.setattr(Segment, "punch", spy)

    async def main() -> None:
        mounted = Mounted(store, volume, tmp_path, "one")
        await fill(mounted)
        mounted.view.core.staging.punch()
        assert not punched
        await punch(mounted)
        assert punched

    trio.run(main)


def test_what_was_synced_survives_a_loss_of_power_after_its_space_would_have_been_given_back(tmp_path: Path) -> None:
    store, volume = new_volume(tmp_path)

    async def main() -> None:
        mounted = Mounted(store, volume, tmp_path, "one")
        old = os.urandom(6 * MIB)
        for at in range(0, len(old), BLOCK_BYTES):
            await mounted.write("f", old[at : at + BLOCK_BYTES], at)
        await mounted.view.fsync()
        (segment,) = mounted.view.core.staging.segments
        durable = segment.synced
        for at in range(0, len(old), BLOCK_BYTES):
            await mounted.write("f", bytes(BLOCK_BYTES), at)
        mounted.view.core.staging.punch()
        with open(segment.path, "r+b") as file:  # what was appended since the fsync is gone
            file.truncate(durable)
        assert await Mounted(store, volume, tmp_path, "one").tree() == {"f": old}

    trio.run(main)


def test_nothing_is_punched_while_a_full_disk_does_not_take_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, volume = new_volume(tmp_path)

    async def main() -> None:
        mounted = Mounted(store, volume, tmp_path, "one")
        expected = await fill(mounted)
        (segment,) = mounted.view.core.staging.segments
        before = allocated(segment)

        def full(*arguments: object) -> None:
            raise OSError(errno.ENOSPC, "full")

        with monkeypatch.context() as patched:
            patched.setattr(Segment, "append", full)
            with pytest.raises(OSError, match="full"):
                mounted.view.core.staging.punch()
        assert allocated(segment) >= before
        await punch(mounted)
        assert before - allocated(segment) > 5 * MIB
        assert await mounted.tree() == expected

    trio.run(main)


@pytest.mark.parametrize("seed", range(6))
def test_a_view_follows_a_model_while_space_is_given_back(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "_PUNCH_BYTES", 1)
    monkeypatch.setattr(staging, "SEGMENT_BYTES", 300_000)
    store, volume = new_volume(tmp_path)
    random_ = random.Random(seed)

    async def main() -> None:
        mounted = Mounted(store, volume, tmp_path, "one")
        expected: dict[str, bytes | None] = {}
        for step in range(150):
            name = random_.choice("abcd")
            old = expected.get(name) or b""
            verb = random_.randrange(10)
            if verb < 6:
                at = random_.choice((0, 5000, BLOCK_BYTES - 9, random_.randrange(2 * BLOCK_BYTES)))
                data = random_.randbytes(random_.choice((10, 4096, 20_000, BLOCK_BYTES)))
                await mounted.write(name, data, at)
                expected[name] = old[:at].ljust(at, b"\0") + data + old[at + len(data) :]
            elif verb == 6 and name in expected:
                size = random_.randrange(2 * BLOCK_BYTES)
                await mounted.truncate(name, size)
                expected[name] = old[:size].ljust(size, b"\0")
            elif verb == 7 and name in expected:
                ino = await mounted.find(name)
                await mounted.unlink(name)
                mounted.forget(ino)
                del expected[name]
            elif verb == 8:
                await punch(mounted)
            elif step % 3 == 0:
                await mounted.commit()
            if random_.random() < 0.2:
                mounted = Mounted(store, volume, tmp_path, "one")
                assert await mounted.tree() == expected
        assert await mounted.tree() == expected
        await mounted.commit()
        assert await Mounted(store, volume, tmp_path, "two").tree() == expected

    trio.run(main)


def test_many_small_dead_writes_do_not_end_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "_PUNCH_BYTES", 60_000)  # as 200,000 writes with the true bounds
    monkeypatch.setattr(format_segment, "MAX_META_BYTES", 10_000)
    store, volume = new_volume(tmp_path)

    async def main() -> None:
        mounted = Mounted(store, volume, tmp_path, "one")
        for i in range(3000):
            await mounted.write("small", b"%030d" % i)
        await punch(mounted)
        await mounted.write("after", b"after")
        assert await Mounted(store, volume, tmp_path, "one").tree() == {"small": b"%030d" % 2999, "after": b"after"}

    trio.run(main)
