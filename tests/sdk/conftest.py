"""One store for each test, and every way in which a program may call: `form`."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import volfs
from tests.sdk.forms import FORMS, Form, Handle, opened
from volfs.sdk import dual

_FORMS_ON_S3 = ("blocking", "volfs.aio trio")  # a form is a layer of its own above what asks a store


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Not every form on every store."""
    items[:] = [item for item in items if _is_due(getattr(getattr(item, "callspec", None), "params", {}))]


def _is_due(params: dict[str, object]) -> bool:
    return params.get("backing") != "s3" or params.get("form", "blocking") in _FORMS_ON_S3


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory for a store, cache and state, in memory: hundreds of tests that fsync wait for the disk, and for
    whoever uses it."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="volfs-", dir=memory if memory.is_dir() else None) as path:
        yield Path(path)


@pytest.fixture
def url(place: Path, new_url: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> str:
    """Of a store that is not yet there."""
    monkeypatch.setenv("VOLFS_STATE", str(place / "state"))
    monkeypatch.setenv("VOLFS_CACHE", str(place / "cache"))
    return new_url() or f"file://{place}/store"


@pytest.fixture
def client(url: str) -> Iterator[volfs.Client]:
    with volfs.Client(url) as client:
        yield client


@pytest.fixture
def store(url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of the store of programs that name none; the same as `client`'s."""
    monkeypatch.setenv("VOLFS_STORE", url)
    monkeypatch.delenv("VOLFS_ENVIRONMENT", raising=False)
    return url


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
