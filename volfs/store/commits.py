"""A volume's commit log: one object a commit, put if absent. May import: keys, backend, format."""

from collections.abc import Iterator

from msgspec.structs import replace

from volfs.exception import DamageError, NotFoundError
from volfs.format.record import DELETED, CommitRecord, decode_commit, encode_commit
from volfs.store import keys
from volfs.store.backend import Backend, get_decoded

_TRIES = 3


class Commits:
    """*name* is for messages. Every read raises NotFoundError once the volume was deleted."""

    def __init__(self, backend: Backend, volume_id: str, name: str = "") -> None:
        self._backend = backend
        self._volume_id = volume_id
        self._name = name or volume_id

    def latest(self) -> CommitRecord | None:
        """The last commit; None when there is none. One listing of one key, one GET."""
        for _ in range(_TRIES):
            key = self._backend.first(keys.commits(self._volume_id))
            if key is None:
                return None
            seq = keys.commit_seq(key)
            record = self.get(seq) if seq else None
            if record is not None:
                return record
            # Listed, and not there: records are never removed, so the listing was damaged on the way.
        raise DamageError(f"volume {self._name}: {key} is listed among its commits and is none; run volfs fsck")

    def latest_seq(self) -> int:
        """The number of the last commit, 0 when there is none; from its key alone when its record is damaged."""
        try:
            latest = self.latest()
        except DamageError:
            seq = keys.commit_seq(self._backend.first(keys.commits(self._volume_id)) or "")
            if not seq:
                raise
            return seq
        return latest.seq if latest is not None else 0

    def get(self, seq: int) -> CommitRecord | None:
        """Commit *seq*; None when there is no such. One GET."""
        record = self._record(seq)
        if record is not None and record.kind == DELETED:
            raise NotFoundError(f"volume {self._name} was deleted; its uncommitted changes can only be discarded")
        return record

    def append(self, record: CommitRecord) -> bool:
        """True when *record* is now the commit of its number; False when another is.

        "Exists" may be our own lost answer: the token tells.
        """
        record = replace(record, volume=self._volume_id)
        if self._backend.put_if_absent(keys.commit(self._volume_id, record.seq), encode_commit(record)):
            return True
        found = self._record(record.seq)
        return found is not None and found.token == record.token

    def history(self) -> Iterator[CommitRecord]:
        """All commits, newest first."""
        latest = self.latest()
        seq = latest.seq if latest is not None else 0
        while seq > 0:
            record = self._record(seq)
            if record is None:
                raise DamageError(f"volume {self._name}: commit {seq} is missing from its log; run volfs fsck")
            yield record
            seq -= 1

    def _record(self, seq: int) -> CommitRecord | None:
        try:
            record = get_decoded(self._backend, keys.commit(self._volume_id, seq), decode_commit)
        except NotFoundError:
            return None
        except DamageError as error:
            raise DamageError(f"volume {self._name}, commit {seq}: {error}") from error
        if record.volume not in ("", self._volume_id):
            raise DamageError(
                f"volume {self._name}, commit {seq}: the record is one of volume {record.volume}; run volfs fsck"
            )
        if record.seq != seq:
            raise DamageError(f"volume {self._name}: commit {record.seq} where {seq} should be; run volfs fsck")
        return record
