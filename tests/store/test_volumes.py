"""Names, commit logs and objects of a local store."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from volfs.exception import AlreadyExistsError, DamageError, InvalidError, NotFoundError, StoreError
from volfs.format.note import encode_note
from volfs.format.record import CommitRecord
from volfs.store import keys
from volfs.store.commits import Commits
from volfs.store.numbers import Claims
from volfs.store.packs import LocalPacks
from volfs.store.store import Store, _StoreFile, open_store
from volfs.store.volumes import (
    create_volume,
    delete_volume,
    find_volume,
    list_volumes,
    load_volume,
    rename_volume,
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(f"file://{tmp_path}/store")


def make(store: Store, name: str = "v"):  # type: ignore[no-untyped-def]
    return create_volume(store, "main", name, uid=1, gid=2)


def record(seq: int, token: str) -> CommitRecord:
    return CommitRecord(seq=seq, parent=seq - 1, token=token, root=b"r", time_ns=1)


def test_a_volume_is_found_by_its_name_and_by_its_id(store: Store) -> None:
    volume = make(store)
    assert find_volume(store, "main", "v") == volume == load_volume(store, volume.id)
    with pytest.raises(NotFoundError):
        find_volume(store, "other", "v")
    with pytest.raises(AlreadyExistsError):
        make(store)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "ä", "x" * 65, "vo-" + "A" * 22, "a\n"])
def test_names_that_are_not_allowed_are_refused_with_the_rule(store: Store, name: str) -> None:
    with pytest.raises(InvalidError, match="1 to 64"):
        make(store, name)


def test_a_rename_frees_the_old_name(store: Store) -> None:
    volume = rename_volume(store, make(store), "w")
    assert find_volume(store, "main", "w").id == volume.id
    with pytest.raises(NotFoundError):
        find_volume(store, "main", "v")
    assert make(store).id != volume.id
    with pytest.raises(AlreadyExistsError):
        rename_volume(store, volume, "v")
    assert [found.name for found in list_volumes(store, "main")] == ["v", "w"]


def test_a_rename_that_was_cut_short_leaves_one_name_and_the_other_may_be_taken(store: Store) -> None:
    volume = make(store)
    old = store.backend.get(keys.name("main", "v"))
    rename_volume(store, volume, "w")
    store.backend.put(keys.name("main", "v"), old)  # as if the deletion of the old pointer had not come
    with pytest.raises(NotFoundError):
        find_volume(store, "main", "v")
    assert find_volume(store, "main", "w").id == volume.id
    assert make(store).id != volume.id


def test_a_deleted_volume_is_met_by_its_next_committer(store: Store) -> None:
    volume = make(store)
    commits = Commits(store.backend, volume.id, "v")
    assert commits.append(record(1, "a"))
    delete_volume(store, volume)
    with pytest.raises(NotFoundError):
        find_volume(store, "main", "v")
    assert not commits.append(record(2, "b"))
    with pytest.raises(NotFoundError, match="deleted"):
        commits.get(2)
    with pytest.raises(NotFoundError, match="deleted"):
        commits.latest()


def test_a_volume_whose_last_commit_is_damaged_can_be_deleted(store: Store) -> None:
    volume = make(store)
    commits = Commits(store.backend, volume.id, "v")
    assert commits.latest_seq() == 0
    assert commits.append(record(1, "a"))
    store.backend.put(keys.commit(volume.id, 1), b"damaged")
    with pytest.raises(DamageError):
        commits.latest()
    assert commits.latest_seq() == 1
    delete_volume(store, volume)
    assert list(list_volumes(store, "main")) == []
    with pytest.raises(NotFoundError, match="deleted"):
        commits.latest_seq()


def test_a_commit_number_is_taken_once_and_a_lost_answer_is_recognised(store: Store) -> None:
    commits = Commits(store.backend, make(store).id)
    assert commits.latest() is None
    assert commits.append(record(1, "a"))
    assert commits.append(record(1, "a"))
    assert not commits.append(record(1, "b"))
    for seq in range(2, 1203):
        assert commits.append(record(seq, "a"))
    latest = commits.latest()
    assert latest is not None and latest.seq == 1202
    assert [found.seq for found in commits.history()] == list(range(1202, 0, -1))


def test_inode_ranges_are_claimed_once(store: Store) -> None:
    volume = make(store)
    claims = Claims(store.backend, volume.id)
    assert [claims.claim(), claims.claim()] == [(16, 1 << 20), (1 << 20, 2 << 20)]
    assert claims.hint == 2
    assert Claims(store.backend, volume.id).claim() == (2 << 20, 3 << 20)
    assert Claims(store.backend, volume.id, 5).claim() == (5 << 20, 6 << 20)


def test_put_if_absent_has_one_winner_among_processes(store: Store) -> None:
    code = (
        "import sys; from pathlib import Path; from volfs.store.local import Local;"
        " b = Local(Path(sys.argv[1]));"
        " print([i for i in range(60) if b.put_if_absent(f'race/{i}', sys.argv[2].encode())])"
    )
    command = [sys.executable, "-c", code, store.url.removeprefix("file://")]
    racers = [subprocess.Popen([*command, str(n)], stdout=subprocess.PIPE, text=True) for n in range(4)]
    won = [eval(racer.communicate(timeout=60)[0]) for racer in racers]
    assert sorted(i for mine in won for i in mine) == list(range(60))
    for n, mine in enumerate(won):
        for i in mine:
            assert store.backend.get(f"race/{i}") == str(n).encode()
    assert store.backend.children("tmp") == []


def test_directories_are_private_and_packs_are_sealed(store: Store, tmp_path: Path) -> None:
    packs = store.packs(make(store).family)
    assert isinstance(packs, LocalPacks)
    pack, name = packs.new_pack()
    grown = packs.incoming("view") / name
    grown.write_bytes(b"0123456789")
    packs.add(pack, grown)
    packs.add(pack, grown)  # again, after a lost answer
    grown.unlink()
    assert packs.read(pack, 2, 3) == packs.read_nowait(pack, 2, 3) == b"234"
    assert packs.path(pack).stat().st_mode & 0o777 == 0o444
    for directory, _, _ in os.walk(tmp_path / "store"):
        assert os.stat(directory).st_mode & 0o777 == 0o700


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("x")
    with pytest.raises(StoreError, match="not empty"):
        open_store(str(tmp_path / "full"))
    with pytest.raises(InvalidError, match="not supported"):
        open_store("ftp://host/x")
    with pytest.raises(NotFoundError):
        open_store(str(tmp_path / "none"), create=False)
    made = open_store(str(tmp_path / "made"))
    made.backend.put("volfs.json", encode_note(_StoreFile("volfs-store", 9)))
    with pytest.raises(StoreError, match="upgrade"):
        open_store(str(tmp_path / "made"))


@pytest.mark.parametrize("then", ["create", "delete"])
def test_a_deletion_that_was_cut_short_leaves_a_name_that_can_be_used(
    store: Store, then: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = make(store)
    with monkeypatch.context() as patched:
        patched.setattr(type(store.backend), "delete", lambda self, key: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            delete_volume(store, volume)
    if then == "delete":
        delete_volume(store, find_volume(store, volume.environment, volume.name))
        with pytest.raises(NotFoundError):
            find_volume(store, volume.environment, volume.name)
    new = make(store)
    assert find_volume(store, new.environment, new.name).id == new.id != volume.id
    assert [each.id for each in list_volumes(store, new.environment)] == [new.id]
