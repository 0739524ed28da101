"""The control socket: only for its owner, and nothing sent to it harms the daemon."""

import contextlib
import json
import os
import pty
import resource
import signal
import socket
import stat
import subprocess
import threading
import time
from typing import Any

import pytest
from volfs_cli import views

from tests.conftest import VOLFS, Host
from volfs.control import client, registry

STORES = ("file", "s3")


@pytest.mark.parametrize(
    "data",
    [
        b"\n",
        b"garbage\n",
        b"\xff\xfe\n",
        b"[" * 60_000 + b"\n",
        b"x" * 200_000,
        b'{"v": 99, "verb": "status"}\n',
        b'{"v": 1, "verb": "explode"}\n',
        b'{"v": 1, "verb": "commit", "args": {"message": 5}}\n',
        b'{"v": 1, "verb": "unmount", "args": {"action": "burn"}}\n',
        b'{"v": 1, "verb": "commit", "args": {"message": "' + b"m" * 5000 + b'"}}\n',
        b'{"v": 1, "verb": "st',
    ],
)
@pytest.mark.local_store("no store is asked")
def test_bad_input_is_answered_or_dropped_and_the_daemon_goes_on(host: Host, data: bytes) -> None:
    point = host.mount()
    [path] = host.state.glob("*/socket")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    directory = os.open(path.parent, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(f"/proc/self/fd/{directory}/socket")
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.makefile("rb").readline()
        except (BrokenPipeError, ConnectionResetError):
            answer = b""
    os.close(directory)
    if answer:
        assert json.loads(answer)["error"]["message"]
    assert json.loads(host.run("status", point, "--json").stdout)["volume"] == "v"


def read_to_end(screen: int) -> bytes:
    """What a terminal was shown; its other side is closed."""
    shown = b""
    with contextlib.suppress(OSError):  # EIO is the end
        while part := os.read(screen, 1 << 16):
            shown += part
    return shown


@pytest.mark.slow
@pytest.mark.local_store("a commit that is made slow by hand")
def test_a_long_commit_tells_its_progress_and_shows_a_bar_on_a_terminal_only(host: Host) -> None:
    point = host.mount()
    for i in range(30_000):
        os.symlink("nowhere", point / str(i))
    [path] = host.state.glob("*/socket")
    told: list[dict[str, object]] = []
    assert client.call(path, "commit", {}, told.append)["seq"] == 1
    assert told and {line["step"] for line in told} <= {"flushing", "building", "storing"}
    for i in range(30_000):
        os.symlink("elsewhere", point / f"more-{i}")
    # Slowed by a stopped daemon: a commit that takes longer than a second.
    screen, terminal = pty.openpty()
    command = [str(VOLFS), "commit", str(point)]
    commit = subprocess.Popen(command, env=host.env, stdout=subprocess.PIPE, stderr=terminal)
    pid = host.pid_of(point)
    assert commit.stdout is not None
    while commit.poll() is None:
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.3)
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.1)
    os.close(terminal)
    assert commit.stdout.read() == b"commit 2: 30000 files, 0 B\n"
    assert b"%" in read_to_end(screen)
    os.close(screen)
    assert host.run("commit", point).stderr == ""


def test_commands_name_what_is_wrong(host: Host) -> None:
    plain = host.path / "plain"
    plain.mkdir()
    assert "not a volfs mount" in host.run("commit", plain, check=4).stderr
    point = host.mount()
    (point / "d").mkdir()
    assert f"inside the volfs mount {point}" in host.run("commit", point / "d", check=4).stderr
    assert "--yes" in host.run("delete", "v", check=2).stderr
    assert "1 to 64" in host.run("create", "a/b", check=2).stderr
    assert "exists already" in host.run("create", "v", check=2).stderr
    host.run("create", check=2)
    assert json.loads(host.run("list", "--json").stdout)[0]["name"] == "v"


@pytest.mark.parametrize("damage", [b"", b'{"version":2,"sum":"0000000000000000"}', None])
def test_a_mount_whose_state_is_damaged_is_found_by_asking_its_daemon(host: Host, damage: bytes | None) -> None:
    point, other = host.mount(), host.mount("other", volume="w")
    paths = {json.loads(path.read_text())["mountpoint"]: path for path in host.state.glob("*/mount.json")}
    for path in paths.values():
        whole = path.read_bytes()
        path.write_bytes(whole.replace(b"main", b"mane") if damage is None else damage)
    (point / "d").mkdir()
    assert f"inside the volfs mount {point}" in host.run("commit", point / "d", check=4).stderr
    assert "commit 1" in host.run("commit", point).stdout
    assert json.loads(host.run("status", point, "--json").stdout)["volume"] == "v"
    (point / "kept").touch()
    assert "are kept" in host.run("umount", point).stdout
    assert json.loads(paths[str(point)].read_text())["mountpoint"] == str(point), "as it was, and whole"
    assert sorted(os.listdir(host.mount())) == ["d", "kept"]
    host.run("umount", "--commit", point)
    assert not paths[str(point)].exists()
    host.run("umount", other)


def test_a_state_that_is_damaged_and_not_asked_for_is_named(host: Host) -> None:
    point = host.mount()
    (point / "kept").touch()
    host.run("umount", point)
    [path] = host.state.glob("*/mount.json")
    path.write_bytes(b"{")
    error = host.run("umount", "--discard", point, check=4).stderr
    assert f"{point} is not a volfs mount of this user" in error and f"{path} cannot be read" in error
    assert "`volfs fsck --repair` on the volume" in error
    host.run("fsck", "v", "--repair")
    assert os.listdir(host.mount()) == ["kept"]


@pytest.mark.local_store("no store is asked")
def test_too_many_connections_end_no_mount(host: Host) -> None:
    point = host.mount()
    pid = host.pid(point)
    [path] = host.state.glob("*/socket")
    directory = os.open(path.parent, os.O_PATH)
    held = [socket.socket(socket.AF_UNIX) for _ in range(200)]
    open_now = len(os.listdir(f"/proc/{pid}/fd"))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (open_now + 50, 4096))
    try:
        for connection in held:
            connection.settimeout(2)
            try:
                connection.connect(f"/proc/self/fd/{directory}/socket")
            except (BlockingIOError, TimeoutError):
                break  # the listener's queue is full, too
    finally:
        for connection in held:
            connection.close()
        os.close(directory)
    (point / "f").write_text("alive")
    assert json.loads(host.run("status", point, "--json").stdout)["pid"] == pid


@pytest.mark.local_store("no store is asked")
def test_status_asks_all_daemons_at_once(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b", "c"):
        host.mount(name)
    together, real = threading.Barrier(3), client.call

    def call(*arguments: Any, **named: Any) -> dict[str, Any]:
        together.wait(30)
        return real(*arguments, **named)

    monkeypatch.setattr(client, "call", call)
    found = views._each(list(registry.places(host.state)))
    assert sorted(one["mountpoint"] for one in found) == [str(host.path / name) for name in ("a", "b", "c")]


@pytest.mark.slow
def test_status_does_not_wait_for_a_daemon_that_is_stopped(host: Host) -> None:
    stuck, well = host.mount("stuck"), host.mount("well")
    pid = host.pid_of(stuck)
    os.kill(pid, signal.SIGSTOP)
    try:
        states = {row["mountpoint"]: row["state"] for row in json.loads(host.run("status", "--json").stdout)}
        assert states == {str(stuck): "not answering", str(well): "mounted"}
        [line] = host.run("status", stuck, check=1).stderr.splitlines()
        assert "has not answered for 10 s" in line
    finally:
        os.kill(pid, signal.SIGCONT)
    assert json.loads(host.run("status", stuck, "--json").stdout)["state"] == "mounted"


def test_status_counts_files_apart_from_directories(host: Host) -> None:
    point = host.mount()
    for name in ("a", "b"):
        (point / name).mkdir()
        (point / name / "f").write_text("x")
    found = json.loads(host.run("status", point, "--json").stdout)
    assert (found["dirty_files"], found["changes"]) == (2, 5)
    assert "5 changes (2 files, 2 B)" in host.run("status", point).stdout
    assert host.run("status").stdout.splitlines()[1].split()[5] == "5"
    assert "2 files" in host.run("commit", point).stdout
