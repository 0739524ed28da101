"""Decoders against bytes that nobody wrote, in a process of its own whose memory is bounded."""

import random
import subprocess
import sys

import pytest

from tests.format.targets import TARGETS
from volfs.exception import DamageError, InvalidError
from volfs.format.entry import REF_BYTES, decode_extent, decode_ref
from volfs.format.node import Kind, Node, encode_node
from volfs.format.segment import Create, decode_frame, encode_record, pack_seed
from volfs.store.location import parse_url


@pytest.mark.slow
def test_no_decoder_raises_what_it_does_not_declare_hangs_or_takes_memory() -> None:
    seed = random.randrange(1 << 30)
    done = subprocess.run(
        [sys.executable, "-m", "tests.format.fuzz", "20000", str(seed)],
        capture_output=True, text=True, check=False, timeout=250,
    )  # fmt: skip
    print(done.stdout, done.stderr)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_what_is_well_formed_is_accepted(target) -> None:  # type: ignore[no-untyped-def]
    """Else the fuzzer would change what is refused in any case."""
    if target.name not in ("control answer", "control progress", "sealed log record"):
        for seed in target.seeds[:3]:
            target.run(seed)


def test_a_reference_makes_no_room_for_more_than_a_node() -> None:
    """A length of 4 GiB, and a place behind the end of every file."""
    for offset, length in ((0, (1 << 32) - 1), ((1 << 64) - 1, 10), (0, 0)):
        data = bytes(16) + offset.to_bytes(8, "little") + 2 * length.to_bytes(4, "little") + bytes(17)
        assert len(data) == REF_BYTES
        with pytest.raises(DamageError, match="which cannot be"):
            decode_ref(data)
        with pytest.raises(DamageError):
            decode_extent(bytes(8) + (1).to_bytes(4, "little") + bytes(4) + data)


def test_a_directory_record_without_a_name_is_no_index_error() -> None:
    with pytest.raises(DamageError, match="out of order"):
        Node.decode(encode_node(Kind.DIR, 0, [5], [b"\0"]))


@pytest.mark.parametrize("name", [b"", b".", b"..", b"a/b", b"a\0b", b"x" * 256])
def test_a_log_record_with_a_name_that_cannot_be_is_damage(name: bytes) -> None:
    pack = bytes(16)
    data = encode_record(Create(5, 1, name, 0o100644, 0, 0, 0, 0), 0, pack_seed(pack))
    with pytest.raises(DamageError, match="cannot be"):
        decode_frame(data[:24], data[24:], pack_seed(pack))


def test_a_url_that_python_refuses_is_one_line() -> None:
    for url in ("az://b[x/p", "file://[x/p", "/a\0b"):
        with pytest.raises(InvalidError):
            parse_url(url)
