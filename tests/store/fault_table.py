"""What each kind of fault of a store does to commits and reads. `python -m tests.store.fault_table FAULTS SEED`.

For each kind, programs upload, copy and read through a proxy that does wrong to a quarter of all requests, until there
were FAULTS of it. Every call has a limit: what fails is called again, as a user would. In the end the log has each
batch once, and every file is what was written.
"""

import io
import os
import random
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.proxy import Proxy
from tests.s3 import Weed, set_credentials
from volfs import Client, Volume
from volfs.exception import DamageError, ServiceError

KINDS = ("delay", "reset", "lost", "500", "503", "429", "truncate", "corrupt", "hang")
RATE = 0.25
PROGRAMS = 3
_HANG_LIMIT_S = 2.0  # a request that is never answered costs half of it
_SIZES = (10, 5000, 300_000, 3_000_000, 9_000_000)  # the last in two parts


@dataclass
class Row:
    """*failed* calls raised an error, and were made again. *lost*, *twice* and *wrong* have to be 0."""

    kind: str
    faults: int = 0
    requests: int = 0
    commits: int = 0
    reads: int = 0
    failed: int = 0
    lost: int = 0
    twice: int = 0
    wrong: int = 0

    def cells(self) -> tuple[str, ...]:
        numbers = (self.faults, self.requests, self.commits, self.reads, self.failed, self.lost, self.twice, self.wrong)
        return (self.kind, *map(str, numbers))


HEAD = ("fault", "injected", "requests", "commits", "reads", "calls failed", "lost", "twice", "wrong bytes")


def markdown(rows: list[Row]) -> str:
    lines = [HEAD, ("---",) + ("---:",) * (len(HEAD) - 1), *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def measure(path: Path, weed: Weed, kind: str, faults: int, seed: int) -> Row:
    """Raises AssertionError only for what stops the measuring."""
    row = Row(kind)
    prefix = f"table-{kind}-{time.time_ns()}"
    limit_s = _HANG_LIMIT_S if kind == "hang" else 60.0
    plain = Volume.from_name("v", create_if_missing=True, client=Client(weed.url(prefix), cache_dir=path / "plain"))
    plain.write_file("first", b"")
    with Proxy(weed.endpoint, seed=seed) as proxy:

        def client(name: str) -> Client:
            return Client(weed.url(prefix, proxy.endpoint), cache_dir=path / name, timeout_s=limit_s)

        programs = [Volume.from_name("v", client=client(f"c{n}")).hydrate() for n in range(PROGRAMS)]
        proxy.rates = {kind: RATE}

        def work(n: int) -> tuple[dict[str, bytes], int, int, int, int]:
            """(what it left, batches, reads, failed calls, wrong bytes)"""
            chance = random.Random(seed * 100 + n)
            left: dict[str, bytes] = {}
            batches = reads = failed = wrong = 0
            while proxy.faults[kind] < faults:
                data = chance.randbytes(chance.choice(_SIZES))
                name = f"{n}/f{chance.randrange(6)}"
                while True:
                    try:
                        with programs[n].batch_upload(force=True) as batch:
                            batch.put_file(io.BytesIO(data), name)
                            batch.put_file(io.BytesIO(b"%d" % batches), f"{n}/log/{batches}")
                        break
                    except (ServiceError, DamageError):  # damaged twice in a row: told, not used
                        failed += 1
                left[name] = data
                left[f"{n}/log/{batches}"] = b"%d" % batches
                batches += 1
                reader = Volume.from_name("v", client=client(f"r{n}-{batches}"))  # nothing is cached
                name = chance.choice(sorted(left))
                while True:
                    try:
                        wrong += b"".join(reader.read_file(name)) != left[name]
                        reads += 1
                        break
                    except (ServiceError, DamageError):
                        failed += 1
                shutil.rmtree(path / f"r{n}-{batches}", ignore_errors=True)
            return left, batches, reads, failed, wrong

        with ThreadPoolExecutor(PROGRAMS) as threads:
            results = list(threads.map(work, range(PROGRAMS)))
        proxy.rates = {}
        row.faults, row.requests = proxy.faults[kind], sum(proxy.requests.values())
    expected: dict[str, bytes] = {"first": b""}
    for left, batches, reads, failed, wrong in results:
        expected |= left
        row.commits, row.reads, row.failed = row.commits + batches, row.reads + reads, row.failed + failed
        row.wrong += wrong
    reader = Volume.from_name("v", client=Client(weed.url(prefix), cache_dir=path / "reader"))
    found = {entry.path: entry for entry in reader.listdir("/", recursive=True) if entry.type.name == "FILE"}
    row.lost = len(expected.keys() - found.keys())
    row.wrong += len(found.keys() - expected.keys())
    row.wrong += sum(b"".join(reader.read_file(name)) != data for name, data in expected.items() if name in found)
    row.twice = len(list(reader.log())) - 1 - row.commits
    return row


def check(row: Row) -> None:
    assert (row.lost, row.twice, row.wrong) == (0, 0, 0), row


def main() -> None:
    faults = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 20)
    kinds = sys.argv[3:] or KINDS
    print(f"seed {seed}", flush=True)
    set_credentials()
    path = Path(tempfile.mkdtemp(prefix="volfs-faults-")).resolve()
    os.environ["VOLFS_STATE"] = str(path / "state")
    weed = Weed(path / "weed")
    rows = []
    try:
        for kind in kinds:
            rows.append(measure(path / kind, weed, kind, faults, seed))
            print(rows[-1], flush=True)
    finally:
        weed.stop()
        shutil.rmtree(path, ignore_errors=True)
    print(markdown(rows))
    for row in rows:
        check(row)


if __name__ == "__main__":
    main()
