"""A part of the table of calls; `make soak` runs all of it."""

import itertools
import subprocess
import sys

import pytest

from tests.conftest import Host
from tests.posix.sides import Side, drop_caches
from tests.posix.table import rights
from tests.posix.table.run import again, all_cases, show, sweep, walked

_MOUNT_AHEAD = """
import volfs.fuse.daemon as daemon
from volfs_cli.main import main
kernels = daemon._kernel_time_ns
daemon._kernel_time_ns = lambda: kernels() + 10**9
main()
"""


@pytest.mark.parametrize("every", [401, pytest.param(23, marks=pytest.mark.slow)])
def test_calls_do_on_a_mount_what_they_do_on_a_disk(host: Host, every: int) -> None:
    counted, differences, lost = sweep(host, every, 5)
    assert counted.total() > 25_000 // every
    assert [show(difference) for difference in differences if not difference.why] == []
    assert lost == []


def test_no_call_leaves_a_time_that_the_daemon_alone_knows(host: Host) -> None:
    """Of a regular file the kernel believes its own times. One that the daemon had given it would show when the kernel
    forgets the file; it is seldom another than the kernel's, so here the daemon's clock is a second ahead.

    The first copy_file_range(2) of a mount, into what is set-user-ID: the kernel had sent the times before the WRITE.
    """
    first = [case for case in rights.privileges_cleared() if case.name == "copy on 6777 of group 2001 by other"]
    cases = [*first, *(case for _, case in itertools.islice(all_cases(), 7, None, 97))]
    point = host.path / "m"
    point.mkdir()
    command = [sys.executable, "-c", _MOUNT_AHEAD, "mount", "--create", "v", str(point)]
    subprocess.run(command, env=host.env, check=True, capture_output=True)
    side = Side(point)
    try:
        side.run("root", [["chmod", ".", 0o755]])
        walks = walked(cases, side)
        drop_caches()
        assert first and again(side, walks, "caches dropped") == []
    finally:
        side.close()
