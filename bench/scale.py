"""What a volume's size costs: the tables of many small files, one big file, sqlite and 200,000 files.

`python -m bench.scale [small|big|sqlite|many ...]`; VOLFS_BENCH_DIR is the disk to use.
"""

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

VOLFS = str(Path(sys.executable).with_name("volfs"))
SMALL_FILES = int(os.environ.get("VOLFS_BENCH_SMALL", "30000"))
BIG_GIB = int(os.environ.get("VOLFS_BENCH_GIB", "4"))
MANY_FILES = int(os.environ.get("VOLFS_BENCH_MANY", "200000"))


def volfs(*arguments: str) -> str:
    return subprocess.run([VOLFS, *arguments], check=True, capture_output=True, text=True).stdout


def shell(*arguments: str) -> None:
    subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def say(what: str, value: object) -> None:
    print(f"  {what:<52} {f'{value:.2f} s' if isinstance(value, float) else value}", flush=True)


def stored(store: Path) -> tuple[int, int]:
    """Objects and bytes allocated in a store."""
    files = [path.stat() for path in store.rglob("*") if path.is_file()]
    return len(files), sum(found.st_blocks * 512 for found in files)


def mounted(name: str, point: Path, *more: str) -> Path:
    point.mkdir(exist_ok=True)
    volfs("mount", name, str(point), "--create", *more)
    return point


def status(point: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads(volfs("status", str(point), "--json"))
    return found


def resident_mib(point: Path) -> str:
    """Pss and Rss of a mount's daemon."""
    rollup = Path(f"/proc/{status(point)['pid']}/smaps_rollup").read_text().splitlines()
    found = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in rollup if line.split()[-1] == "kB"}
    return f"{found['Pss']:.0f} MiB Pss, {found['Rss']:.0f} MiB Rss"


def written_by_me() -> int:
    """Bytes that this process has given to write(2) and its kin so far."""
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["wchar"])


def small(base: Path) -> None:
    print(f"{SMALL_FILES} files of 1-20 KB")
    source, chance = base / "source", random.Random(5)
    for i in range(SMALL_FILES):
        here = source / f"d{i // 100}"
        here.mkdir(parents=True, exist_ok=True)
        (here / f"f{i}").write_bytes(chance.randbytes(chance.randint(1000, 20000)))
    shell("tar", "cf", str(base / "small.tar"), "-C", str(source), ".")
    os.sync()
    say("cp -a on the disk", seconds(lambda: shell("cp", "-a", str(source), str(base / "copy"))))
    one, two = mounted("small", base / "one"), mounted("small", base / "two")
    say("untar onto the mount", seconds(lambda: shell("tar", "xf", str(base / "small.tar"), "-C", str(one))))
    before = stored(base / "store")
    say("commit", seconds(lambda: volfs("commit", str(one))))
    say("reload in a second view", seconds(lambda: volfs("reload", str(two))))
    say("diff -r with the source, byte by byte", seconds(lambda: shell("diff", "-r", str(source), str(two))))
    after = stored(base / "store")
    say("objects in the store", after[0])
    say("written by the commit itself", f"{max(0, after[1] - before[1]) / 2**20:.1f} MiB")
    say("the first daemon's memory", resident_mib(one))
    say("the second daemon's memory", resident_mib(two))


def big(base: Path) -> None:
    print(f"one file of {BIG_GIB} GiB")
    one, two = mounted("big", base / "one"), mounted("big", base / "two")
    block = os.urandom(1 << 20)

    def write(path: Path) -> None:
        with open(path, "wb", buffering=0) as file:
            for i in range(BIG_GIB << 10):
                file.write(i.to_bytes(8, "little") + block[8:])
            os.fsync(file.fileno())

    say("write and fsync on the disk", seconds(lambda: write(base / "plain")))
    say("cp and sync on the disk", seconds(lambda: (shell("cp", str(base / "plain"), str(base / "copy")), os.sync())))
    say("write and fsync on the mount", seconds(lambda: write(one / "big")))
    before = stored(base / "store")
    say("commit", seconds(lambda: volfs("commit", str(one))))
    say("written by the commit itself", f"{(stored(base / 'store')[1] - before[1]) / 2**20:.2f} MiB")
    volfs("reload", str(two))
    say("cmp in a second view", seconds(lambda: shell("cmp", str(base / "plain"), str(two / "big"))))


def sqlite(base: Path) -> None:
    print("sqlite, 500 small transactions")
    one = mounted("sqlite", base / "one", "--no-commit-on-sync")

    def run(path: Path) -> None:
        with sqlite3.connect(path) as base_:
            base_.execute("create table t (id integer primary key, a text, b real)")
            for i in range(500):
                base_.executemany("insert into t (a, b) values (?, ?)", [(f"row {i} {j}" * 4, j) for j in range(20)])
                base_.execute("update t set b = ? where id = ?", (i, i * 7 % (i + 1)))
                base_.commit()
        base_.close()

    before_run = written_by_me()
    say("on the disk", seconds(lambda: run(base / "plain.db")))
    say("pages written by sqlite, its journal included", f"{(written_by_me() - before_run) / 2**20:.2f} MiB")
    say("on the mount", seconds(lambda: run(one / "a.db")))
    say("size of the database", f"{(one / 'a.db').stat().st_size / 2**20:.2f} MiB")
    log = [path.stat().st_size for path in (base / "store").rglob("incoming/*/*") if path.is_file()]
    say("written to the log", f"{sum(log) / 2**20:.2f} MiB")
    say("staged at the end", f"{int(str(status(one)['staging_bytes'])) / 2**20:.2f} MiB")
    before = stored(base / "store")[1]
    report = json.loads(volfs("commit", str(one), "--json"))
    say("committed (packs)", f"{report['stored_bytes'] / 2**20:.2f} MiB")
    say("store, allocated before and after", f"{before / 2**20:.1f}, {stored(base / 'store')[1] / 2**20:.1f} MiB")


def many(base: Path) -> None:
    print(f"a volume of {MANY_FILES} files against an empty one")
    one = mounted("many", base / "one")

    def fill() -> None:
        for i in range(MANY_FILES):
            if i % 200 == 0:
                (here := one / f"d{i // 20000}" / f"e{i // 200}").mkdir(parents=True)
            with open(here / f"file-{i}", "wb", buffering=0) as file:
                file.write(b"%d" % i)

    say("filling it", seconds(fill))
    say("its commit", seconds(lambda: volfs("commit", str(one))))
    say("daemon's memory after it", resident_mib(one))
    volfs("umount", str(one))
    (base / "empty").mkdir()
    volfs("create", "empty")

    def mount_time(name: str, point: Path) -> float:
        took = []
        for _ in range(7):
            took.append(seconds(lambda: mounted(name, point)))
            volfs("umount", str(point))
        return sorted(took)[3]

    say("mount, empty volume (median of 7)", mount_time("empty", base / "empty"))
    say("mount, this one", mount_time("many", one))
    mounted("many", one), mounted("many", base / "two")
    say("daemon's memory, idle", resident_mib(one))
    say("`volfs --version` (a command's own start)", seconds(lambda: volfs("--version")))
    changed = one / "d3" / "e300" / "file-60000"
    changed.write_bytes(b"changed")
    say("commit of one changed file", seconds(lambda: volfs("commit", str(one))))
    say("reload in the second view", seconds(lambda: volfs("reload", str(base / "two"))))
    assert (base / "two" / "d3" / "e300" / "file-60000").read_bytes() == b"changed"
    say("find over all", seconds(lambda: shell("find", str(one), "-type", "f")))
    say("find with sizes and times over all", seconds(lambda: shell("find", str(one), "-size", "+1000k")))
    say("daemon's memory after find", resident_mib(one))
    changed.write_bytes(b"changed again")
    say("commit of one changed file after find", seconds(lambda: volfs("commit", str(one))))
    shell("find", str(base / "two"), "-size", "+1000k")
    say("reload after find in the second view", seconds(lambda: volfs("reload", str(base / "two"))))
    say("volfs status", seconds(lambda: volfs("status", str(one))))


def main() -> None:
    parts: dict[str, Callable[[Path], None]] = {"small": small, "big": big, "sqlite": sqlite, "many": many}
    for name in sys.argv[1:] or list(parts):
        base = Path(tempfile.mkdtemp(prefix="volfs-scale-", dir=os.environ.get("VOLFS_BENCH_DIR", "/var/tmp")))
        os.environ["VOLFS_STORE"] = str(base / "store")
        os.environ["XDG_STATE_HOME"] = str(base / "state")
        os.environ["VOLFS_STATE"] = str(base / "state")
        try:
            parts[name](base)
        finally:
            for point in ("one", "two", "empty"):
                if os.path.ismount(base / point):
                    subprocess.run([VOLFS, "umount", "--discard", str(base / point)], check=False)
            shutil.rmtree(base)


if __name__ == "__main__":
    main()
