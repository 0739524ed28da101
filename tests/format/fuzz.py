"""Every decoder against bytes that nobody wrote: no other error than it declares, no hang, no unbounded memory.

`python -m tests.format.fuzz [N] [SEED]` makes N executions and prints a table. Mutations of what is well-formed, with
checksums made right again where there are some, so that they get behind them.
"""

import random
import resource
import signal
import sys
import time
from collections import Counter
from types import FrameType

from tests.format.mutate import mutate
from tests.format.targets import TARGETS, Target

_HANG_S = 20
_MEMORY_BYTES = 1 << 30  # above what the process has: what asks for more is a find


class Hang(BaseException):
    """One execution took too long."""


def executions(count: int, seed: int) -> tuple[Counter[str], Counter[str], list[str]]:
    """(tried, refused) of each target, and the finds."""
    dice = random.Random(seed)
    tried: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    finds: dict[str, str] = {}
    weights = [target.weight for target in TARGETS]
    for n in range(count):
        if n % 100 == 0:
            signal.setitimer(signal.ITIMER_REAL, _HANG_S)
        target = dice.choices(TARGETS, weights)[0]
        data = _input(dice, target)
        tried[target.name] += 1
        try:
            target.run(data)
        except target.declared:
            refused[target.name] += 1
        except (Exception, Hang) as error:  # noqa: BLE001 - every other error is a find
            where = error.__traceback__
            while where is not None and where.tb_next is not None:
                where = where.tb_next
            line = f"{where.tb_frame.f_code.co_filename}:{where.tb_lineno}" if where is not None else "?"
            told = f"{target.name}: {type(error).__name__}: {error} at {line}\n  {data[:300]!r}"
            finds.setdefault(f"{target.name} {type(error).__name__} {line}", f"seed {seed}, execution {n}, {told}")
    signal.setitimer(signal.ITIMER_REAL, 0)
    return tried, refused, list(finds.values())


def _input(dice: random.Random, target: Target) -> bytes:
    if dice.random() < 0.02:
        return dice.randbytes(dice.choice((0, 1, 7, 8, 24, 48, 300, 5000)))
    if target.change is not None and dice.random() < 0.6:
        return target.change(dice)
    return mutate(dice, dice.choice(target.seeds), dice.choice(dice.choice(TARGETS).seeds))


def bound(memory_bytes: int = _MEMORY_BYTES) -> None:
    """From here on, what asks for much memory fails with MemoryError, and what takes long with Hang."""
    with open("/proc/self/statm") as file:
        have = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (have + memory_bytes, have + memory_bytes))
    signal.signal(signal.SIGALRM, _too_long)


def _too_long(number: int, frame: FrameType | None) -> None:
    raise Hang(f"over {_HANG_S} s")


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 30)
    bound()
    start = time.monotonic()
    tried, refused, finds = executions(count, seed)
    print(f"{'decoder':34}{'executions':>12}{'refused':>12}")
    for name in sorted(tried):
        print(f"{name:34}{tried[name]:12,}{refused[name]:12,}")
    print(f"{'all':34}{tried.total():12,}{refused.total():12,}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    for find in finds:
        print(find)
    print(f"seed {seed}: {len(finds)} other errors, {time.monotonic() - start:.0f} s, peak {peak} MiB")
    sys.exit(bool(finds))


if __name__ == "__main__":
    main()
