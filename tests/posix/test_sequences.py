"""Sequences of calls by several processes: those that once differed, and some of what `make soak` tries."""

import json
import random
from pathlib import Path

import pytest

from tests.conftest import Host
from tests.posix.generator import sequence
from tests.posix.sequences import Pair, rounds

KEPT = sorted((Path(__file__).parent / "kept").glob("*.json"))


def test_sequences_that_once_differed_do_not_differ(host: Host) -> None:
    pair = Pair(host)
    try:
        assert {path.name: told for path in KEPT if (told := pair.play(json.loads(path.read_text())))} == {}
    finally:
        pair.close()


@pytest.mark.slow
def test_random_sequences_of_calls_do_on_a_mount_what_they_do_on_a_disk(host: Host) -> None:
    seed = random.randrange(1 << 20)
    print(f"seed {seed}")
    assert rounds(host, 120, seed) == []


def test_a_seed_always_gives_the_same_sequence() -> None:
    assert sequence(7) == sequence(7) != sequence(8)
