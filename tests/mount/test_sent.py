"""commit and log tell what a commit took to send, as a proxy before the store counts it."""

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Host
from tests.proxy import Proxy
from tests.s3 import Weed
from volfs.store.backend import Sent
from volfs.store.location import parse_url
from volfs.store.remote import Remote
from volfs.view.segments import SEGMENT_BYTES

MIB = 1 << 20


@pytest.fixture
def far(host: Host, weed: Weed) -> Iterator[Proxy]:
    """The host's store is behind this."""
    with Proxy(weed.endpoint) as proxy:
        host.url = weed.url(f"sent-{time.time_ns()}", proxy.endpoint)
        host.env["VOLFS_STORE"] = host.url
        yield proxy


class Counted:
    """Requests that bring something, and bytes, since it was made."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._requests, self._bytes = self._now()

    def _now(self) -> tuple[int, int]:
        return sum(self._proxy.requests[verb] for verb in ("PUT", "POST", "HEAD")), self._proxy.sent_bytes

    def since(self) -> tuple[int, int]:
        requests, sent = self._now()
        return requests - self._requests, sent - self._bytes


def check(told: dict[str, int], counted: Counted) -> None:
    requests, sent = counted.since()
    assert told["requests"] == requests
    assert told["sent_bytes"] <= sent < told["sent_bytes"] + 20_000  # the record; what begins and ends an upload


@pytest.mark.slow
def test_a_commit_and_the_log_tell_what_was_sent_in_the_background_too(host: Host, far: Proxy) -> None:
    point = host.mount()
    (point / "f").write_text("its inode number is claimed, the root made")
    host.run("commit", point)
    counted = Counted(far)
    with open(point / "f", "wb") as file:
        for _ in range(SEGMENT_BYTES // MIB + 6):
            file.write(os.urandom(MIB))
        os.fsync(file.fileno())
    while json.loads(host.run("status", point, "--json").stdout)["uploaded_bytes"] < SEGMENT_BYTES:
        time.sleep(0.1)
    told = json.loads(host.run("commit", point, "--json").stdout)
    assert told["sent_bytes"] > SEGMENT_BYTES + 6 * MIB
    check(told, counted)
    counted = Counted(far)
    (point / "f").write_text("small")
    text = host.run("commit", point).stdout
    newest, middle, _ = json.loads(host.run("log", "v", "--json").stdout)
    assert (middle["requests"], middle["sent_bytes"]) == (told["requests"], told["sent_bytes"])
    assert newest["id"] and newest["id"] != middle["id"]
    assert (newest["requests"], counted.since()[0]) == (2, 2)  # a pack and the record
    assert text.startswith("commit 3: 1 file, 5 B; 2 requests, ") and text.endswith(" sent\n")
    assert "REQUESTS" in host.run("log", "v").stdout


@pytest.mark.parametrize("size", [1000, 20 * MIB], ids=["whole", "in parts"])
def test_tries_that_failed_are_counted(weed: Weed, tmp_path: Path, size: int) -> None:
    path, sent = tmp_path / "pack", Sent()
    path.write_bytes(bytes(size))
    with Proxy(weed.endpoint, {"error": 1.0}) as proxy:
        backend = Remote(parse_url(weed.url(f"sent-{time.time_ns()}", proxy.endpoint)))
        threading.Timer(1.0, proxy.rates.clear).start()
        backend.adopt(path, "p", sent)
        assert proxy.faults["error"] and backend.patience.traffic().retries
        if size == 1000:
            assert sent.requests > 2
            assert sent.bytes >= 2 * size
        assert backend.patience.traffic().requests == sent.requests
        assert backend.get("p") == path.read_bytes()


def test_a_local_store_has_no_requests(host: Host) -> None:
    point = host.mount()
    (point / "f").write_bytes(os.urandom(100_000))
    assert host.run("commit", point).stdout == "commit 1: 1 file, 97.7 KiB\n"
    [told] = json.loads(host.run("log", "v", "--json").stdout)
    packs = sum(path.stat().st_size for path in Path(host.store).glob("families/*/packs/*"))
    assert told["requests"] == 0 and 100_000 < told["sent_bytes"] <= packs
