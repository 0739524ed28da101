"""Volumes by name: create, list, delete, rename. May import: handle, client, store. Blocks."""

import os
from datetime import datetime
from typing import Any

from volfs.exception import AlreadyExistsError, InvalidError, NotFoundError
from volfs.format.names import check_environment
from volfs.sdk.client import Client
from volfs.sdk.finding import check_name, check_version, created_at, user_name
from volfs.sdk.handle import Handle
from volfs.store.volumes import create_volume, delete_volume, find_volume, list_volumes, rename_volume


def create(
    name: str,
    *,
    version: int | None = None,
    allow_existing: bool = False,
    environment_name: str | None = None,
    client: Client | None = None,
    experimental_options: dict[str, Any] | None = None,
) -> None:
    """Create a volume; `Volume.from_name` then gives a handle on it.

    Args:
        name: 1 to 64 ASCII letters, digits, "-", "_" or ".".
        version: 1 or 2, as at modal; it changes nothing here.
        allow_existing: A volume of this name is fine.
        environment_name: By default the client's.
        client: By default `Client.from_env()`.
        experimental_options: Accepted; there are none.

    Raises AlreadyExistsError, InvalidError.
    """
    check_name(name)
    check_version(version)
    client = client or Client.from_env()
    environment = check_environment(environment_name or client.environment)
    uid, gid = os.geteuid(), os.getegid()
    store = client.store(create=True)
    try:
        create_volume(store, environment, name, uid=uid, gid=gid, created_by=user_name(), version=version or 2)
    except AlreadyExistsError:
        if not allow_existing:
            raise
        if version is not None and (there := find_volume(store, environment, name)).version != version:
            raise InvalidError(
                f"Volume {name!r} exists with version {there.version}, not {version} as requested"
            ) from None


def listed(
    max_objects: int | None, created_before: datetime | str | None, environment_name: str, client: Client | None
) -> list[Handle]:
    if max_objects is not None and max_objects < 0:
        raise InvalidError("max_objects cannot be negative")
    before = _time(created_before)
    client = client or Client.from_env()
    environment = check_environment(environment_name or client.environment)
    try:
        store = client.store()
    except NotFoundError:
        return []  # no volume was ever made
    # Compared as shown, in whole microseconds: who asks for those before the last one he saw misses none, and sees
    # none again.
    found = [v for v in list_volumes(store, environment) if before is None or created_at(v) < before]
    found.sort(key=lambda volume: (-volume.created_at_ns, volume.name))
    return [Handle.of(volume, client) for volume in found[:max_objects]]


def _time(when: datetime | str | None) -> datetime | None:
    if when is None:
        return None
    if isinstance(when, str):
        try:
            when = datetime.fromisoformat(when)
        except ValueError as error:
            raise InvalidError(f"created_before {when!r} is no ISO date or time, such as '2025-01-01'") from error
    if not isinstance(when, datetime):
        raise TypeError(f"created_before is a datetime or ISO text, not {type(when).__name__}")
    return when if when.tzinfo is not None else when.astimezone()


def delete(
    name: str,
    *,
    allow_missing: bool = False,
    environment_name: str | None = None,
    client: Client | None = None,
) -> None:
    """Delete a volume with all its commits; its name is free at once.

    Mounts of it say so when they commit or reload, keep what is not committed, and go on reading.

    Args:
        name: The volume's name.
        allow_missing: No volume of this name is fine.
        environment_name: By default the client's.
        client: By default `Client.from_env()`.

    Raises NotFoundError, InvalidError.
    """
    check_name(name)
    client = client or Client.from_env()
    environment = check_environment(environment_name or client.environment)
    try:
        store = client.store()
        delete_volume(store, find_volume(store, environment, name))
    except NotFoundError as error:
        if not allow_missing:
            raise NotFoundError(f"Volume {name!r} not found in environment {environment!r} of {client.url}") from error


def rename(
    old_name: str,
    new_name: str,
    *,
    client: Client | None = None,
    environment_name: str | None = None,
) -> None:
    """Give a volume another name. Its mounts, and handles by id, go on.

    Raises NotFoundError, AlreadyExistsError, InvalidError.
    """
    check_name(old_name)
    check_name(new_name)
    handle = Handle.by_name(old_name, environment_name, client, create=False, version=None)
    rename_volume(handle.client.store(), handle.record, new_name)
