"""Files without a name: what is done to them is seen by who holds them, and ends with them."""

import os
from pathlib import Path

import trio

from tests.view.mounted import ROOT, Mounted, new_volume


def test_attributes_of_an_unlinked_open_file_change_and_are_not_logged(tmp_path: Path) -> None:
    async def main() -> None:
        store, volume = new_volume(tmp_path)
        mounted = Mounted(store, volume, tmp_path, "one")
        view = mounted.view
        await mounted.write("kept", b"kept")
        await mounted.write("a", b"abc")
        ino = await mounted.find("a")
        view.files.open(ino, os.O_RDWR, ROOT)
        await mounted.unlink("a")
        end = view.core.staging.position
        attr = view.attributes.setattr(ino, mode=0o600, size=1, mtime_ns=5, ctime_ns=7, caller=ROOT)
        view.attributes.setxattr(ino, b"user.x", b"y")
        assert (attr.mode & 0o7777, attr.size, attr.mtime_ns, attr.ctime_ns, attr.nlink) == (0o600, 1, 5, 7, 0)
        assert view.attributes.getxattr(ino, b"user.x") == b"y"
        assert view.core.staging.position == end
        view.files.write(ino, 1, b"z")
        assert await view.read(ino, 0, 10) == b"az"
        resumed = Mounted(store, volume, tmp_path, "one")  # killed: nothing of it is told to the log
        assert await resumed.tree() == {"kept": b"kept"}
        await resumed.commit()
        assert await Mounted(store, volume, tmp_path, "two").tree() == {"kept": b"kept"}

    trio.run(main)
