"""Changes of volumes gathered from several calls, then made as one commit each. May import: session, sources, upload.

Must not know: who gathers them. Blocks; several threads may add.
"""

import contextlib
import threading
from dataclasses import dataclass, field
from pathlib import Path as LocalPath

from volfs.format.root import Root
from volfs.sdk.session import PENDING, Session, Work, shown
from volfs.sdk.sources import Batch, Put
from volfs.sdk.upload import Progress, storing
from volfs.tree import lookup
from volfs.tree.draft import Draft, Path
from volfs.tree.want import Load
from volfs.view.packing import PackWriter


@dataclass(slots=True)
class _Files:
    """Neighbours among the steps, so that many threads may read them; *directories* come first."""

    batch: Batch = field(default_factory=Batch)
    directories: list[Path] = field(default_factory=list)


@dataclass(slots=True)
class _Gathered:
    """What is to happen to one volume, in order. *fresh* are names that must not be somebody else's by then."""

    session: Session
    steps: list[Work | _Files] = field(default_factory=list)
    fresh: list[Path] = field(default_factory=list)
    spools: LocalPath | None = None

    def files(self) -> _Files:
        if not self.steps or not isinstance(self.steps[-1], _Files):
            self.steps.append(_Files())
        last = self.steps[-1]
        assert isinstance(last, _Files)
        return last


class Changes:
    """`files` counts those that are put. Ends with `commit` or `drop`; what is spooled is gone then."""

    def __init__(self) -> None:
        self.files = 0
        self._volumes: dict[str, _Gathered] = {}
        self._lock = threading.Lock()
        self._spools = contextlib.ExitStack()
        self._spooled = 0

    def add(self, session: Session, step: Work) -> None:
        with self._lock:
            self._of(session).steps.append(step)

    def put(self, session: Session, put: Put, *, exclusive: bool = False) -> None:
        """A file; *exclusive*: there must be none of its name before."""
        with self._lock:
            gathered = self._of(session)
            if exclusive:
                gathered.steps.append(_absence(session, put.remote))
                gathered.fresh.append(put.remote)
            gathered.files().batch.add_file(put)
            self.files += 1

    def put_directory(self, session: Session, path: Path) -> None:
        """A directory, unless it is there."""
        with self._lock:
            self._of(session).files().directories.append(path)

    def spool(self, session: Session) -> LocalPath:
        """The name for a new local file, in a place of its own that is left behind by no end of this process."""
        with self._lock:
            gathered = self._of(session)
            if gathered.spools is None:
                gathered.spools = self._spools.enter_context(session.workplace())
            self._spooled += 1
            return gathered.spools / str(self._spooled)

    def commit(self, progress: Progress = lambda files, size: None) -> None:
        """One commit per volume, in the order in which they were first changed. Raises what the steps raise; then
        this volume and those after it are as they were."""
        try:
            for gathered in self._volumes.values():
                if gathered.steps:
                    _commit(gathered, progress)
        finally:
            self.drop()

    def drop(self) -> None:
        with self._lock:
            self._volumes = {}
            self._spools.close()

    def _of(self, session: Session) -> _Gathered:
        found = self._volumes.get(session.volume.id)
        if found is None:
            found = self._volumes[session.volume.id] = _Gathered(session)
        return found


def _commit(gathered: _Gathered, progress: Progress) -> None:
    session = gathered.session

    def work(draft: Draft, writer: PackWriter) -> None:
        for step in gathered.steps:
            if isinstance(step, _Files):
                for path in step.directories:
                    draft.make_directory(path)
                storing(session, step.batch, progress=progress)(draft, writer)
            else:
                step(draft, writer)
            if draft.pending >= PENDING:
                draft.store()

    def check(load: Load, base: Root, mine: Root, head: Root) -> None:
        for path in gathered.fresh:
            if lookup.walk(load, base, path) is None and lookup.walk(load, head, path) is not None:
                raise _exists(session, path)

    session.change(work, check=check)


def _absence(session: Session, path: Path) -> Work:
    def work(draft: Draft, writer: PackWriter) -> None:
        if draft.find(path) is not None:
            raise _exists(session, path)

    return work


def _exists(session: Session, path: Path) -> FileExistsError:
    return FileExistsError(f"{shown(path)} exists already in volume {session.name}; nothing was written")
