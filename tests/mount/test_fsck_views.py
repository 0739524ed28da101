"""volfs fsck of what mounts keep on their host: running, killed, stopped, damaged."""

import json
import os
from pathlib import Path

import pytest

from tests.conftest import Host

STORES = ("file", "s3")


def log_of(host: Host) -> list[Path]:
    roots = [host.store / "incoming", *host.state.glob("incoming/*")]
    return sorted(path for root in roots for path in root.glob("*/*") if "damaged" not in path.parent.name)


def view_of(host: Host) -> Path:
    [path] = [path.parent for path in host.state.glob("*/base.json")]
    return path


def changed(host: Host) -> Path:
    """A mount on commit 1 whose log has a file that was fsync'd, and one written later."""
    point = host.mount()
    (point / "base").write_text("of commit 1")
    host.run("commit", point)
    for name in ("first", "second"):
        with open(point / name, "w") as file:
            file.write(name * 1000)
            os.fsync(file.fileno())
    (point / "third").write_text("third")
    return point


def flip(path: Path, at: int) -> bytes:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)
    return bytes(data)


def fsck(host: Host, *options: str, check: int = 0) -> dict[str, object]:
    found: dict[str, object] = json.loads(host.run("fsck", "v", "--json", *options, check=check).stdout)
    return found


def test_a_running_view_is_looked_at_and_not_disturbed(host: Host) -> None:
    point = changed(host)
    with open(point / "open", "w") as file:
        file.write("x")
        file.flush()
        for options in ((), ("--data",), ("--repair",)):
            found = fsck(host, *options)
            assert (found["views"], found["problems"], found["repaired"]) == (1, [], [])
        file.write("y")
    assert (point / "open").read_text() == "xy"
    assert "1 view here" in host.run("fsck", "v").stdout
    host.run("commit", point)


@pytest.mark.slow
def test_a_killed_views_torn_tail_is_told_and_no_damage(host: Host) -> None:
    point = changed(host)
    host.kill(point)
    os.system(f"umount -l {point}")
    assert fsck(host, "--data")["problems"] == []
    with open(log_of(host)[-1], "ab") as file:
        file.write(b"vRec\x10\0\0\0")
    found = fsck(host, "--repair")
    assert found["problems"] == [] and "8 bytes are no whole record" in str(found["notes"])
    host.mount()
    assert (point / "third").read_text() == "third"


def test_a_damaged_log_stops_the_mount_and_a_repair_keeps_what_is_before(host: Host) -> None:
    point = changed(host)
    host.run("umount", point)
    [segment] = log_of(host)
    at = segment.read_bytes().index(b"second" * 1000) - 100
    damaged = flip(segment, at)
    done = host.run("mount", "v", point, check=5)
    assert str(segment) in done.stderr and "run volfs fsck" in done.stderr
    assert segment.read_bytes() == damaged
    assert "is no record any more" in host.run("fsck", "v", check=5).stdout
    done = host.run("fsck", "v", "--repair", check=5)
    assert "resumes with what was written before the damage" in done.stdout
    [kept] = segment.parent.parent.glob("*.damaged-*")
    assert (kept / segment.name).read_bytes() == damaged
    assert fsck(host)["problems"] == []
    host.mount()
    assert (point / "first").read_text() == "first" * 1000
    assert not (point / "third").exists()
    host.run("commit", point)


@pytest.mark.slow
def test_a_damaged_base_is_found_again_in_the_log_of_commits(host: Host) -> None:
    point = changed(host)
    host.run("umount", point)
    base = view_of(host) / "base.json"
    flip(base, base.read_bytes().index(b'"sum"') + 8)
    assert "base.json does not agree with its checksum" in host.run("mount", "v", point, check=5).stderr
    assert "damaged" in host.run("status").stdout
    assert "does not agree" in host.run("fsck", "v", check=5).stdout
    assert "stands on commit 1 again" in host.run("fsck", "v", "--repair").stdout
    host.mount()
    assert (point / "third").read_text() == "third"


@pytest.mark.slow
def test_a_base_that_cannot_be_found_again_is_kept_with_its_log(host: Host) -> None:
    point = changed(host)
    host.run("umount", point)
    [segment] = log_of(host)
    before = segment.read_bytes()
    (view_of(host) / "base.json").write_bytes(b"\0" * 50)
    assert "kept in" in host.run("fsck", "v", "--repair", check=5).stdout
    [kept] = segment.parent.parent.glob("*.damaged-*")
    assert (kept / segment.name).read_bytes() == before and (kept / "base.json").exists()
    assert fsck(host)["problems"] == []
    host.mount()
    assert sorted(os.listdir(point)) == ["base"]


@pytest.mark.slow
def test_a_damaged_mount_state_is_moved_aside_and_the_view_resumes(host: Host) -> None:
    point = changed(host)
    host.run("umount", point)
    path = view_of(host) / "mount.json"
    flip(path, path.read_bytes().index(b"mountpoint") + 14)
    assert str(path) in host.run("mount", "v", point, check=5).stderr
    assert str(path) in host.run("status").stderr
    host.run("fsck", "v", check=5)
    assert "mount again to resume" in host.run("fsck", "v", "--repair").stdout
    host.mount()
    assert (point / "third").read_text() == "third"


@pytest.mark.slow
@pytest.mark.local_store
def test_a_mounted_view_is_not_repaired(host: Host) -> None:
    point = changed(host)
    [segment] = log_of(host)
    damaged = flip(segment, segment.read_bytes().index(b"second" * 1000) - 100)
    done = host.run("fsck", "v", "--repair", check=5)
    assert "is mounted: unmount it before it is repaired" in done.stdout
    assert segment.read_bytes()[: len(damaged)] == damaged
    host.run("umount", point)
    host.run("fsck", "v", "--repair", check=5)
    host.run("fsck", "v")
