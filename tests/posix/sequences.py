"""Random sequences of calls by four processes, on a local directory and on a mount.

`python -m tests.posix.sequences COUNT [SEED]`. Each sequence has a seed of its own. What differs (an outcome, or the
stat walk at the end) is shrunk, printed as JSON and fails; tests/posix/kept/ holds such sequences for the suite.
"""

import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.conftest import Host
from tests.posix.differences import is_cleared, opener_decides
from tests.posix.generator import sequence
from tests.posix.sides import Side, Walk, compared, drop_caches, local_directory, undo_local

Sequence = list[list[Any]]  # [user, step]; the user "mount" is what happens to the mount alone


class Pair:
    """A local directory and a mount on which sequences are played, each in a new directory."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._local_path = host.path / "local"
        local_directory(self._local_path)
        self._point = host.mount()
        self._count = 0
        self._local, self._mount = Side(self._local_path), Side(self._point)
        for side in (self._local, self._mount):
            side.run("root", [["chmod", ".", 0o755]])

    def close(self) -> None:
        self._local.close()
        self._mount.close()
        undo_local(self._local_path)

    def play(self, steps: Sequence) -> str:
        """The first difference, "" for none."""
        self._count += 1
        place = f"s{self._count}"
        for side in (self._local, self._mount):
            side.reset()
            side.run("root", [["dir", place, 0o777, 1001, 1001]])
            side.enter(place)
        try:
            return self._play(steps, place)
        finally:
            for side in (self._local, self._mount):
                side.reset()
                subprocess.run(["rm", "-rf", side.top / place], check=False)

    def _play(self, steps: Sequence, place: str) -> str:
        for number, (user, step) in enumerate(steps):
            if user == "mount":
                self._happens(step[0], place)
                continue
            wanted, got = self._local.run(user, [step])[0], self._mount.run(user, [step])[0]
            if step[0] == "link" and (wanted, got) == (None, "EPERM"):  # LOOKED_AT: then it works
                got = self._mount.run(user, [["stat", step[1]], step])[1]
            if wanted != got:
                return f"step {number}, {step} by {user}: {wanted}, on the mount {got}"
        either = opener_decides(steps)
        wanted_walk = compared(self._local.walk(place), {})
        shown: Walk = {}
        for look in ("at the end", "caches dropped"):
            if look == "caches dropped":
                drop_caches()
            walk = self._mount.walk(place)
            got_walk = compared(walk, {})
            for path in sorted(wanted_walk.keys() | got_walk.keys()):
                wanted, got = wanted_walk.get(path), got_walk.get(path)
                if wanted != got and not (either and is_cleared(wanted, got)):
                    return f"{look}, {path}: {wanted}, on the mount {got}"
                if shown and walk[path] != shown[path]:  # to the nanosecond: the mount alone has to agree with itself
                    return f"{look}, {path}: {walk[path]}, was {shown[path]}"
            shown = walk
        return ""

    def _happens(self, what: str, place: str) -> None:
        if what == "drop":
            drop_caches()
        elif what == "commit":
            self._host.run("commit", self._point)
        elif what == "reload":  # refused, mostly, for open files
            self._host.run("reload", self._point, check=None)
        elif what == "remount":
            for side in (self._local, self._mount):
                side.reset()
            self._mount.close()
            self._host.run("umount", self._point)
            self._host.mount()
            self._mount = Side(self._point)
            for side in (self._local, self._mount):
                side.enter(place)


def shrunk(pair: Pair, steps: Sequence) -> Sequence:
    """Fewer steps that still differ: parts of falling size are left out while that is so."""
    size = len(steps) // 2
    while size:
        at = 0
        while at < len(steps):
            fewer = steps[:at] + steps[at + size :]
            if pair.play(fewer):
                steps = fewer
            else:
                at += size
        size //= 2
    return steps


def rounds(host: Host, count: int, seed: int) -> list[str]:
    """What differed, with the shrunk sequences."""
    found: list[str] = []
    pair = Pair(host)
    try:
        for number in range(count):
            steps = sequence(seed * 1_000_000 + number)
            told = pair.play(steps)
            if told:
                few = shrunk(pair, steps)
                found.append(f"seed {seed} sequence {number}: {pair.play(few) or told}\n{json.dumps(few)}")
                if len(found) >= 10:
                    break
    finally:
        pair.close()
    return found


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 3000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 20)
    print(f"seed {seed}")
    host = Host(Path(tempfile.mkdtemp(prefix="volfs-sequences-")).resolve())
    try:
        found = rounds(host, count, seed)
    finally:
        undo_local(host.path / "local")
        host.clean()
    print(*found, sep="\n")
    print(f"{count} sequences of calls: {len(found)} differences")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
