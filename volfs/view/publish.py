"""Publishing a tree: merge it onto the head, put the commit record if absent, again if somebody was faster.

May import: packing, blocks, store, tree, format. Must not know: trio, live inodes, the kernel. Blocks; runs in a
daemon's thread, or in the caller of the SDK.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from volfs.format.entry import Ref
from volfs.format.hashing import BlockHash
from volfs.format.node import Node
from volfs.format.record import CommitRecord
from volfs.format.root import Root, decode_root, encode_root
from volfs.store.commits import Commits
from volfs.store.numbers import Claims
from volfs.store.packs import Packs
from volfs.tree.merge import merge, same
from volfs.tree.want import Load
from volfs.view.blocks import Recent, node_bytes
from volfs.view.packing import PackWriter

_OWN_NODES_BYTES = 16 << 20


@dataclass(slots=True, frozen=True)
class Target:
    """Where commits of one volume go, and how their nodes are read. *load* may wait for a disk."""

    commits: Commits
    packs: Packs
    digest: BlockHash
    load: Load
    read: Callable[[Ref, int, int], bytes]
    empty: Root
    claims: Claims
    clock_ns: Callable[[], int]
    host: str

    def root_of(self, record: CommitRecord | None) -> Root:
        return self.empty if record is None else decode_root(record.root)


@dataclass(slots=True, frozen=True)
class Proposal:
    """*mine*, made from *base*, which is commit *base_seq* or (*own*) that commit's `view_root`.

    *anchor* is the path of a sub_path view; *files*, *bytes* and *removed* are for the log.
    *segments* are packs that it may have sent, needed or not. *doubtful* are the tokens of earlier attempts to publish
    the same changes, or part of them, whose answers were lost: one that came to be is what *mine* is made from.
    """

    base: Root
    base_seq: int
    mine: Root
    token: str
    own: bool = False
    message: str = ""
    anchor: tuple[bytes, ...] = ()
    segments: frozenset[bytes] = frozenset()
    doubtful: frozenset[str] = frozenset()
    files: int = 0
    bytes: int = 0
    removed: int = 0


def loader(target: Target, writer: PackWriter) -> Load:
    """Nodes of the store, and those that *writer* has just written."""

    recent: Recent[Node] = Recent(_OWN_NODES_BYTES, node_bytes)

    def load(ref: Ref) -> Node:
        node = recent.get(ref.hash)
        if node is None:
            data = writer.read(ref)
            if data is None:
                return target.load(ref)
            node = Node.decode(data)
            recent.put(ref.hash, node)
        return node

    return load


def last_made_with(
    commits: Commits, tokens: Collection[str], after: int, until: int | None = None
) -> CommitRecord | None:
    """The last commit behind number *after*, up to *until* (None: the latest), that has one of these tokens. A GET for
    each, if there are tokens."""
    found = None
    while tokens and after != until and (record := commits.get(after + 1)) is not None:
        after += 1
        if record.token in tokens:
            found = record
    return found


def publish(
    target: Target,
    proposal: Proposal,
    writer: PackWriter,
    seal: Callable[[], tuple[bytes, ...]],
    check: Callable[[Root], None] = lambda head: None,
) -> CommitRecord:
    """Makes *proposal* the next commit. Raises Error or OSError; then nothing was published.

    *seal* makes all packs that the tree refers to durable, and returns those that the commit brings. *check* is given
    each head that the proposal is merged onto, and may refuse.
    """
    load, numbers = loader(target, writer), _Numbers(target.claims)
    base, mine = proposal.base, proposal.mine
    head = target.commits.get(proposal.base_seq + 1)
    if head is not None:
        head = target.commits.latest()
    elif proposal.own:
        head = target.commits.get(proposal.base_seq)  # the view shows its own part of that commit only
    seq = looked = proposal.base_seq
    tries = 0
    while True:
        tries += 1
        root: Root = mine
        lines: tuple[str, ...] = ()
        if head is not None:
            seq = head.seq
            # Each time: a put that was given up may arrive until another has taken its number. As somebody else's
            # commit it would bring back what was removed since.
            came_to_be = last_made_with(target.commits, proposal.doubtful, looked, seq)
            looked = seq
            if came_to_be is not None:
                base = decode_root(came_to_be.view_root or came_to_be.root)
            theirs = decode_root(head.root)
            check(theirs)
            merged = merge(
                load,
                writer.emit,
                base,
                mine,
                theirs,
                seq=seq + 1,
                fresh_numbers=numbers.take,
                anchor=proposal.anchor,
            )
            root, lines = merged.root, merged.lines
        packs = seal()
        sent = target.packs.sent(proposal.segments | set(packs))
        record = CommitRecord(
            seq=seq + 1,
            parent=seq,
            token=proposal.token,
            root=encode_root(root),
            view_root=None if same(root, mine) else encode_root(mine),
            time_ns=target.clock_ns(),
            host=target.host,
            message=proposal.message,
            packs=packs,
            inode_range=max(target.claims.hint, head.inode_range if head is not None else 0),
            files=proposal.files,
            bytes=proposal.bytes,
            removed=proposal.removed,
            stored_bytes=writer.written_bytes,
            requests=sent.requests + tries if target.packs.is_far else 0,
            sent_bytes=sent.bytes,
            lines=lines,
        )
        if target.commits.append(record):
            return record
        head = target.commits.latest()  # somebody was faster


class _Numbers:
    """Inode numbers for what a merge makes, from a range that is claimed when the first is asked for."""

    def __init__(self, claims: Claims) -> None:
        self._claims = claims
        self._left = iter(range(0))

    def take(self) -> int:
        for number in self._left:
            return number
        self._left = iter(range(*self._claims.claim()))
        return next(self._left)
