"""A few of the kill points that `make soak` sweeps, of each workload; the others by another seed of the choice."""

import random
import shutil
from pathlib import Path

import pytest

from tests.faults import kill_points
from tests.faults.kill_points import sweep
from tests.faults.recovery import end
from tests.faults.workloads import WORKLOADS, Site

_SHARE = 14


@pytest.mark.slow
@pytest.mark.parametrize("name", WORKLOADS)
def test_nothing_answered_is_lost_when_a_process_is_killed_at_a_system_call(name: str, tmp_path: Path) -> None:
    first = random.randrange(_SHARE) + 1
    print(f"every {_SHARE}th call from {first} on")
    count, swept, losses = sweep(tmp_path / "host", name, lambda count: range(first, count + 1, _SHARE))
    assert losses == []
    assert count > 5 and swept <= count // _SHARE + 1


def test_what_is_lost_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sweep itself: with a log that is gone it does not pass."""
    check = kill_points.check

    def without_log(site: Site, first: int) -> None:
        end(site)
        shutil.rmtree(site.store / "incoming")
        check(site, first)

    monkeypatch.setattr(kill_points, "check", without_log)
    with pytest.raises(AssertionError, match="later: nothing instead of f 644 700 bytes"):
        sweep(tmp_path / "host", "work", lambda count: [])
