"""`reload --discard`: the view is on the latest commit again, also for what the kernel knows by number."""

from pathlib import Path

import pytest
import trio

from tests.view.faults import faulty_volume, meanwhile, nothing
from tests.view.mounted import Mounted
from volfs.view.reload import Kernel, reload

KERNEL = Kernel(flush=lambda: None, holders=lambda: [], invalidate=lambda changes: None, look=lambda paths: None)


@pytest.mark.parametrize("kind", ["file", "directory", "hard link"])
def test_what_was_moved_by_a_commit_and_changed_meanwhile_is_found_by_number(kind: str, tmp_path: Path) -> None:
    backend, store, volume = faulty_volume(tmp_path)

    async def main() -> None:
        mounted = Mounted(store, volume, tmp_path, "one")
        if kind == "directory":
            await mounted.mkdir("x")
        else:
            await mounted.write("x", b"1")
        await mounted.commit()
        mounted = Mounted(store, volume, tmp_path, "one")
        ino = await mounted.find("x")
        if kind == "hard link":
            await mounted.link("x", "y")
        else:
            await mounted.rename("x", "y")

        async def change() -> None:
            if kind == "directory":
                await mounted.write("y/f", b"2")
            else:
                await mounted.write("y", b"2")
            await mounted.rename("y", "z")

        then = meanwhile(change)

        def hook(key: str) -> None:
            backend.before_put = nothing
            then()

        backend.before_put = hook
        assert await mounted.commit() == 2
        await reload(mounted.view, KERNEL, discard=True)
        found = await mounted.do(lambda: mounted.view.names.getattr(ino))
        assert found.ino == ino
        if kind != "directory":
            assert await mounted.read_open(ino) == b"1"
        names = ["x", "y"] if kind == "hard link" else ["y"]
        expected = dict.fromkeys(names, None if kind == "directory" else b"1")
        assert await mounted.tree() == expected

    trio.run(main)
