"""mount --prefetch: what the mount shows comes into the cache while nobody waits for it."""

import contextlib
import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.cli.test_warm import fill
from tests.conftest import VOLFS, Host
from tests.s3 import Weed

STORES = ("s3",)

pytestmark = pytest.mark.slow


def status(host: Host, point: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(host.run("status", point, "--json").stdout)
    return found


def fetched(host: Host, point: Path) -> int:
    """Waits for the prefetch; bytes that came from the store."""
    while (found := status(host, point))["prefetch"]["running"]:
        pass
    count: int = found["store_use"]["received_bytes"]
    return count


def read_all(point: Path) -> dict[str, bytes]:
    return {str(path.relative_to(point)): path.read_bytes() for path in point.rglob("*") if path.is_file()}


@pytest.fixture
def writer(host: Host) -> Path:
    """A mount that has committed; other mounts have a cache of their own."""
    point = host.mount("writer")
    fill(point)
    host.run("commit", point)
    host.env["VOLFS_CACHE"] = str(host.path / "cold")
    return point


def test_all_brings_content_and_after_a_reload_what_is_new(host: Host, writer: Path) -> None:
    point = host.mount("reader", "--prefetch", "all")
    before = fetched(host, point)
    assert before > 14 << 20
    assert read_all(point) == read_all(writer)
    assert status(host, point)["store_use"]["received_bytes"] - before < 10_000
    (writer / "few" / "new").write_bytes(os.urandom(3 << 20))
    (writer / "few" / "name-1").write_bytes(os.urandom(1 << 20))  # under all its names
    (writer / "many" / "7").unlink()
    host.run("commit", writer)
    host.run("reload", point)
    before = fetched(host, point)
    assert read_all(point) == read_all(writer)
    assert status(host, point)["store_use"]["received_bytes"] - before < 10_000
    lines = {line[:15].rstrip(): line[16:] for line in host.run("status", point).stdout.splitlines()}
    assert lines["prefetch"].startswith("all, done: ")
    assert "MiB received" in lines["store bytes"] and "put" in lines["cache"]
    lines = {line[:15].rstrip(): line[16:] for line in host.run("status", writer).stdout.splitlines()}
    assert lines["uploaded"] == "0 B of staging, 0 B not yet" and "MiB sent" in lines["store bytes"]
    assert int(lines["store requests"].split(",")[0]) > 5 and lines["store requests"].endswith("of them again")
    assert "prefetch" not in lines


def test_metadata_brings_names_and_attributes_but_no_content(host: Host, writer: Path) -> None:
    point = host.mount("reader", "--prefetch", "metadata")
    before = fetched(host, point)
    sizes = {path.relative_to(point): path.lstat().st_size for path in point.rglob("*")}
    assert sizes == {path.relative_to(writer): path.lstat().st_size for path in writer.rglob("*")}
    assert status(host, point)["store_use"]["received_bytes"] - before < 10_000
    assert (point / "large").read_bytes() == (writer / "large").read_bytes()
    assert status(host, point)["store_use"]["received_bytes"] - before > 3 << 20


def test_only_the_directory_that_is_shown_is_fetched(host: Host, writer: Path) -> None:
    point = host.mount("reader", "--prefetch", "all", "--sub-path", "few")
    fetched(host, point)
    assert status(host, point)["prefetch"]["files"] == 44


@pytest.mark.local_store
def test_on_a_local_store_there_is_nothing_to_fetch_or_tell(host: Host) -> None:
    point = host.mount("m", "--prefetch", "all")
    assert status(host, point)["prefetch"]["running"] is False
    assert "store requests" not in host.run("status", point).stdout


class Gate:
    """Passes on what clients ask of a server, and *allowance* bytes of what it answers: then it hangs."""

    def __init__(self, port: int, allowance: int) -> None:
        self._port = port
        self._left = allowance
        self.hanging = threading.Event()
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]
        self._sockets: list[socket.socket] = []
        self._threads[0].start()

    def stop(self) -> None:
        self._over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listener.close()
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for one in self._sockets:
            one.close()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._port))
            self._sockets += [client, server]
            self._start(client, server)
            self._start(server, client, counted=True)

    def _start(self, source: socket.socket, target: socket.socket, *, counted: bool = False) -> None:
        self._threads.append(threading.Thread(target=self._pass, args=(source, target, counted)))
        self._threads[-1].start()

    def _pass(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                self._left -= len(data) * counted
                if counted and self._left < 0:
                    self.hanging.set()
                    self._over.wait()
                    return
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


@pytest.fixture
def gate(weed: Weed) -> Iterator[Gate]:
    found = Gate(weed.port, 1 << 20)
    yield found
    found.stop()


@pytest.mark.parametrize("foreground", [False, True])
def test_a_store_that_hangs_holds_up_neither_what_is_cached_nor_the_end(
    host: Host, writer: Path, weed: Weed, gate: Gate, foreground: bool
) -> None:
    point = host.path / "reader"
    point.mkdir()
    hanging = host.url.replace(quote(weed.endpoint, safe=""), quote(gate.endpoint, safe=""))
    command = [VOLFS, "mount", "v", point, "--prefetch", "all", "--store-timeout", "0", "--store", hanging]
    daemon = subprocess.Popen([*command, "--foreground"] if foreground else command, env=host.env)
    assert gate.hanging.wait(20)
    if not foreground:
        assert daemon.wait(20) == 0
    start = time.monotonic()
    assert sorted(os.listdir(point)) == sorted(os.listdir(writer))
    pid = host.pid_of(point)
    host.run("umount", point)
    if foreground:
        assert daemon.wait(5) == 0
    while os.path.exists(f"/proc/{pid}"):
        assert time.monotonic() - start < 5
