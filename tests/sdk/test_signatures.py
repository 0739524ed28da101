"""The API has modal's signatures: compared with the package `modal`, whose functions modal wraps at import.

Parameter names, kinds and defaults agree, but for underscored ones; what volfs has beyond them is keyword-only.
"""

import dataclasses
import inspect
import types
from collections.abc import Callable
from typing import Any

import modal.types
import modal.volume
import pytest

import volfs
import volfs.aio
from volfs.sdk.batch import BatchUpload

UPLOAD = modal.volume._AbstractVolumeUploadContextManager
OURS_ALONE = {"mounted", "write_file", "make_directory", "stat", "exists", "log", "move", "is_hydrated"}
LATER = {"get_dashboard_url", "at"}  # need the dashboard, and history
# Of modal's base class of all its objects: no part of Volume's own API.
MODALS_OWN = {"local_uuid", "client", "deps", "validate_type", "clone"}


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """Without self, cls and underscored ones."""
    found = inspect.signature(inspect.unwrap(function)).parameters.values()
    return [p for p in found if p.name not in ("self", "cls") and not p.name.startswith("_")]


def of_modal(kind: type, name: str) -> Callable[..., Any]:
    found = inspect.getattr_static(kind, name)
    function: Callable[..., Any] = getattr(found, "__func__", found)
    return function


def compare(ours: Callable[..., Any], theirs: Callable[..., Any]) -> None:
    mine, modals = parameters(ours), parameters(theirs)
    shape = [(p.name, p.kind, p.default) for p in modals]
    assert [(p.name, p.kind, p.default) for p in mine[: len(modals)]] == shape
    beyond = mine[len(modals) :]
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY and p.default is not inspect.Parameter.empty for p in beyond)


def functions_of(kind: type) -> list[str]:
    return sorted(
        name
        for name in public(kind)
        if isinstance(of_modal(kind, name), types.FunctionType) and name not in MODALS_OWN | LATER
    )


VOLUME = functions_of(modal.volume._Volume)
MANAGER = functions_of(modal.volume._VolumeManager)


def test_modals_functions_were_found() -> None:
    """A newer modal may wrap them otherwise; then the comparisons below would compare nothing."""
    assert {"create", "list", "delete"} == set(MANAGER)
    assert {
        "from_name", "from_id", "ephemeral", "hydrate", "info", "commit", "reload", "iterdir", "listdir", "read_file",
        "read_file_into_fileobj", "remove_file", "copy_files", "batch_upload", "rename", "with_mount_options",
        "read_only",
    } <= set(VOLUME)  # fmt: skip
    listdir = [str(p) for p in parameters(of_modal(modal.volume._Volume, "listdir"))]
    assert listdir == ["path: str", "recursive: bool = False"]


@pytest.mark.parametrize("kind", [volfs.Volume, volfs.aio.Volume])
@pytest.mark.parametrize("name", VOLUME)
def test_volume(kind: Any, name: str) -> None:
    compare(getattr(kind, name), of_modal(modal.volume._Volume, name))


@pytest.mark.parametrize("kind", [volfs.Volume, volfs.aio.Volume])
@pytest.mark.parametrize("name", MANAGER)
def test_objects(kind: Any, name: str) -> None:
    compare(getattr(kind.objects, name), of_modal(modal.volume._VolumeManager, name))


@pytest.mark.parametrize("name", ["put_file", "put_directory"])
def test_batches(name: str) -> None:
    compare(getattr(BatchUpload, name), getattr(UPLOAD, name))


@pytest.mark.parametrize("kind", [volfs.Volume, volfs.aio.Volume])
def test_nothing_of_modals_is_missing_and_nothing_unknown_there(kind: Any) -> None:
    modals = public(modal.volume._Volume) - MODALS_OWN
    assert modals - public(kind) == {"get_dashboard_url"}
    assert public(kind) - modals == OURS_ALONE - modals


def test_entries_and_infos_have_modals_fields() -> None:
    for ours, theirs in ((volfs.FileEntry, modal.types.FileEntry), (volfs.VolumeInfo, modal.types.VolumeInfo)):
        assert [f.name for f in dataclasses.fields(ours)] == [f.name for f in dataclasses.fields(theirs)]
    kinds = modal.types.FileEntryType
    assert {kind.name: kind.value for kind in volfs.FileEntryType} == {kind.name: kind.value for kind in kinds}
    assert issubclass(kinds, int)


def test_exceptions_have_modals_names() -> None:
    for name in (
        "Error", "InvalidError", "ConflictError", "NotFoundError", "AlreadyExistsError", "ExecutionError",
        "ServiceError",
    ):  # fmt: skip
        assert issubclass(getattr(volfs.exception, name), Exception) and hasattr(modal.exception, name)
