"""What passes between clients and an S3 server: as the server counts it, and as a proxy between them does."""

import multiprocessing
import re
import urllib.request
from dataclasses import dataclass
from multiprocessing.connection import Connection

from tests.proxy import Proxy
from tests.s3 import Weed

_COUNTERS = re.compile(
    r"^SeaweedFS_(?:s3_(request|bucket_traffic_received_bytes|bucket_traffic_sent_bytes)_total)\{[^}]*\} (\S+)$", re.M
)


@dataclass(frozen=True)
class Traffic:
    """Requests, and bytes of bodies sent to the server and received from it."""

    requests: int = 0
    sent: int = 0
    received: int = 0

    def __sub__(self, other: "Traffic") -> "Traffic":
        return Traffic(self.requests - other.requests, self.sent - other.sent, self.received - other.received)


def of_server(weed: Weed) -> Traffic:
    """By SeaweedFS's own metrics. To count costs nothing, where a proxy would cost as much as the server."""
    text = urllib.request.urlopen(f"http://127.0.0.1:{weed.metrics}/metrics").read().decode()
    found = {"request": 0.0, "bucket_traffic_received_bytes": 0.0, "bucket_traffic_sent_bytes": 0.0}
    for name, value in _COUNTERS.findall(text):
        found[name] += float(value)
    requests, sent, received = (int(value) for value in found.values())
    return Traffic(requests, sent, received)


def _serve(target: str, pipe: Connection) -> None:
    with Proxy(target) as proxy:
        pipe.send(proxy.endpoint)
        while (latency := pipe.recv()) is not None:
            if latency >= 0:
                proxy.latency_s = latency
            pipe.send(Traffic(sum(proxy.requests.values()), proxy.sent_bytes, proxy.received_bytes))


class CountingProxy:
    """The tests' proxy in a process of its own: counts what passes, and delays it."""

    def __init__(self, target: str) -> None:
        self._pipe, far = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("spawn").Process(target=_serve, args=(target, far), daemon=True)
        self._process.start()
        self.endpoint: str = self._pipe.recv()

    def __enter__(self) -> "CountingProxy":
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.send(None)
        self._process.join()

    def traffic(self, latency_s: float = -1) -> Traffic:
        """What has passed until now; *latency_s*, unless negative, delays every request from now on."""
        self._pipe.send(latency_s)
        found: Traffic = self._pipe.recv()
        return found
