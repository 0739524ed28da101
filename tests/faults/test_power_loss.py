"""What a disk may forget; and a few of the states that `make soak` mounts, of each workload."""

import random
from pathlib import Path

import pytest

from tests.faults.calls import Call
from tests.faults.disk import Recording, any_part, ways
from tests.faults.power_loss import sweep
from tests.faults.workloads import WORKLOADS

_MOST = 9


def recorded(*calls: tuple[str, str, str, int, bytes]) -> Recording:
    """(name, path, target, inode, data) of each."""
    recording = Recording("/top")
    for i, (name, path, target, inode, data) in enumerate(calls):
        recording.add(Call(i + 1, name, 1, path, target, 0, len(data), data, inode))
    return recording


SAVED = (
    ("openat", "/top/new", "", 0, b""),
    ("write", "/top/new", "", 5, b"content" * 200),
    ("fsync", "/top/new", "", 5, b""),
    ("rename", "/top/new", "/top/name", 5, b""),
    ("fsync", "/top", "", 1, b""),
)


@pytest.mark.parametrize("way", ways(0))
def test_what_was_synced_with_its_name_is_there_whatever_happens(way: str) -> None:
    image = recorded(*SAVED).image(5, ways(0)[way])
    assert image.files == {"name": (b"content" * 200, 0o600)}


def test_a_name_that_was_not_synced_may_be_missing_and_content_that_was_not_may_be_anything() -> None:
    recording = recorded(*SAVED)
    assert recording.image(2, ways(0)["nothing there"]).files == {}
    assert recording.image(2, ways(0)["names only"]).files == {"new": (b"", 0o600)}
    assert recording.image(2, ways(0)["sizes only"]).files == {"new": (bytes(1400), 0o600)}
    assert recording.image(2, ways(0)["last write torn"]).files == {"new": ((b"content" * 200)[:512], 0o600)}
    assert recording.image(4, ways(0)["nothing there"]).files == {}
    assert recording.image(4, ways(0)["all there"]).files == {"name": (b"content" * 200, 0o600)}
    found = {tuple(recording.image(4, any_part(seed)).files) for seed in range(50)}
    assert found == {(), ("new",), ("name",)}
    assert recording.barriers == [2, 4, 5]


@pytest.mark.parametrize("name", ["commit of a dead view", "mount with nothing kept"])
def test_a_log_that_was_let_go_does_not_come_back_without_its_base(name: str, tmp_path: Path) -> None:
    """Nor stays after an unmount: the states that lack all that is not sure, from the last command on."""
    _, mounted, losses = sweep(
        tmp_path / "host", name, lambda points: [point for point in points if point[1] == "nothing there"][-12:]
    )
    assert losses == []
    assert mounted > 1


@pytest.mark.slow
@pytest.mark.parametrize("name", WORKLOADS)
def test_nothing_durable_is_lost_with_the_power(name: str, tmp_path: Path) -> None:
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    chance = random.Random(seed)
    _, mounted, losses = sweep(tmp_path / "host", name, lambda points: chance.sample(points, min(len(points), _MOST)))
    assert losses == []
    assert mounted > 1
