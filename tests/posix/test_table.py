"""A part of the table of calls; `make soak` runs all of it."""

import pytest

from tests.conftest import Host
from tests.posix.table.run import show, sweep


@pytest.mark.parametrize("every", [401, pytest.param(23, marks=pytest.mark.slow)])
def test_calls_do_on_a_mount_what_they_do_on_a_disk(host: Host, every: int) -> None:
    counted, differences, lost = sweep(host, every, 5)
    assert counted.total() > 25_000 // every
    assert [show(difference) for difference in differences if not difference.why] == []
    assert lost == []
