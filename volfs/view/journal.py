"""Every change of a view, as records: appended to the log, then applied; at a resume, applied again.

May import: inodes, live, content, staging, tree, format. Must not know: permissions, errors of callers, trio.

Who calls `do` has checked that the change can be made and has all nodes it needs at hand, so that applying cannot
fail: live and replayed changes take the same path.
"""

import stat
from collections.abc import Callable, Iterable
from typing import Any

from volfs.exception import DamageError
from volfs.format.entry import ROOT_INO, Entry, Extent, Inode
from volfs.format.segment import (
    AddLink,
    AnyRecord,
    Create,
    Place,
    Remove,
    Rename,
    SetAttr,
    SetXattr,
    Write,
    cut,
)
from volfs.tree import lookup
from volfs.view.content import pieces, stored
from volfs.view.inodes import Inodes
from volfs.view.live import Layer, Live, staged
from volfs.view.staging import Staging, extents_of


class Journal:
    """Makes changes. `inodes` shows them as soon as a call returns; the log has had them before."""

    def __init__(self, inodes: Inodes, staging: Staging) -> None:
        self.inodes = inodes
        self.staging = staging
        self.changes = 0  # counts every change; tells whether something happened since
        self.era = 0  # counts the logs: a commit takes the log, and places have to be told anew
        self._apply: dict[type, Callable[[Any], None]] = {
            Create: self._create,
            AddLink: self._add_link,
            Remove: self._remove,
            Rename: self._rename,
            SetAttr: self._set_attr,
            SetXattr: self._set_xattr,
        }

    def do(self, record: AnyRecord, *named: Live) -> None:
        """Logs and applies a metadata change. Raises OSError (ENOSPC) with nothing changed.

        *named* are the inodes that the record names and that are there before it.
        """
        for live in named:
            if live.placed != self.era:
                self._locate(live)
        self.staging.append(record)
        self.change_unlogged(record)

    def do_both(self, first: AnyRecord, second: AnyRecord, *named: Live) -> None:
        """The same for two changes that are one: our death does not leave the first alone."""
        for live in named:
            if live.placed != self.era:
                self._locate(live)
        self.staging.append(first, second)
        self.change_unlogged(first)
        self.change_unlogged(second)

    def change_unlogged(self, record: AnyRecord) -> None:
        """Applies a change of what no resume could show: an inode without a name dies with us."""
        self.changes += 1
        self._apply[type(record)](record)

    def write(self, live: Live, offset: int, time_ns: int, data: bytes) -> None:
        """Logs and applies a write. Raises OSError (ENOSPC), Missing, with nothing changed."""
        held = self._held(live, offset, len(data))
        self._locate(live)
        extents = self.staging.write(live.ino, offset, time_ns, data)
        self.changes += 1
        self._written(live, offset, len(data), time_ns, extents, held)

    def replay(self, record: AnyRecord, pack: bytes, data: int, data_bytes: int) -> None:
        """Applies a record of the log again; *data* is where its data part lies in *pack*."""
        if isinstance(record, Place):
            self._replay_place(record)
        elif isinstance(record, Write):
            live = self.inodes.live.get(record.ino)
            if live is None:
                return  # unlinked while open: nobody can open it again
            where = list(cut(record.offset, data_bytes))
            extents = extents_of(pack, data, record.offset, where, record.hashes)
            held = self._held(live, record.offset, data_bytes)
            self._written(live, record.offset, data_bytes, record.time_ns, extents, held)
        elif isinstance(record, SetAttr | SetXattr) and record.ino not in self.inodes.live:
            return
        elif type(record) in self._apply:
            self._apply[type(record)](record)

    def _locate(self, live: Live) -> None:
        """Tells the log where an inode stands, with the directories above it, unless it knows."""
        chain: list[Live] = []
        while live.placed != self.era and live.ino != ROOT_INO and live.nlink:
            chain.append(live)
            if live.linked:
                break
            live = self.inodes.touch(live.parent)
        for above in reversed(chain):
            parent, name = (0, b"") if above.linked else (above.parent, above.name)
            self.staging.append(Place(above.ino, parent, name))
            above.placed = self.era

    def _replay_place(self, record: Place) -> None:
        inodes = self.inodes
        if record.ino in inodes.live:
            live = inodes.live[record.ino]
        elif record.parent:
            entry = inodes.child(record.parent, record.name)
            if entry is None or entry.ino != record.ino:
                raise DamageError(f"the log does not fit its base: inode {record.ino} is not where it should be")
            live = entry if isinstance(entry, Live) else inodes.touch_entry(record.parent, record.name, entry)
        else:
            inodes.live[record.ino] = live = Live(inodes.linked(record.ino), 0, b"", base=True, linked=True)
        live.placed = self.era

    # --- data

    def _held(self, live: Live, offset: int, length: int) -> int:
        """How many bytes of this range the file holds already."""
        if offset >= live.size:
            return 0
        return stored(pieces(self.inodes.load, live, offset, offset + length))

    def _written(
        self, live: Live, offset: int, length: int, time_ns: int, extents: Iterable[Extent], held: int
    ) -> None:
        layer = live.layer
        if layer is None:
            layer = live.layer = Layer()
        for extent in extents:
            gone = layer.extents.write(extent)
            if gone:
                self.staging.discard(gone)
        live.allocated += length - held
        if offset + length > live.size:
            live.size = offset + length
        if time_ns:
            live.mtime_ns = live.ctime_ns = time_ns
        self.inodes.dirty[live.ino] = live

    def plan_truncate(self, live: Live, size: int) -> None:
        """Reads all nodes that truncating to *size* looks at. Raises Missing."""
        pieces(self.inodes.load, live, size, live.size)

    def _truncate(self, live: Live, size: int) -> None:
        if size < live.size:
            live.allocated -= stored(pieces(self.inodes.load, live, size, live.size))
            layer = live.layer
            if layer is None:
                layer = live.layer = Layer()
            layer.cut = min(layer.cut, size)
            self.staging.discard(layer.extents.truncate(size))
        live.size = size

    # --- names

    def _name(self, directory: Live, name: bytes, ino: int, time_ns: int) -> None:
        if directory.changes is None:
            directory.changes = {}
        if ino or (directory.frozen and name in directory.frozen) or self._in_base(directory, name):
            directory.changes[name] = ino
        else:
            directory.changes.pop(name, None)  # came and went since the last commit
        directory.listing = None
        directory.mtime_ns = directory.ctime_ns = time_ns
        self.inodes.dirty[directory.ino] = directory

    def _in_base(self, directory: Live, name: bytes) -> bool:
        top = directory.base.top if directory.base is not None else None
        return top is not None and lookup.find(self.inodes.load, top, name) is not None

    def _entry(self, directory: Live, name: bytes) -> Live:
        found = self.inodes.child(directory.ino, name)
        assert found is not None
        return found if isinstance(found, Live) else self._touched(directory, name, found)

    def _touched(self, directory: Live, name: bytes, entry: Entry) -> Live:
        return self.inodes.touch_entry(directory.ino, name, entry)

    def _create(self, record: Create) -> None:
        inodes = self.inodes
        directory = inodes.touch(record.parent)
        is_dir = stat.S_ISDIR(record.mode)
        inode = Inode(
            ino=record.ino,
            mode=record.mode,
            uid=record.uid,
            gid=record.gid,
            rdev=record.rdev,
            nlink=2 if is_dir else 1,
            size=len(record.target),
            atime_ns=record.time_ns,
            mtime_ns=record.time_ns,
            ctime_ns=record.time_ns,
            target=record.target,
        )
        live = Live(inode, record.parent, record.name, base=False)
        live.placed = self.era
        inodes.live[record.ino] = live
        inodes.dirty[record.ino] = live
        if is_dir:
            directory.nlink += 1
        self._name(directory, record.name, record.ino, record.time_ns)

    def _add_link(self, record: AddLink) -> None:
        inodes = self.inodes
        live = inodes.touch(record.ino)
        directory = inodes.touch(record.parent)
        if not live.linked:
            # The entry at its first name must become a link, too.
            first = inodes.touch(live.parent)
            times = first.mtime_ns, first.ctime_ns
            self._name(first, live.name, live.ino, 0)
            first.mtime_ns, first.ctime_ns = times  # nothing has changed there that anybody sees
            live.linked = True
        live.nlink += 1
        live.ctime_ns = record.time_ns
        inodes.dirty[live.ino] = live
        self._name(directory, record.name, live.ino, record.time_ns)

    def _remove(self, record: Remove) -> None:
        directory = self.inodes.touch(record.parent)
        live = self._entry(directory, record.name)
        self._name(directory, record.name, 0, record.time_ns)
        self._unlinked(directory, live, record.time_ns)

    def _unlinked(self, directory: Live, live: Live, time_ns: int) -> None:
        """One name of *live*, in *directory*, is gone."""
        if live.is_dir:
            live.nlink = 0
            directory.nlink -= 1
        else:
            live.nlink -= 1
        live.ctime_ns = time_ns
        self.inodes.dirty[live.ino] = live
        if live.nlink == 0 and not live.opens and live.ino not in self.inodes.known:
            self.release(live)

    def _rename(self, record: Rename) -> None:
        inodes = self.inodes
        source, target = inodes.touch(record.parent), inodes.touch(record.new_parent)
        live = self._entry(source, record.name)
        other = inodes.child(target.ino, record.new_name)
        if other is not None and not isinstance(other, Live):
            other = self._touched(target, record.new_name, other)
        if record.exchange:
            assert other is not None
            self._name(source, record.name, other.ino, record.time_ns)
            self._moved(other, target, source, record.name, record.time_ns, record.new_name)
        else:
            self._name(source, record.name, 0, record.time_ns)
            if other is not None:
                self._unlinked(target, other, record.time_ns)
        self._name(target, record.new_name, live.ino, record.time_ns)
        self._moved(live, source, target, record.new_name, record.time_ns, record.name)

    def _moved(self, live: Live, old: Live, new: Live, name: bytes, time_ns: int, old_name: bytes) -> None:
        if not live.linked or (live.parent, live.name) == (old.ino, old_name):
            live.parent, live.name = new.ino, name
        if live.is_dir and old is not new:
            old.nlink -= 1
            new.nlink += 1
        live.ctime_ns = time_ns
        self.inodes.dirty[live.ino] = live

    # --- attributes

    def _set_attr(self, record: SetAttr) -> None:
        live = self.inodes.touch(record.ino)
        if record.size is not None:
            self._truncate(live, record.size)
        if record.mode is not None:
            live.mode = stat.S_IFMT(live.mode) | stat.S_IMODE(record.mode)
        if record.uid is not None:
            live.uid = record.uid
        if record.gid is not None:
            live.gid = record.gid
        if record.atime_ns is not None:
            live.atime_ns = record.atime_ns
        if record.mtime_ns is not None:
            live.mtime_ns = record.mtime_ns
        live.ctime_ns = record.ctime_ns
        self.inodes.dirty[live.ino] = live

    def _set_xattr(self, record: SetXattr) -> None:
        live = self.inodes.touch(record.ino)
        kept = [(name, value) for name, value in live.xattrs if name != record.name]
        if record.value is not None:
            kept.append((record.name, record.value))
        live.xattrs = tuple(sorted(kept))
        live.ctime_ns = record.time_ns
        self.inodes.dirty[live.ino] = live

    # --- the end of an inode

    def release(self, live: Live) -> None:
        """An inode without a name that nobody holds any more: its staged data is dead."""
        if live.layer is not None or live.held is not None:
            self.staging.discard(staged(live))
            live.layer = live.held = None
        if live.linked and (live.base is not None or live.ino in self.inodes.committing):
            return  # a commit has still to take it out of the link table
        self.inodes.live.pop(live.ino, None)
        self.inodes.dirty.pop(live.ino, None)
