"""Errors are one line on stderr; tables keep one line a row."""

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
