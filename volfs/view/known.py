"""What the kernel knows of a view: an integer an inode. May import: nothing of volfs. Must not know: trees, objects.

What the kernel knows and nobody changed stays in the tree's encoded nodes; of it we keep one integer, which says in
which directory and under which name's hash the record is found (some 180 bytes an inode, against 767 as objects).
"""

_COUNT_BITS = 32
_KEY_BITS = 63
_COUNT_MASK = (1 << _COUNT_BITS) - 1
_KEY_MASK = (1 << _KEY_BITS) - 1


class Known:
    """Inodes that the kernel holds references to: their number, and where the record stands.

    `generations` has those that a reload made another inode to the kernel.
    """

    __slots__ = ("_linked_names", "_places", "generations")

    def __init__(self) -> None:
        self.generations: dict[int, int] = {}
        self._places: dict[int, int] = {}  # number -> parent | name hash | references
        self._linked_names: dict[int, set[tuple[int, bytes]]] = {}

    def count_lookup(self, ino: int, n: int = 1) -> None:
        """The kernel was told of an inode that has a place."""
        if ino in self._places:
            self._places[ino] += n

    def learn(self, ino: int, parent: int, key: int) -> None:
        """One more kernel reference to *ino*, found in directory *parent* under the name hash *key*."""
        known = self._places
        if ino in known:
            known[ino] += 1
        else:
            known[ino] = ((parent << _KEY_BITS | key) << _COUNT_BITS) + 1

    def learn_linked(self, ino: int, parent: int, name: bytes) -> None:
        """The kernel may hold an inode of the link table under this name; the table does not tell names."""
        self._linked_names.setdefault(ino, set()).add((parent, name))

    def names(self, ino: int) -> set[tuple[int, bytes]]:
        """All (directory, name) by which the kernel may know an inode of the link table."""
        return self._linked_names.get(ino, set())

    def changed_elsewhere(self, ino: int) -> None:
        """The kernel's inode of this number is another than the view's now: it has to ask again."""
        self.generations[ino] = self.generations.get(ino, 0) + 1

    def __contains__(self, ino: int) -> bool:
        return ino in self._places

    def move(self, ino: int, parent: int, key: int) -> None:
        """A known inode stands somewhere else now (parent 0: in the link table)."""
        packed = self._places.get(ino)
        if packed is not None:
            self._places[ino] = ((parent << _KEY_BITS | key) << _COUNT_BITS) + (packed & _COUNT_MASK)

    def forget(self, ino: int, n: int) -> bool:
        """Takes *n* kernel references away; True when none is left."""
        packed = self._places.get(ino)
        if packed is None:
            return True
        if packed & _COUNT_MASK > n:
            self._places[ino] = packed - n
            return False
        del self._places[ino]
        self._linked_names.pop(ino, None)
        self.generations.pop(ino, None)
        return True

    def place(self, ino: int) -> tuple[int, int] | None:
        """(parent, name hash) of a known inode; parent 0 for the link table."""
        packed = self._places.get(ino)
        if packed is None:
            return None
        packed >>= _COUNT_BITS
        return packed >> _KEY_BITS, packed & _KEY_MASK
