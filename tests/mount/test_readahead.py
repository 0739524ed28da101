"""Reading from a store that is far: what is read in order comes in few requests, and nothing comes in vain."""

import json
import os
import random
from pathlib import Path

import pytest

from tests.conftest import Host

STORES = ("s3",)

pytestmark = pytest.mark.slow

MIB = 1 << 20
BIG = random.Random(1).randbytes(80 * MIB)


class Reader:
    """A mount with a cache of its own, and what its reading costs."""

    def __init__(self, host: Host) -> None:
        host.env["VOLFS_CACHE"] = str(host.path / "cold")
        self._host = host
        self.point = host.mount("reader")
        (self.point / "small").stat()
        self._before = self._use()

    def _use(self) -> dict[str, int]:
        found: dict[str, int] = json.loads(self._host.run("status", self.point, "--json").stdout)["store_use"]
        return found

    def cost(self) -> tuple[int, int]:
        """(requests, bytes received) since it was made."""
        now = self._use()
        return tuple(now[name] - self._before[name] for name in ("requests", "received_bytes"))  # type: ignore[return-value]


@pytest.fixture
def reader(host: Host) -> Reader:
    point = host.mount("writer")
    (point / "big").write_bytes(BIG)
    (point / "small").mkdir()
    for i in range(1000):
        (point / "small" / f"{i:04}").write_bytes(b"%d" % i * 2000)
    host.run("commit", point)
    return Reader(host)


def test_a_big_file_read_in_order_comes_in_few_requests_and_nothing_in_vain(reader: Reader) -> None:
    assert (reader.point / "big").read_bytes() == BIG
    requests, received = reader.cost()
    assert requests < 30, "some 80 pieces of 1 MiB"
    assert received < 86 * MIB


def test_small_files_read_in_order_come_in_few_requests(reader: Reader) -> None:
    for i in range(1000):
        assert (reader.point / "small" / f"{i:04}").read_bytes() == b"%d" % i * 2000
    requests, received = reader.cost()
    assert requests < 15
    assert received < 15 * MIB


def test_reading_here_and_there_asks_for_little_more_than_is_read(reader: Reader) -> None:
    chance = random.Random(2)
    places = chance.sample(range(4, 80, 4), 12)
    fd = os.open(reader.point / "big", os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        for place in places:
            at = place * MIB + 300_000
            assert os.pread(fd, 4096, at) == BIG[at : at + 4096]
    finally:
        os.close(fd)
    _, received = reader.cost()
    assert received < (2 * len(places) + 2) * MIB, "the pieces that were asked for, no window behind them"


def test_backwards_and_by_two_readers_the_bytes_are_right(reader: Reader) -> None:
    with open(reader.point / "big", "rb", buffering=0) as one, open(reader.point / "big", "rb", buffering=0) as other:
        for i in range(20):
            for file, at in ((one, i * 3 * MIB), (other, (79 - 3 * i) * MIB)):
                file.seek(at)
                assert file.read(MIB) == BIG[at : at + MIB]


def test_a_file_written_here_and_there_is_read_in_order(host: Host, reader: Reader) -> None:
    """Its blocks are in several packs, in no order."""
    expected = bytearray(BIG[: 40 * MIB])
    chance = random.Random(3)
    writer: Path = host.path / "writer"
    for round_ in range(3):
        with open(writer / "mixed", "r+b" if round_ else "wb") as file:
            if not round_:
                file.write(expected)
            for _ in range(30):
                at, data = chance.randrange(39 * MIB), chance.randbytes(chance.randrange(MIB))
                file.seek(at)
                file.write(data)
                expected[at : at + len(data)] = data
        host.run("commit", writer)
    host.run("reload", reader.point)
    assert (reader.point / "mixed").read_bytes() == expected
