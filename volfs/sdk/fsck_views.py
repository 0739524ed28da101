"""What mounts of a volume keep on this host: their state and logs. May import: fsck, session, control.registry, view.

Must not know: FUSE, trees. Blocks. A running daemon is neither asked nor disturbed: its files are read as they are.
"""

import contextlib
import os
import re
import time
from pathlib import Path

from volfs.control.registry import MountState, Place, damaged, places
from volfs.exception import DamageError, ExecutionError, NotFoundError
from volfs.format.hashing import BlockHash
from volfs.format.segment import HEADER_BYTES, Freeze, Write
from volfs.sdk.fsck import Findings, Problem
from volfs.sdk.session import Session
from volfs.store.durable import sync_directory
from volfs.store.places import work_dir
from volfs.view.segments import Segment
from volfs.view.staging import COMMIT_PACK, durable_end
from volfs.view.state import Base, load_base, save_base

_SEQ, _TOKEN = re.compile(rb'"seq":\s*(\d{1,12})[,}]'), re.compile(rb'"token":\s*"([0-9A-Za-z]{22})"')


def check_views(session: Session, state_dir: Path, found: Findings, *, data: bool, repair: bool) -> None:
    """Each mounted or kept view of the volume; with *repair* those that are not mounted."""
    for place, error in damaged(state_dir):
        if not (work_dir(session.store.url) / place.directory.name).exists():
            continue  # another store's, or without a log
        if repair and not place.locked():
            aside = _aside(place.state)
            found.repaired.append(f"{place.directory}: mount.json, damaged, is {aside.name} now; mount again to resume")
        else:
            found.problems.append(Problem(0, f"view {place.directory.name}", str(error)))
    for place, state in list(places(state_dir)):
        if (state.volume_id, state.store) == (session.volume.id, session.store.url):
            found.views += 1
            _View(session, place, state, found, data=data, repair=repair).look()


class _View:
    def __init__(
        self, session: Session, place: Place, state: MountState, found: Findings, *, data: bool, repair: bool
    ) -> None:
        self._session = session
        self._place = place
        self._found = found
        self._data = data
        self._repair = repair
        self._name = f"view {state.mountpoint}"
        self._log = work_dir(state.store) / place.directory.name

    def look(self) -> None:
        lock = -1
        if self._repair:
            try:
                lock = self._place.lock()
            except ExecutionError:
                self._repair = False  # mounted: its daemon has the log open
        mounted = lock < 0 and self._place.locked()
        try:
            before = len(self._found.problems)
            whole = self._base(mounted=mounted)
            self._segments(mounted=mounted, base=whole)
            if mounted and len(self._found.problems) > before:
                self._found.notes.append(f"{self._name} is mounted: unmount it before it is repaired")
        finally:
            if lock >= 0:
                os.close(lock)

    def _say(self, text: str) -> None:
        self._found.problems.append(Problem(0, self._name, text.removesuffix("; run volfs fsck")))

    # --- the commit that it stands on

    def _base(self, *, mounted: bool) -> bool:
        try:
            base = load_base(self._place.base)
        except DamageError as error:
            return self._rebuilt_base(error)
        if base is None and not mounted and self._log.exists() and any(self._log.iterdir()):
            return self._unknown_base("base.json is missing")
        if base is None or not base.seq:
            return True
        try:
            record = self._session.commits.get(base.seq)
        except DamageError:
            return True  # told as damage of the commit
        except NotFoundError:
            record = None
        if record is None or record.token != base.token:
            self._say(f"it stands on commit {base.seq}, which is not in the log any more")
            return False
        return True

    def _rebuilt_base(self, error: DamageError) -> bool:
        """From what can be read of it, when a commit of the log agrees."""
        data = self._place.base.read_bytes()
        seq, token = _SEQ.search(data), _TOKEN.search(data)
        record = None
        for n in range(self._session.latest().seq, 0, -1):
            try:
                candidate = self._session.commits.get(n)
            except DamageError:
                continue
            if candidate is not None and (
                (token is not None and candidate.token.encode() == token[1]) or (seq is not None and int(seq[1]) == n)
            ):
                record = candidate
                break
        unsure = record is not None and record.view_root is not None and b'"own":true' not in data
        if record is None or unsure or not self._repair:
            return self._unknown_base(str(error))
        aside = _aside(self._place.base)
        save_base(self._place.base, Base(seq=record.seq, token=record.token, own=record.view_root is not None))
        self._found.repaired.append(f"{self._name}: stands on commit {record.seq} again; the old file is {aside.name}")
        return True

    def _unknown_base(self, text: str) -> bool:
        self._say(text)
        if self._repair:
            kept = self._move_all_aside()
            self._found.repaired.append(f"{self._name}: what it stood on is not known any more; kept in {kept}")
        return False

    def _move_all_aside(self) -> Path:
        kept = self._log.with_name(f"{self._log.name}.damaged-{time.time_ns()}")
        if self._log.exists():
            os.rename(self._log, kept)
        else:
            kept.mkdir(mode=0o700, parents=True)
        with contextlib.suppress(FileNotFoundError):
            os.rename(self._place.base, kept / "base.json")
        sync_directory(kept.parent)
        return kept

    # --- the log

    def _segments(self, *, mounted: bool, base: bool) -> None:
        """Every record; with `data` what was written, too."""
        if not self._log.exists():
            return
        segments: list[Segment] = []
        bad: tuple[int, int] | None = None  # (segment number, position) from which on the log cannot be used
        odd: list[Path] = []
        for path in sorted(self._log.iterdir()):
            try:
                segment = Segment.open(path)
            except FileNotFoundError:
                continue  # a commit has just taken it
            except (DamageError, OSError) as error:
                self._say(str(error))
                odd.append(path)
                continue
            if segment is not None and segment.number != COMMIT_PACK:
                segments.append(segment)
        segments.sort(key=lambda segment: segment.number)
        durable = durable_end(segments)
        problems: list[str] = []
        for before, segment in zip([None, *segments], segments, strict=False):
            if segment.continues and (before is None or before.number != segment.number - 1) and not mounted:
                problems.append(f"log segment {segment.number - 1} is missing")
                bad = bad or (segment.number, 0)
            end = _end(segment)
            if end < segment.size and (segment.number, end) < durable:
                problems.append(f"{segment.path}: what was durable at {end} is no record any more")
                bad = bad or (segment.number, end)
            elif end < segment.size and not mounted:
                torn = segment.size - end
                self._found.notes.append(
                    f"{self._name}: the log's last {torn} bytes are no whole record, as after a kill"
                )
            if self._data:
                problems += _damaged_data(segment, self._session.digest)
        for segment in segments:
            segment.close()
        for text in problems:
            self._say(text)
        if self._repair and base and (bad is not None or odd):
            self._cut(segments, bad, odd)

    def _cut(self, segments: list[Segment], bad: tuple[int, int] | None, odd: list[Path]) -> None:
        """The log up to the damage stays the view's; all of it as it was is kept beside."""
        kept = self._log.with_name(f"{self._log.name}.damaged-{time.time_ns()}")
        kept.mkdir(mode=0o700)
        if bad is None or any(path.name < segment.path.name for path in odd for segment in segments):
            first = min(path.name for path in odd) if odd else ""
            for segment in segments:
                if first and segment.path.name > first:  # names sort by time
                    bad = min(bad or (segment.number, 0), (segment.number, 0))
        for path in odd:
            os.rename(path, kept / path.name)
        for segment in segments:
            if (bad is not None and segment.number > bad[0]) or (bad is not None and bad == (segment.number, 0)):
                os.rename(segment.path, kept / segment.path.name)
            elif bad is not None and segment.number == bad[0]:
                (kept / segment.path.name).write_bytes(segment.path.read_bytes())
                os.chmod(segment.path, 0o600)
                os.truncate(segment.path, bad[1])
        sync_directory(self._log)
        sync_directory(kept)
        self._found.repaired.append(
            f"{self._name}: resumes with what was written before the damage; the log as it was is kept in {kept}"
        )


def _end(segment: Segment) -> int:
    """Behind the last record of a scan; the segment's size when a commit has ended it."""
    end = HEADER_BYTES
    for placed in segment.scan():
        end = placed.end
        if isinstance(placed.record, Freeze):
            return segment.size
    return end


def _damaged_data(segment: Segment, digest: BlockHash) -> list[str]:
    """Writes whose data is not what was hashed; a range that was given back to the file system reads as zeros."""
    return [
        f"{segment.path}: {placed.data_bytes} bytes written to inode {placed.record.ino} at {placed.record.offset}"
        " do not agree with their hash"
        for placed in segment.scan()
        if isinstance(placed.record, Write)
        and not segment.agrees(placed, digest)
        and any(os.pread(segment.fd, placed.data_bytes, placed.data))
    ]


def _aside(path: Path) -> Path:
    """The same file under a name of its own."""
    target = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
    os.rename(path, target)
    return target
