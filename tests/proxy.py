"""A proxy before an S3 server that does wrong: for tests of what a store's faults do, and to count its requests.

Faults are drawn by a seeded chance, one at most a request:

  delay       the answer comes late
  reset       the connection is cut before the request is passed on
  lost        the request is carried out, and the connection cut instead of an answer
  error       500, 503 or 429 instead of passing it on; "500" and the like are that answer alone
  truncate    the answer's body ends early
  corrupt     one byte of the answer's body (of a GET) is another
  hang        the request is never answered (not among KINDS: each costs a client its time limit for a request)
"""

import contextlib
import http.client
import random
import socket
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

KINDS = ("delay", "reset", "lost", "error", "truncate", "corrupt")
_ERRORS = {500: "no", 503: "slow down", 429: "too many"}
_HANG_S = 300.0


class Proxy:
    """*rates* gives the share of requests that each kind of fault befalls; `latency_s` delays every request."""

    def __init__(
        self, target: str, rates: dict[str, float] | None = None, seed: int = 0, address: str = "127.0.0.1"
    ) -> None:
        self.target = urlsplit(target)
        self.rates = dict(rates or {})
        self.latency_s = 0.0
        self.line_bytes_per_s = 0.0  # what all requests' bodies together arrive with; 0: as fast as may be
        self.away = False  # every connection is cut
        self.requests: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.sent_bytes = self.received_bytes = 0
        self._chance = random.Random(seed)
        self._lock = threading.Lock()
        self._line = threading.Lock()
        proxy = self

        class Handler(_Handler):
            owner = proxy

        self._server = _Server((address, 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def endpoint(self) -> str:
        address, port = self._server.server_address[:2]
        return f"http://{address!s}:{port}"

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def draw(self, verb: str) -> str:
        """The fault of the next request, "" for none; counts it."""
        with self._lock:
            self.requests[verb] += 1
            if self.away:
                return "reset"
            pick = self._chance.random()
            for kind, rate in self.rates.items():
                if pick < rate:
                    self.faults[kind] += 1
                    return kind
                pick -= rate
            return ""

    def pick(self) -> int:
        """One of the answers of "error"."""
        with self._lock:
            return self._chance.choice(list(_ERRORS))

    def count(self, sent: int, received: int) -> None:
        with self._lock:
            self.sent_bytes += sent
            self.received_bytes += received


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went, or a server: what the tests see of it is enough."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: Proxy

    def setup(self) -> None:
        super().setup()
        self._far: http.client.HTTPConnection | None = None
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def finish(self) -> None:
        if self._far is not None:
            self._far.close()
        super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        return

    def _cut(self) -> None:
        """An end without an answer: RST, as of a host that is gone."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.close_connection = True
        self.connection.close()

    def _pass_on(self) -> None:
        owner = self.owner
        body = self._body(int(self.headers.get("Content-Length") or 0))
        kind = owner.draw(self.command)
        if owner.latency_s:
            time.sleep(owner.latency_s)
        if kind == "delay":
            time.sleep(0.3)
        if kind == "reset":
            self._cut()
            return
        if kind == "hang":
            with contextlib.suppress(OSError):
                self.connection.settimeout(_HANG_S)
                self.connection.recv(1)  # until the client gives up
            self.close_connection = True
            return
        if kind == "error" or kind.isdigit():
            self._answer(owner.pick() if kind == "error" else int(kind))
            return
        status, reason, headers, data = self._ask(body)
        owner.count(len(body), len(data))
        if kind == "lost":
            self._cut()
            return
        if kind == "corrupt" and self.command == "GET" and data and status < 300:
            at = len(data) // 2
            data = data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :]
        self.send_response_only(status, reason)
        for name, value in headers:
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        length = next((value for name, value in headers if name.lower() == "content-length"), str(len(data)))
        self.send_header("Content-Length", length if self.command == "HEAD" else str(len(data)))
        self.end_headers()
        if kind == "truncate" and data:
            self.wfile.write(data[: len(data) // 2])
            self.wfile.flush()
            self._cut()
            return
        if self.command != "HEAD":
            self.wfile.write(data)

    def _body(self, length: int) -> bytes:
        rate = self.owner.line_bytes_per_s
        if not rate:
            return self.rfile.read(length)
        parts = []
        while length:
            with self.owner._line:  # others wait: one line
                parts.append(self.rfile.read(min(length, 1 << 16)))
                time.sleep(len(parts[-1]) / rate)
            length -= len(parts[-1])
            if not parts[-1]:
                raise ConnectionError("the client went")
        return b"".join(parts)

    def _answer(self, status: int) -> None:
        self.send_response_only(status, _ERRORS[status])
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _ask(self, body: bytes) -> tuple[int, str, list[tuple[str, str]], bytes]:
        """The server's own answer."""
        for attempt in (0, 1):
            if self._far is None:
                self._far = http.client.HTTPConnection(str(self.owner.target.hostname), self.owner.target.port)
            try:
                self._far.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():  # the host, too: it is signed
                    self._far.putheader(name, value)
                self._far.endheaders(body or None)
                answer = self._far.getresponse()
                return answer.status, answer.reason, answer.getheaders(), answer.read()
            except (http.client.HTTPException, OSError):
                self._far.close()
                self._far = None
                if attempt:
                    raise
        raise AssertionError

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass_on
