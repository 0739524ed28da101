"""What goes wrong is told in one line, by an exception that can be pickled; a closed client says so."""

import inspect
import io
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import volfs
from tests.sdk.forms import Form
from volfs import exception
from volfs.exception import (
    AlreadyExistsError,
    BusyError,
    ConflictError,
    DamageError,
    Error,
    ExecutionError,
    InvalidError,
    NotFoundError,
    ServiceError,
    StoreError,
)

STORES = ("file", "s3")

CLASSES = [found for _, found in inspect.getmembers(exception, inspect.isclass)]


@pytest.mark.parametrize("kind", CLASSES)
def test_exceptions_are_picklable(kind: type[Error]) -> None:
    error = kind("what, where, what to do")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind and str(copy) == "what, where, what to do" and copy.args == error.args


def test_exceptions_carry_their_fields_through_a_pickle() -> None:
    copy = pickle.loads(pickle.dumps(BusyError("refused", ("a", "b"))))
    assert copy.paths == ("a", "b")


def test_the_tree_of_exceptions() -> None:
    assert set(CLASSES) == {
        Error, InvalidError, ConflictError, NotFoundError, AlreadyExistsError, ExecutionError, ServiceError, StoreError,
        DamageError, BusyError,
    }  # fmt: skip
    assert all(issubclass(kind, Error) for kind in CLASSES)
    assert issubclass(ConflictError, InvalidError)
    assert issubclass(NotFoundError, FileNotFoundError)
    assert not issubclass(ExecutionError, InvalidError)


FAILING: list[Callable[[volfs.Volume], object]] = [
    lambda vol: vol.listdir("gone"),
    lambda vol: list(vol.iterdir("d/*")),
    lambda vol: list(vol.read_file("d")),
    lambda vol: vol.stat(".."),
    lambda vol: vol.remove_file("d"),
    lambda vol: vol.copy_files(["d"], "e"),
    lambda vol: vol.copy_files(["d"], "d", True),
    lambda vol: vol.move("d", "d/e"),
    lambda vol: vol.write_file("d", "x"),
    lambda vol: vol.commit(),
    lambda vol: vol.reload(path="/"),
    lambda vol: vol.read_only().batch_upload(),
    lambda vol: vol.with_mount_options(sub_path=".."),
    lambda vol: volfs.Volume.from_name("a b"),
    lambda vol: volfs.Volume.from_id("x"),
    lambda vol: volfs.Volume.from_name("gone").hydrate(),
    lambda vol: volfs.Volume.objects.create("v"),
    lambda vol: volfs.Volume.objects.delete("gone"),
    lambda vol: volfs.Volume.rename("v", "w w"),
    lambda vol: volfs.Client("gopher://x"),
]


@pytest.mark.parametrize("number", range(len(FAILING)))
def test_errors_are_one_line_and_survive_a_pickle(store: str, v: volfs.Volume, number: int) -> None:
    v.write_file("d/f", "x")
    with pytest.raises((Error, OSError, RuntimeError)) as caught:
        FAILING[number](v)
    text = str(caught.value)
    assert text and "\n" not in text
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (type(copy), str(copy)) == (type(caught.value), text)


def test_an_error_crosses_processes(store: str, v: volfs.Volume) -> None:
    """As `concurrent.futures` does it: pickled there, raised here."""
    v.hydrate()
    code = (
        "import pickle, sys, volfs\n"
        "try: volfs.Volume.from_name('v').listdir('gone')\n"
        "except FileNotFoundError as error: sys.stdout.buffer.write(pickle.dumps(error))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    with pytest.raises(NotFoundError, match="no gone in volume v"):
        raise pickle.loads(done.stdout)


def test_a_directory_that_is_no_store_is_told(form: Form, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "f").write_text("x")
    vol = form.Volume.from_name("v", create_if_missing=True, client=volfs.Client(tmp_path / "photos"))
    with pytest.raises(StoreError, match="is not a volfs store and not empty"):
        form(vol.listdir, "/")
    assert os.listdir(tmp_path / "photos") == ["f"]


def test_a_closed_client_says_so(form: Form, url: str) -> None:
    client = volfs.Client(url)
    vol = form.Volume.from_name("v", create_if_missing=True, client=client)
    form(vol.write_file, "f", "x")
    client.close()
    client.close()
    for call, arguments in (
        (vol.listdir, ("/",)),
        (vol.read_file_into_fileobj, ("f", io.BytesIO())),
        (vol.write_file, ("f", "y")),
        (vol.info, ()),
        (form.Volume.from_name("v", client=client).hydrate, ()),
    ):
        with pytest.raises(ExecutionError, match=r"this volfs\.Client is closed; make another one"):
            form(call, *arguments)
    for stream in (vol.iterdir, vol.read_file):
        with pytest.raises(ExecutionError, match="closed"):
            form.items(stream, "f")
    with pytest.raises(ExecutionError, match="closed"), form.block(vol.batch_upload()):
        raise AssertionError("the block runs")
    with volfs.Client(url) as again:
        assert form.items(form.Volume.from_name("v", client=again).read_file, "f") == [b"x"]


def test_from_env_opens_a_new_client_after_a_close(store: str) -> None:
    with volfs.Client.from_env() as client:
        volfs.Volume.objects.create("v")
    assert volfs.Client.from_env() is not client
    assert volfs.Volume.from_name("v").listdir("/") == []


@pytest.mark.parametrize("url", ["gopher://x/y", "", "file://host/x", "file:relative"])
def test_a_bad_store_is_told_at_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if url == "file:relative":
        url = "file://relative"
    with pytest.raises(InvalidError, match="store"):
        volfs.Client(url)
    with pytest.raises(InvalidError, match="Invalid Environment name"):
        volfs.Client("/tmp/x", environment="a b")
