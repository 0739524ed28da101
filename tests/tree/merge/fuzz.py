"""Chains of commits and reloads by three views over a handful of names. `python -m tests.tree.merge.fuzz N SEED`."""

import random
import sys

from tests.tree.memory import Memory
from tests.tree.merge.shape import Shape, numbers, read
from volfs.format.root import Root
from volfs.tree.merge import merge, same

NAMES = ("a", "b", "c")


def step(random_: random.Random, shape: Shape, contents: list[int]) -> None:
    """One random change."""

    def path() -> str:
        return "/".join(random_.choice(NAMES) for _ in range(random_.choice((1, 1, 2, 2, 3))))

    contents[0] += 1
    verb = random_.randrange(9)
    if verb <= 1:
        shape.write(path(), contents[0])
    elif verb == 2:
        shape.mkdir(path())
    elif verb == 3:
        shape.save(path(), contents[0])
    elif verb == 4:
        shape.move(path(), path())
    elif verb == 5:
        shape.remove(path())
    elif verb == 6:
        shape.link(path(), path())
    elif verb == 7:
        shape.exchange(path(), path())
    else:
        shape.chmod(path(), random_.choice((0o600, 0o700, 0o755)))


def chain(seed: int, merges: int) -> int:
    """Runs about *merges* merges; returns how many. Raises AssertionError for a broken invariant."""
    random_ = random.Random(seed)
    memory = Memory()
    contents = [0]
    head = Shape()
    trees: list[Root] = [head.tree(memory)]  # each commit's
    views = [(trees[0], Shape()) for _ in range(3)]  # what each view is based on, and shows
    done = 0
    for seq in range(1, merges + 1):
        who = random_.randrange(3)
        base, shown = views[who]
        before = shown.copy()
        for _ in range(random_.choice((1, 2, 3, 6))):
            step(random_, shown, contents)
        mine = shown.tree(memory)
        merged = merge(
            memory.load, memory.emit, base, mine, trees[-1], seq=seq, fresh_numbers=lambda: next(numbers)
        )
        check(memory, before, shown, base, mine, trees[-1], merged.root, merged.lines)
        done += 1
        again = merge(
            memory.load, memory.emit, mine, mine, merged.root, seq=seq, fresh_numbers=lambda: next(numbers)
        )
        assert same(again.root, merged.root), "merge(mine, mine, result) is not result"
        trees.append(merged.root)
        if random_.random() < 0.5:
            views[who] = (merged.root, read(memory, merged.root))
        else:
            views[who] = (mine, shown)
        if len(memory.nodes) > 20_000:
            memory.nodes = {key: memory.nodes[key] for key in _reachable(memory, [trees[-1], *(v[0] for v in views)])}
    return done


def _reachable(memory: Memory, roots: list[Root]) -> set[bytes]:
    found: set[bytes] = set()
    inner = memory.load

    def load(ref):  # type: ignore[no-untyped-def]
        found.add(ref.hash)
        return inner(ref)

    for root in roots:
        other = Memory()
        other.load = load  # type: ignore[method-assign]
        read(other, root)
    return found


def check(
    memory: Memory,
    before: Shape,
    shown: Shape,
    base: Root,
    mine: Root,
    head: Root,
    result: Root,
    lines: tuple[str, ...],
) -> None:
    shape = read(memory, result)  # that it is a tree
    if same(base, head):
        assert same(result, mine), "R0: base is head, but the result is not mine"
    if same(base, mine):
        assert same(result, head), "R0: base is mine, but the result is not head"
    theirs = read(memory, head)
    contents = {content for content, _ in shape.files.values()}
    known = {content for content, _ in before.files.values()}
    for ino, (content, _) in shown.files.items():
        if before.files.get(ino, (0, 0))[0] != content:
            assert content in contents, f"content {content} that I wrote is lost"
    for content, _ in theirs.files.values():
        if content in contents or content in known:
            continue  # there, or removed by a committer that knew it
        assert lines, f"their content {content} is gone without a word"
    for ino in before.files.keys() & shown.files.keys() & theirs.files.keys():
        assert ino in shape.files, f"inode {ino} that both sides have is gone"


def main() -> None:
    merges = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 30)
    tried = broken = 0
    while tried < merges:
        try:
            tried += chain(seed, 200)
        except Exception as error:  # noqa: BLE001 - every failure is a find
            broken += 1
            tried += 1
            print(f"seed {seed}: {type(error).__name__}: {error}")
        seed += 1
    print(f"{tried} merges tried, {broken} invariants broken")
    sys.exit(broken > 0)


if __name__ == "__main__":
    main()
