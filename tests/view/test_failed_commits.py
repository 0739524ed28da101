"""A commit that fails leaves the view as it was, with all that happened meanwhile; the next one has everything."""

import errno
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from tests.view.faults import faulty_volume, meanwhile, nothing
from tests.view.mounted import Mounted
from tests.view.test_model import Model, change
from volfs.exception import ServiceError
from volfs.format.hashing import BLOCK_BYTES
from volfs.store import durable
from volfs.store.commits import Commits
from volfs.view import opening, staging, view

ERRORS = [OSError(errno.ENOSPC, "full"), OSError(errno.EIO, "broken"), ServiceError("the store does not answer")]


def failing(error: Exception) -> Callable[[str], None]:
    def hook(key: str) -> None:
        raise error

    return hook


async def fails(mounted: Mounted) -> None:
    with pytest.raises((OSError, ServiceError)):
        await mounted.commit()


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("where", ["before_put", "before_adopt", "before_get"])
@pytest.mark.parametrize("killed", [False, True])
def test_the_next_commit_has_what_was_written_before_and_during_one_that_failed(
    error: Exception, where: str, killed: bool, tmp_path: Path
) -> None:
    backend, store, volume = faulty_volume(tmp_path)

    async def main() -> None:
        mounted = Mounted(store, volume, tmp_path, "one")
        old = os.urandom(2 * BLOCK_BYTES)
        for name in ("over", "cut", "gone", "moved", "hard"):
            await mounted.write(name, old)
        await mounted.mkdir("d")
        await mounted.commit()
        for name in ("over", "cut", "gone", "moved"):
            await mounted.write(name, b"staged", 1000)
        await mounted.link("hard", "hard2")
        await mounted.write("new", b"new")
        await mounted.write("new and gone", b"new")
        await mounted.write("d/x", b"x")

        async def changes() -> None:
            await mounted.write("over", b"meanwhile", 1003)
            await mounted.write("new", b"er", 3)
            await mounted.truncate("cut", 1002)
            await mounted.truncate("cut", 1010)
            for name in ("gone", "new and gone"):
                ino = await mounted.find(name)
                await mounted.unlink(name)
                mounted.forget(ino)
            await mounted.rename("moved", "d/moved")
            await mounted.rename("d/x", "x")
            await mounted.unlink("hard")
            await mounted.write("d/y", b"y")

        then = meanwhile(changes)

        def hook(key: str) -> None:
            setattr(backend, where, nothing)
            then()
            raise error

        setattr(backend, where, hook)
        staged = old[:1000] + b"staged" + old[1006:]
        expected: dict[str, bytes | None] = {
            "over": old[:1000] + b"stameanwhile" + old[1012:],
            "cut": old[:1000] + b"st" + bytes(8),
            "d": None,
            "d/moved": staged,
            "d/y": b"y",
            "hard2": old,
            "new": b"newer",
            "x": b"x",
        }
        await fails(mounted)
        assert await mounted.tree() == expected
        before = dict.fromkeys(("over", "cut", "gone", "moved", "hard"), old) | {"d": None}
        assert await Mounted(store, volume, tmp_path, "before").tree() == before
        if killed:
            mounted = Mounted(store, volume, tmp_path, "one")
            assert await mounted.tree() == expected
        assert await mounted.commit() == 2
        assert await mounted.tree() == expected
        assert await Mounted(store, volume, tmp_path, "two").tree() == expected
        assert await Mounted(store, volume, tmp_path, "one").tree() == expected
        assert await mounted.commit() is None

    trio.run(main)


def test_a_view_goes_on_after_many_failed_commits(tmp_path: Path) -> None:
    backend, store, volume = faulty_volume(tmp_path)

    async def main() -> None:
        mounted = Mounted(store, volume, tmp_path, "one")
        expected: dict[str, bytes | None] = {}
        for i in range(6):
            backend.before_put = failing(ERRORS[i % 3])
            await mounted.write(f"f{i}", b"%d" % i)
            await mounted.write("all", b"%d" % i, i)
            await fails(mounted)
            expected |= {f"f{i}": b"%d" % i, "all": bytes(range(48, 49 + i))}
            assert await mounted.tree() == expected
        backend.before_put = nothing
        assert await mounted.commit() == 1
        assert await Mounted(store, volume, tmp_path, "two").tree() == expected
        assert not mounted.view.core.staging.segments

    trio.run(main)


@pytest.mark.parametrize("killed", [False, True])
def test_a_commit_whose_answer_is_lost_is_made_once(killed: bool, tmp_path: Path) -> None:
    backend, store, volume = faulty_volume(tmp_path)

    async def main() -> None:
        mounted = Mounted(store, volume, tmp_path, "one")
        await mounted.mkdir("d")
        await mounted.write("d/f", b"first")
        await mounted.write("hard", b"hard")
        await mounted.link("hard", "d/hard")
        backend.after_put = failing(ERRORS[2])
        await fails(mounted)
        backend.after_put = nothing
        await mounted.write("d/f", b"second")
        await mounted.write("d/g", b"g")
        expected: dict[str, bytes | None] = {
            "d": None,
            "d/f": b"second",
            "d/g": b"g",
            "d/hard": b"hard",
            "hard": b"hard",
        }
        if killed:
            mounted = Mounted(store, volume, tmp_path, "one")
        assert await mounted.tree() == expected
        report = await mounted.view.commit("", lambda: None)
        assert (report.seq, report.lines) == (2, ())
        assert await mounted.tree() == expected
        two = Mounted(store, volume, tmp_path, "two")
        assert await two.tree() == expected
        assert (await two.do(lambda: two.view.names.lookup(two.view.root_ino, b"hard"))).nlink == 2
        assert await mounted.commit() is None

    trio.run(main)


@pytest.mark.parametrize("killed", [False, True])
def test_a_commit_that_is_called_again_because_its_answer_is_lost_is_the_one_that_came_to_be(
    killed: bool, tmp_path: Path
) -> None:
    backend, store, volume = faulty_volume(tmp_path)

    async def main() -> None:
        mounted = Mounted(store, volume, tmp_path, "one")
        await mounted.mkdir("d")
        await mounted.write("d/f", b"first")
        await mounted.write("d/f", b"small pieces", 300_000)  # coalesced by the commit, into a pack of its own
        await mounted.write("hard", b"hard")
        await mounted.link("hard", "d/hard")
        expected = await mounted.tree()
        backend.after_put = failing(ERRORS[2])
        await fails(mounted)
        backend.after_put = nothing
        backend.before_get = failing(ERRORS[2])  # called while the store is still away
        await fails(mounted)
        backend.before_get = nothing
        if killed:
            mounted = Mounted(store, volume, tmp_path, "one")
        assert await mounted.commit() == (None if killed else 1)
        assert [record.seq for record in Commits(backend, volume.id).history()] == [1]
        assert await mounted.tree() == expected
        assert await mounted.commit() is None
        await mounted.write("d/f", b"!", 5)
        await mounted.rename("d", "e")
        assert await mounted.commit() == 2
        two = await Mounted(store, volume, tmp_path, "two").tree()
        assert two == await mounted.tree() and two["e/f"] is not None and two["e/f"].startswith(b"first!")

    trio.run(main)


@pytest.mark.parametrize("others", [False, True])
@pytest.mark.parametrize("when", ["at once", "before the put", "before the last look"])
@pytest.mark.parametrize("killed", [False, True])
def test_what_was_undone_since_a_commit_that_arrives_late_stays_undone(
    killed: bool, when: str, others: bool, tmp_path: Path
) -> None:
    backend, store, volume = faulty_volume(tmp_path)

    async def main() -> None:
        mounted = Mounted(store, volume, tmp_path, "one")
        await mounted.mkdir("d")
        await mounted.write("d/kept", b"kept")
        await mounted.write("d/over", b"old")
        assert await mounted.commit() == 1
        await mounted.write("d/new", b"new")
        await mounted.write("d/new and kept", b"new")
        await mounted.write("d/over", b"first")
        await mounted.unlink("d/kept")
        backend.holds_puts = True
        await fails(mounted)
        backend.holds_puts = False
        if killed:
            mounted = Mounted(store, volume, tmp_path, "one")
        await mounted.unlink("d/new")
        await mounted.write("d/kept", b"again")
        await mounted.write("d/over", b"second")
        expected: dict[str, bytes | None] = {
            "d": None,
            "d/kept": b"again",
            "d/new and kept": b"new",
            "d/over": b"second",
        }
        assert await mounted.tree() == expected

        async def arrive() -> None:
            backend.land()
            if others:
                other = Mounted(store, volume, tmp_path, "other")
                await other.write("d/other", b"other")
                await other.write("d/new", b"also changed", 3)
                assert await other.commit() == 3

        hook = meanwhile(arrive)
        looks = 0

        def look(key: str) -> None:
            nonlocal looks
            looks += 1
            if when == "before the put" or looks == 2:
                backend.before_put = backend.before_get = nothing
                hook()

        if when == "at once":
            await arrive()
        elif when == "before the put":
            backend.before_put = look
        else:
            backend.before_get = look
        report = await mounted.view.commit("", lambda: None)
        assert report.seq == (4 if others else 3)
        assert await mounted.tree() == expected
        if others:
            expected["d/other"] = b"other"
        assert report.lines == (("d/new: removed, and with it what others had written",) if others else ())
        assert await Mounted(store, volume, tmp_path, "two").tree() == expected
        assert await mounted.commit() is None

    trio.run(main)


@pytest.mark.parametrize("killed", [False, True])
def test_a_commit_that_cannot_be_noted_is_made_once(
    killed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, store, volume = faulty_volume(tmp_path)

    def full(*arguments: object) -> None:
        raise ERRORS[0]

    async def main() -> None:
        mounted = Mounted(store, volume, tmp_path, "one")
        await mounted.write("f", b"first")
        with monkeypatch.context() as patched:
            patched.setattr(view, "save_base", full)
            await fails(mounted)
        expected: dict[str, bytes | None] = {"f": b"first"}
        assert await mounted.tree() == expected
        await mounted.write("f", b"second", 3)
        await mounted.write("g", b"g")
        expected = {"f": b"firsecond", "g": b"g"}
        assert await mounted.tree() == expected
        if killed:
            mounted = Mounted(store, volume, tmp_path, "one")
            assert await mounted.tree() == expected
        assert await mounted.commit() == 2
        assert await mounted.tree() == expected
        assert await Mounted(store, volume, tmp_path, "two").tree() == expected

    trio.run(main)


def test_a_resume_that_is_killed_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend, store, volume = faulty_volume(tmp_path)

    async def main() -> None:
        mounted = Mounted(store, volume, tmp_path, "one")
        await mounted.mkdir("d")
        await mounted.write("d/f", b"first")
        backend.after_put = failing(ERRORS[2])
        await fails(mounted)
        backend.after_put = nothing
        await mounted.write("d/g", b"g")
        with monkeypatch.context() as patched:  # the log's first part is known to be published, and gone
            patched.setattr(opening, "Inodes", failing(RuntimeError("killed")))
            patched.setattr(opening, "Journal", failing(RuntimeError("killed")))
            with pytest.raises((RuntimeError, TypeError)):
                Mounted(store, volume, tmp_path, "one")
        expected: dict[str, bytes | None] = {"d": None, "d/f": b"first", "d/g": b"g"}
        mounted = Mounted(store, volume, tmp_path, "one")
        assert await mounted.tree() == expected
        assert await mounted.commit() == 2
        assert await Mounted(store, volume, tmp_path, "two").tree() == expected

    trio.run(main)


@pytest.mark.parametrize("seed", range(8))
def test_a_view_follows_a_model_through_commits_that_fail_while_it_changes(seed: int, tmp_path: Path) -> None:
    random_ = random.Random(seed)
    backend, store, volume = faulty_volume(tmp_path)

    async def main() -> None:
        mounted = Mounted(store, volume, tmp_path, "one")
        model, committed = Model(), Model()

        async def changes() -> None:
            for _ in range(random_.choice((0, 1, 5, 10))):
                await change(random_, model, mounted)

        then = meanwhile(changes)
        for _ in range(30):
            await changes()
            taken = model.copy()
            where = random_.choice(("before_put", "before_get", "before_adopt"))
            wrong = random_.choice((None, *ERRORS))

            def hook(key: str, where: str = where, wrong: Exception | None = wrong) -> None:
                setattr(backend, where, nothing)
                then()
                if wrong is not None:
                    raise wrong

            setattr(backend, where, hook)
            try:
                made = await mounted.commit()
            except (OSError, ServiceError) as error:
                assert error is wrong
            else:
                committed = taken if made is not None else committed
                assert made is not None or taken.tree() == committed.tree()
            setattr(backend, where, nothing)
            assert await mounted.tree() == model.tree()
            assert await Mounted(store, volume, tmp_path, os.urandom(4).hex()).tree() == committed.tree()
            if random_.random() < 0.3:
                mounted = Mounted(store, volume, tmp_path, "one")
                assert await mounted.tree() == model.tree()

    trio.run(main)


def test_a_log_that_is_half_thrown_away_is_not_replayed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "SEGMENT_BYTES", 2000)
    _, store, volume = faulty_volume(tmp_path)

    async def main() -> None:
        mounted = Mounted(store, volume, tmp_path, "one")
        await mounted.mkdir("d")
        await mounted.commit()
        for i in range(5):
            await mounted.write(f"d/{i}", bytes(2000))
        log = mounted.view.core.staging
        assert len(log.segments) == 5

        def half(path: Path, ignore_errors: bool = False) -> None:
            sorted(path.iterdir())[1].unlink()
            raise RuntimeError("killed")

        with monkeypatch.context() as patched:
            patched.setattr(durable.shutil, "rmtree", half)
            with pytest.raises(RuntimeError, match="killed"):
                log.drop()
        assert await Mounted(store, volume, tmp_path, "one").tree() == {"d": None}
        durable.sweep(store.work)
        assert [path.name for path in store.work.iterdir()] == ["one"]

    trio.run(main)
