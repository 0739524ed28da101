"""Every byte of every stored object damaged, one at a time, and everything read each time.

`python -m tests.store.damage [SEED]` prints a table; `python -m tests.store.damage SEED N` tries N cases of each kind.
A case is: one byte flipped; an object cut to a length; removed; with the content of another of its kind. After each the
whole volume is read as a program, a cache's user or a resumed view reads it: what comes is either what was written, or
an error that names the object. What does not need the byte has to be read as ever.
"""

import os
import random
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.store.samplestore import (
    VIEW,
    Read,
    copy,
    damaged_state,
    make,
    needed,
    read_cached,
    read_store,
    read_view,
)


class Case(NamedTuple):
    """*data* None removes the object."""

    way: str
    data: bytes | None
    byte: int = -1


class Outcome(Counter[str]):
    """Of one kind: cases by way, detected, harmless, wrong."""


Kinds = dict[str, list[Path]]


def kinds(base: Path) -> Kinds:
    """The objects that reading volume v needs, by kind, without those that are there only to be swapped with."""
    store = base / "store"
    volumes = {path.parent.name: path for path in store.glob("volumes/*/volume.json")}
    by_name = {name: (store / f"names/main/{name}.json").read_bytes() for name in "vw"}
    identity = re.search(rb"vo-[0-9A-Za-z]{22}", by_name["v"])
    assert identity is not None
    mine = volumes[identity[0].decode()]
    family = re.search(rb"fa-[0-9A-Za-z]{22}", mine.read_bytes())
    assert family is not None
    return {
        "volfs.json": [store / "volfs.json"],
        "name pointer": [store / "names/main/v.json"],
        "volume.json": [mine],
        "volume's name": sorted(mine.parent.glob("names/*")),
        "commit record": sorted(mine.parent.glob("commits/*/*")),
        "inode range": sorted(mine.parent.glob("inos/*")),
        "pack": sorted(store.glob(f"families/{family[0].decode()}/packs/*")),
    }


def others(base: Path, path: Path) -> list[Path]:
    """Objects of the same kind."""
    parts = path.relative_to(base).parts
    if len(parts) == 1:
        pattern = "*.json"
    elif parts[1] == "volumes":
        pattern = f"store/volumes/*/{parts[3]}" + "/*" * (len(parts) - 4)
    else:
        pattern = {
            "names": "store/names/main/*",
            "families": "store/families/*/packs/*",
            "volfs.json": "store/volumes/*/volume.json",
            "incoming": "store/incoming/*/*",
        }[parts[1]]
    return [other for other in sorted(base.glob(pattern)) if other != path and other.is_file()]


def cases(dice: random.Random, content: bytes, swaps: list[bytes]) -> list[Case]:
    found = [
        Case("flipped", content[:i] + bytes((content[i] ^ dice.randrange(1, 256),)) + content[i + 1 :], i)
        for i in range(len(content))
    ]
    found += [Case("truncated", content[:i], i) for i in range(len(content))]
    found += [Case("swapped", other) for other in swaps if other != content]
    found.append(Case("removed", None))
    return found


def sweep_store(base: Path, dice: random.Random, most: int) -> Iterator[tuple[str, Outcome, list[str]]]:
    """Of each kind its outcome and the failures."""
    expected = read_store(base)
    assert not expected.errors, expected.errors
    needs = needed(base)
    for kind, paths in kinds(base).items():
        outcome, failures = Outcome(), list[str]()
        for path, case in _some(dice, base, paths, most):
            found = _with(path, case, lambda: read_store(base))
            failure = _judge(kind, path, case, expected, found, outcome)
            if not failure and kind == "pack" and case.way == "flipped":
                failure = _exact(bytes.fromhex(path.name), case.byte, needs, found)
            if failure:
                failures.append(f"{kind} {path.relative_to(base)} {case.way} {case.byte}: {failure}")
        yield kind, outcome, failures


def sweep_cache(base: Path, dice: random.Random, most: int) -> tuple[Outcome, list[str]]:
    """Whatever happens to a cache, every byte that is read is right."""
    expected = read_cached(base)
    outcome, failures = Outcome(), list[str]()
    paths = sorted(path for path in (base / "cache").rglob("*") if path.is_file() and path.name != "lock")
    swaps = [path.read_bytes() for path in paths]
    for path, case in _some(dice, base, paths, most, swaps):
        found = _with(path, case, lambda: read_cached(base), restore=False)
        outcome[case.way] += 1
        outcome["harmless"] += found == expected
        outcome["wrong"] += found != expected
        if found != expected:
            failures.append(f"{path.relative_to(base)} {case.way} {case.byte}: {found.errors}")
        content = path.read_bytes() if path.exists() else b""
        if content != swaps[paths.index(path)]:  # repaired where it was read; a record's frame is read by nobody
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(swaps[paths.index(path)])
    return outcome, failures


def sweep_view(
    base: Path, dice: random.Random, most: int, states: list[dict[str, bytes | None]]
) -> Iterator[tuple[str, Outcome, list[str]]]:
    """A kept view: resumed whole, refused with an error, or as it was before its last changes: a flip hides none
    that an fsync had made durable, a log that ends early looks as if more had never been written."""
    spare = base.with_name("spare")
    copy(base, spare)
    expected = read_view(spare)
    assert not expected.errors, expected.errors
    files = {
        "base.json": [base / f"{VIEW}.json"],
        "log segment": sorted(damaged_state(base).iterdir()),
    }
    for kind, paths in files.items():
        outcome, failures = Outcome(), list[str]()
        for path, case in _some(dice, base, paths, most):
            copy(base, spare)
            there = spare / path.relative_to(base)
            _put(there, case)
            found = read_view(spare)
            outcome[case.way] += 1
            if found.errors:
                outcome["detected"] += 1
                if not found.errors["view"].startswith(("DamageError", "NotFoundError")):
                    failures.append(f"{kind} {case.way} {case.byte}: {found.errors}")
            elif found.good == expected.good:
                outcome["harmless"] += 1
            elif found.good in (states if case.way == "truncated" else states[-2:]) and case.way != "swapped":
                outcome["cut"] += 1
            elif case.way == "removed":
                outcome["gone"] += 1
            else:
                outcome["wrong"] += 1
                failures.append(f"{kind} {case.way} {case.byte}: resumed with {sorted(found.good)}")
        yield kind, outcome, failures


def _some(
    dice: random.Random, base: Path, paths: list[Path], most: int, swaps: list[bytes] | None = None
) -> Iterator[tuple[Path, Case]]:
    every = [
        (path, case)
        for path in paths
        for case in cases(
            dice, path.read_bytes(), swaps or [other.read_bytes() for other in others(base, path)]
        )
    ]
    if most and len(every) > most:
        rare = [each for each in every if each[1].way in ("swapped", "removed")]
        every = dice.sample(every, most) + rare[:most]
    yield from every


def _put(path: Path, case: Case) -> None:
    os.chmod(path, 0o600)
    if case.data is None:
        path.unlink()
    else:
        path.write_bytes(case.data)


def _with(path: Path, case: Case, read: Callable[[], Read], *, restore: bool = True) -> Read:
    content = path.read_bytes()
    _put(path, case)
    try:
        return read()
    finally:
        if restore:
            path.write_bytes(content)


def _judge(kind: str, path: Path, case: Case, expected: Read, found: Read, outcome: Outcome) -> str:
    outcome[case.way] += 1
    wrong = {key for key, value in found.good.items() if expected.good.get(key) != value}
    lost = expected.good.keys() - found.good.keys()
    if case.way == "removed" and kind == "commit record" and wrong and not found.errors:
        outcome["gone"] += 1  # the newest: as if it had never been made
        return ""
    if wrong:
        outcome["wrong"] += 1
        return f"wrong: {sorted(wrong)}"
    if lost and not found.errors:
        outcome["wrong"] += 1
        return f"missing without an error: {sorted(lost)}"
    outcome["detected" if found.errors else "harmless"] += 1
    for where, text in found.errors.items():
        if not _names(kind, path, text):
            return f"the error at {where} does not name the object: {text}"
    return ""


def _names(kind: str, path: Path, text: str) -> bool:
    if kind == "pack":
        return path.name in text
    if kind == "commit record":
        return "commit " in text
    if kind == "volfs.json":
        return "volfs store" in text or path.name in text
    if kind == "name pointer":
        return "names/main/v.json" in text or "no volume v" in text
    return path.parent.name in text or path.parents[1].name in text or "no volume v" in text


def _exact(pack: bytes, byte: int, needs: dict[str, set[tuple[bytes, int]]], found: Read) -> str:
    """What needs the byte cannot be read, and all else can."""
    due = {path for path, places in needs.items() if (pack, byte) in places}
    for path in sorted(needs):
        seen = path in found.errors or (path not in found.good and path.count("/") and not path.endswith("/"))
        hidden = any(path.startswith(error) and error.endswith("/") for error in found.errors)
        if (path in due) != (seen or hidden) and not hidden:
            return f"{path}: needs it: {path in due}, could not be read: {seen}"
    return ""


def run(directory: Path, seed: int, most: int = 0) -> tuple[list[tuple[str, int, Outcome]], list[str]]:
    """(kind, bytes of it, outcome) each, and the failures. *most* 0: every case."""
    dice = random.Random(seed)
    base = directory / "base"
    base.mkdir()
    states = make(base)
    table = []
    failures: list[str] = []
    sizes = {kind: sum(path.stat().st_size for path in paths) for kind, paths in kinds(base).items()}
    for kind, outcome, failed in sweep_store(base, dice, most):
        table.append((kind, sizes[kind], outcome))
        failures += failed
    for kind, outcome, failed in sweep_view(base, dice, most, states):
        where = [base / f"{VIEW}.json"] if kind == "base.json" else list(damaged_state(base).iterdir())
        table.append((f"view: {kind}", sum(path.stat().st_size for path in where), outcome))
        failures += failed
    outcome, failed = sweep_cache(base, dice, most)
    table.append(("cache", sum(p.stat().st_size for p in (base / "cache").rglob("*") if p.is_file()), outcome))
    return table, failures + failed


_COLUMNS = ("flipped", "truncated", "swapped", "removed", "detected", "harmless", "cut", "gone", "wrong")


def main() -> None:
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else random.randrange(1 << 30)
    most = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="volfs-damage-", dir=memory) as directory:
        table, failures = run(Path(directory), seed, most)
    print(f"{'object':20}{'bytes':>8}" + "".join(f"{column:>11}" for column in _COLUMNS))
    total: Counter[str] = Counter()
    for kind, size, outcome in table:
        print(f"{kind:20}{size:8,}" + "".join(f"{outcome[column]:11,}" for column in _COLUMNS))
        total += outcome
    print(f"{'all':20}{sum(size for _, size, _ in table):8,}" + "".join(f"{total[c]:11,}" for c in _COLUMNS))
    for failure in failures[:50]:
        print(failure)
    print(f"seed {seed}: {len(failures)} failures")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
