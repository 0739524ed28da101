"""Repairs the newest commit's tree with a commit of its own. May import: fsck, fsck_copy, session, tree, format.

What cannot be read whole is put back as the newest older commit has it whole. What could still be read of it goes to
`lost+found/commit-N/`, under its path; a file's lost blocks are holes there. What no older commit has: a directory is
made anew of the names that can be read, a file goes from its place. The older commits stay as they are.
"""

from collections.abc import Iterator

from msgspec.structs import replace

from volfs.exception import DamageError
from volfs.format.entry import ROOT_INO, Entry, Inode, Link
from volfs.format.names import shown
from volfs.format.record import CommitRecord
from volfs.format.root import Root, decode_root
from volfs.sdk.fsck import REPAIR_MESSAGE, Check, Mend
from volfs.sdk.fsck_copy import Copier
from volfs.sdk.session import Session
from volfs.tree import edit, lookup, salvage
from volfs.tree.draft import Draft, Path
from volfs.view.packing import PackWriter

LOST = b"lost+found"


def repair_tree(session: Session, check: Check) -> list[str]:
    """Mends what *check* has found wrong with the newest commit; tells what it did."""
    if not check.mends and not check.links_wrong:
        return []
    repair = _Repair(session, check)
    seq = session.change(repair.work, message=f"{REPAIR_MESSAGE}: {len(check.mends)} paths of commit {repair.seq}")
    return [*repair.lines, f"commit {seq} has the repaired tree"] if seq else []


class _Repair:
    def __init__(self, session: Session, check: Check) -> None:
        self._session = session
        self._check = check
        self.seq = session.latest().seq
        self.lines: list[str] = []

    def work(self, draft: Draft, writer: PackWriter) -> None:
        self.lines.clear()
        root = draft.root
        copier = Copier(draft.load, draft.emit, draft.number, self._check.wrong)
        for path in _topmost(self._check.mends):
            inode = _found(draft, root, path)
            if self._check.mends[path] is Mend.RENUMBER:
                assert inode is not None
                draft.set(path, copier.copy(root, inode, strict=False))
                self.lines.append(f"{shown(b'/'.join(path))}: has an inode of its own")
            else:
                self._restore(draft, copier, root, path, inode)
        self._recount(draft)
        draft.files += len(self._check.mends)
        if root.links is not None:
            draft.restart(_link_table(draft, draft.store()))

    def _restore(self, draft: Draft, copier: Copier, root: Root, path: Path, inode: Inode | None) -> None:
        where = shown(b"/".join(path)) or "/"
        older = self._older(copier, path, inode)
        kept = copier.copy(root, inode, strict=False) if inode is not None else None
        count = copier.kept
        if older is None and kept is not None and kept.is_dir:
            self.lines.append(f"{where}: made anew of the {count} names at and below it that can be read")
            self._put(draft, path, replace(kept, ino=ROOT_INO) if not path else kept)
            return
        text = "no commit has it whole: removed from its place"
        if older is not None:
            seq, there = older
            text = f"restored as commit {seq} has it"
            self._put(draft, path, replace(there, ino=ROOT_INO) if not path else there)
        else:
            self._put(draft, path, None)
        if kept is not None and not copier.is_empty(kept) and (kept.is_file or kept.top is not None):
            place = (LOST, b"commit-%d" % self.seq, *(path or (b"root",)))
            draft.set(place, kept)
            text += f"; what can be read of it is in {shown(b'/'.join(place))}"
        self.lines.append(f"{where}: {text}")

    @staticmethod
    def _put(draft: Draft, path: Path, inode: Inode | None) -> None:
        if path:
            draft.set(path, inode)
        else:
            assert inode is not None
            draft.restart(Root(inode, draft.root.links, draft.root.link_count, draft.root.link_bytes))

    def _older(self, copier: Copier, path: Path, inode: Inode | None) -> tuple[int, Inode] | None:
        """(number, a copy of what is at *path*) of the newest older commit that has it whole, of the same kind."""
        tried: set[object] = set()
        for record in self._records():
            try:
                root = decode_root(record.root)
                there = lookup.walk(self._session.load, root, path)
                if there is None or (inode is not None and there.mode >> 12 != inode.mode >> 12):
                    continue
                same = (there.ino, there.top, there.index, there.extents)
                if same in tried:
                    continue
                tried.add(same)
                return record.seq, copier.copy(root, there, strict=True)
            except DamageError:
                continue
        return None

    def _records(self) -> Iterator[CommitRecord]:
        for seq in range(self.seq - 1, 0, -1):
            try:
                record = self._session.commits.get(seq)
            except DamageError:
                continue
            if record is not None:
                yield record

    def _recount(self, draft: Draft) -> None:
        """Sums are made anew from the deepest directory up: each takes those of the ones in it on trust."""
        paths = [path for path, mend in self._check.mends.items() if mend is Mend.RECOUNT]
        for path in sorted(paths, key=len, reverse=True):
            root = draft.store()
            inode = lookup.walk(draft.load, root, path)
            if inode is None or not inode.is_dir:
                continue  # gone with what was above it
            changes: dict[bytes, Entry | None] = {name: entry for _, name, entry in lookup.scan(draft.load, inode.top)}
            empty = replace(inode, top=None, subdirs=0, entries=0, files=0, bytes=0)
            self._put(draft, path, edit.edit_directory(draft.load, draft.emit, empty, changes))
            self.lines.append(f"{shown(b'/'.join(path)) or '/'}: counted anew")


def _topmost(mends: dict[Path, Mend]) -> list[Path]:
    """Those below a directory that is restored are mended with it."""
    found: list[Path] = []
    restored: set[Path] = set()
    for path in sorted(mends, key=lambda path: (len(path), path)):
        if mends[path] is Mend.RECOUNT or any(path[:depth] in restored for depth in range(len(path))):
            continue
        if mends[path] is Mend.RESTORE:
            restored.add(path)
        found.append(path)
    return found


def _found(draft: Draft, root: Root, path: Path) -> Inode | None:
    """What stands at *path*; None where the link table lacks it."""
    try:
        return lookup.walk(draft.load, root, path)
    except DamageError:
        return None


def _link_table(draft: Draft, root: Root) -> Root:
    """With a record of each inode that has names as links, and its count of them."""
    names: dict[int, int] = {}
    seen: set[int] = set()
    stack = [root.dir]
    while stack:
        for _, _, entry in lookup.scan(draft.load, stack.pop().top):
            if isinstance(entry, Link):
                names[entry.ino] = names.get(entry.ino, 0) + 1
            elif entry.is_dir and entry.ino not in seen:
                seen.add(entry.ino)
                stack.append(entry)
    records: dict[int, Inode | None] = {
        found.ino: replace(found, nlink=names[found.ino])
        for found in salvage.links(draft.load, root.links)
        if isinstance(found, Inode) and found.ino in names
    }
    return edit.edit_links(draft.load, draft.emit, Root(root.dir), records)
