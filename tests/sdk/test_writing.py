"""remove_file, copy_files, move, write_file: each one commit, merged with those of others."""

import errno
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import volfs
from tests.conftest import Host
from tests.sdk.forms import Form, Handle
from volfs.exception import InvalidError, NotFoundError, ServiceError
from volfs.format.record import CommitRecord
from volfs.store.commits import Commits

STORES = ("file", "s3")


def tree(vol: volfs.Volume) -> dict[str, bytes | None]:
    """Each path with its content, None for a directory."""
    return {
        entry.path: b"".join(vol.read_file(entry.path)) if entry.type is volfs.FileEntryType.FILE else None
        for entry in vol.iterdir("/")
    }


def fill(vol: volfs.Volume, *paths: str) -> None:
    """Files whose content is their path, in one commit; those that end in "/" are empty directories."""
    with vol.batch_upload() as batch:
        for path in paths:
            batch.put_file(io.BytesIO(path.encode()), path + ("x" if path.endswith("/") else ""))
    for path in paths:
        if path.endswith("/"):
            vol.remove_file(path + "x")


# --- a commit whose answer is lost


def put(vol: volfs.Volume, path: str, *, force: bool) -> None:
    with vol.batch_upload(force=force) as batch:
        batch.put_file(io.BytesIO(b"put"), path)


@pytest.mark.parametrize(
    ("call", "again", "changed"),
    [
        (lambda vol: vol.write_file("f", b"2"), None, {"f": b"2"}),
        (lambda vol: put(vol, "f", force=True), None, {"f": b"put"}),
        (lambda vol: put(vol, "g", force=False), FileExistsError, {"g": b"put"}),
        (lambda vol: vol.make_directory("e", exist_ok=True), None, {"e": None}),
        (lambda vol: vol.make_directory("e"), FileExistsError, {"e": None}),
        (lambda vol: vol.copy_files(["f"], "g"), None, {"g": b"f"}),
        (lambda vol: vol.copy_files(["d"], "e", recursive=True), None, {"e": None, "e/x": b"d/x"}),
        (lambda vol: vol.remove_file("d/x"), NotFoundError, {"d/x": ...}),
        (lambda vol: vol.move("d/x", "y"), NotFoundError, {"d/x": ..., "y": b"d/x"}),
    ],
)
def test_a_commit_that_may_have_come_to_be_is_named_and_the_call_made_again_is_a_new_one(
    v: volfs.Volume,
    monkeypatch: pytest.MonkeyPatch,
    call: Callable[[volfs.Volume], None],
    again: type[Exception] | None,
    changed: dict[str, Any],
) -> None:
    fill(v, "f", "d/x")
    append = Commits.append

    def lost(self: Commits, record: CommitRecord) -> bool:
        append(self, record)
        raise ServiceError("the store is away")

    with monkeypatch.context() as patched:
        patched.setattr(Commits, "append", lost)
        with pytest.raises(ServiceError, match="came to be is not known") as caught:
            call(v)
    assert [commit.id in str(caught.value) for commit in v.log()] == [True, False]
    expected = {"f": b"f", "d": None, "d/x": b"d/x"} | changed
    assert tree(v) == {path: data for path, data in expected.items() if data is not ...}
    if again is not None:
        with pytest.raises(again):
            call(v)
    else:
        call(v)
    into = {"e/d": None, "e/d/x": b"d/x"} if "e/x" in changed else {}
    assert tree(v) == {path: data for path, data in expected.items() if data is not ...} | into


# --- remove_file


def test_files_and_empty_directories_are_removed(form: Form, v: volfs.Volume, vol: Handle) -> None:
    fill(v, "d/f", "e/")
    assert form(vol.remove_file, "d/f") is None
    assert tree(v) == {"d": None, "e": None}
    form(vol.remove_file, "/e/")
    form(vol.remove_file, "d")
    assert tree(v) == {}


def test_a_missing_path_is_not_removed(form: Form, v: volfs.Volume, vol: Handle) -> None:
    fill(v, "f")
    for path in ("gone", "gone/f", "f/g"):
        for recursive in (False, True):
            with pytest.raises(FileNotFoundError, match=f"no {path} in volume v"):
                form(vol.remove_file, path, recursive=recursive)
    assert len(v.log()) == 1


def test_a_tree_is_removed_with_recursive_only(form: Form, v: volfs.Volume, vol: Handle) -> None:
    fill(v, "d/a/x", "d/b", "e")
    for path in ("d", "/"):
        with pytest.raises(OSError, match="is not empty; remove it with recursive=True") as caught:
            form(vol.remove_file, path)
        assert caught.value.errno == errno.ENOTEMPTY
    form(vol.remove_file, "d", recursive=True)
    assert tree(v) == {"e": b"e"}
    assert v.log()[0].number == 2


def test_the_root_with_recursive_empties_the_volume(form: Form, v: volfs.Volume, vol: Handle) -> None:
    fill(v, "d/a/x", "d/b", "e")
    form(vol.remove_file, "/", True)
    assert tree(v) == {}
    form(vol.remove_file, "/", True)
    form(vol.remove_file, "/")
    form(vol.write_file, "f", "still usable")
    assert tree(v) == {"f": b"still usable"}


# --- copy_files


@pytest.mark.parametrize(
    ("sources", "target", "recursive", "made"),
    [
        (["f"], "g", False, {"g": b"f"}),
        (["f"], "d", False, {"d/f": b"f"}),
        (["f"], "/d/", False, {"d/f": b"f"}),
        (["f"], "d/g", False, {"d/g": b"f"}),
        (["f"], "h", False, {"h": b"f"}),
        (["d/x", "f"], "e", False, {"e/x": b"d/x", "e/f": b"f"}),
        (("f", "h"), "/e", False, {"e/f": b"f", "e/h": b"h"}),
        (["d/x"], "/", False, {"x": b"d/x"}),
        (["d"], "e", True, {"e/d": None, "e/d/x": b"d/x", "e/d/sub": None, "e/d/sub/y": b"d/sub/y"}),
        (["d"], "new", True, {"new": None, "new/x": b"d/x", "new/sub": None, "new/sub/y": b"d/sub/y"}),
        (["f", "d/sub"], "e", True, {"e/f": b"f", "e/sub": None, "e/sub/y": b"d/sub/y"}),
        (["d/sub", "e/sub"], "/", True, {"sub": None, "sub/y": b"d/sub/y", "sub/z": b"e/sub/z"}),
    ],
    ids=str,
)
def test_copies_go_where_cp_puts_them(
    form: Form, v: volfs.Volume, vol: Handle, sources: Any, target: str, recursive: bool, made: dict[str, bytes | None]
) -> None:
    fill(v, "f", "h", "d/x", "d/sub/y", "e/sub/z")
    before = tree(v)
    assert form(vol.copy_files, sources, target, recursive=recursive) is None
    assert tree(v) == before | made
    assert len(v.log()) == 2


def test_copies_keep_mode_and_mtime_and_move_no_data(form: Form, host: Host) -> None:
    point = host.mount()
    (point / "f").write_bytes(b"x" * 3_000_000)
    (point / "f").chmod(0o751)
    (point / "d").mkdir(mode=0o700)
    host.run("commit", point)
    with volfs.Client(host.url) as client:
        vol = form.Volume.from_name("v", client=client)
        form(vol.copy_files, ["f"], "g")
        form(vol.copy_files, ["d"], "e", True)
        old, new = form(vol.stat, "f"), form(vol.stat, "g")
        assert (new.mode, new.mtime_ns, new.size) == (0o100751, old.mtime_ns, old.size)
        assert new.inode != old.inode and form(vol.stat, "e").mode == 0o40700
        assert form(vol.log)[1].bytes < 10_000
        form(vol.write_file, "g", "changed")
        assert form(vol.stat, "f").size == 3_000_000


@pytest.mark.parametrize(
    ("sources", "target", "recursive", "error", "text"),
    [
        (["gone"], "g", False, NotFoundError, "no gone"),
        (["f", "gone"], "e", False, NotFoundError, "no gone"),
        (["f"], "none/g", False, NotFoundError, "no none"),
        (["d"], "e", False, IsADirectoryError, "recursive=True"),
        (["f", "h"], "new", False, NotADirectoryError, "new is not a directory"),
        (["f", "h"], "d/x", False, NotADirectoryError, "d/x is not a directory"),
        (["d"], "d", True, InvalidError, "into itself"),
        (["d"], "d/sub", True, InvalidError, "into itself"),
        (["d"], "d/new", True, InvalidError, "into itself"),
        (["/"], "d", True, InvalidError, "itself"),
        (["f"], "f", False, InvalidError, "onto itself"),
        (["f"], "/", False, InvalidError, "onto itself"),
        (["d/x"], "k", False, IsADirectoryError, "k/x is a directory"),
        (["d"], "f", True, NotADirectoryError, "f is not a directory"),
        ("f", "g", False, InvalidError, r"\['f'\]"),
        (b"f", "g", False, InvalidError, r"list of paths"),
        ([], "g", False, InvalidError, "at least one"),
        (["f"], "../g", False, InvalidError, r"\.\."),
    ],
    ids=str,
)
def test_copies_that_cannot_be_change_nothing(
    form: Form, v: volfs.Volume, vol: Handle, sources: Any, target: str, recursive: bool, error: Any, text: str
) -> None:
    fill(v, "f", "h", "d/x", "d/sub/y", "e/z", "k/x/y")
    before = tree(v)
    with pytest.raises(error, match=text) as caught:
        form(vol.copy_files, sources, target, recursive)
    assert "\n" not in str(caught.value)
    assert tree(v) == before and len(v.log()) == 1


# --- move


@pytest.mark.parametrize(
    ("source", "target", "after"),
    [
        ("f", "g", {"g": b"f", "d": None, "d/x": b"d/x", "e": None}),
        ("f", "d", {"d": None, "d/f": b"f", "d/x": b"d/x", "e": None}),
        ("f", "d/x", {"d": None, "d/x": b"f", "e": None}),
        ("d", "e", {"f": b"f", "e": None, "e/d": None, "e/d/x": b"d/x"}),
        ("d", "g", {"f": b"f", "g": None, "g/x": b"d/x", "e": None}),
        ("d/x", "/", {"f": b"f", "x": b"d/x", "d": None, "e": None}),
        ("f", "f", {"f": b"f", "d": None, "d/x": b"d/x", "e": None}),
    ],
)
def test_moves_go_where_mv_puts_them(
    form: Form, v: volfs.Volume, vol: Handle, source: str, target: str, after: dict[str, bytes | None]
) -> None:
    fill(v, "f", "d/x", "e/")
    form(vol.move, source, target)
    assert tree(v) == after


@pytest.mark.parametrize(
    ("source", "target", "error"),
    [
        ("gone", "g", NotFoundError),
        ("f", "none/g", NotFoundError),
        ("/", "g", InvalidError),
        ("d", "d/y", InvalidError),
        ("d", "f", NotADirectoryError),
        ("f", "k", IsADirectoryError),
        ("d", "k", OSError),
    ],
)
def test_moves_that_cannot_be_change_nothing(
    form: Form, v: volfs.Volume, vol: Handle, source: str, target: str, error: type[Exception]
) -> None:
    fill(v, "f", "d/x", "k/f/z", "k/d/z")
    before = tree(v)
    with pytest.raises(error):
        form(vol.move, source, target)
    assert tree(v) == before


# --- write_file


@pytest.mark.parametrize("data", [b"bytes", bytearray(b"more"), memoryview(b"a view"), "text \N{SNOWMAN}", b"", ""])
def test_write_file_makes_and_replaces(form: Form, v: volfs.Volume, vol: Handle, data: Any) -> None:
    form(vol.write_file, "/a/b/f", "old and longer than what replaces it")
    assert form(vol.write_file, "/a/b/f", data) is None
    wanted = data.encode() if isinstance(data, str) else bytes(data)
    assert tree(v) == {"a": None, "a/b": None, "a/b/f": wanted}
    assert form(vol.stat, "a/b/f").mode == 0o100644


def test_write_file_never_replaces_a_directory(form: Form, v: volfs.Volume, vol: Handle) -> None:
    fill(v, "d/f")
    for path, error in (("d", FileExistsError), ("/", IsADirectoryError), ("d/f/g", FileExistsError)):
        with pytest.raises(error):
            form(vol.write_file, path, "x")
    assert tree(v) == {"d": None, "d/f": b"d/f"}


# --- make_directory


def test_directories_are_made(form: Form, v: volfs.Volume, vol: Handle) -> None:
    assert form(vol.make_directory, "/d") is None
    form(vol.make_directory, "d/e/f", parents=True)
    assert tree(v) == {"d": None, "d/e": None, "d/e/f": None}
    assert v.stat("d/e").mode == 0o40755
    commits = len(v.log())
    for path in ("d", "d/e/f"):
        form(vol.make_directory, path, parents=True, exist_ok=True)
    v.write_file("file", "x")
    for path, options, error in (
        ("d", {}, FileExistsError),
        ("file", {"exist_ok": True}, FileExistsError),
        ("file/below", {"parents": True}, NotADirectoryError),
        ("none/below", {}, NotFoundError),
    ):
        with pytest.raises(error):
            form(vol.make_directory, path, **options)
    assert len(v.log()) == commits + 1


# --- together with others


def meanwhile(client: volfs.Client, action: Callable[[volfs.Volume], object]) -> Any:
    """A local file whose reading lets another program act: after the upload began, before its commit."""

    class Other(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() == 0:
                with volfs.Client(client.url) as other:
                    action(volfs.Volume.from_name("v", client=other))
            return super().read(size)

    return Other(b"mine")


def test_two_programs_that_upload_at_once_both_succeed(
    form: Form, v: volfs.Volume, vol: Handle, client: volfs.Client
) -> None:
    with form.block(vol.batch_upload()) as batch:
        batch.put_file(meanwhile(client, lambda other: other.write_file("d/theirs", "theirs")), "d/mine")
    assert tree(v) == {"d": None, "d/mine": b"mine", "d/theirs": b"theirs"}


def test_the_last_of_two_who_write_one_file_wins_with_force_only(
    form: Form, v: volfs.Volume, vol: Handle, client: volfs.Client
) -> None:
    with form.block(vol.batch_upload(force=True)) as batch:
        batch.put_file(meanwhile(client, lambda other: other.write_file("d/f", "theirs")), "d/f")
    assert tree(v) == {"d": None, "d/f": b"mine"}
    assert "d/f" in v.log()[0].lines[0]
    with pytest.raises(FileExistsError, match="d/g exists already"), form.block(vol.batch_upload()) as batch:
        batch.put_file(meanwhile(client, lambda other: other.write_file("d/g", "theirs")), "d/g")
        batch.put_file(io.BytesIO(b"mine"), "other")
    assert tree(v) == {"d": None, "d/f": b"mine", "d/g": b"theirs"}


def test_a_file_and_a_directory_made_at_once_stand_beside_each_other(v: volfs.Volume, client: volfs.Client) -> None:
    """Never one over the other: the file steps aside, and the log says so. Without force nothing is uploaded."""
    for path, theirs in (("n/mine", "n"), ("n", "n/theirs")):
        with pytest.raises(FileExistsError, match="n exists already"), v.batch_upload() as batch:
            batch.put_file(meanwhile(client, lambda other, theirs=theirs: other.write_file(theirs, "theirs")), path)  # type: ignore[misc]
        v.remove_file("/", recursive=True)
    with v.batch_upload(force=True) as batch:
        batch.put_file(meanwhile(client, lambda other: other.write_file("n", "theirs")), "n/mine")
    assert tree(v) == {"n": None, "n/mine": b"mine", "n.conflict-6": b"theirs"}
    with v.batch_upload(force=True) as batch:
        batch.put_file(meanwhile(client, lambda other: other.write_file("m/theirs", "theirs")), "m")
    assert tree(v)["m/theirs"] == b"theirs" and tree(v)["m.conflict-8"] == b"mine"
    assert [bool(commit.lines) for commit in v.log()[:4]] == [True, False, True, False]


def test_a_volume_deleted_meanwhile_is_told(v: volfs.Volume, client: volfs.Client) -> None:
    with pytest.raises(NotFoundError, match="volume v was deleted"), v.batch_upload() as batch:
        batch.put_file(meanwhile(client, lambda _: volfs.Volume.objects.delete("v", client=client)), "f")


@pytest.mark.local_store
def test_nothing_is_left_in_the_store_by_what_failed(v: volfs.Volume, place: Path) -> None:
    fill(v, "f")
    before = {path for path in (place / "store").rglob("*") if path.is_file()}
    with pytest.raises(FileExistsError), v.batch_upload() as batch:
        batch.put_file(io.BytesIO(b"x" * 5_000_000), "big")
        batch.put_file(io.BytesIO(b"y"), "f")
    with pytest.raises(FileExistsError), v.batch_upload() as batch:
        batch.put_file(io.BytesIO(b"x" * 5_000_000), "big")
        batch.put_file(io.BytesIO(b"y"), "big")
    assert {path for path in (place / "store").rglob("*") if path.is_file()} == before
