"""Processes of several users that make calls in turn. `python -m tests.posix.process TOP UID GID GROUPS`."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.posix.calls import Calls, Outcome, Step

# name -> (uid, gid, supplementary groups). `group` is in owner's group by a supplementary group only.
USERS: dict[str, tuple[int, int, tuple[int, ...]]] = {
    "root": (0, 0, ()),
    "owner": (1001, 1001, (2001,)),
    "group": (1002, 1002, (1001,)),
    "other": (1003, 1003, ()),
}


class Process:
    """A process of a user, standing in *top*; `run` returns the outcome of each step."""

    def __init__(self, top: Path, user: str) -> None:
        uid, gid, groups = USERS[user]
        command = [sys.executable, "-m", "tests.posix.process", str(top), str(uid), str(gid), *map(str, groups)]
        self._child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
        )

    def run(self, steps: Sequence[Step]) -> list[Outcome]:
        assert self._child.stdin is not None and self._child.stdout is not None
        self._child.stdin.write(json.dumps(list(steps)).encode() + b"\n")
        self._child.stdin.flush()
        answer: list[Any] = json.loads(self._child.stdout.readline() or b"null")
        assert answer is not None, f"the process died in {steps}"
        return answer

    def close(self) -> None:
        self._child.communicate(timeout=60)


def main() -> None:
    top, uid, gid, *groups = sys.argv[1:]
    calls = Calls(os.open(top, os.O_RDONLY | os.O_DIRECTORY))
    os.setgroups([int(group) for group in groups])
    os.setresgid(int(gid), int(gid), int(gid))
    os.setresuid(int(uid), int(uid), int(uid))
    calls.reset()
    for line in sys.stdin.buffer:
        outcomes = []
        for step in json.loads(line):
            outcomes.append(calls.reset() if step[0] == "reset" else calls.run(step))
        sys.stdout.buffer.write(json.dumps(outcomes).encode() + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
