"""What describes a volume, its names and its commit records: looked at, and made anew where they can be.

May import: session, store, format. Must not know: what a tree holds. Blocks. What is replaced is kept, in
`volumes/<id>/damaged/`.
"""

import os
import socket
import time
from concurrent.futures import Executor

import msgspec
from xxhash import xxh3_64_hexdigest

from volfs.exception import DamageError, NotFoundError
from volfs.format.frame import FRAME_BYTES
from volfs.format.hashing import block_hash
from volfs.format.ids import commit_token, is_volume_id
from volfs.format.names import check_environment, check_volume_name
from volfs.format.record import DELETED, CommitRecord, decode_commit, encode_commit
from volfs.format.root import Root, decode_root, encode_root
from volfs.sdk.fsck import Findings, Problem
from volfs.sdk.session import Session
from volfs.store import keys
from volfs.store.store import Store
from volfs.store.volumes import (
    Volume,
    empty_root,
    last_name,
    load_volume,
    name_note,
    named_by,
    salvage_description,
)
from volfs.tree import lookup


def find(store: Store, environment: str, name: str, found: Findings, *, repair: bool) -> Volume:
    """The volume of that name or id, also where its name objects are damaged or missing: they are looked at, too.

    Raises NotFoundError; DamageError where what describes it cannot be read, and not be made anew.
    """
    if is_volume_id(name):
        identity = name
    else:
        check_environment(environment)
        check_volume_name(name)
        identity = _by_name(store, environment, name, found)
    _mend_name(store, identity, environment, name, found, repair=repair)
    try:
        volume = load_volume(store, identity)
    except DamageError as error:
        if not repair:
            raise
        volume = _mend_description(store, identity, error, found)
    if volume.name:
        _mend_pointer(store, volume, found, repair=repair)
    return volume


def _by_name(store: Store, environment: str, name: str, found: Findings) -> str:
    """The id: as the name says, else of the volume that says it has that name."""
    key = keys.name(environment, name)
    try:
        identity = named_by(store, key).volume
        if _has_name(store, identity, environment, name) is not False:
            return identity
    except (DamageError, NotFoundError):
        pass
    for other in store.backend.children(keys.VOLUMES):
        if is_volume_id(other) and _has_name(store, other, environment, name):
            return other
    raise NotFoundError(f"no volume {name} in environment {environment} of {store.url}")


def _has_name(store: Store, identity: str, environment: str, name: str) -> bool | None:
    """Whether that is the volume's name by its own word; None when that cannot be read."""
    try:
        _, last = last_name(store, identity)
    except DamageError:
        return None
    return last is not None and (last.environment, last.name) == (environment, name)


def _mend_name(store: Store, identity: str, environment: str, name: str, found: Findings, *, repair: bool) -> None:
    """The volume's own word of its name."""
    try:
        k, last = last_name(store, identity)
        if last is None or last.volume == identity:
            return
        error = DamageError(f"it is of volume {last.volume}")
        key = keys.volume_name(identity, k)
    except DamageError as damaged:
        error = damaged
        listed = store.backend.children(keys.volume_names(identity), limit=1)
        key = f"{keys.volume_names(identity)}/{listed[0]}" if listed else ""
    if not repair or is_volume_id(name) or not key:
        found.problems.append(Problem(0, key, str(error)))
        return
    keep(store, identity, key)
    store.backend.put(key, name_note(identity, environment, name))
    found.repaired.append(f"{key}: the volume's name is {name} again")


def _mend_pointer(store: Store, volume: Volume, found: Findings, *, repair: bool) -> None:
    """What leads from the name to the volume."""
    key = keys.name(volume.environment, volume.name)
    try:
        pointer = named_by(store, key)
        if (pointer.volume, pointer.environment, pointer.name) == (volume.id, volume.environment, volume.name):
            return
        text = f"it leads to volume {pointer.volume}, which has another name"
        if pointer.volume != volume.id and _has_name(store, pointer.volume, volume.environment, volume.name):
            found.notes.append(f"{key}: leads to another volume of that name, {pointer.volume}")
            return
    except DamageError as error:
        text = str(error)
    except NotFoundError:
        text = "the name leads nowhere"
    if not repair:
        found.problems.append(Problem(0, key, text))
        return
    keep(store, volume.id, key)
    store.backend.put(key, name_note(volume.id, volume.environment, volume.name))
    found.repaired.append(f"{key}: leads to volume {volume.id} again")


def _mend_description(store: Store, identity: str, error: DamageError, found: Findings) -> Volume:
    """Of a volume.json whose text can be read: right, if its hash seed fits the newest commit's tree."""
    data = salvage_description(store, identity)
    if data is None:
        raise error
    key = keys.volume(identity)
    keep(store, identity, key)
    before = store.backend.get(key)
    store.backend.put(key, data)
    try:
        volume = load_volume(store, identity)
        latest = Session(store, volume, _no_threads).latest()
        if latest.root.dir.top is None:
            raise error
        top = latest.root.dir.top
        stored = store.packs(volume.family).read(top.pack, top.offset, top.stored)
        if block_hash(volume.hash_seed)(stored) != top.hash:
            raise error
    except (DamageError, NotFoundError):
        store.backend.put(key, before)
        raise error from None
    found.repaired.append(f"{key}: made anew; the family and hash seed in it fit what is stored")
    return volume


def _no_threads() -> Executor:
    raise AssertionError("a single node is read without threads")


def keep(store: Store, identity: str, key: str) -> None:
    """A copy of an object, as it is, apart from what is looked for."""
    try:
        data = store.backend.get(key)
    except NotFoundError:
        return
    name = f"{key.replace('/', '_')}-{xxh3_64_hexdigest(data)}"
    store.backend.put(f"{keys.damaged(identity)}/{name}", data)


# --- the commit log


def repair_log(session: Session, found: Findings) -> None:
    """A record in the place of each that is damaged or missing, so that no number is: with the tree of the damaged one
    where that can be read, else with that of the commit before."""
    store, volume = session.store, session.volume
    key = store.backend.first(keys.commits(volume.id))
    newest = keys.commit_seq(key) if key is not None else 0
    good: CommitRecord | None = None
    for seq in range(1, newest + 1):
        try:
            record = _record(store, volume.id, seq)
            good = record if record.kind != DELETED else good
            continue
        except (DamageError, NotFoundError) as error:
            text = "missing" if isinstance(error, NotFoundError) else str(error)
        good = _replaced(session, seq, good)
        whose = f"commit {seq - 1}" if good.message.endswith("before") else "the damaged record"
        found.repaired.append(f"commit {seq}: {text}; a record with the tree of {whose} is in its place")


def _record(store: Store, identity: str, seq: int) -> CommitRecord:
    record = decode_commit(store.backend.get(keys.commit(identity, seq)))
    if record.seq != seq or record.volume not in ("", identity):
        raise DamageError("it is another commit's record")
    if record.kind != DELETED:
        decode_root(record.root)
        if record.view_root is not None:
            decode_root(record.view_root)
    return record


def _replaced(session: Session, seq: int, before: CommitRecord | None) -> CommitRecord:
    store, volume = session.store, session.volume
    base = decode_root(before.root) if before is not None else empty_root(volume)
    root, packs = _salvaged(session, seq, base)
    text = "the record was damaged" + ("" if root is not None else "; the tree is that of the commit before")
    record = CommitRecord(
        seq=seq,
        parent=seq - 1,
        token=commit_token(os.urandom(16)),
        root=encode_root(root if root is not None else base),
        time_ns=time.time_ns(),
        host=socket.gethostname(),
        message=f"volfs fsck: {text}",
        volume=volume.id,
        packs=packs,
        inode_range=before.inode_range if before is not None else 0,
    )
    key = keys.commit(volume.id, seq)
    keep(store, volume.id, key)
    store.backend.put(key, encode_commit(record))
    return record


def _salvaged(session: Session, seq: int, base: Root) -> tuple[Root | None, tuple[bytes, ...]]:
    """(the tree of a damaged record, its packs), if its nodes agree with their hashes; the root directory's own
    attributes, which no hash covers, are those of *base*."""
    try:
        data = session.store.backend.get(keys.commit(session.volume.id, seq))
        record = msgspec.msgpack.decode(data[FRAME_BYTES:], type=CommitRecord)
        root = decode_root(record.root)
        if record.seq != seq or record.volume not in ("", session.volume.id) or root.dir.top is None:
            return None, ()
        for _ in lookup.scan(session.load, root.dir.top):
            pass
        for _ in lookup.scan_links(session.load, root.links):
            pass
    except (DamageError, NotFoundError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None, ()
    found, there = root.dir, base.dir
    directory = msgspec.structs.replace(
        there,
        top=found.top,
        subdirs=found.subdirs,
        entries=found.entries,
        files=found.files,
        bytes=found.bytes,
        nlink=2 + found.subdirs,
    )
    packs = tuple(pack for pack in record.packs if len(pack) == 16)
    return Root(directory, root.links, root.link_count, root.link_bytes), packs
