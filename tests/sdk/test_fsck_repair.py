"""fsck --repair: what can be put back is, what can be read is kept, nothing that is damaged is thrown away."""

import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.s3 import Weed
from volfs import Client, Volume
from volfs.exception import DamageError, NotFoundError
from volfs.format.entry import Inode, Ref
from volfs.format.record import encode_commit
from volfs.sdk.fsck import Findings
from volfs.sdk.fsck_volume import fsck_volume
from volfs.store import keys
from volfs.store.backend import Backend
from volfs.tree import edit, lookup
from volfs.tree.draft import Draft
from volfs.view.packing import PackWriter

SIZE = 300_000


class Place:
    """A volume `v` of some commits, damaged through its store."""

    def __init__(self, url: str, path: Path) -> None:
        self.url, self.path = url, path
        self.volume = Volume.from_name("v", create_if_missing=True, client=self.client())
        self.old = os.urandom(SIZE)
        self.new = os.urandom(SIZE)
        self.volume.write_file("d/large", self.old)
        self.volume.write_file("d/small", b"small")
        self.volume.write_file("other/file", b"other" * 10_000)
        self.volume.write_file("d/large", self.new)
        self.volume.write_file("d/new", b"new" * 10_000)

    def client(self) -> Client:
        """A new one: it remembers nothing."""
        return Client(self.url, cache_dir=self.path / os.urandom(4).hex())

    @property
    def backend(self) -> Backend:
        return self.volume._logic.session().store.backend

    @property
    def record(self):  # type: ignore[no-untyped-def]
        return self.volume._logic.session().volume

    def fsck(self, *, repair: bool = False, data: bool = True, name: str = "v") -> Findings:
        return fsck_volume(self.client(), name, self.path / "state", data=data, repair=repair)

    def read(self, path: str) -> bytes:
        volume = Volume.from_name("v", client=self.client())
        return b"".join(volume.read_file(path))

    def names(self, path: str) -> set[str]:
        return {entry.path for entry in Volume.from_name("v", client=self.client()).listdir(path, recursive=True)}

    def flip(self, key: str, at: int = -1) -> None:
        data = bytearray(self.backend.get(key))
        data[at] ^= 1
        self.put(key, bytes(data))

    def put(self, key: str, data: bytes) -> None:
        self.backend.put(key, data)

    def find(self, *path: bytes) -> Inode:
        return self.volume._logic.session().latest().find(path)

    def flip_ref(self, ref: Ref | None) -> None:
        assert ref is not None
        self.flip(keys.pack(self.record.family, ref.pack), ref.offset + ref.stored // 2)

    def kept(self) -> list[str]:
        return self.backend.children(keys.damaged(self.record.id))

    def is_mended(self, found: Findings, *lines: str) -> None:
        """All is well afterwards, and was said."""
        assert found.problems == [], found.problems
        for line in lines:
            assert any(line in told for told in found.repaired), (line, found.repaired)
        again = self.fsck()
        assert again.problems == [] and again.repaired == []


@pytest.fixture(params=["file", pytest.param("s3", marks=pytest.mark.slow)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "file":
        return Place(f"file://{tmp_path}/store", tmp_path)
    weed: Weed = request.getfixturevalue("weed")
    return Place(weed.url(f"{tmp_path.name}-{os.urandom(4).hex()}"), tmp_path)


def test_a_file_with_a_damaged_block_is_restored_and_what_can_be_read_kept(place: Place) -> None:
    place.flip_ref(place.find(b"d", b"large").extents[1].ref)
    assert {problem.path for problem in place.fsck().problems} == {"d/large"}
    place.is_mended(place.fsck(repair=True), "d/large: restored as commit 3 has it", "commit 6 has the repaired tree")
    assert place.read("d/large") == place.old
    block = 128 << 10
    kept = place.read("lost+found/commit-5/d/large")
    assert kept == place.new[:block] + bytes(block) + place.new[2 * block :]
    assert place.read("d/new") == b"new" * 10_000


def test_a_damaged_file_that_no_commit_has_whole_goes_from_its_place(place: Place) -> None:
    place.flip_ref(place.find(b"d", b"new").extents[0].ref)
    place.is_mended(place.fsck(repair=True), "d/new: no commit has it whole: removed from its place")
    assert place.names("d") == {"d/large", "d/small"}
    assert "lost+found" not in place.names("/")  # nothing of it could be read


def test_a_damaged_directory_is_restored_and_its_reachable_files_are_kept(place: Place) -> None:
    place.flip_ref(place.find(b"d").top)
    found = place.fsck()
    assert [problem.path for problem in found.problems] == ["d"]
    place.is_mended(place.fsck(repair=True), "d: restored as commit 4 has it")
    assert place.read("d/large") == place.new
    assert place.names("d") == {"d/large", "d/small"}
    assert place.read("other/file") == b"other" * 10_000


def test_of_a_large_directory_the_nodes_that_can_be_read_are_kept(place: Place) -> None:
    with place.volume.batch_upload() as batch:
        for i in range(3000):
            batch.put_file(io.BytesIO(b"%d" % i), f"many/{i}")
    session = place.volume._logic.session()
    top = place.find(b"many").top
    assert top is not None
    node = session.load(top)
    assert node.level == 1
    place.flip_ref(node.child(1).ref)
    place.is_mended(place.fsck(repair=True), "many: made anew of the ")
    names = place.names("many")
    assert 1000 < len(names) < 3000
    assert all(place.read(name) == name.removeprefix("many/").encode() for name in sorted(names)[:5])


def test_a_root_directory_that_cannot_be_read_is_restored(place: Place) -> None:
    session = place.volume._logic.session()
    place.flip_ref(session.latest().root.dir.top)
    place.is_mended(place.fsck(repair=True), "/: restored as commit 4 has it")
    assert place.names("/") >= {"d/large", "d/small", "other/file"}
    place.volume.write_file("goes/on", b"x")


@pytest.mark.parametrize("readable", [True, False])
def test_a_damaged_newest_record_is_kept_aside_and_its_number_stays(place: Place, readable: bool) -> None:
    key = keys.commit(place.record.id, 5)
    data = place.backend.get(key)
    place.put(key, data[:12] + b"xxxx" + data[16:] if readable else data[: len(data) // 2])
    with pytest.raises(DamageError):
        place.read("d/small")
    assert place.fsck().problems[0].commit == 5
    found = place.fsck(repair=True)
    place.is_mended(found, "commit 5: ", "the tree of the damaged record" if readable else "the tree of commit 4")
    assert place.names("d") == {"d/large", "d/small"} | ({"d/new"} if readable else set())
    assert len(place.kept()) == 1 and place.kept()[0].startswith("volumes_")
    place.volume = Volume.from_name("v", client=place.client())
    place.volume.write_file("goes/on", b"x")
    assert place.fsck().commits == 6


def test_a_missing_record_within_the_log_gets_a_stand_in(place: Place) -> None:
    place.backend.delete(keys.commit(place.record.id, 2))
    place.is_mended(place.fsck(repair=True), "commit 2: missing; a record with the tree of commit 1")
    assert len(list(Volume.from_name("v", client=place.client())._logic.session().history())) == 5


def test_a_name_that_is_missing_or_damaged_is_made_from_the_volumes_own_word(place: Place) -> None:
    key = keys.name("main", "v")
    whole = place.backend.get(key)
    for damage in (lambda: place.backend.delete(key), lambda: place.flip(key, 5)):
        damage()
        with pytest.raises((NotFoundError, DamageError)):
            place.read("d/small")
        assert [problem.path for problem in place.fsck().problems] == [key]
        place.is_mended(place.fsck(repair=True), f"{key}: leads to volume {place.record.id} again")
        assert place.backend.get(key) == whole
    assert len(place.kept()) == 1
    with pytest.raises(NotFoundError):
        place.fsck(name="none", repair=True)


def test_a_volumes_own_word_of_its_name_is_made_from_the_name(place: Place) -> None:
    place.flip(keys.volume_name(place.record.id, 0), 5)
    with pytest.raises(DamageError, match="run volfs fsck"):
        place.fsck()
    place.is_mended(place.fsck(repair=True), "the volume's name is v again")
    assert place.read("d/small") == b"small"


def test_a_description_is_made_anew_only_if_it_fits_what_is_stored(place: Place) -> None:
    key = keys.volume(place.record.id)
    data = place.backend.get(key)
    place.put(key, data.replace(b'"created_by":"', b'"created_by":"x'))
    place.is_mended(place.fsck(repair=True), "the family and hash seed in it fit")
    assert place.read("d/small") == b"small"
    seed = str(place.record.hash_seed).encode()
    wrong = data.replace(seed, seed[:-1] + (b"1" if seed[-1:] != b"1" else b"2"))
    place.put(key, wrong)
    with pytest.raises(DamageError):
        place.fsck(repair=True)
    assert place.backend.get(key) == wrong


def crafted(place: Place, work: Callable[[Draft, PackWriter], None]) -> None:
    place.volume._logic.session().change(work)


def test_wrong_counts_twins_and_data_behind_the_end_are_mended(place: Place) -> None:
    def work(draft: Draft, writer: PackWriter) -> None:
        small = draft.find((b"d", b"small"))
        directory = draft.find((b"d",))
        assert small is not None and directory is not None
        draft.put((b"twin",), small)
        draft.put((b"short",), replace(small, ino=draft.number(), size=2))
        draft.set((b"liar",), replace(directory, ino=draft.number(), entries=77, bytes=5, top=_own(draft, directory)))

    crafted(place, work)
    texts = {problem.path: problem.text for problem in place.fsck().problems}
    assert "counts 77 entries" in texts["liar"] and "data up to 5" in texts["short"]
    place.is_mended(place.fsck(repair=True), "liar: counted anew", "has an inode of its own")
    assert place.read("short") == b"sm" and place.read("twin") == place.read("d/small") == b"small"
    assert len(place.names("liar")) == 3


def _own(draft: Draft, directory: Inode) -> Ref | None:
    """The same names with numbers of their own."""
    entries = {
        name: replace(entry, ino=draft.number())
        for _, name, entry in lookup.scan(draft.load, directory.top)
        if isinstance(entry, Inode)
    }
    return edit.edit_directory(draft.load, draft.emit, replace(directory, top=None), entries).top


def test_damage_that_only_older_commits_have_is_history_after_a_repair(place: Place) -> None:
    session = place.volume._logic.session()
    record = session.commits.get(1)
    assert record is not None
    old = lookup.walk(session.load, session.at(record).root, (b"d", b"large"))
    assert old is not None
    place.flip_ref(old.extents[0].ref)
    assert {problem.commit for problem in place.fsck().problems} == {3, 1}
    place.flip_ref(place.find(b"d", b"new").extents[0].ref)
    found = place.fsck(repair=True)
    assert found.problems == [] and {problem.commit for problem in found.history} == {5, 3, 1}


def test_a_repair_goes_on_top_of_what_others_commit_meanwhile_and_changes_nothing_without_damage(place: Place) -> None:
    assert place.fsck(repair=True).repaired == []
    assert place.fsck().commits == 5
    session = place.volume._logic.session()
    record = session.commits.get(5)
    assert record is not None
    assert encode_commit(record) == place.backend.get(keys.commit(place.record.id, 5))


