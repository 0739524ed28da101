"""The merge against a naive one: path by path, for histories without moves and hard links, where a path says all."""

import random

import pytest

from tests.tree.memory import Memory
from tests.tree.merge.shape import Shape, numbers, read
from volfs.tree.merge import merge

NAMES = ("a", "b", "c")
SEQ = 5
Found = dict[str, tuple[int, int] | None]  # path -> (content, mode), None for a directory


def change(random_: random.Random, shape: Shape, contents: list[int]) -> None:
    path = "/".join(random_.choice(NAMES) for _ in range(random_.choice((1, 1, 2, 2, 3))))
    contents[0] += 1
    match random_.randrange(6):
        case 0 | 1:
            shape.write(path, contents[0])
        case 2:
            shape.mkdir(path)
        case 3:
            shape.save(path, contents[0])
        case 4:
            shape.remove(path)
        case _:
            if shape.at(path) in shape.files:
                shape.chmod(path, random_.choice((0o600, 0o700, 0o755)))


def naive(base: Shape, mine: Shape, head: Shape) -> Found:
    """R2 to R4 and R7, written anew for paths."""
    old, new, theirs = base.paths(), mine.paths(), head.paths()
    result: Found = {}
    aside: Found = {}

    def put_file(path: str, value: tuple[int, int]) -> None:
        for above in _above(path):
            put_directory(above)
        if path in result and result[path] is None:
            aside[f"{path}.conflict-{SEQ}"] = value
        else:
            result[path] = value

    def put_directory(path: str) -> None:
        for above in [*_above(path), path]:
            there = result.get(above)
            if there is not None:
                del result[above]
                if theirs.get(above) != old.get(above) or above not in gone_or_mine_dir:
                    aside[f"{above}.conflict-{SEQ}"] = there
            result[above] = None

    gone_or_mine_dir = {path for path in old if new.get(path) != old[path]}
    for path, ino in theirs.items():
        result[path] = None if ino in head.dirs else head.files[ino]
    # what I removed
    for path, ino in old.items():
        if ino in base.files and new.get(path) != ino:
            there = theirs.get(path)
            saved_anew = there is not None and there in head.files and there not in base.files and ino not in head.files
            if there == ino or saved_anew:
                result.pop(path, None)
    for path in sorted((p for p, ino in old.items() if ino in base.dirs), key=len, reverse=True):
        empty = not any(other.startswith(path + "/") for other in result)
        if new.get(path) != old[path] and theirs.get(path) == old[path] and empty:
            result.pop(path, None)
    # what I made or changed
    for path, ino in sorted(new.items(), key=lambda item: item[0].count("/")):
        before = old.get(path)
        if ino in mine.dirs:
            if before != ino:
                put_directory(path)
            continue
        content, mode = mine.files[ino]
        if before != ino:
            put_file(path, (content, mode))
            continue
        old_content, old_mode = base.files[ino]
        if (content, mode) == (old_content, old_mode):
            continue
        at = theirs.get(path)
        if at is not None and at in head.files:
            their_content, their_mode = head.files[at]
            result[path] = (
                content if content != old_content else their_content,
                mode if mode != old_mode else their_mode,
            )
        elif content != old_content:
            put_file(path, (content, mode))
    return result | aside


def _above(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:i]) for i in range(1, len(parts))]


@pytest.mark.parametrize("first", range(0, 10_000, 1000))
def test_paths(first: int) -> None:
    for seed in range(first, first + 1000):
        compare(seed)


def compare(seed: int) -> None:
    random_ = random.Random(seed)
    contents = [0]
    memory = Memory()
    base = Shape()
    for _ in range(random_.choice((0, 3, 8))):
        change(random_, base, contents)
    mine, head = base.copy(), base.copy()
    for side in (mine, head):
        for _ in range(random_.choice((1, 2, 4))):
            change(random_, side, contents)
    merged = merge(
        memory.load, memory.emit, base.tree(memory), mine.tree(memory), head.tree(memory),
        seq=SEQ, fresh_numbers=lambda: next(numbers),
    )  # fmt: skip
    shape = read(memory, merged.root)
    found: Found = {path: shape.files.get(ino) for path, ino in shape.paths().items()}
    expected = naive(base, mine, head)
    assert found == expected, f"seed {seed}: {base.paths()} | {mine.paths()} | {head.paths()} | {merged.lines}"
