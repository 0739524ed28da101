"""A few rounds of what `make soak` does two hundred times."""

import random

from tests.conftest import Host
from tests.mount.kills import rounds

STORES = ("file", "s3")


def test_nothing_answered_is_lost_when_daemons_are_killed_at_random(host: Host) -> None:
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    rounds(host, 12, seed)
