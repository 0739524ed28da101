"""A part of what `make soak` does for longer."""

import random

import pytest

from tests.conftest import Host
from tests.mount.exerciser import exercise
from tests.mount.stress import stress


@pytest.mark.slow
def test_random_operations_on_one_file_do_what_the_model_says(host: Host) -> None:
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    assert exercise(host, 20_000, seed).total() == 20_000


@pytest.mark.slow
def test_a_tree_that_many_processes_changed_looks_the_same_from_everywhere(host: Host) -> None:
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    calls, paths = stress(host, 8, seed)
    assert calls > 100 and paths > 10
