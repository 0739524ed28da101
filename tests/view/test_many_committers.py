"""Eight processes commit to one volume at once."""

import subprocess
import sys
from pathlib import Path

import trio

from tests.view.mounted import Mounted, new_volume
from volfs.store.commits import Commits

WORKERS, COMMITS = 8, 20

SCRIPT = """
import contextlib, sys, trio
from pathlib import Path
from tests.view.mounted import Mounted
from volfs.store.store import open_store
from volfs.store.volumes import find_volume

path, who = Path(sys.argv[1]), sys.argv[2]
store = open_store(str(path / "store"))

async def main():
    mounted = Mounted(store, find_volume(store, "main", "v"), path, who)
    with contextlib.suppress(FileExistsError):  # another was faster than our start
        await mounted.mkdir("shared")
    for i in range(int(sys.argv[3])):
        await mounted.write(f"shared/{who}-{i}", f"{who} {i}".encode())
        await mounted.write("last", f"{who} {i}".encode(), truncate=True)
        assert await mounted.commit() is not None

trio.run(main)
"""


def test_every_commit_of_many_processes_is_in_the_log_once_and_nothing_is_lost(tmp_path: Path) -> None:
    store, volume = new_volume(tmp_path)
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(tmp_path), f"w{n}", str(COMMITS)], cwd=Path(__file__).parents[2]
        )
        for n in range(WORKERS)
    ]
    assert [worker.wait(200) for worker in workers] == [0] * WORKERS
    history = list(Commits(store.backend, volume.id).history())
    assert [record.seq for record in history] == list(range(WORKERS * COMMITS, 0, -1))
    assert len({record.token for record in history}) == WORKERS * COMMITS

    async def main() -> None:
        tree = await Mounted(store, volume, tmp_path, "reader").tree()
        last = tree.pop("last")
        assert tree.pop("shared") is None
        assert tree == {f"shared/w{n}-{i}": f"w{n} {i}".encode() for n in range(WORKERS) for i in range(COMMITS)}
        assert last is not None and last.split()[1] == b"%d" % (COMMITS - 1)  # the last committer's last word

    trio.run(main)
