"""A view in-process against plain dictionaries: random changes, commits, kills and second views."""

import random
from pathlib import Path

import pytest
import trio

from tests.view.mounted import Mounted, new_volume
from volfs.format.hashing import BLOCK_BYTES

NAMES = ("a", "b", "c", "d")


class Model:
    """`files`: path -> a cell that hard links share; `directories`: paths."""

    def __init__(self) -> None:
        self.cells: dict[str, list[bytes]] = {}
        self.directories: set[str] = {""}

    def copy(self) -> "Model":
        other = Model()
        same: dict[int, list[bytes]] = {}
        other.cells = {path: same.setdefault(id(cell), list(cell)) for path, cell in self.cells.items()}
        other.directories = set(self.directories)
        return other

    def tree(self) -> dict[str, bytes | None]:
        return {path: cell[0] for path, cell in self.cells.items()} | dict.fromkeys(self.directories - {""})

    def has(self, path: str) -> bool:
        return path in self.cells or path in self.directories

    def children(self, path: str) -> list[str]:
        return [p for p in [*self.cells, *self.directories] if p.startswith(path + "/")]


async def change(random_: random.Random, model: Model, mounted: Mounted) -> None:
    """One random change to both."""

    def path() -> str:
        above = random_.choice(sorted(model.directories))
        return f"{above}/{random_.choice(NAMES)}".lstrip("/")

    a, b = path(), path()
    verb = random_.randrange(9)
    if verb <= 2 and a not in model.directories:
        offset = random_.choice((0, 0, 10, 5000, BLOCK_BYTES - 7, 3 * BLOCK_BYTES))
        data = random_.randbytes(random_.choice((0, 1, 100, 5000, BLOCK_BYTES, 2 * BLOCK_BYTES + 3)))
        old = model.cells.setdefault(a, [b""])
        if data:
            before = old[0].ljust(offset, b"\0")
            old[0] = before[:offset] + data + before[offset + len(data) :]
        await mounted.write(a, data, offset)
    elif verb == 3 and not model.has(a):
        model.directories.add(a)
        await mounted.mkdir(a)
    elif verb == 4 and a in model.cells:
        del model.cells[a]
        await mounted.unlink(a)
    elif verb == 5 and a in model.directories:
        if model.children(a):
            with pytest.raises(OSError, match="not empty"):
                await mounted.rmdir(a)
        else:
            model.directories.discard(a)
            await mounted.rmdir(a)
    elif verb == 6 and model.has(a) and not (b + "/").startswith(a + "/"):
        if a in model.cells and b not in model.directories:
            await mounted.rename(a, b)
            cell = model.cells[a]
            if model.cells.get(b) is not cell:
                del model.cells[a]
                model.cells[b] = cell
        elif a in model.directories and not model.has(b):
            await mounted.rename(a, b)
            for old_path in [a, *model.children(a)]:
                new_path = b + old_path[len(a) :]
                if old_path in model.cells:
                    model.cells[new_path] = model.cells.pop(old_path)
                else:
                    model.directories.discard(old_path)
                    model.directories.add(new_path)
    elif verb == 7 and a in model.cells and not model.has(b):
        model.cells[b] = model.cells[a]
        await mounted.link(a, b)
    elif verb == 8 and a in model.cells:
        size = random_.choice((0, 3, 5000, BLOCK_BYTES + 1, 5 * BLOCK_BYTES))
        model.cells[a][0] = model.cells[a][0][:size].ljust(size, b"\0")
        await mounted.truncate(a, size)


@pytest.mark.parametrize("seed", range(12))
def test_a_view_follows_a_model_through_commits_kills_and_second_views(seed: int, tmp_path: Path) -> None:
    random_ = random.Random(seed)
    store, volume = new_volume(tmp_path)

    async def main() -> None:
        mounted = Mounted(store, volume, tmp_path, "one")
        model = Model()
        seq = 0
        for round_ in range(30):
            for _ in range(random_.choice((1, 5, 20))):
                await change(random_, model, mounted)
            what = random_.randrange(4)
            if what == 0:
                assert await mounted.tree() == model.tree()
            elif what == 1:  # killed: nothing of it is told to the log
                mounted = Mounted(store, volume, tmp_path, "one")
            else:
                found = await mounted.commit()
                if found is not None:
                    assert found == seq + 1
                    seq = found
                other = Mounted(store, volume, tmp_path, f"other-{round_}")
                assert await other.tree() == model.tree()
            assert await mounted.tree() == model.tree()
        mounted = Mounted(store, volume, tmp_path, "one")
        assert await mounted.tree() == model.tree()

    trio.run(main)


def test_what_one_view_writes_is_not_seen_by_another_before_its_commit(tmp_path: Path) -> None:
    store, volume = new_volume(tmp_path)

    async def main() -> None:
        one, two = Mounted(store, volume, tmp_path, "one"), Mounted(store, volume, tmp_path, "two")
        await one.write("f", b"hello")
        assert await two.tree() == {}
        assert await one.commit() == 1
        assert await one.commit() is None
        assert await two.tree() == {}
        await two.write("g", b"mine")
        assert await two.commit() == 2
        assert await two.tree() == {"g": b"mine"}
        assert await Mounted(store, volume, tmp_path, "three").tree() == {"f": b"hello", "g": b"mine"}

    trio.run(main)


def test_commits_of_two_views_by_turns_lose_nothing(tmp_path: Path) -> None:
    store, volume = new_volume(tmp_path)

    async def main() -> None:
        one, two = Mounted(store, volume, tmp_path, "one"), Mounted(store, volume, tmp_path, "two")
        await one.write("a", b"a")
        await one.commit()
        for i in range(3):  # stands on its own view_root from the first of these on
            await two.write(f"b{i}", b"b")
            await two.commit()
        found = await Mounted(store, volume, tmp_path, "three").tree()
        assert sorted(found) == ["a", "b0", "b1", "b2"]
        two = Mounted(store, volume, tmp_path, "two")
        assert sorted(await two.tree()) == ["b0", "b1", "b2"]

    trio.run(main)
