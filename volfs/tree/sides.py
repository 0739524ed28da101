"""One merge under way: both sides, the result, the report, and names of conflict. May import: delta, rebuilt, want.

The rules R0 to R7 are those of docs/semantics.md. Must not know: which step is at work.
"""

from dataclasses import dataclass, field

from volfs.tree.delta import Delta
from volfs.tree.rebuilt import FreshNumbers, Rebuilt
from volfs.tree.want import Load

NAME_MAX = 255


@dataclass(slots=True)
class Sides:
    """*mine* and *theirs* are what each did since the base; *result* is the head, as far as the merge has changed it.

    *seq* is the commit to be made; *lines* the report, in order; *suspects* are files that a name was taken from.
    """

    load: Load
    mine: Delta
    theirs: Delta
    result: Rebuilt
    seq: int
    fresh_numbers: FreshNumbers
    lines: dict[str, None] = field(default_factory=dict)
    suspects: set[int] = field(default_factory=set)

    def say(self, path: str, what: str) -> None:
        self.lines[f"{path}: {what}"] = None

    def overwrite(self, directory: int, name: bytes, there: int) -> None:
        """My file takes the name of theirs."""
        self.result.detach(directory, name)
        self.suspects.add(there)
        self.say(self.result.path(directory, name), "theirs overwritten")

    def make_way(self, directory: int, name: bytes) -> None:
        """R7: a file that stands where a directory belongs steps aside."""
        result = self.result
        there = result.get(directory, name)
        if not there or result.is_directory(there):
            return
        free = self.free_name(directory, name)
        result.detach(directory, name)
        result.attach(directory, free, there)
        self.say(result.path(directory, name), f"a file and a directory; the file is {result.path(directory, free)}")

    def free_name(self, directory: int, name: bytes) -> bytes:
        """NAME.conflict-SEQ, NAME cut to fit 255 bytes, `+` added while that is taken."""
        end = b".conflict-%d" % self.seq
        while True:
            free = name[: NAME_MAX - len(end)] + end
            if not self.result.get(directory, free):
                return free
            end += b"+"
