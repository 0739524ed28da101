"""How tree code asks for nodes and stores new ones. May import: format.

Functions that read a tree take a `Load`. One that has every node, or reads what it lacks at once (a
commit's thread, the SDK), just returns it; one that must not block (the event loop's) raises
Missing, before its caller has changed anything, and the caller fetches and asks again.
"""

from collections.abc import Callable, Sequence

from volfs.format.entry import Ref
from volfs.format.node import Node

Load = Callable[[Ref], Node]
Emit = Callable[[bytes], Ref]  # stores one encoded node, returns where


class Missing(Exception):
    """These nodes are not in memory. Fetch them, then call again what raised this."""

    def __init__(self, refs: Sequence[Ref]) -> None:
        super().__init__(refs)
        self.refs = tuple(refs)
