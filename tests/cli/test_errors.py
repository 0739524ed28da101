"""Errors are one line on stderr; tables keep one line a row."""

import json
from pathlib import Path

import pytest

from tests.conftest import Host


@pytest.mark.parametrize(
    "arguments",
    [["bogus"], ["create"], ["info", "a", "b"], ["list", "--bogus"], ["mount", "v", "/m", "--on-unmount", "x"]],
)
def test_wrong_usage_is_one_line_that_names_the_help(tmp_path: Path, arguments: list[str]) -> None:
    done = Host(tmp_path).run(*arguments, check=2)
    [line] = done.stderr.splitlines()
    assert line.startswith("volfs") and line.endswith("--help`") and done.stdout == ""


def test_a_message_of_several_lines_is_one_row_of_the_log(host: Host) -> None:
    point = host.mount()
    (point / "f").write_text("x")
    host.run("commit", point, "-m", "two\nlines \x1b[31m")
    _, row = host.run("log", "v").stdout.splitlines()
    assert row.endswith("two\\nlines \\x1b[31m")


def test_a_damaged_volume_is_marked_in_the_list_and_can_be_deleted(host: Host) -> None:
    point = host.mount()
    (point / "f").write_text("x")
    host.run("commit", point)
    host.run("umount", point)
    host.run("create", "whole")
    [record] = host.store.glob("volumes/*/commits/*/*")
    record.chmod(0o600)
    record.write_bytes(b"damaged")
    listed = host.run("list", check=5)
    rows = {row.split()[0]: row.split()[1:3] for row in listed.stdout.splitlines()[1:]}
    assert rows == {"v": ["1", "damaged"], "whole": ["-", "-"]}
    assert "volume v, commit 1" in listed.stderr and len(listed.stderr.splitlines()) == 1
    found = json.loads(host.run("list", "--json", check=5).stdout)
    assert [(row["name"], row["latest"], row["damaged"]) for row in found] == [("v", 1, True), ("whole", 0, False)]
    assert host.run("delete", "v", "-y").stdout == "deleted v\n"
    assert "damaged" not in host.run("list").stdout
