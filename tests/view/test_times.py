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
