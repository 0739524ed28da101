"""Nodes in a dictionary."""

from volfs.format.entry import Ref
from volfs.format.hashing import block_hash
from volfs.format.node import SPLIT_BYTES, Node

digest = block_hash(0)


class Memory:
    """`load` and `emit` over a dictionary; counts what they did."""

    def __init__(self) -> None:
        self.nodes: dict[bytes, bytes] = {}
        self.loads = 0
        self.stored_bytes = 0

    def load(self, ref: Ref) -> Node:
        self.loads += 1
        return Node.decode(self.nodes[ref.hash])

    def emit(self, data: bytes) -> Ref:
        Node.decode(data)
        key = digest(data)
        self.nodes[key] = data
        self.stored_bytes += len(data)
        return Ref(b"m" * 16, 0, len(data), len(data), 0, key)

    def check_sizes(self, top: Ref | None) -> None:
        """No node is too large, and the levels are right."""
        if top is None:
            return
        node = self.load(top)
        assert len(node.data) <= SPLIT_BYTES * 1.1
        if node.level:
            for i in range(node.count):
                child = node.child(i)
                assert self.load(child.ref).level == node.level - 1
                assert self.load(child.ref).keys[0] == child.key
                self.check_sizes(child.ref)
