"""Sixteen programs that upload, copy and remove in one volume at once. `python -m tests.sdk.many_programs SECONDS`.

Each program owns names that it alone changes, and shares others with all. What must hold: of its own names the volume
has in the end exactly what its last successful call on them left; a shared name has one program's whole content; a
batch is listed whole or not at all, by readers that list all the time. All content tells whose it is.
"""

import io
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import volfs

PROGRAMS, READERS = 16, 2
NAMES, SHARED, BATCH = 6, 4, 5


@dataclass(frozen=True)
class Figures:
    """Calls that succeeded and that were refused (a name that somebody else had just made), over all programs."""

    seconds: float
    calls: int
    refused: int
    commits: int
    overwritten: int
    listings: int

    def __str__(self) -> str:
        rate = f"{self.commits / self.seconds:.1f} commits/s, {self.calls / self.seconds:.1f} calls/s"
        lost = f"{self.overwritten} commits overwrote another's shared file"
        return (
            f"{PROGRAMS} programs, {self.seconds:.0f} s: {self.calls} calls, {self.refused} refused, {self.commits}"
            f" commits, {lost}; {rate}; {self.listings} listings by {READERS} readers"
        )


class Program:
    """Random calls; `own` is what its own part of the volume must be."""

    def __init__(self, me: int, seed: int) -> None:
        self.me = me
        self.chance = random.Random(seed * 1000 + me)
        self.volume = volfs.Volume.from_name("v")
        self.own: dict[str, bytes] = {}
        self.calls = self.refused = 0

    def run(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            verb = self.chance.choice((self.batch, self.overwrite, self.copy, self.remove, self.share, self.race))
            verb()
            self.calls += 1

    def content(self) -> bytes:
        return b"%d " % self.me * self.chance.choice((1, 100, 60_000))

    def batch(self) -> None:
        """A directory of its own, new at each call: all its files are there, or none is."""
        fresh = f"{self.me}/batch-{self.calls}"
        files = {f"{fresh}/{i}": self.content() for i in range(BATCH)}
        old = [name for name in self.own if "/batch-" in name]
        with self.volume.batch_upload() as batch:
            for name, data in files.items():
                batch.put_file(io.BytesIO(data), name)
        self.own |= files
        if old:
            directory = old[0].rpartition("/")[0]
            self.volume.remove_file(directory, recursive=True)
            self.own = {name: data for name, data in self.own.items() if not name.startswith(directory + "/")}

    def overwrite(self) -> None:
        name, data = f"{self.me}/f{self.chance.randrange(NAMES)}", self.content()
        with self.volume.batch_upload(force=True) as batch:
            batch.put_file(io.BytesIO(data), name)
        self.own[name] = data

    def copy(self) -> None:
        source, target = (f"{self.me}/f{self.chance.randrange(NAMES)}" for _ in range(2))
        if source in self.own and source != target:
            self.volume.copy_files([source], target)
            self.own[target] = self.own[source]

    def remove(self) -> None:
        name = f"{self.me}/f{self.chance.randrange(NAMES)}"
        if name in self.own:
            self.volume.remove_file(name)
            del self.own[name]

    def share(self) -> None:
        self.volume.write_file(f"shared/{self.chance.randrange(SHARED)}", self.content())

    def race(self) -> None:
        """Without force: who comes second is refused, and changes nothing. Then it is removed, by whoever is first."""
        name = f"shared/race-{self.chance.randrange(SHARED)}"
        try:
            with self.volume.batch_upload() as batch:
                batch.put_file(io.BytesIO(self.content()), name)
            self.volume.remove_file(name)
        except (FileExistsError, FileNotFoundError):
            self.refused += 1


def read(seconds: float) -> int:
    """Lists the volume again and again; returns how often. Raises AssertionError for a part of a batch."""
    volume = volfs.Volume.from_name("v")
    end = time.monotonic() + seconds
    listings = 0
    while time.monotonic() < end:
        batches: dict[str, int] = {}
        for entry in volume.iterdir("/"):
            above = entry.path.rpartition("/")[0]
            if "/batch-" in above:
                batches[above] = batches.get(above, 0) + 1
        assert all(count == BATCH for count in batches.values()), f"a part of a batch is listed: {batches}"
        listings += 1
    return listings


def check(own: list[dict[str, str]]) -> int:
    """Compares the volume with what each program must have left; returns how many commits overwrote something."""
    volume = volfs.Volume.from_name("v")
    found: dict[str, bytes] = {}
    for entry in volume.iterdir("/"):
        if entry.type is volfs.FileEntryType.FILE:
            found[entry.path] = b"".join(volume.read_file(entry.path))
    for me, files in enumerate(own):
        mine = {name: data.decode() for name, data in found.items() if name.startswith(f"{me}/")}
        assert mine == files, f"program {me}: {sorted(set(mine.items()) ^ set(files.items()))[:3]}"
    for name, data in found.items():
        if name.startswith("shared/"):
            assert len(set(data.split())) == 1, f"{name} is a mixture"
    return sum(1 for commit in volume.log() if commit.lines)


def stress(seconds: float, seed: int) -> Figures:
    """Runs all of it in the store that the environment names. Raises AssertionError; a program that fails shows why."""
    volume = volfs.Volume.from_name("v", create_if_missing=True)
    volume.write_file("shared/0", "0 ")
    base = [sys.executable, "-m", "tests.sdk.many_programs"]
    roles = [["program", str(i), str(seed)] for i in range(PROGRAMS)] + [["reader"]] * READERS
    start = time.monotonic()
    running = [
        subprocess.Popen([*base, str(seconds), *role], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
        for role in roles
    ]
    answers = [process.communicate()[0] for process in running]
    took = time.monotonic() - start
    failed = [role for role, process in zip(roles, running, strict=True) if process.returncode]
    assert not failed, f"failed, with seed {seed}: {failed}"
    told = [json.loads(answer) for answer in answers]
    programs, readers = told[:PROGRAMS], told[PROGRAMS:]
    return Figures(
        seconds=took,
        calls=sum(one["calls"] for one in programs),
        refused=sum(one["refused"] for one in programs),
        commits=len(volume.log()),
        overwritten=check([one["own"] for one in programs]),
        listings=sum(one["listings"] for one in readers),
    )


def main() -> None:
    seconds = float(sys.argv[1])
    if len(sys.argv) == 2:
        with tempfile.TemporaryDirectory() as store:
            os.environ["VOLFS_STORE"] = store
            print(stress(seconds, random.randrange(1 << 30)))
    elif sys.argv[2] == "reader":
        print(json.dumps({"listings": read(seconds)}))
    else:
        program = Program(int(sys.argv[3]), int(sys.argv[4]))
        program.run(seconds)
        own = {name: data.decode() for name, data in program.own.items()}
        print(json.dumps({"calls": program.calls, "refused": program.refused, "own": own}))


if __name__ == "__main__":
    main()
