"""Three-way merge of whole trees, last write wins per name and per file. May import: tree, format.

The rules R0 to R7 are those of docs/semantics.md. Pure: numbers come from the caller, nodes from `load`, go to `emit`.
The cost is that of both sides' changes since the base; subtrees with equal references are never opened.
"""

from typing import NamedTuple

from volfs.format.root import Root, encode_root
from volfs.tree.contents import Contents
from volfs.tree.counterparts import Counterparts
from volfs.tree.delta import Delta
from volfs.tree.placing import Placing
from volfs.tree.rebuilt import FreshNumbers, Rebuilt
from volfs.tree.removal import Removal
from volfs.tree.sides import Sides
from volfs.tree.want import Emit, Load


class Merged(NamedTuple):
    """*lines* tell of each path overwritten, put aside or not done; *renumbered*: my numbers to the result's (R1)."""

    root: Root
    lines: tuple[str, ...]
    renumbered: dict[int, int]


def merge(
    load: Load,
    emit: Emit,
    base: Root,
    mine: Root,
    head: Root,
    *,
    seq: int,
    fresh_numbers: FreshNumbers,
    anchor: tuple[bytes, ...] = (),
) -> Merged:
    """What commit *seq* makes of *mine* (changed since *base*) on top of *head*.

    *anchor* is the path of a sub_path view. Raises ConflictError when that is no directory in the head.
    """
    if same(base, head) or same(mine, head):
        return Merged(mine, (), {})
    if same(base, mine):
        return Merged(head, (), {})
    ours, theirs = Delta(load, base, mine), Delta(load, base, head)
    renumbered = _resolve_numbers(ours, theirs, fresh_numbers)
    sides = Sides(load, ours, theirs, Rebuilt(load, head, ours, theirs), seq, fresh_numbers)
    counterparts = Counterparts(sides)
    counterparts.anchor(mine, head, anchor, renumbered)
    placing = Placing(sides, counterparts)
    contents = Contents(sides, counterparts, placing)
    contents.merge_records()
    Removal(sides, counterparts).run()
    placing.run()
    contents.bring_back()
    contents.keep_last_names()
    return Merged(sides.result.store(emit), tuple(sides.lines), renumbered)


def same(a: Root, b: Root) -> bool:
    return a == b or encode_root(a) == encode_root(b)


def _resolve_numbers(mine: Delta, theirs: Delta, fresh_numbers: FreshNumbers) -> dict[int, int]:
    """R1: inodes that both sides made under one number are two; mine gets another."""
    made = mine.new.files.keys() | mine.new.directories.keys()
    both = [ino for ino in made if mine.is_new(ino) and theirs.is_new(ino)]
    numbers = {ino: fresh_numbers() for ino in sorted(both)}
    if numbers:
        mine.renumber(numbers)
    return numbers
