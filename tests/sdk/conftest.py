"""One store for each test, and every way in which a program may call: `form`."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import volfs
from tests.sdk.forms import FORMS, Form, Handle, opened
from volfs.sdk import dual


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory for a store, in memory: hundreds of tests that fsync wait for the disk, and for whoever uses it."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="volfs-", dir=memory if memory.is_dir() else None) as path:
        yield Path(path)


@pytest.fixture
def client(place: Path) -> Iterator[volfs.Client]:
    with volfs.Client(place / "store") as client:
        yield client


@pytest.fixture
def store(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The store of programs that name none; the same as `client`'s."""
    monkeypatch.setenv("VOLFS_STORE", str(place / "store"))
    monkeypatch.setenv("VOLFS_STATE", str(place / "state"))
    monkeypatch.delenv("VOLFS_ENVIRONMENT", raising=False)
    return place / "store"


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> Iterator[Form]:
    with opened(request.param) as form:
        yield form


@pytest.fixture
def vol(form: Form, client: volfs.Client) -> Handle:
    """A new, empty volume, in the form's own class."""
    return form.Volume.from_name("v", create_if_missing=True, client=client)


@pytest.fixture
def v(client: volfs.Client) -> volfs.Volume:
    """A new, empty volume, for tests that need no more than the blocking form."""
    return volfs.Volume.from_name("v", create_if_missing=True, client=client)


@pytest.fixture
def unwarned(monkeypatch: pytest.MonkeyPatch) -> None:
    """The warning of a blocked event loop has not been given yet."""
    monkeypatch.setattr(dual._Warned, "done", False)
