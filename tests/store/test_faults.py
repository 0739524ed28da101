"""A store that does wrong: nothing acknowledged is lost, nothing is done twice, no wrong byte is served."""

import io
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.proxy import KINDS, Proxy
from tests.s3 import Weed
from tests.store import fault_table
from volfs import Client, Volume
from volfs.exception import DamageError, Error, ServiceError
from volfs.format.record import CommitRecord
from volfs.store import remote
from volfs.store.commits import Commits
from volfs.store.location import parse_url
from volfs.store.remote import Remote

RATE = 0.15

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", fault_table.KINDS)
def test_through_a_kind_of_fault_nothing_is_lost_doubled_or_wrong(
    weed: Weed, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A little of what `make soak` does until each kind was there hundreds of times."""
    monkeypatch.setenv("VOLFS_STATE", str(tmp_path / "state"))
    row = fault_table.measure(tmp_path, weed, kind, 10, random.randrange(1 << 20))
    print(row)
    fault_table.check(row)
    assert row.faults >= 10


def client_of(weed: Weed, proxy: Proxy, path: Path, prefix: str, cache: str = "cache", limit_s: float = 60) -> Client:
    return Client(weed.url(prefix, proxy.endpoint), cache_dir=path / cache, timeout_s=limit_s)


@pytest.mark.parametrize("kind", [*KINDS, "all"])
def test_commits_and_reads_through_faults_lose_double_and_falsify_nothing(
    weed: Weed, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOLFS_STATE", str(tmp_path / "state"))
    seed = sum(map(ord, kind))
    chance = random.Random(seed)
    prefix = f"faults-{kind}-{time.time_ns()}"
    with Proxy(weed.endpoint, seed=seed) as proxy:
        writer = Volume.from_name("v", create_if_missing=True, client=client_of(weed, proxy, tmp_path, prefix))
        writer.hydrate()
        proxy.rates = {k: RATE / len(KINDS) for k in KINDS} if kind == "all" else {kind: RATE}
        expected: dict[str, bytes] = {}
        for i in range(12):
            data = chance.randbytes(chance.choice((10, 5000, 300_000, 3_000_000)))
            with writer.batch_upload(force=True) as batch:
                batch.put_file(io.BytesIO(data), f"f{i % 5}")
                batch.put_file(io.BytesIO(b"%d" % i), f"log/{i}")
            expected[f"f{i % 5}"] = data
        writer.write_file("big", big := chance.randbytes(20_000_000))  # in several parts
        expected["big"] = big
        reader = Volume.from_name("v", client=client_of(weed, proxy, tmp_path, prefix, "other"))
        for name, data in expected.items():
            while True:
                try:
                    found = b"".join(reader.read_file(name))
                    break
                except DamageError:
                    assert "corrupt" in proxy.faults  # twice in a row for one piece: told, not served
            assert found == data
        assert sum(proxy.faults.values()) > 0
        proxy.rates = {}
        assert [commit.number for commit in writer.log()] == list(range(13, 0, -1))
        assert {entry.path for entry in reader.listdir("log")} == {f"log/{i}" for i in range(12)}


def test_a_commit_whose_acknowledgement_is_lost_is_one_commit(
    weed: Weed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOLFS_STATE", str(tmp_path / "state"))
    with Proxy(weed.endpoint) as proxy:
        client = client_of(weed, proxy, tmp_path, f"lost-{time.time_ns()}")
        volume = Volume.from_name("v", create_if_missing=True, client=client).hydrate()
        for i in range(5):
            proxy.rates = {"lost": 0.5}
            volume.write_file(f"f{i}", b"x")
            proxy.rates = {}
            assert [commit.number for commit in volume.log()] == list(range(i + 1, 0, -1))
        assert proxy.faults["lost"] > 0


def test_an_error_tells_that_a_commit_may_have_come_to_be(
    weed: Weed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOLFS_STATE", str(tmp_path / "state"))
    with Proxy(weed.endpoint) as proxy:
        client = client_of(weed, proxy, tmp_path, f"doubt-{time.time_ns()}", limit_s=2)
        volume = Volume.from_name("v", create_if_missing=True, client=client).hydrate()
        volume.write_file("f", b"x")
        append = Commits.append

        def gone(self: Commits, record: CommitRecord) -> bool:
            assert append(self, record)
            proxy.away = True
            return append(self, record)

        monkeypatch.setattr(Commits, "append", gone)
        with pytest.raises(ServiceError, match="came to be is not known") as caught:
            volume.write_file("f", b"y")
        proxy.away = False
        told = [(commit.number, commit.id in str(caught.value)) for commit in volume.log()]
        assert told == [(2, True), (1, False)]
        proxy.away = True
        with pytest.raises(ServiceError) as caught:
            volume.write_file("f", b"z")
        assert "not known" not in str(caught.value)


@pytest.mark.parametrize("verb", ["read", "write"])
def test_one_request_that_hangs_holds_up_no_other_and_ends_with_its_limit(
    weed: Weed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """The proxy accepts it and never answers."""
    monkeypatch.setenv("VOLFS_STATE", str(tmp_path / "state"))
    prefix = f"hang-{time.time_ns()}"
    with Proxy(weed.endpoint) as proxy:
        client = client_of(weed, proxy, tmp_path, prefix, limit_s=60)
        volume = Volume.from_name("v", create_if_missing=True, client=client).hydrate()
        for i in range(8):
            volume.write_file(f"f{i}", b"%d" % i)
        reader = Volume.from_name("v", client=client_of(weed, proxy, tmp_path, prefix, "other", limit_s=60)).hydrate()
        entries = [entry.path for entry in reader.listdir("/")]
        assert len(entries) == 8
        start = proxy.faults["hang"]
        proxy.rates = {"hang": 1.0}
        hung = threading.Thread(
            target=lambda: b"".join(reader.read_file("f0")) if verb == "read" else volume.write_file("f0", b"again")
        )
        hung.start()
        while proxy.faults["hang"] == start:
            time.sleep(0.01)
        proxy.rates = {}
        for i in range(1, 8):
            assert b"".join(reader.read_file(f"f{i}")) == b"%d" % i
            volume.write_file(f"g{i}", b"x")
        assert hung.is_alive()  # for 20 s, the time of one try
        hung.join()
        assert b"".join(reader.read_file("f0")) == (b"0" if verb == "read" else b"again")


def test_a_store_that_was_away_is_used_again_and_what_arrived_is_not_sent_again(
    weed: Weed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOLFS_STATE", str(tmp_path / "state"))
    with Proxy(weed.endpoint) as proxy:
        client = client_of(weed, proxy, tmp_path, f"away-{time.time_ns()}", limit_s=2)
        volume = Volume.from_name("v", create_if_missing=True, client=client)
        volume.write_file("kept", b"cached" * 1000)
        assert b"".join(volume.read_file("kept")) == b"cached" * 1000
        proxy.away = True
        with pytest.raises(Error, match="away"):
            volume.write_file("f", b"x")
        proxy.away = False
        volume.write_file("f", b"x")
        assert {entry.path for entry in volume.listdir("/")} == {"f", "kept"}
        assert [commit.number for commit in volume.log()] == [2, 1]


def test_uploads_that_a_slow_line_cannot_carry_at_once_go_one_after_the_other(
    weed: Weed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four of three parts each need 10 s together, and each part has 4."""
    monkeypatch.setattr(remote, "_ATTEMPT_S", 4.0)
    paths = [tmp_path / str(n) for n in range(4)]
    for path in paths:
        path.write_bytes(random.Random(path.name).randbytes(20_000_000))
    with Proxy(weed.endpoint) as proxy:
        proxy.line_bytes_per_s = 8e6
        backend = Remote(parse_url(weed.url(f"line-{time.time_ns()}", proxy.endpoint)), limit_s=30)
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda path: backend.adopt(path, f"packs/{path.name}"), paths))
        for path in paths:
            assert backend.get(f"packs/{path.name}") == path.read_bytes()
        assert backend.patience.traffic().retries > 0
