"""A sample of `tests.store.damage`: no damage makes a wrong byte, none goes without an error that names the object."""

import random
from pathlib import Path

import pytest

from tests.store.damage import run
from tests.store.samplestore import VIEW, damaged_state, make, read_view
from volfs.exception import DamageError
from volfs.store.commits import Commits
from volfs.store.store import open_store
from volfs.store.volumes import find_volume, load_volume
from volfs.view.state import Base, load_base, save_base


@pytest.mark.slow
def test_damaged_objects_are_errors_that_name_them_and_never_wrong_bytes(tmp_path: Path) -> None:
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    table, failures = run(tmp_path, seed, 60)
    assert not failures, failures
    assert sum(outcome["wrong"] for _, _, outcome in table) == 0
    for kind, _, outcome in table:
        assert outcome["flipped"] and outcome["truncated"], kind
        if kind not in ("cache", "inode range"):
            assert outcome["detected"], kind


@pytest.fixture
def store(tmp_path: Path) -> Path:
    make(tmp_path)
    return tmp_path / "store"


def test_another_volumes_commit_record_is_damage(store: Path) -> None:
    opened = open_store(str(store))
    mine, other = find_volume(opened, "main", "v").id, find_volume(opened, "main", "w").id
    [path] = store.glob(f"volumes/{mine}/commits/*/996")
    path.write_bytes(next(store.glob(f"volumes/{other}/commits/*/996")).read_bytes())
    with pytest.raises(DamageError, match=f"commit 3: the record is one of volume {other}"):
        Commits(opened.backend, mine, "v").latest()


def test_another_volumes_description_and_name_are_damage(store: Path) -> None:
    opened = open_store(str(store))
    mine, other = find_volume(opened, "main", "v").id, find_volume(opened, "main", "w").id
    for name in ("volume.json", "names/999999999"):
        path = store / "volumes" / mine / name
        before = path.read_bytes()
        path.write_bytes((store / "volumes" / other / name).read_bytes())
        with pytest.raises(DamageError, match=mine):
            load_volume(opened, mine)
        path.write_bytes(before)
    (store / "names/main/v.json").write_bytes((store / "names/main/w.json").read_bytes())
    with pytest.raises(DamageError, match=r"names/main/v\.json is that of the name main/w"):
        find_volume(opened, "main", "v")


def test_a_log_segment_with_a_damaged_header_is_kept(tmp_path: Path, store: Path) -> None:
    """It was taken for one that had never been written, and removed with all changes in it."""
    [segment] = damaged_state(tmp_path).iterdir()
    data = bytearray(segment.read_bytes())
    data[20] ^= 1
    segment.write_bytes(data)
    assert "header does not agree" in read_view(tmp_path).errors["view"]
    assert segment.read_bytes() == data


def test_a_log_record_damaged_before_what_was_durable_cuts_nothing(tmp_path: Path, store: Path) -> None:
    """It was taken for a torn tail: what an fsync had promised was gone, without a word."""
    [segment] = damaged_state(tmp_path).iterdir()
    data = bytearray(segment.read_bytes())
    data[60] ^= 1
    segment.write_bytes(data)
    assert f"{segment} has no record at 48 any more" in read_view(tmp_path).errors["view"]
    assert segment.read_bytes() == data


def test_a_log_without_its_base_is_not_replayed_on_another(tmp_path: Path, store: Path) -> None:
    (tmp_path / f"{VIEW}.json").unlink()
    assert "is missing, so that the log in" in read_view(tmp_path).errors["view"]


def test_a_base_with_a_wrong_number_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "base.json"
    save_base(path, Base(seq=11, token="t", own=True))
    assert load_base(path) == Base(seq=11, token="t", own=True, sum=load_base(path).sum)  # type: ignore[union-attr]
    data = path.read_bytes()
    for old, new in ((b"11", b"12"), (b'"own"', b'"oxn"'), (b'"seq"', b'"sep"')):
        path.write_bytes(data.replace(old, new))
        with pytest.raises(DamageError, match=r"base\.json"):
            load_base(path)
    path.write_bytes(b'{"version": 1, "seq": 11, "token": "t", "own": true}\n')  # of an older volfs
    found = load_base(path)
    assert found is not None and (found.seq, found.own) == (11, True)
