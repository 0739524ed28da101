"""Names of any bytes where they are told: in reports, refusals, statuses and the log."""

import json
import os

from tests.conftest import Host

STORES = ("file", "s3")

ODD = os.fsdecode(b"\xff\n\x1b[31m")
TOLD = "\\xff\\n\\x1b[31m"


def test_a_conflict_on_a_name_that_is_not_utf8_is_reported_in_one_line(host: Host) -> None:
    one, two = host.mount("one"), host.mount("two")
    (one / ODD).write_text("1")
    os.setxattr(one / ODD, b"user.\xfe", b"1")
    host.run("commit", one)
    (two / ODD).write_text("2")
    os.setxattr(two / ODD, b"user.\xfe", b"2")
    report = host.run("commit", two).stdout.splitlines()
    assert len(report) == 2 and report[1].startswith(TOLD), report
    [newest, _] = json.loads(host.run("log", "v", "--json").stdout)
    assert newest["lines"] == report[1:]
    host.run("reload", one)
    assert (one / ODD).read_text() == "2"


def test_status_and_refusals_tell_open_files_whose_names_are_not_utf8(host: Host) -> None:
    point = host.mount()
    (point / ODD).write_text("1")
    host.run("commit", point)
    with open(point / ODD):
        status = json.loads(host.run("status", point, "--json").stdout)
        assert {file["path"] for file in status["open_files"]} == {TOLD}
        refused = host.run("reload", point, check=3)
        assert TOLD in refused.stderr and len(refused.stderr.splitlines()) == 1
        assert TOLD in host.run("umount", point, check=3).stderr
        assert TOLD in json.loads(os.getxattr(point, "user.volfs.status"))["last_error"]


def test_a_commit_message_of_any_bytes_is_taken(host: Host) -> None:
    point = host.mount()
    (point / "f").write_text("1")
    host.run("commit", point, "-m", os.fsdecode(b"by \xff hand"))
    (point / "f").write_text("2")
    os.getxattr(point, b"user.volfs.commit.m.\xfe")
    messages = [commit["message"] for commit in json.loads(host.run("log", "v", "--json").stdout)]
    assert messages == ["\\xfe", "by \\xff hand"]
