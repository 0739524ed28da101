"""The view's log: segments that take records, one after the other. May import: segments, durable, format.

No dirty data waits in our memory: a record is in the page cache of the log when its request is answered, so that it
survives our death; `sync` makes it survive the machine's. All but `sync` is called from one thread.
"""

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from volfs.exception import DamageError
from volfs.format.entry import Extent, Ref
from volfs.format.hashing import BlockHash
from volfs.format.segment import HEADER_BYTES, AnyRecord, Dead, Freeze, Placed, Synced, Write, cut, encode_record
from volfs.store.durable import remove_log, sync_directory
from volfs.view.segments import SEGMENT_BYTES, Segment

RESERVE_BYTES = 4 << 20  # kept free for metadata records: with a full disk, rm must still work
_PROBE_BYTES = 1 << 20  # how much may be appended before the free space is looked at again
_PUNCH_BYTES = 4 << 20  # dead bytes of a segment that are worth a system call
COMMIT_PACK = 0  # the segment number of packs that only a commit writes: no part of the log
_PAGE = 4096
_NO_DATA = b""


@dataclass(slots=True, frozen=True)
class _Named:
    """Pages of a segment, (start, length) each, that a Dead record which ends at *position* of the log names."""

    segment: Segment
    position: tuple[int, int]
    holes: list[tuple[int, int]]


class Staging:
    """The live segments of one view, in order; the last one is written to.

    Invariants: (S1) a record is whole in the log before its change is visible; (S2) segment numbers ascend, and only
    the last segment takes records; (S3) what is punched was named by a Dead record before, and the log was durable up
    to there: else a loss of power could bring back that something needs it.
    """

    def __init__(
        self, directory: Path, digest: BlockHash, new_pack: Callable[[], tuple[bytes, str]], number: int = 0
    ) -> None:
        """*new_pack* makes a pack id and its file name; *number* is the last segment number that was used."""
        self.directory = directory
        self.digest = digest
        self._new_pack = new_pack
        self._number = number
        self.published: str | None = None  # the token of the commit that `load` found to have come to be
        self.doubtful: list[str] = []  # the tokens of those it found in the log that may still come to be
        self.included = number  # the last segment whose changes are in the view's base, by number
        self.drops = 0  # counts how often the log was thrown away: then segment numbers begin anew
        self.segments: list[Segment] = []
        self.by_pack: dict[bytes, Segment] = {}
        self._probe_in = 0
        self._partly: dict[tuple[bytes, int], int] = {}
        self._dead: dict[int, list[tuple[int, int]]] = {}
        self._named: list[_Named] = []

    # --- writing

    def append(self, record: AnyRecord, *more: AnyRecord) -> None:
        """Appends records without data, in one write. Raises OSError (ENOSPC) with nothing changed."""
        segment = self._current()
        head = encode_record(record, 0, segment.seed)
        if more:
            head += b"".join(encode_record(other, 0, segment.seed) for other in more)
        segment.append(head, _NO_DATA)

    def write(self, ino: int, offset: int, time_ns: int, data: bytes) -> list[Extent]:
        """Appends a Write; returns the extents that now hold *data*. Raises OSError (ENOSPC) with nothing changed."""
        length = len(data)
        self._probe(length)
        segment = self._current()
        digest = self.digest
        pieces = list(cut(offset, length))
        if len(pieces) == 1:
            hashes = [digest(data)]
        else:
            view = memoryview(data)
            hashes = [digest(view[at - offset : at - offset + n]) for at, n in pieces]
        head = encode_record(Write(ino, offset, time_ns, hashes), length, segment.seed)
        start = segment.append(head, data)
        segment.data_bytes += length
        return extents_of(segment.pack, start, offset, pieces, hashes)

    def _current(self) -> Segment:
        if self.segments:
            segment = self.segments[-1]
            if not segment.sealed and segment.size < SEGMENT_BYTES:
                return segment
            segment.sealed = True
        pack, name = self._new_pack()
        continues = any(not segment.taken for segment in self.segments)
        segment = Segment.create(self.directory, name, pack, self._number + 1, continues=continues)
        self._number += 1
        self._add(segment)
        return segment

    def _add(self, segment: Segment) -> None:
        self.segments.append(segment)
        self.by_pack[segment.pack] = segment

    def _probe(self, length: int) -> None:
        self._probe_in -= length
        if self._probe_in > 0:
            return
        free = os.statvfs(self.directory)
        room = free.f_bavail * free.f_frsize - RESERVE_BYTES - length
        if room < 0:
            self._probe_in = 0
            raise OSError(errno.ENOSPC, f"no room to stage data in {self.directory}")
        self._probe_in = min(_PROBE_BYTES, room)

    # --- durability

    @property
    def position(self) -> tuple[int, int]:
        """The log's end: (segment number, size). Ordered."""
        return (self.segments[-1].number, self.segments[-1].size) if self.segments else (0, 0)

    def unsynced(self) -> list[Segment]:
        return [segment for segment in self.segments if segment.synced < segment.size]

    def mark_synced(self, position: tuple[int, int]) -> None:
        """Notes in the log that it was durable up to *position*: a replay verifies only what stands behind."""
        if self.segments and not self.segments[-1].sealed:
            self.append(Synced(*position))

    # --- commit

    def freeze(self, token: str) -> list[Segment]:
        """Ends the segments a commit takes; the next record begins a new one. Returns them."""
        if not self.segments:
            return []
        segment = self._current()
        segment.append(encode_record(Freeze(token), 0, segment.seed), _NO_DATA)
        segment.sealed = True
        for segment in self.segments:
            segment.taken = True
        return list(self.segments)

    def thaw(self, segments: list[Segment]) -> None:
        """The commit that took these failed. What it may have made a pack stays taken: the store has its own link."""
        for segment in segments:
            segment.taken = segment.uploaded or os.fstat(segment.fd).st_nlink > 1

    def forget(self, segments: list[Segment]) -> None:
        """The commit that took these is done: closes and unlinks them."""
        for segment in segments:
            if segment.pack in self.by_pack:
                self.segments.remove(segment)
                del self.by_pack[segment.pack]
                self._dead.pop(segment.number, None)
            segment.close()
            segment.path.unlink(missing_ok=True)
        self._partly = {key: left for key, left in self._partly.items() if key[0] in self.by_pack}

    def drop(self) -> None:
        """Throws every record away (reload --discard): all or, when we are killed, none. Durable when it returns."""
        remove_log(self.directory)
        self.forget(list(self.segments))
        self.directory.mkdir(mode=0o700)
        sync_directory(self.directory.parent)
        self._number = self.included
        self.drops += 1

    def full(self) -> list[Segment]:
        """Segments that take no more records, are worth keeping, and are not taken yet."""
        return [
            segment
            for segment in self.segments[:-1]
            if not segment.taken and segment.dead_bytes * 2 <= segment.data_bytes
        ]

    # --- dead ranges

    def discard(self, extents: Iterator[Extent] | list[Extent]) -> None:
        """These parts of the log are no longer part of any file."""
        for extent in extents:
            ref = extent.ref
            segment = self.by_pack.get(ref.pack)
            if segment is None:
                continue
            segment.dead_bytes += extent.length
            if extent.length < ref.length:
                key = (ref.pack, ref.offset)
                left = self._partly.pop(key, ref.length) - extent.length
                if left > 0:
                    self._partly[key] = left
                    continue
            self._dead.setdefault(segment.number, []).append((ref.offset, ref.length))

    def punch(self) -> None:
        """Gives space of dead ranges back, segment by segment, where enough has gathered: names it, and punches what
        an earlier call has named, once the log is durable up to there. Raises OSError."""
        named, self._named = self._named, []
        for each in named:
            if each.segment.pack not in self.by_pack:
                continue
            if each.segment.taken or not self._is_durable(each.position):
                self._named.append(each)
                continue
            for start, length in each.holes:
                each.segment.punch(start, length)
        for segment in self.segments:
            ranges = self._dead.get(segment.number, [])
            if segment.taken or sum(length for _, length in ranges) < _PUNCH_BYTES:
                continue
            pieces, holes = _whole_pages(ranges)
            if holes:
                self.append(Dead(segment.number, pieces))
                self._named.append(_Named(segment, self.position, holes))
            del self._dead[segment.number]

    @property
    def wants_sync(self) -> bool:
        """Whether more is written than the segment in use, or space waits for the log to be durable."""
        return len(self.unsynced()) > 1 or bool(self._named)

    def _is_durable(self, position: tuple[int, int]) -> bool:
        number, size = position
        return all(s.synced >= (s.size if s.number < number else size) for s in self.segments if s.number <= number)

    @property
    def stored_bytes(self) -> int:
        return sum(segment.size for segment in self.segments)

    # --- resume

    def load(
        self, published: Callable[[dict[str, int]], str | None], included: int = -1
    ) -> Iterator[tuple[Segment, Placed]]:
        """Opens the segments of an earlier daemon, yields their records in order, cuts the torn tail.

        Segments up to number *included* (-1: not known) are in the base. *published* is given the tokens of the log's
        commits, each with the number of its last segment, in order, and says which is the last that came to be: what
        it took is dropped. Data behind the last Synced record is verified; from the first that does not agree, or that
        is missing, on, the log is dropped: it was never durable.

        Raises DamageError, with nothing dropped, where what was durable is not as it was written.
        """
        found: list[Segment] = []
        for path in sorted(self.directory.iterdir()) if self.directory.exists() else []:
            segment = Segment.open(path)
            if segment is None:
                path.unlink()
                continue
            if segment.pack.hex() != path.name:
                raise DamageError(f"damaged: {path} is log segment {segment.pack.hex()}; run volfs fsck")
            if segment.number == COMMIT_PACK:
                segment.close()
                path.unlink()  # of a commit that was cut short, or that has its own link in the store
                continue
            found.append(segment)
        found.sort(key=lambda segment: segment.number)
        if included < 0:
            included = found[0].number - 1 - found[0].continues if found else 0
        self.forget([segment for segment in found if segment.number <= included])
        found = [segment for segment in found if segment.number > included]
        synced: tuple[int, int] = (0, 0)
        dead: dict[int, set[tuple[int, int]]] = {}
        frozen_at: dict[str, int] = {}
        for segment in found:
            for placed in _all_records(segment):
                if isinstance(placed.record, Synced):
                    if placed.record.number <= segment.number:
                        synced = max(synced, (placed.record.number, placed.record.position))
                elif isinstance(placed.record, Dead):
                    dead.setdefault(placed.record.number, set()).update(placed.record.ranges)
                elif isinstance(placed.record, Freeze):
                    frozen_at[placed.record.token] = segment.number
        done = self.published = published(frozen_at)
        if done is not None:
            included = frozen_at[done]
            self.forget([segment for segment in found if segment.number <= included])
            found = [segment for segment in found if segment.number > included]
        self.doubtful = [token for token, number in frozen_at.items() if number > included]
        self.included = self._number = included
        numbers = [segment.number for segment in found]
        for number in range(included + 1, synced[0] + 1):
            if number not in numbers:
                raise DamageError(f"damaged: {self.directory} lacks log segment {number}; run volfs fsck")
        torn = False
        for segment in found:
            torn = torn or segment.number != self._number + 1
            if torn:
                segment.close()
                segment.path.unlink()
                continue
            self._number = segment.number
            self._add(segment)
            end = size = segment.size
            frozen = False
            last = None
            for last in segment.scan():
                frozen = isinstance(last.record, Freeze)
                if isinstance(last.record, Write):
                    if (segment.number, last.end) > synced and not self._whole(segment, last, dead):
                        end, torn = last.position, True
                        break
                    segment.data_bytes += last.data_bytes
                yield segment, last
            if not frozen:
                if not torn:
                    end = last.end if last is not None else HEADER_BYTES
                    torn = end < size and segment is not found[-1]
                if (segment.number, end) < min(synced, (segment.number, size)):
                    raise DamageError(f"damaged: {segment.path} has no record at {end} any more; run volfs fsck")
                if end < size:
                    os.ftruncate(segment.fd, end)
                    os.fdatasync(segment.fd)  # a tail that came back would end the log, whatever is durable behind it
                segment.size = end
            segment.replayed(synced)
        if self.directory.exists():
            sync_directory(self.directory)  # what was dropped must not come back under a number that is used anew

    def _whole(self, segment: Segment, placed: Placed, dead: dict[int, set[tuple[int, int]]]) -> bool:
        gone = dead.get(segment.number)
        return (gone is not None and _punched(placed, gone)) or segment.agrees(placed, self.digest)


def extents_of(
    pack: bytes, start: int, offset: int, pieces: list[tuple[int, int]], hashes: list[bytes]
) -> list[Extent]:
    """The extents of a write of *pieces* whose data lies at *start* of *pack*."""
    return [
        Extent(at, length, Ref(pack, start + at - offset, length, length, 0, digest), 0)
        for (at, length), digest in zip(pieces, hashes, strict=True)
    ]


def _all_records(segment: Segment) -> Iterator[Placed]:
    """Also those behind one that cannot be read: what they tell shows whether that is a torn tail."""
    end = HEADER_BYTES
    record: AnyRecord | None = None
    for placed in segment.scan():
        yield placed
        end, record = placed.end, placed.record
    if end < segment.size and not isinstance(record, Freeze):
        yield from segment.behind(end)


def durable_end(segments: list[Segment]) -> tuple[int, int]:
    """(segment number, position) up to which the log's own records say that it was durable."""
    told = (placed.record for segment in segments for placed in _all_records(segment))
    return max(((r.number, r.position) for r in told if isinstance(r, Synced)), default=(0, 0))


def _punched(placed: Placed, gone: set[tuple[int, int]]) -> bool:
    """Whether any piece of this write was given back to the file system."""
    record = placed.record
    assert isinstance(record, Write)
    return bool(gone) and any(
        (placed.data + at - record.offset, length) in gone for at, length in cut(record.offset, placed.data_bytes)
    )


def _whole_pages(ranges: list[tuple[int, int]]) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """(those of the ranges that hold a whole page, (start, length) of the pages).

    Ranges that touch count as one. Those of two records never do: between them is a head, which a replay reads. So a
    small write is never named, and a Dead record of a whole segment stays far below the bound of a record.
    """
    pieces: list[tuple[int, int]] = []
    holes: list[tuple[int, int]] = []
    run: list[tuple[int, int]] = []
    for piece in [*sorted(ranges), (-1, 0)]:
        if run and piece[0] != sum(run[-1]):
            start = -(-run[0][0] // _PAGE) * _PAGE
            end = sum(run[-1]) // _PAGE * _PAGE
            if start < end:
                pieces += run
                holes.append((start, end - start))
            run = []
        run.append(piece)
    return pieces, holes
