"""doctor says what is wrong with a host or a store, and what to do about it."""

import json
import os
import shlex
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import VOLFS, Host
from tests.lax import LaxServer
from tests.s3 import KEY, SECRET, Weed, credentials
from volfs.store.options import StoreOptions
from volfs.store.store import connect

STORES = ("file", "s3")
STORE_CHECKS = ["put-if-absent", "read-after-write", "list-after-write", "latency", "throughput", "clock"]

Findings = dict[str, dict[str, str]]


def doctor(
    host: Host, *options: object, exits: int = 0, within: str = "", env: dict[str, str] | None = None
) -> Findings:
    """What it found, by check; *within* is a shell's line that "$@" stands in."""
    command = [str(VOLFS), "doctor", "--json", *map(str, options)]
    if within:
        command = ["sh", "-c", within, "sh", *command]
    done = subprocess.run(
        command, env={**host.env, **(env or {})}, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == exits, done.stdout + done.stderr
    assert done.stderr == ""
    return {finding["check"]: finding for finding in json.loads(done.stdout)}


def test_a_sound_host_and_store_are_found_so_and_nothing_stays_behind(host: Host) -> None:
    host.run("create", "v")
    found = doctor(host)
    assert [one["check"] for one in found.values() if one["state"] != "ok"] == []
    assert {"libfuse", "fuse", "kernel", "state", "store", "credentials", *STORE_CHECKS} <= found.keys()
    assert connect(host.url, StoreOptions()).backend.first("doctor") is None
    if host.url.startswith("file"):
        assert not (host.store / "doctor").exists()
    assert [mount for mount in Path("/proc/mounts").read_text().splitlines() if "volfs-doctor" in mount] == []


@pytest.mark.local_store
def test_each_finding_is_a_line_that_begins_with_its_state(host: Host) -> None:
    host.run("create", "v")
    lines = host.run("doctor").stdout.splitlines()
    assert len(lines) >= 12
    assert {line.split()[0] for line in lines} == {"ok"}


def test_a_store_that_does_not_exist_yet_is_fine_and_is_not_made(host: Host) -> None:
    found = doctor(host)
    assert found["store"]["state"] == "ok" and "volfs create" in found["store"]["text"]
    assert not host.store.exists()


@pytest.mark.local_store
def test_a_directory_that_is_no_store_is_told_and_left_alone(host: Host) -> None:
    host.store.mkdir()
    (host.store / "mine").write_text("x")
    found = doctor(host, exits=1)
    assert found["store"]["state"] == "failed" and "not a volfs store" in found["store"]["text"]
    assert os.listdir(host.store) == ["mine"]
    assert found.keys().isdisjoint(STORE_CHECKS)


@pytest.fixture
def lax() -> Iterator[LaxServer]:
    server = LaxServer(behind_s=60)
    yield server
    server.stop()


@pytest.mark.local_store
def test_a_store_without_put_if_absent_fails_with_the_reason_and_another_clock_is_a_warning(
    lax: LaxServer, host: Host
) -> None:
    found = doctor(host, "--store", lax.url, exits=1, env=credentials())
    race = found["put-if-absent"]
    assert race["state"] == "failed" and "overwrites" in race["text"] and "If-None-Match" in race["advice"]
    clock = found["clock"]
    assert clock["state"] == "warning" and "ahead" in clock["text"] and "NTP" in clock["advice"]
    assert [one["check"] for one in found.values() if one["state"] == "failed"] == ["put-if-absent"]
    assert lax.objects == {}


@pytest.mark.local_store
def test_refused_credentials_are_told_without_telling_them(host: Host, weed: Weed) -> None:
    wrong = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": "not-this-one"}
    found = doctor(host, "--store", weed.url("refused"), exits=1, env=wrong)
    assert found["credentials"]["state"] == "failed" and "environment" in found["credentials"]["advice"]
    assert found.keys().isdisjoint(STORE_CHECKS)
    text = json.dumps(found)
    assert KEY not in text and SECRET not in text and "not-this-one" not in text


@pytest.mark.local_store
def test_a_store_that_does_not_answer_is_told_in_seconds(host: Host, weed: Weed) -> None:
    found = doctor(host, "--store", weed.url("x", "http://127.0.0.1:9"), exits=1)
    assert found["store"]["state"] == "failed" and "endpoint" in found["store"]["advice"]
    assert found["fuse"]["state"] == "ok"


@pytest.mark.local_store
@pytest.mark.parametrize("url", ["s3://key:hidden@bucket/p", "s3://bucket/p?secret_access_key=hidden", "file://x/y"])
def test_a_url_that_names_no_store_fails_and_the_host_is_looked_at_all_the_same(host: Host, url: str) -> None:
    found = doctor(host, "--store", url, exits=1)
    assert found["store"]["state"] == "failed" and found["fuse"]["state"] == "ok"
    assert "hidden" not in json.dumps(found)


@pytest.mark.local_store
def test_a_state_directory_in_memory_with_little_room_is_a_warning(host: Host) -> None:
    host.state.mkdir()
    state = shlex.quote(str(host.state))
    found = doctor(host, within=f'exec unshare -m sh -c \'mount -t tmpfs -o size=300M x {state} && exec "$@"\' sh "$@"')
    assert found["state"]["state"] == "warning" and "reboot" in found["state"]["text"]
    assert found["space for state"]["state"] == "warning"
    found = doctor(host, "--state-dir", "/proc/none", exits=1)
    assert found["state"]["state"] == "failed" and "--state-dir" in found["state"]["advice"]


@pytest.mark.local_store
def test_a_host_without_the_device_fails_and_says_what_loads_it(host: Host) -> None:
    found = doctor(host, exits=1, within='exec unshare -m sh -c \'mount -t tmpfs x /dev && exec "$@"\' sh "$@"')
    assert found["fuse"]["state"] == "failed" and "modprobe fuse" in found["fuse"]["advice"]


@pytest.mark.local_store
def test_a_container_that_may_not_mount_and_an_old_kernel_are_warnings(host: Host) -> None:
    within = 'exec setarch --uname-2.6 setpriv --bounding-set -sys_admin --inh-caps -sys_admin "$@"'
    found = doctor(host, within=within)
    assert found["fuse"]["state"] == "warning" and "SYS_ADMIN" in found["fuse"]["advice"]
    assert found["kernel"]["state"] == "warning"
    assert "FUSE_NOTIFY_INC_EPOCH" in found["kernel"]["text"] and "6.16" in found["kernel"]["advice"]


@pytest.mark.local_store
def test_another_user_than_root_is_told_how_containers_of_others_see_the_mount(host: Host) -> None:
    """The rest of the host is root's own: state and store fail."""
    conf, device = host.path / "fuse.conf", host.path / "fuse"
    os.mknod(device, stat.S_IFCHR, os.makedev(10, 229))
    hidden = f"mount --bind {conf} /etc/fuse.conf && mount --bind {device} /dev/fuse"
    within = f'exec unshare -m sh -c \'touch /etc/fuse.conf && {hidden} && exec setpriv --reuid 65534 "$@"\' sh "$@"'
    conf.write_text("# user_allow_other\n")
    refused = doctor(host, exits=1, within=within)["fuse"]
    assert refused["state"] == "failed" and "chmod 666 /dev/fuse" in refused["advice"]
    device.chmod(0o666)
    alone = doctor(host, exits=1, within=within)["fuse"]
    assert alone["state"] == "warning" and "user_allow_other" in alone["advice"]
    conf.write_text("user_allow_other\n")
    assert doctor(host, exits=1, within=within)["fuse"]["state"] == "ok"
