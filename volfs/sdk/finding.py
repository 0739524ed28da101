"""How a store is asked for a volume, by name or id, and how one is made. May import: client, store, format. Blocks."""

import os
import pwd
from datetime import datetime
from typing import Protocol

from volfs.exception import AlreadyExistsError, InvalidError, NotFoundError
from volfs.format.ids import is_volume_id
from volfs.format.names import check_environment, check_volume_name
from volfs.sdk.client import Client
from volfs.store.volumes import Volume, create_volume, find_volume, load_volume


class Find(Protocol):
    """Asks a store for a volume; *create* is by default what the handle was made with."""

    def __call__(self, client: Client, *, create: bool = ...) -> Volume: ...


def find_by_name(name: str, environment: str | None, *, create: bool, version: int | None) -> Find:
    """Raises InvalidError for a name or environment that cannot be; what it returns, that for another *version*."""
    check_name(name)
    if environment:
        check_environment(environment)

    def find(client: Client, *, create: bool = create) -> Volume:
        where = environment or client.environment
        check_version(version)
        try:
            found = find_volume(client.store(create=create), where, name)
        except NotFoundError as error:
            if not create:
                text = f"Volume {name!r} not found in environment {where!r} of {client.url}"
                raise NotFoundError(text) from error
            found = make_volume(client, name, where, version)
        if version is not None and found.version != version:
            raise InvalidError(f"Volume {name!r} exists with version {found.version}, not {version} as requested")
        return found

    return find


def find_by_id(volume_id: str) -> Find:
    """Raises InvalidError for what is no id."""
    if not isinstance(volume_id, str) or not is_volume_id(volume_id):
        raise InvalidError(f"{volume_id!r} is not a volume id: 'vo-' and 22 letters or digits")

    def find(client: Client, *, create: bool = False) -> Volume:
        try:
            found = load_volume(client.store(), volume_id)
            client.session(found).latest()  # what describes a volume outlives its deletion
            return found
        except NotFoundError as error:
            raise NotFoundError(f"Volume {volume_id} not found in {client.url}") from error

    return find


def created_at(record: Volume) -> datetime:
    """In the local time zone, as `info` shows it."""
    return datetime.fromtimestamp(record.created_at_ns / 1e9).astimezone()


def check_name(name: str) -> None:
    """Raises InvalidError."""
    if not isinstance(name, str):
        raise InvalidError(f"Invalid Volume name {name!r}: it must be text")
    check_volume_name(name)


def check_version(version: int | None) -> None:
    if version not in (None, 1, 2):
        raise InvalidError(f"volume version {version!r} is not known; it is 1 or 2")


def make_volume(client: Client, name: str | None, environment: str, version: int | None) -> Volume:
    """A new volume, or the one that somebody else has just made under this name."""
    store = client.store(create=True)
    uid, gid = os.geteuid(), os.getegid()
    try:
        return create_volume(store, environment, name, uid=uid, gid=gid, created_by=user_name(), version=version or 2)
    except AlreadyExistsError:
        assert name is not None
        return find_volume(store, environment, name)


def user_name() -> str:
    """Who makes a volume: the user's name, or number where it has none."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
