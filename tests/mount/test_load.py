"""Short runs of what `make soak` does for minutes. Nothing of it is timed."""

import random
from collections.abc import Callable

import pytest

from tests.conftest import Host
from tests.mount import load


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "callers"),
    [(load.reloads, 24), (load.commits, 16), (load.killed, 16), (load.crowd, 1000), (load.writers, 64)],
)
def test_callers_see_no_mixture_and_no_error_and_leave_nothing_open(
    host: Host, part: Callable[[Host, float, int, int], load.Row], callers: int
) -> None:
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    row = part(host, 12, seed, callers)
    print(load.line(row))
    load.judge(row)
