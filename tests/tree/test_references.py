"""Every reference of a tree comes, and of a newer tree only what the older one has not."""

import random
from collections.abc import Iterator

from msgspec.structs import replace

from tests.tree.memory import Memory
from volfs.format.entry import Entry, Extent, Inode, Link, Ref
from volfs.format.node import Node
from volfs.format.root import Root
from volfs.tree import lookup
from volfs.tree.edit import edit_directory, edit_links, replace_ranges
from volfs.tree.references import Batch, references

TOP = Inode(ino=1, mode=0o40755, nlink=2)


def block(n: int) -> Ref:
    return Ref(b"p" * 16, n << 12, 4096, 4096, 0, n.to_bytes(16, "big"))


def file(memory: Memory, ino: int, first: int, blocks: int) -> Inode:
    """Of *blocks* blocks from number *first* on; more than 16 have an index."""
    inode = Inode(ino=ino, mode=0o100644, size=blocks * 4096)
    extents = [Extent(i * 4096, 4096, block(first + i), 0) for i in range(blocks)]
    return replace_ranges(memory.load, memory.emit, inode, inode.size, [(e.offset, e.end, [e]) for e in extents])


def naive(memory: Memory, root: Root, inode: Inode) -> set[Ref]:
    """Blocks and nodes at and below *inode*, but those of the link table."""
    found = {extent.ref for extent in lookup.all_extents(memory.load, inode)} if inode.is_file else set()
    for _, _, entry in lookup.scan(memory.load, inode.top):
        found |= naive(memory, root, lookup.inode_of(memory.load, root, entry))
    return found | nodes(memory, inode.top) | nodes(memory, inode.index)


def nodes(memory: Memory, top: Ref | None) -> set[Ref]:
    if top is None:
        return set()
    node = memory.load(top)
    return {top}.union(*(nodes(memory, node.child(i).ref) for i in range(node.count if node.level else 0)))


def collected(batches: Iterator[Batch]) -> tuple[set[Ref], set[Ref], int]:
    """Nodes, blocks, files."""
    all_nodes, all_blocks, files = set[Ref](), set[Ref](), 0
    for batch in batches:
        all_nodes |= set(batch.nodes)
        all_blocks |= set(batch.blocks)
        files += batch.files
    return all_nodes, all_blocks, files


def step(memory: Memory, chance: random.Random, root: Root, count: int) -> Root:
    """Changes files of ten directories and of the link table."""
    tops: dict[bytes, Entry | None] = {}
    for d in range(10):
        entry = lookup.find(memory.load, root.dir.top, b"d%d" % d)
        below = entry if isinstance(entry, Inode) else Inode(ino=100 + d, mode=0o40755, nlink=2)
        changes: dict[bytes, Entry | None] = {}
        for _ in range(chance.randrange(count)):
            name = b"f%d" % chance.randrange(900)
            kind = chance.random()
            if kind < 0.2:
                changes[name] = None
            elif kind < 0.3:
                changes[name] = Link(5, 0o100644)
            else:
                first, blocks = chance.randrange(10**6), chance.choice((0, 1, 40))
                changes[name] = file(memory, chance.randrange(200, 99999), first, blocks)
        tops[b"d%d" % d] = edit_directory(memory.load, memory.emit, below, changes)
    return replace(root, dir=edit_directory(memory.load, memory.emit, root.dir, tops))


def test_a_walk_tells_all_that_is_there_and_after_a_change_what_is_new() -> None:
    chance = random.Random(5)
    memory = Memory()
    root = edit_links(memory.load, memory.emit, Root(TOP), {5: file(memory, 5, 77, 30)})
    before: Inode | None = None
    known = set[Ref]()
    for count in (600, 3, 1, 300, 1):
        root = step(memory, chance, root, count)
        wanted = naive(memory, root, root.dir)
        opened = list[Ref]()

        def load(ref: Ref) -> Node:
            opened.append(ref)  # noqa: B023 - called in this round
            return memory.load(ref)

        tops, blocks, _ = collected(references(load, root, root.dir, before, blocks=True))
        links = nodes(memory, root.links)
        assert wanted - known <= {*opened, *blocks} <= wanted | known | links
        assert tops <= set(opened)
        if before is not None and count < 10:
            assert len(opened) < 150 < len(known)
        before, known = root.dir, wanted


def test_without_blocks_the_same_nodes_are_opened_and_no_block_is_told() -> None:
    memory = Memory()
    root = step(memory, random.Random(6), Root(TOP), 300)
    root = edit_links(memory.load, memory.emit, root, {5: file(memory, 5, 77, 2)})
    loads = []
    for blocks in (True, False):
        memory.loads = 0
        _, told, files = collected(references(memory.load, root, root.dir, blocks=blocks))
        loads.append(memory.loads)
        assert bool(told) is blocks and files == root.dir.files
    assert loads[0] == loads[1]


def test_a_walk_of_one_file_tells_its_blocks_alone() -> None:
    memory = Memory()
    for blocks in (3, 40):
        inode = file(memory, 9, 1000, blocks)
        tops, told, files = collected(references(memory.load, Root(TOP), inode, blocks=True))
        assert told == {block(1000 + i) for i in range(blocks)}
        assert (len(tops), files) == (int(blocks > 16), 1)
