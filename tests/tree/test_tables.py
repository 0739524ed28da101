"""Lookup, edit and diff against plain dictionaries."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tree.memory import Memory
from volfs.format.entry import Entry, Extent, Inode, Link, Ref
from volfs.format.hashing import BLOCK_BYTES
from volfs.format.node import JOIN_BYTES, SPLIT_BYTES
from volfs.format.root import Root
from volfs.tree import lookup
from volfs.tree.diff import diff_directory, diff_links
from volfs.tree.edit import edit_directory, edit_links, replace_ranges

DIRECTORY = Inode(ino=1, mode=0o40755, nlink=2)


def file(ino: int, size: int = 0) -> Inode:
    return Inode(ino=ino, mode=0o100644, size=size, mtime_ns=ino * 7)


def listed(memory: Memory, inode: Inode) -> dict[bytes, Entry]:
    return {name: entry for _, name, entry in lookup.scan(memory.load, inode.top)}


def test_a_directory_follows_a_dictionary_through_random_edits() -> None:
    random.seed(7)
    memory = Memory()
    inode, model = DIRECTORY, dict[bytes, Entry]()
    for round_ in range(60):
        changes: dict[bytes, Entry | None] = {}
        for _ in range(random.choice((1, 5, 300, 2000))):
            name = b"name-%d" % random.randrange(6000)
            drop = random.random() < (0.8 if round_ % 20 > 12 else 0.3)
            changes[name] = None if drop else random.choice((file(random.randrange(2, 99999)), Link(5, 0o100644)))
        before, old_model = inode, dict(model)
        inode = edit_directory(memory.load, memory.emit, inode, changes)
        for name, entry in changes.items():
            if entry is None:
                model.pop(name, None)
            else:
                model[name] = entry
        assert listed(memory, inode) == model
        assert (inode.entries, inode.files, inode.subdirs, inode.nlink) == (len(model), len(model), 0, 2)
        for name in list(model)[:50]:
            assert lookup.find(memory.load, inode.top, name) == model[name]
        assert lookup.find(memory.load, inode.top, b"absent") is None
        found = {name: (old, new) for name, old, new in diff_directory(memory.load, before.top, inode.top)}
        names = old_model.keys() | model.keys()
        assert found == {n: (old_model.get(n), model.get(n)) for n in names if old_model.get(n) != model.get(n)}
        memory.check_sizes(inode.top)


def test_an_edit_that_changes_nothing_stores_nothing() -> None:
    memory = Memory()
    inode = edit_directory(memory.load, memory.emit, DIRECTORY, {b"%d" % i: file(i + 2) for i in range(5000)})
    stored = len(memory.nodes)
    same = edit_directory(memory.load, memory.emit, inode, {b"7": file(9), b"gone": None})
    assert same.top == inode.top
    assert len(memory.nodes) == stored


def test_one_change_among_many_rewrites_one_path() -> None:
    memory = Memory()
    inode = edit_directory(memory.load, memory.emit, DIRECTORY, {b"%d" % i: file(i + 2) for i in range(100_000)})
    memory.stored_bytes = 0
    edit_directory(memory.load, memory.emit, inode, {b"77": file(3)})
    assert memory.stored_bytes <= 3 * SPLIT_BYTES


def test_a_diff_opens_only_what_differs() -> None:
    memory = Memory()
    old = edit_directory(memory.load, memory.emit, DIRECTORY, {b"%d" % i: file(i + 2) for i in range(50_000)})
    new = edit_directory(memory.load, memory.emit, old, {b"77": file(3)})
    memory.loads = 0
    assert [name for name, _, _ in diff_directory(memory.load, old.top, new.top)] == [b"77"]
    assert memory.loads <= 6


def test_names_with_equal_hashes_stay_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("volfs.tree.edit", "volfs.tree.lookup", "volfs.format.node"):
        monkeypatch.setattr(f"{module}.name_hash", lambda name: 20 + len(name) % 3)
    memory = Memory()
    names = {b"x" * n + b"%d" % n: file(n + 2) for n in range(200)}
    inode = edit_directory(memory.load, memory.emit, DIRECTORY, dict(names))
    assert listed(memory, inode) == names
    for name, entry in names.items():
        assert lookup.find(memory.load, inode.top, name) == entry
    less = edit_directory(memory.load, memory.emit, inode, dict.fromkeys(list(names)[::2]))
    assert listed(memory, less) == dict(list(names.items())[1::2])
    assert len(list(diff_directory(memory.load, inode.top, less.top))) == 100


def test_counts_add_up_over_directories() -> None:
    memory = Memory()
    sub = edit_directory(
        memory.load, memory.emit, Inode(ino=9, mode=0o40755), {b"a": Inode(ino=10, mode=0o100644, allocated=5)}
    )
    top = edit_directory(memory.load, memory.emit, DIRECTORY, {b"sub": sub, b"l": Link(4, 0o100644)})
    assert (top.subdirs, top.nlink, top.entries, top.files, top.bytes) == (1, 3, 3, 2, 5)


def test_the_link_table_follows_a_dictionary() -> None:
    random.seed(3)
    memory = Memory()
    root, model = Root(DIRECTORY), dict[int, Inode]()
    for _ in range(30):
        changes = {random.randrange(1, 3000): random.choice((None, 1)) for _ in range(400)}
        rows = {ino: keep and Inode(ino=ino, mode=0o100600, allocated=ino) for ino, keep in changes.items()}
        old = root
        root = edit_links(memory.load, memory.emit, root, rows)
        old_model = dict(model)
        for ino, inode in rows.items():
            if inode is None:
                model.pop(ino, None)
            else:
                model[ino] = inode
        assert {inode.ino: inode for inode in lookup.scan_links(memory.load, root.links)} == model
        assert (root.link_count, root.link_bytes) == (len(model), sum(model))
        changed = {ino for ino, _, _ in diff_links(memory.load, old.links, root.links)}
        assert changed == {i for i in old_model.keys() | model.keys() if old_model.get(i) != model.get(i)}


def extent(offset: int, length: int, tag: int) -> Extent:
    return Extent(offset, length, Ref(b"p" * 16, tag, length, length, 0, b"%016d" % tag), 0)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_files_extents_follow_a_byte_map(data: st.DataObject) -> None:
    memory = Memory()
    unit, blocks = 4096, data.draw(st.sampled_from((12, 60, 3000)))
    model: dict[int, tuple[int, int]] = {}
    inode = Inode(ino=5, mode=0o100644, size=blocks * unit)
    tag = 0
    for _ in range(data.draw(st.integers(1, 6))):
        cut = data.draw(st.one_of(st.just(1 << 63), st.integers(0, blocks)))
        ranges, at = [], 0
        for gap, length, hole in data.draw(
            st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9), st.booleans()), max_size=blocks // 8)
        ):
            start, end = at + gap, at + gap + length
            tag += 1
            ranges.append((start * unit, end * unit, [] if hole else [extent(start * unit, length * unit, tag)]))
            at = end
        model = {i: v for i, v in model.items() if i < cut}
        for start, end, pieces in ranges:
            for i in range(start // unit, end // unit):
                model.pop(i, None)
                if pieces:
                    model[i] = (pieces[0].ref.offset, (i - start // unit) * unit)
        inode = replace_ranges(memory.load, memory.emit, inode, min(cut * unit, 1 << 63), ranges)
        found: dict[int, tuple[int, int]] = {}
        for item in lookup.all_extents(memory.load, inode):
            for i in range(item.length // unit):
                found[item.offset // unit + i] = (item.ref.offset, item.at + i * unit)
        assert found == model
        assert inode.allocated == len(model) * unit
        assert (inode.index is None) == (len(list(lookup.all_extents(memory.load, inode))) <= 16)
        lower = data.draw(st.integers(0, blocks))
        part = lookup.extents(memory.load, inode, lower * unit, blocks * unit)
        every = lookup.all_extents(memory.load, inode)
        assert part == [e for e in every if e.end > lower * unit and e.offset < blocks * unit]


def test_one_block_of_a_large_file_rewrites_one_path() -> None:
    memory = Memory()
    pieces = [extent(i * BLOCK_BYTES, BLOCK_BYTES, i) for i in range(100_000)]
    inode = replace_ranges(
        memory.load, memory.emit, Inode(ino=5, mode=0o100644, size=100_000 * BLOCK_BYTES), 1 << 63,
        [(0, 100_000 * BLOCK_BYTES, pieces)],
    )
    memory.stored_bytes = 0
    at = 777 * BLOCK_BYTES
    replace_ranges(
        memory.load, memory.emit, inode, 1 << 63, [(at, at + BLOCK_BYTES, [extent(at, BLOCK_BYTES, 200_000)])]
    )
    assert memory.stored_bytes < 3 * SPLIT_BYTES
    assert JOIN_BYTES < SPLIT_BYTES
