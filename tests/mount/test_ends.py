"""How mounts begin and end: refusals that say what to do, nothing left behind, nothing lost."""

import json
import os
import signal
import subprocess
import time

import pytest

from tests.conftest import VOLFS, Host

STORES = ("file", "s3")


def kept(host: Host) -> list[str]:
    return [view["state"] for view in json.loads(host.run("status", "--json").stdout)]


@pytest.mark.parametrize("end", ["umount", "signal"])
def test_a_mount_in_front_ends_with_exit_code_0(host: Host, end: str) -> None:
    point = host.path / "m"
    point.mkdir()
    daemon = subprocess.Popen(
        [VOLFS, "mount", "--create", "v", point, "--foreground", "--on-unmount", "commit"],
        env=host.env,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert daemon.stderr is not None
    assert "mounted at" in daemon.stderr.readline()
    for i in range(100):
        (point / str(i)).write_text("x")
    if end == "umount":
        host.run("umount", point)
    else:
        daemon.send_signal(signal.SIGINT)
    assert daemon.wait(20) == 0, daemon.stderr.read()
    assert "commit" in daemon.stderr.read()
    assert kept(host) == []


@pytest.mark.parametrize("option", ["bogus", "max_read=4096"])
@pytest.mark.local_store("no store is asked")
def test_fuse_options_that_cannot_be_are_named_and_leave_no_mount(host: Host, option: str) -> None:
    point = host.path / "m"
    point.mkdir()
    refused = host.run("mount", "--create", "v", point, "-o", option, check=2)
    assert f"-o {option}" in refused.stderr and len(refused.stderr.splitlines()) == 1
    assert host.mounts() == [] and kept(host) == []


@pytest.mark.local_store
def test_a_read_only_mount_by_fuse_option_is_refused_and_names_the_option_of_volfs(host: Host) -> None:
    point = host.path / "m"
    point.mkdir()
    for given in ("ro", "max_read=131072,ro"):
        assert "--read-only" in host.run("mount", "--create", "v", point, "-o", given, check=2).stderr
    assert host.mounts() == [] and not host.store.exists()


def test_a_socket_that_cannot_be_made_ends_the_mount(host: Host) -> None:
    """The daemon's own first look at the mount must not wait for the daemon."""
    point = host.mount()
    [socket] = host.state.glob("*/socket")
    host.kill(point)
    socket.unlink(missing_ok=True)
    socket.mkdir()
    host.run("mount", "v", point, check=1)
    assert host.mounts() == []


@pytest.mark.parametrize("interval", ["nan", "inf", "-1", "x"])
@pytest.mark.local_store("no store is asked")
def test_an_interval_is_a_number_of_seconds(host: Host, interval: str) -> None:
    point = host.path / "m"
    point.mkdir()
    host.run("mount", "--create", "v", point, f"--commit-interval={interval}", check=2)
    assert host.mounts() == []


@pytest.mark.local_store
def test_a_mountpoint_must_not_hide_the_store_or_the_state(host: Host) -> None:
    host.run("create", "v")
    host.state.mkdir()
    for point in (host.store, host.state, host.path):
        assert "would hide" in host.run("mount", "v", point, "--nonempty", check=2).stderr
    assert host.mounts() == []


def test_a_mountpoint_may_be_named_by_a_symlink_and_must_be_utf8(host: Host) -> None:
    point = host.path / "m"
    point.mkdir()
    (host.path / "link").symlink_to("m")
    host.run("mount", "--create", "v", host.path / "link")
    assert host.mounts() == [str(point)]
    (point / "f").write_text("x")
    with open(point / "f"):
        assert str(os.getpid()) in host.run("reload", host.path / "link", check=3).stderr
    host.run("commit", point)
    host.run("umount", host.path / "link")
    odd = host.path / os.fsdecode(b"m\xff")
    odd.mkdir()
    assert "UTF-8" in host.run("mount", "v", odd, check=2).stderr
    assert "UTF-8" in host.run("mount", "v", point, "--sub-path", os.fsdecode(b"\xff"), check=2).stderr


def test_umount_names_who_works_in_the_mount_and_what_is_mounted_below(host: Host) -> None:
    point = host.mount()
    (point / "d").mkdir()
    with subprocess.Popen(["sleep", "100"], cwd=point / "d") as worker:
        refused = host.run("umount", point, "--commit", check=3).stderr
        assert f"pid {worker.pid} (sleep)" in refused and "commit 1 was made" in refused
        worker.kill()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", point / "d"], check=True)
    assert f"a mount at {point}/d" in host.run("umount", point, check=3).stderr
    subprocess.run(["umount", point / "d"], check=True)
    (point / "f").write_text("x")
    with open(point / "f"), open(point / "f"):
        assert "busy: f; held" in host.run("umount", point, check=3).stderr
    host.run("umount", point)


def test_a_mount_that_is_shown_elsewhere_is_unmounted_and_says_where_it_goes_on(host: Host) -> None:
    point, other = host.mount(), host.path / "other"
    other.mkdir()
    (point / "f").write_text("x")
    subprocess.run(["mount", "--bind", point, other], check=True)
    assert str(other) in host.run("umount", point, "--discard", check=3).stderr
    assert host.mounts() == [str(other)]
    assert (other / "f").read_text() == "x"
    subprocess.run(["umount", other], check=True)
    deadline = time.monotonic() + 10
    while kept(host) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert kept(host) == []


@pytest.mark.slow
def test_a_signal_ends_a_mount_that_is_shown_elsewhere(host: Host) -> None:
    point, other = host.mount(), host.path / "other"
    other.mkdir()
    subprocess.run(["mount", "--bind", point, other], check=True)
    (other / "f").write_text("dirty in the kernel")
    pid = host.pid(point)
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 20
    while kept(host) != ["kept"] and time.monotonic() < deadline:
        time.sleep(0.1)
    assert kept(host) == ["kept"]
    subprocess.run(["umount", "-l", other], check=True)
    assert "resumed" in host.run("mount", "v", point).stdout
    assert (point / "f").read_text() == "dirty in the kernel"


def test_a_kept_view_is_committed_without_a_mount(host: Host) -> None:
    point = host.mount()
    (point / "f").write_text("kept")
    assert "are kept" in host.run("umount", point).stdout
    host.run("create", "w")
    assert host.run("umount", point, "--commit").stdout.startswith("commit 1: 1 file, 4 B")
    assert kept(host) == [] and not [path for path in host.path.glob("*/incoming/**/*") if path.is_file()]
    host.mount()
    (point / "g").write_text("killed")
    host.kill(point)
    assert host.run("umount", point, "--commit").stdout.startswith("commit 2: 1 file, 6 B")
    assert kept(host) == [] and host.mounts() == []
    assert sorted(path.name for path in host.mount("other").iterdir()) == ["f", "g"]


def test_a_killed_mount_without_changes_begins_anew(host: Host) -> None:
    """On the latest commit, and with any options."""
    one, two = host.mount("one"), host.mount("two")
    (one / "f").write_text("1")
    host.run("commit", one)
    host.kill(one)
    (two / "g").write_text("2")
    host.run("commit", two)
    assert "on commit 2" in host.run("mount", "v", one, "--read-only").stdout
    assert sorted(path.name for path in one.iterdir()) == ["f", "g"]
    host.kill(one)
    assert "on commit 2" in host.run("mount", "v", one).stdout
    (one / "h").write_text("3")
    host.kill(one)
    refused = host.run("mount", "v", one, "--read-only", check=1).stderr
    assert "without --sub-path, without --read-only" in refused


def test_a_sub_path_that_was_missing_and_not_used_keeps_nothing(host: Host) -> None:
    point = host.mount("m", "--sub-path", "nope")
    assert host.run("commit", point).stdout == "nothing to commit\n"
    assert host.run("umount", point).stdout == ""
    assert "on commit 0" in host.run("mount", "v", point).stdout
    assert os.listdir(point) == []


def test_status_of_a_kept_view_tells_what_is_known_of_it(host: Host) -> None:
    point = host.mount()
    (point / "f").write_text("x")
    host.run("commit", point)
    (point / "f").write_text("kept")
    host.run("umount", point)
    found = json.loads(host.run("status", point, "--json").stdout)
    assert (found["state"], found["volume"], found["store"], found["base"]) == ("kept", "v", host.url, 1)
    told = [line.split() for line in host.run("status", point).stdout.splitlines()]
    assert ["state", "kept"] in told and ["base", "commit", "1"] in told
    for command in ("commit", "reload"):
        hint = host.run(command, point, check=1).stderr
        assert f"volfs umount --commit {point}" in hint and f"volfs umount --discard {point}" in hint


@pytest.mark.local_store
def test_a_daemon_that_fails_at_its_end_writes_to_no_file_of_the_view(host: Host) -> None:
    """Its parent's pipe is closed by then, and its number another file's."""
    (host.path / "sitecustomize.py").write_text(
        "import sys\n"
        "if 'mount' in sys.argv:\n"
        "    import volfs.fuse.mount as m\n"
        "    async def fail(self):\n"
        "        raise OSError(5, 'failed at the end')\n"
        "    m.Mount._last_word = fail\n"
    )
    host.env["PYTHONPATH"] = str(host.path)
    point = host.mount()
    (point / "kept").write_bytes(b"kept" * 1000)
    (line,) = host.run("umount", "--discard", point, check=1).stderr.splitlines()
    assert "failed before the changes were thrown away" in line
    (segment,) = (host.store / "incoming").glob("*/*")
    assert segment.read_bytes().startswith(b"volfspk")
    del host.env["PYTHONPATH"]
    assert "resumed" in host.run("mount", "v", point).stdout
    assert (point / "kept").read_bytes() == b"kept" * 1000
