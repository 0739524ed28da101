"""The table of calls on a local directory and on a mount. `python -m tests.posix.table.run [EVERY [SEED]]`.

Every EVERY-th case from SEED on is run (1: all), the outcomes of its calls and a stat walk of its directory before and
after are compared, then once more with the kernel's caches dropped, and as a second view shows it after a commit.
"""

import itertools
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.conftest import Host
from tests.posix.differences import explained
from tests.posix.sides import Side, Walk, compared, drop_caches, local_directory, undo_local
from tests.posix.table import names, opened, rights
from tests.posix.table.case import OWNER, Case

_BATCH = 400  # cases between two waits for the clock
_TICK_S = 0.012  # more than the kernel's coarse clock takes (CONFIG_HZ=100), so that a time set anew differs


class Difference(NamedTuple):
    case: Case
    local: Any
    mount: Any
    why: str  # an explanation, or ""


def all_cases() -> Iterator[tuple[str, Case]]:
    for module in (names, rights, opened):
        area = module.__name__.rpartition(".")[2]
        for case in module.cases():
            yield area, case


def _set_up(side: Side, number: int, case: Case) -> None:
    place = f"c{number}"
    steps = [["reset"], ["dir", place, 0o755, OWNER, OWNER], ["enter", place], *case.setup]
    outcomes = side.run("root", steps)
    assert not any(outcomes), f"setup of {case.name}: {list(zip(steps, outcomes, strict=True))}"


def _play(side: Side, number: int, case: Case) -> list[Any]:
    outcomes: list[Any] = []
    entered = set[str]()
    for user, steps in itertools.groupby(case.steps, key=lambda step: step[0]):
        first = [] if user in entered else [["reset"], ["enter", f"c{number}"]]
        entered.add(user)
        outcomes += side.run(user, [*first, *(step for _, step in steps)])[len(first) :]
    for user in entered:
        side.run(user, [["reset"]])
    return outcomes


def run(cases: Iterable[Case], local: Side, mount: Side) -> tuple[list[Difference], dict[int, Walk]]:
    """The differences, and how the mount's directories looked at last."""
    found: list[Difference] = []
    walks: dict[int, Walk] = {}
    numbered = enumerate(cases)
    while batch := list(itertools.islice(numbered, _BATCH)):
        before = []
        for side in (local, mount):
            for number, case in batch:
                _set_up(side, number, case)
            before.append([side.walk(f"c{number}") for number, _ in batch])
        time.sleep(_TICK_S)
        seen = []
        for side, earlier in zip((local, mount), before, strict=True):
            outcomes = [_play(side, number, case) for number, case in batch]
            after = [side.walk(f"c{number}") for number, _ in batch]
            told = [compared(walk, was) for walk, was in zip(after, earlier, strict=True)]
            seen.append(list(zip(outcomes, told, strict=True)))
            walks |= {number: walk for (number, _), walk in zip(batch, after, strict=True)}
        for (_, case), wanted, got in zip(batch, *seen, strict=True):
            if wanted != got:
                found.append(Difference(case, wanted, got, explained(case, wanted, got)))
    return found, walks


def walked(cases: Iterable[Case], side: Side) -> dict[int, Walk]:
    """How the directories look after their calls, of one side alone."""
    walks: dict[int, Walk] = {}
    for number, case in enumerate(cases):
        _set_up(side, number, case)
        _play(side, number, case)
        walks[number] = side.walk(f"c{number}")
    return walks


def again(side: Side, walks: dict[int, Walk], what: str) -> list[str]:
    """What another look at the directories shows otherwise. Sockets' content is none of ours."""
    return [
        f"{what}: c{number}: {was} -> {now}" for number, was in walks.items() if (now := side.walk(f"c{number}")) != was
    ]


def show(difference: Difference) -> str:
    lines = [difference.case.name, f"  setup {difference.case.setup}"]
    for step, wanted, got in zip(difference.case.steps, difference.local[0], difference.mount[0], strict=True):
        mark = "  " if wanted == got else "! "
        lines.append(f"  {mark}{step}: {wanted}" + ("" if wanted == got else f" | mount: {got}"))
    for path in sorted(difference.local[1].keys() | difference.mount[1].keys()):
        wanted, got = difference.local[1].get(path), difference.mount[1].get(path)
        if wanted != got:
            lines.append(f"  ! {path}: {wanted} | mount: {got}")
    return "\n".join(lines)


def sweep(host: Host, every: int, start: int) -> tuple[Counter[str], list[Difference], list[str]]:
    """(cases of each area, differences, what changed without a call) of every *every*-th case."""
    chosen = list(itertools.islice(all_cases(), start % every, None, every))
    local_directory(host.path / "local")
    point = host.mount()
    local, mount = Side(host.path / "local"), Side(point)
    try:
        for side in (local, mount):
            side.run("root", [["chmod", ".", 0o755]])
        differences, walks = run((case for _, case in chosen), local, mount)
        drop_caches()
        lost = again(mount, walks, "caches dropped")
        host.run("commit", point)
        other = Side(host.mount("other", "--read-only"))
        try:
            lost += again(other, walks, "in another view")
        finally:
            other.close()
    finally:
        local.close()
        mount.close()
        undo_local(host.path / "local")
    return Counter(area for area, _ in chosen), differences, lost


def main() -> None:
    every = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    start = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    host = Host(Path(tempfile.mkdtemp(prefix="volfs-posix-")).resolve())
    begun = time.monotonic()
    try:
        counted, differences, lost = sweep(host, every, start)
    finally:
        undo_local(host.path / "local")
        host.clean()
    for difference in differences:
        if not difference.why:
            print(show(difference))
    for line in lost[:20]:
        print(line[:2000])
    reasons = Counter(difference.why for difference in differences if difference.why)
    for title, rows in (("area", counted), ("differences that stay", reasons)):
        print(f"\n| {title} | cases |\n|---|---|", *(f"| {name} | {count} |" for name, count in rows.items()), sep="\n")
    unexplained = sum(not difference.why for difference in differences) + len(lost)
    print(f"{counted.total()} cases in {time.monotonic() - begun:.0f} s: {unexplained} unexplained differences")
    sys.exit(unexplained > 0)


if __name__ == "__main__":
    main()
