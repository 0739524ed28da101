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

    `generations` has those that a reload made another inode to the kernel. Until the kernel has been told of the new
    one, and has taken it in, it may still use the old.
    """

    __slots__ = ("_linked_names", "_places", "_told", "generations")

    def __init__(self) -> None:
        self.generations: dict[int, int] = {}
        self._places: dict[int, int] = {}  # number -> parent | name hash | references
        self._linked_names: dict[int, set[tuple[int, bytes]]] = {}
        self._told: dict[int, tuple[int, ...]] = {}  # made another inode: the threads that were told so

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
        self._told[ino] = ()

    def tell(self, ino: int, thread: int) -> None:
        """A lookup of *thread* is answered with this inode."""
        if self._told and ino in self._told:
            self._told[ino] += (thread,)

    def is_old(self, ino: int, thread: int) -> bool:
        """Whether *thread*, which asks for this inode by its number, may mean the kernel's old one.

        It may have looked the name up before the reload, and been kept from asking until after it. That the kernel has
        taken the new one in, and with that ended the old, shows when a thread asks that was told of the new.
        """
        if not self._told or ino not in self._told:
            return False
        if thread not in self._told[ino]:
            return True
        del self._told[ino]
        return False

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
        self._told.pop(ino, None)
        return True

    def place(self, ino: int) -> tuple[int, int] | None:
        """(parent, name hash) of a known inode; parent 0 for the link table."""
        packed = self._places.get(ino)
        if packed is None:
            return None
        packed >>= _COUNT_BITS
        return packed >> _KEY_BITS, packed & _KEY_MASK
