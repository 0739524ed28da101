"""Who says what a regular file's times are, where the kernel keeps them."""

import itertools
import os
from pathlib import Path

import pytest
import trio

from tests.view.mounted import ROOT, Mounted, new_volume
from volfs.view.core import Caller
from volfs.view.view import Options

OTHER = Caller(1003, 1003)


@pytest.mark.parametrize("kernel_times", [True, False])
def test_what_a_write_clears_changes_no_time_that_the_kernel_keeps(tmp_path: Path, *, kernel_times: bool) -> None:
    """The kernel sends its times before the WRITE where a syncfs(2) comes between, and not again."""

    async def main() -> None:
        clock = itertools.count(1000)
        options = Options(kernel_times=kernel_times)
        mounted = Mounted(*new_volume(tmp_path), tmp_path, "a", options, clock_ns=lambda: next(clock))
        view = mounted.view
        await mounted.write("f", b"123")
        ino = await mounted.find("f")
        view.attributes.setxattr(ino, b"security.capability", b"x")
        view.attributes.setattr(ino, mode=0o6777, uid=1001, gid=1001, ctime_ns=500, caller=ROOT)
        view.attributes.setxattr(ino, b"security.capability", b"x")
        view.attributes.setattr(ino, mtime_ns=700, ctime_ns=700, caller=OTHER)  # those of the write to come
        view.attributes.setattr(ino, caller=OTHER)  # what the kernel asks before it
        view.files.open(ino, os.O_RDWR, OTHER)
        view.files.write(ino, 0, b"4", [OTHER])
        view.files.release(ino)
        attr = view.names.getattr(ino)
        assert (attr.mode & 0o7777, view.attributes.listxattr(ino, ROOT)) == (0o777, [])
        assert (attr.ctime_ns == 700) is kernel_times
        view.attributes.setattr(view.root_ino, mode=0o700, caller=ROOT)
        assert view.names.getattr(view.root_ino).ctime_ns == next(clock) - 1, "a directory's are ours"

    trio.run(main)


def test_times_that_come_after_later_ones_are_passed_over(tmp_path: Path) -> None:
    """The kernel reads them to write them back, meanwhile a truncate(2) sends its own, and only then they come."""
    s = 1_000_000_000

    async def main() -> None:
        mounted = Mounted(*new_volume(tmp_path), tmp_path, "a", Options(kernel_times=True))
        view = mounted.view
        await mounted.write("f", b"123")
        ino = await mounted.find("f")

        def times() -> tuple[int, int]:
            attr = view.names.getattr(ino)
            return attr.mtime_ns, attr.ctime_ns

        view.attributes.setattr(ino, size=10, mtime_ns=100 * s, ctime_ns=100 * s, caller=ROOT)
        view.attributes.setattr(ino, mtime_ns=99 * s, ctime_ns=99 * s, caller=ROOT)
        assert times() == (100 * s, 100 * s)
        view.attributes.setattr(ino, mtime_ns=100 * s + 1, ctime_ns=100 * s + 1, caller=ROOT)
        assert times() == (100 * s + 1, 100 * s + 1)
        view.attributes.setattr(ino, atime_ns=1, mtime_ns=7, ctime_ns=100 * s, caller=ROOT)  # utimes(2)
        assert times() == (7, 100 * s)
        view.attributes.setattr(ino, mtime_ns=90 * s, ctime_ns=90 * s, caller=ROOT)  # the clock was set back
        assert times() == (90 * s, 90 * s)

    trio.run(main)
