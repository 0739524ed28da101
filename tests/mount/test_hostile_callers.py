"""Whoever may open the control socket, and whatever they do with it: the daemon goes on."""

import json
import os
import random
import resource
import socket
import threading
from pathlib import Path

import pytest

from tests.conftest import Host
from tests.format.targets import TARGETS


def connect(path: Path) -> socket.socket:
    directory = os.open(path.parent, os.O_PATH)
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(f"/proc/self/fd/{directory}/{path.name}")  # waits: with a time limit a full queue is an error
    connection.settimeout(30)
    os.close(directory)
    return connection


def works(host: Host, point: Path) -> None:
    (point / "f").write_text("alive")
    assert json.loads(host.run("status", point, "--json").stdout)["volume"] == "v"
    host.run("commit", point)


@pytest.mark.slow
def test_a_thousand_connections_that_say_nothing_half_or_do_not_read(host: Host) -> None:
    point = host.mount()
    [path] = host.state.glob("*/socket")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    held: list[socket.socket] = []
    try:
        for i in range(1000):
            connection = connect(path)
            held.append(connection)
            if i % 3 == 1:
                connection.sendall(b'{"v": 1, "verb": "sta')
            elif i % 3 == 2:
                connection.sendall(b'{"v": 1, "verb": "status", "progress": true}\n')
        works(host, point)
    finally:
        for connection in held:
            connection.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    works(host, point)
    assert "Traceback" not in next(host.state.glob("*/log")).read_text()


@pytest.mark.slow
def test_garbage_on_the_control_socket(host: Host) -> None:
    point = host.mount()
    pid = host.pid_of(point)
    [path] = host.state.glob("*/socket")
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    dice = random.Random(seed)
    [target] = [each for each in TARGETS if each.name == "control request"]
    assert target.change is not None

    def send(data: bytes) -> None:
        with connect(path) as connection:
            try:
                connection.sendall(data)
                if dice.random() < 0.5:
                    connection.shutdown(socket.SHUT_WR)
                    connection.recv(1 << 16)
            except (BrokenPipeError, ConnectionResetError):
                pass

    before = memory(pid)
    threads = []
    for _ in range(300):
        noise = dice.randbytes(1 << dice.randrange(17))
        data = dice.choice((target.change(dice), noise, b"[" * (1 << 20), b"\n" * 70_000))
        data = data.replace(b"unmount", b"unmoved")
        threads.append(threading.Thread(target=send, args=(data,)))
        threads[-1].start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    works(host, point)
    assert host.pid_of(point) == pid
    assert memory(pid) - before < 64 << 20
    assert "Traceback" not in next(host.state.glob("*/log")).read_text()


def memory(pid: int) -> int:
    """Resident bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
