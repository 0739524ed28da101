"""Sixteen programs at once, for $VOLFS_STRESS_S seconds (10): see many_programs."""

import os
import random

import pytest

from tests.sdk.many_programs import PROGRAMS, stress

STORES = ("file", "s3")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_call_of_many_programs_has_its_effect(store: str) -> None:
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    figures = stress(float(os.environ.get("VOLFS_STRESS_S", "10")), seed)
    print(figures)
    assert figures.calls >= PROGRAMS and figures.commits > PROGRAMS and figures.listings >= 1
