"""Sixteen programs at once, for $VOLFS_STRESS_S seconds (20): see many_programs."""

import os
import random
from pathlib import Path

import pytest

from tests.sdk.many_programs import PROGRAMS, stress


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_call_of_many_programs_has_its_effect(store: Path) -> None:
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    figures = stress(float(os.environ.get("VOLFS_STRESS_S", "20")), seed)
    print(figures)
    assert figures.calls >= PROGRAMS and figures.commits > PROGRAMS and figures.listings >= 1
