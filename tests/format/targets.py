"""What the fuzzer calls: each decoder with well-formed inputs, and what is done with a value once it was accepted."""

import random
import tempfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from xxhash import xxh3_64_hexdigest, xxh3_64_intdigest

from tests.format.mutate import mutate, mutate_value
from tests.format.samples import COMMIT, NOTE, PACK, SAMPLES, Note, decode_record
from tests.tree.memory import Memory
from volfs.control import protocol
from volfs.control.registry import MountState
from volfs.exception import BusyError, DamageError, Error, ExecutionError, InvalidError
from volfs.format import segment
from volfs.format.entry import Extent, Inode, Link, Ref
from volfs.format.frame import decode_frame, encode_frame
from volfs.format.hashing import block_hash
from volfs.format.node import Node
from volfs.format.note import decode_note, decode_summed, encode_note, encode_summed
from volfs.format.record import decode_commit, encode_commit
from volfs.format.root import Root, decode_root
from volfs.store.location import parse_url
from volfs.tree import edit, lookup
from volfs.tree.diff import diff_directory, diff_links
from volfs.view.staging import Staging
from volfs.view.state import Base

_HASH = block_hash(0)
_STEPS = 2000  # of a walk through a tree that is not as it was written


class Target(NamedTuple):
    """*declared* are the errors that *run* may raise. *change* makes an input that is sealed anew."""

    name: str
    seeds: list[bytes]
    run: Callable[[bytes], Any]
    declared: tuple[type[BaseException], ...] = (DamageError,)
    change: Callable[[random.Random], bytes] | None = None
    weight: float = 1.0


def _golden(name: str) -> Target:
    sample = SAMPLES[name]
    return Target(name, [sample.encode(sample.value)], sample.decode)


# --- with a checksum that is made right again


def _sealed_commit(dice: random.Random) -> bytes:
    name = dice.choice(("commit", "commit-deleted"))
    data = SAMPLES[name].encode(SAMPLES[name].value)
    payload = decode_frame(data, data[:8], 1, "")
    if dice.random() < 0.5:
        payload = mutate(dice, payload)
    else:
        payload = _packed(mutate_value(dice, msgspec.msgpack.decode(payload)))
    return encode_frame(data[:8], 1, payload)


def _packed(value: Any) -> bytes:
    try:
        return msgspec.msgpack.encode(value)
    except (OverflowError, UnicodeEncodeError):
        return b"\xc1"


def _commit(data: bytes) -> None:
    record = decode_commit(data)
    if record.kind == "commit":
        decode_root(record.root)
        if record.view_root is not None:
            decode_root(record.view_root)


def _sealed_record(dice: random.Random) -> bytes:
    name = dice.choice([name for name in SAMPLES if name.startswith("record-")])
    data = SAMPLES[name].encode(SAMPLES[name].value)
    meta_bytes, _ = segment.frame_lengths(data[: segment.FRAME_BYTES])
    at = segment.FRAME_BYTES + meta_bytes
    meta, rest = data[segment.FRAME_BYTES : at], data[at:]
    meta = mutate(dice, meta) if dice.random() < 0.5 else _packed(mutate_value(dice, msgspec.msgpack.decode(meta)))
    return seal_record(meta, rest)


def seal_record(meta: bytes, data: bytes, pack: bytes = PACK) -> bytes:
    """A log record with any meta part, and a checksum that agrees."""
    start = b"vRec" + len(meta).to_bytes(4, "little") + len(data).to_bytes(4, "little") + bytes(4)
    digest = xxh3_64_intdigest(start + meta, segment.pack_seed(pack))
    return start + digest.to_bytes(8, "little") + meta + data


def _sealed_header(dice: random.Random) -> bytes:
    data = mutate(dice, segment.encode_header(PACK, 7)[:40])[:40].ljust(40, b"\0")
    return data + xxh3_64_intdigest(data).to_bytes(8, "little")


def _sealed_note(dice: random.Random) -> bytes:
    text = SAMPLES["note"].encode(SAMPLES["note"].value).partition(b"\n")[0]
    return _resummed(_changed_json(dice, text))


def _changed_json(dice: random.Random, text: bytes) -> bytes:
    if dice.random() < 0.5:
        return mutate(dice, text).replace(b"\n", b" ")
    try:
        return msgspec.json.encode(mutate_value(dice, msgspec.json.decode(text)))
    except (OverflowError, UnicodeEncodeError):
        return b"{" * 3000


def _resummed(text: bytes) -> bytes:
    return text + b"\nxxh3 " + xxh3_64_hexdigest(text).encode() + b"\n"


def _note(data: bytes) -> None:
    decode_note(data, Note, "a note")


# --- trees whose nodes are not what was written


class _Forest:
    """A snapshot with several levels of everything, in memory."""

    def __init__(self) -> None:
        self.memory = memory = Memory()
        size = 1 << 17
        blocks = [
            Extent(i * size, size, Ref(b"p" * 16, i * size, size, size, 0, bytes(16)), 0) for i in range(2000)
        ]
        large = edit.replace_ranges(
            memory.load, memory.emit, Inode(ino=20, mode=0o100644, size=2000 << 17), 1 << 63, [(0, 2000 << 17, blocks)]
        )
        names: dict[bytes, Inode | Link | None] = {b"%d" % i: Inode(ino=100 + i, mode=0o100600) for i in range(1500)}
        below = edit.edit_directory(memory.load, memory.emit, Inode(ino=2, mode=0o40755), names)
        some: dict[bytes, Inode | Link | None] = {
            b"large": large, b"below": below, b"link": Link(30, 0o100000), b"again": Link(30, 0o100000),
            b"soft": Inode(ino=31, mode=0o120777, size=3, target=b"abc"),
        }  # fmt: skip
        top = edit.edit_directory(memory.load, memory.emit, Inode(ino=1, mode=0o40755), some)
        links: dict[int, Inode | None] = {30 + i: Inode(ino=30 + i, mode=0o100644, nlink=2) for i in range(1500)}
        self.root = edit.edit_links(memory.load, memory.emit, Root(top), links)
        self.nodes = sorted(memory.nodes)
        self.seeds = [key + memory.nodes[key] for key in self.nodes]

    def damaged(self, dice: random.Random) -> bytes:
        """One node's key, and what stands in its place: its own bytes changed, or another node's."""
        key = dice.choice(self.nodes)
        data = self.memory.nodes[dice.choice(self.nodes)] if dice.random() < 0.2 else self.memory.nodes[key]
        return key + (mutate(dice, data) if dice.random() < 0.9 else data)

    def walk(self, data: bytes) -> None:
        """All that is done with a tree, where one node is *data* behind its key."""
        memory = Memory()
        memory.nodes = {**self.memory.nodes, data[:16]: data[16:]}
        def emit(node: bytes) -> Ref:
            memory.nodes[_HASH(node)] = node
            return Ref(b"m" * 16, 0, len(node), len(node), 0, _HASH(node))

        def load(ref: Ref) -> Node:
            if ref.hash not in memory.nodes:
                raise DamageError("no such node")
            return memory.load(ref)

        root = self.root
        for parts in ((b"large",), (b"below", b"77"), (b"link",), (b"soft",)):
            found = lookup.walk(load, root, parts)
            if found is not None and found.is_file:
                _bounded(iter(lookup.extents(load, found, 1 << 20, 1 << 24)))
                _bounded(lookup.all_extents(load, found))
        for _, _, entry in _bounded(lookup.scan(load, root.dir.top)):
            if isinstance(entry, Inode) and entry.is_dir:
                _bounded(lookup.scan(load, entry.top))
                edit.edit_directory(load, emit, entry, {b"500": None, b"new": Inode(ino=999, mode=0o100644)})
        _bounded(lookup.scan_links(load, root.links))
        _bounded(diff_directory(load, None, root.dir.top))
        _bounded(diff_links(load, None, root.links))
        edit.edit_links(load, emit, root, {700: None})


def _bounded(items: Iterator[Any]) -> list[Any]:
    return list(islice(items, _STEPS))


_FOREST = _Forest()


# --- a view's log


def _log_seed() -> bytes:
    data = segment.encode_header(PACK, 1)
    for value, content in (SAMPLES[f"record-{name}"].value for name in ("create", "write", "rename", "synced", "dead")):
        data += segment.encode_record(value, len(content), segment.pack_seed(PACK)) + content
    return data


def _sealed_log(dice: random.Random) -> bytes:
    data = segment.encode_header(PACK, 1)
    for _ in range(dice.randrange(4)):
        data += _sealed_record(dice)
    return data


class _Log:
    """A staging directory with one segment."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="volfs-fuzz-")
        self.path = Path(self._directory.name)

    def load(self, data: bytes) -> None:
        for path in self.path.iterdir():
            path.unlink()
        (self.path / PACK.hex()).write_bytes(data)
        staging = Staging(self.path, _HASH, lambda: (PACK, PACK.hex()))
        try:
            for _ in staging.load(lambda tokens: None):
                pass
        finally:
            for each in staging.segments:
                each.close()


_LOG = _Log()

# --- what else is read


def _summed(encode: Callable[[Any], bytes], value: msgspec.Struct) -> Callable[[random.Random], bytes]:
    """Values of the right types with a sum that agrees."""

    def change(dice: random.Random) -> bytes:
        plain = mutate_value(dice, msgspec.to_builtins(value))
        try:
            return encode_summed(msgspec.convert(plain, type(value)))
        except (msgspec.ValidationError, OverflowError, UnicodeEncodeError):
            return _changed_json(dice, encode(value))

    return change


def _changing(*texts: bytes) -> Callable[[random.Random], bytes]:
    return lambda dice: _changed_json(dice, dice.choice(texts))


_BASE = Base(seq=5, token="x" * 22)
_STATE = MountState(
    store="file:///s", environment="main", volume_id="vo-" + "0" * 22, volume_name="v", mountpoint="/m", pid=5
)
_ARGUMENTS = {"message": "m", "discard": True}
_REQUESTS = [protocol.encode_request(verb, _ARGUMENTS) for verb in ("status", "commit", "reload")]
_ANSWERS = [
    protocol.encode_answer({"seq": 5, "lines": ["a"]}),
    protocol.encode_error(BusyError("busy", ("a", "b"))),
    protocol.encode_progress({"step": "storing", "done": 1, "total": 2}),
]
_URLS = [b"s3://b/p?region=x&endpoint=https://h", b"file:///a/b", b"gs://b/x%20y", b"az://c/p?account_name=n", b"/p"]


def _url(data: bytes) -> None:
    parse_url(data.decode("utf-8", "surrogateescape"))


def _base(data: bytes) -> None:
    decode_summed(data, Base, "base.json")


def _state(data: bytes) -> None:
    decode_summed(data, MountState, "mount.json")


TARGETS = [
    *(_golden(name) for name in SAMPLES),
    Target("sealed commit", [encode_commit(COMMIT)], _commit, change=_sealed_commit, weight=6),
    Target("sealed log record", [_sealed_record(random.Random(0))], decode_record, change=_sealed_record, weight=6),
    Target("sealed segment header", [segment.encode_header(PACK, 7)], segment.decode_header, change=_sealed_header),
    Target("sealed note", [encode_note(NOTE)], _note, change=_sealed_note, weight=2),
    Target("tree", _FOREST.seeds, _FOREST.walk, change=_FOREST.damaged, weight=4),
    Target("staging log", [_log_seed()], _LOG.load, change=_sealed_log, weight=3),
    Target("base.json", [encode_summed(_BASE)], _base, change=_summed(encode_summed, _BASE)),
    Target("mount.json", [encode_summed(_STATE)], _state, change=_summed(encode_summed, _STATE)),
    Target("control request", _REQUESTS, protocol.decode_request, (InvalidError,), _changing(*_REQUESTS), 3),
    Target("control answer", _ANSWERS, protocol.decode_answer, (Error,), _changing(*_ANSWERS), 3),
    Target("control progress", _ANSWERS, protocol.decode_progress, (ExecutionError,), _changing(*_ANSWERS)),
    Target("store URL", _URLS, _url, (InvalidError,)),
]  # fmt: skip
