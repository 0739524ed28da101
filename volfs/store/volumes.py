"""Volumes and their names. May import: store, keys, commits, format.

A volume's name is the last of `volumes/<id>/names/`; another name object that points to it is stale, left by a rename
or deletion cut short, and may be taken over. Volumes without a name are ephemeral.
"""

import os
import stat
import time
from collections.abc import Iterator
from typing import TypeVar

import msgspec

from volfs.exception import AlreadyExistsError, ConflictError, DamageError, InvalidError, NotFoundError
from volfs.format.entry import ROOT_INO, Inode
from volfs.format.ids import commit_token, family_id, is_family_id, is_volume_id, volume_id
from volfs.format.names import check_environment, check_volume_name
from volfs.format.note import decode_note, encode_note
from volfs.format.record import DELETED, CommitRecord
from volfs.format.root import Root
from volfs.store import keys
from volfs.store.backend import get_decoded
from volfs.store.commits import Commits
from volfs.store.store import Store

VERSION = 1
_TRIES = 3


class Volume(msgspec.Struct, frozen=True, kw_only=True):
    """*hash_seed* is the family's; *uid* and *gid* own the empty root directory; *version* is modal's, 1 or 2: it
    changes nothing here. *name* "": ephemeral, or deleted."""

    id: str
    family: str
    hash_seed: int
    created_at_ns: int
    created_by: str
    uid: int
    gid: int
    environment: str
    name: str
    version: int = 2


class _File(msgspec.Struct, frozen=True, kw_only=True):
    format: str
    version: int


class _VolumeFile(_File, frozen=True, kw_only=True):
    id: str
    family: str
    hash_seed: int
    created_at_ns: int
    created_by: str
    uid: int
    gid: int
    volume_version: int = 2


class _NameFile(_File, frozen=True, kw_only=True):
    """*name* "": the volume has none any more."""

    volume: str
    environment: str
    name: str


F = TypeVar("F", bound=_File)


def create_volume(
    store: Store,
    environment: str,
    name: str | None,
    *,
    uid: int,
    gid: int,
    created_by: str = "",
    now_ns: int | None = None,
    version: int = 2,
) -> Volume:
    """*name* None makes an ephemeral one. Raises AlreadyExistsError, InvalidError."""
    check_environment(environment)
    if version not in (1, 2):
        raise InvalidError(f"volume version {version!r} is not known; it is 1 or 2")
    if name is not None:
        check_volume_name(name)
        there = _by_name(store, environment, name)
        if there is not None:
            if not _is_ended(store, there):
                raise _taken(environment, name)
            _free_name(store, there)
    volume = Volume(
        id=volume_id(os.urandom(16)),
        family=family_id(os.urandom(16)),
        hash_seed=int.from_bytes(os.urandom(8), "little"),
        created_at_ns=time.time_ns() if now_ns is None else now_ns,
        created_by=created_by,
        uid=uid,
        gid=gid,
        environment=environment,
        name=name or "",
        version=version,
    )
    described = _VolumeFile(
        format="volfs-volume",
        version=VERSION,
        id=volume.id,
        family=volume.family,
        hash_seed=volume.hash_seed,
        created_at_ns=volume.created_at_ns,
        created_by=created_by,
        uid=uid,
        gid=gid,
        volume_version=version,
    )
    store.backend.put_if_absent(keys.volume(volume.id), encode_note(described))
    _put_name(store, volume.id, environment, volume.name)
    if volume.name:
        try:
            # Last, so that of many creators one has a whole volume, and nobody takes it for one cut short.
            _point(store, volume)
        except AlreadyExistsError:
            store.backend.delete(keys.volume(volume.id))
            store.backend.delete(keys.volume_name(volume.id, 0))
            raise
    return volume


def find_volume(store: Store, environment: str, name: str) -> Volume:
    """The volume of that name. Raises NotFoundError, InvalidError."""
    check_environment(environment)
    check_volume_name(name)
    volume = _by_name(store, environment, name)
    if volume is None:
        raise _absent(store, environment, name)
    return volume


def _absent(store: Store, environment: str, name: str) -> NotFoundError:
    return NotFoundError(f"no volume {name} in environment {environment} of {store.url}; `volfs create` makes one")


def load_volume(store: Store, identity: str) -> Volume:
    """The volume with that id, whatever its name. Raises NotFoundError."""
    if not is_volume_id(identity):
        raise NotFoundError(f"{identity!r} is no volume id")
    found, (_, last) = store.beside(
        lambda: _got(store, keys.volume(identity), _VolumeFile), lambda: last_name(store, identity)
    )
    if not (0 <= found.hash_seed < 1 << 64 and is_family_id(found.family) and _are_ids(found.uid, found.gid)):
        raise DamageError(f"object {keys.volume(identity)} cannot be right; run volfs fsck")
    if found.id != identity or (last is not None and last.volume != identity):
        raise DamageError(f"volume {identity}: what describes it is another volume's; run volfs fsck")
    return Volume(
        id=found.id,
        family=found.family,
        hash_seed=found.hash_seed,
        created_at_ns=found.created_at_ns,
        created_by=found.created_by,
        uid=found.uid,
        gid=found.gid,
        environment=last.environment if last is not None else "",
        name=last.name if last is not None else "",
        version=found.volume_version,
    )


def _are_ids(*numbers: int) -> bool:
    return all(0 <= number < 1 << 32 for number in numbers)


def find_with_latest(store: Store, environment: str, name: str) -> tuple[Volume, CommitRecord | None]:
    """A volume, by its name or id, and its latest commit: fewer requests one after the other than for each alone.

    Raises NotFoundError, InvalidError.
    """
    if is_volume_id(name):
        return store.beside(lambda: load_volume(store, name), Commits(store.backend, name).latest)
    check_environment(environment)
    check_volume_name(name)
    try:
        identity = _pointed(store, environment, name).volume
        commits = Commits(store.backend, identity, name)
        volume, latest = store.beside(lambda: load_volume(store, identity), commits.latest)
    except NotFoundError:
        volume = find_volume(store, environment, name)  # says what is wrong
        return volume, Commits(store.backend, volume.id, name).latest()
    if (volume.environment, volume.name) != (environment, name):
        raise _absent(store, environment, name)
    return volume, latest


def list_volumes(store: Store, environment: str) -> Iterator[Volume]:
    """The volumes of an environment, by name."""
    check_environment(environment)
    for key in store.backend.children(keys.names(environment)):
        volume = _by_name(store, environment, key.removesuffix(".json"))
        if volume is not None:
            yield volume


def rename_volume(store: Store, volume: Volume, new_name: str) -> Volume:
    """Raises AlreadyExistsError, InvalidError, ConflictError when somebody else renames it at the same time."""
    check_volume_name(new_name)
    if new_name == volume.name:
        return volume
    if _by_name(store, volume.environment, new_name) is not None:
        raise _taken(volume.environment, new_name)
    renamed = msgspec.structs.replace(volume, name=new_name)
    _point(store, renamed)
    _put_name(store, volume.id, volume.environment, new_name)
    store.backend.delete(keys.name(volume.environment, volume.name))
    return renamed


def delete_volume(store: Store, volume: Volume) -> None:
    """Ends the commit log, whether its records can be read or not, then frees the name. The data stays until a gc."""
    commits = Commits(store.backend, volume.id, volume.name)
    while True:
        try:
            seq = commits.latest_seq()
        except NotFoundError:
            break  # by one who was killed before the name was free
        record = CommitRecord(
            seq=seq + 1,
            parent=seq,
            token=commit_token(os.urandom(16)),
            root=b"",
            time_ns=time.time_ns(),
            kind=DELETED,
        )
        if commits.append(record):
            break
    _free_name(store, volume)


def _is_ended(store: Store, volume: Volume) -> bool:
    """Whether it was deleted: with a name still only by one who was killed over it."""
    try:
        Commits(store.backend, volume.id, volume.name).latest_seq()
    except NotFoundError:
        return True
    return False


def _free_name(store: Store, volume: Volume) -> None:
    there = _by_name(store, volume.environment, volume.name) if volume.name else None
    if there is not None and there.id == volume.id:
        # While it is still ours: afterwards it would be stale, and might be somebody else's by now.
        store.backend.delete(keys.name(volume.environment, volume.name))
    _put_name(store, volume.id, volume.environment, "")


def delete_data(store: Store, volume: Volume) -> None:
    """Removes the packs of a deleted volume that shares none: what was ephemeral leaves nothing big behind."""
    for pack in store.backend.children(keys.packs(volume.family)):
        store.backend.delete(f"{keys.packs(volume.family)}/{pack}")
    store.backend.delete(keys.heartbeat(volume.id))


def beat(store: Store, identity: str) -> None:
    """Says that somebody still uses an ephemeral volume."""
    store.backend.put(keys.heartbeat(identity), str(time.time_ns()).encode() + b"\n")


def empty_root(volume: Volume) -> Root:
    """What a volume without a commit shows."""
    at = volume.created_at_ns
    return Root(
        Inode(
            ino=ROOT_INO,
            mode=stat.S_IFDIR | 0o755,
            uid=volume.uid,
            gid=volume.gid,
            nlink=2,
            atime_ns=at,
            mtime_ns=at,
            ctime_ns=at,
        )
    )


# --- names


def _by_name(store: Store, environment: str, name: str) -> Volume | None:
    for _ in range(2):  # a listing has no checksum, and one that was damaged on the way hides a volume's own word
        try:
            volume = load_volume(store, _pointed(store, environment, name).volume)
        except NotFoundError:
            return None
        if (volume.environment, volume.name) == (environment, name):
            return volume
    return None


def _pointed(store: Store, environment: str, name: str) -> _NameFile:
    """What a name leads to."""
    key = keys.name(environment, name)
    found = _got(store, key, _NameFile)
    if (found.environment, found.name) != (environment, name):
        raise DamageError(f"object {key} is that of the name {found.environment}/{found.name}; run volfs fsck")
    return found


def _taken(environment: str, name: str) -> AlreadyExistsError:
    return AlreadyExistsError(f"volume {name} exists already in environment {environment}")


def _point(store: Store, volume: Volume) -> None:
    """Makes the name lead to the volume; only together with the volume's own word it counts."""
    key = keys.name(volume.environment, volume.name)
    pointer = encode_note(_name_file(volume.id, volume.environment, volume.name))
    while not store.backend.put_if_absent(key, pointer):
        there = _by_name(store, volume.environment, volume.name)
        if there is not None and there.id == volume.id:
            return  # our own, whose answer was lost
        if there is not None:
            raise _taken(volume.environment, volume.name)
        store.backend.delete(key)  # stale


def _put_name(store: Store, identity: str, environment: str, name: str) -> None:
    k, _ = last_name(store, identity)
    key = keys.volume_name(identity, k + 1)
    data = encode_note(_name_file(identity, environment, name))
    # "Exists" may be our own lost answer; somebody else's with the same name is as good.
    if not store.backend.put_if_absent(key, data) and store.backend.get(key) != data:
        raise ConflictError(f"volume {identity} is being renamed by somebody else; try again")


def last_name(store: Store, identity: str) -> tuple[int, _NameFile | None]:
    """(k, the volume's k-th name, the last); (-1, None) when it has none."""
    for _ in range(_TRIES):
        listed = store.backend.children(keys.volume_names(identity), limit=1)
        if not listed:
            return -1, None
        try:
            found = _got(store, f"{keys.volume_names(identity)}/{listed[0]}", _NameFile)
            return keys.volume_name_count(listed[0]), found
        except NotFoundError:
            continue  # never removed: the listing was damaged on the way, or the volume's creation undone
    return -1, None


def named_by(store: Store, key: str) -> _NameFile:
    """What a name's object says, whether it is of that name or not. Raises NotFoundError, DamageError."""
    return _got(store, key, _NameFile)


def name_note(identity: str, environment: str, name: str) -> bytes:
    """A name's object, and a volume's word of its name."""
    return encode_note(_name_file(identity, environment, name))


def salvage_description(store: Store, identity: str) -> bytes | None:
    """What describes a volume made anew, if but its checksum or what no reader needs is damaged. To be checked."""
    try:
        text = store.backend.get(keys.volume(identity)).partition(b"\n")[0]
        found = msgspec.json.decode(text, type=_VolumeFile)
    except (NotFoundError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return encode_note(found) if found.id == identity and found.version == VERSION else None


def _name_file(identity: str, environment: str, name: str) -> _NameFile:
    return _NameFile(format="volfs-name", version=VERSION, volume=identity, environment=environment, name=name)


def _got(store: Store, key: str, kind: type[F]) -> F:
    return get_decoded(store.backend, key, lambda data: _decoded(data, kind, key))


def _decoded(data: bytes, kind: type[F], key: str) -> F:
    value = decode_note(data, kind, f"object {key}")
    if value.version != VERSION:
        raise DamageError(f"object {key} has format version {value.version}; this volfs knows {VERSION}: upgrade it")
    return value
