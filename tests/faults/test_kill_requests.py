"""Some of the requests at which `make soak` kills daemons and commands that work on S3."""

import random
from pathlib import Path

import pytest

from tests.faults.kill_requests import NAMES, sweep
from tests.s3 import Weed

_SHARE = 16


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_nothing_answered_is_lost_when_a_process_is_killed_at_a_request(
    name: str, weed: Weed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("VOLFS_STATE", "VOLFS_CACHE"):
        monkeypatch.setenv(variable, "")  # the sweep sets them; they are as before afterwards
    first = random.randrange(_SHARE) + 1
    print(f"every {_SHARE}th request from {first} on")
    count, _, losses = sweep(tmp_path / "host", weed, name, lambda count: range(first, count + 1, _SHARE))
    assert losses == []
    assert count > 5
