"""Volumes without a name, kept by a heartbeat for the time of a block. May import: handle, client, store."""

import contextlib
import os
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Generic, TypeVar

import anyio
import anyio.to_thread

from volfs.exception import NotFoundError
from volfs.format.names import check_environment
from volfs.sdk.client import Client
from volfs.sdk.finding import check_version, user_name
from volfs.sdk.handle import Handle
from volfs.store.volumes import Volume, beat, create_volume, delete_data, delete_volume

H = TypeVar("H")
A = TypeVar("A")
HEARTBEAT_S = 300.0


class Ephemeral(Generic[H, A]):
    """A volume without a name for the time of a `with` block. See `Volume.ephemeral`."""

    def __init__(
        self,
        wrap: Callable[[Handle], H],
        wrap_async: Callable[[Handle], A],
        client: Client | None,
        environment: str | None,
        version: int | None,
    ) -> None:
        if environment:
            check_environment(environment)
        check_version(version)
        self._wrap = wrap
        self._wrap_async = wrap_async
        self._client = client
        self._environment = environment
        self._version = version
        self._record: Volume | None = None
        self._ended = threading.Event()

    def _start(self) -> Handle:
        client = self._client = self._client or Client.from_env()
        environment = self._environment or client.environment
        store = client.store(create=True)
        uid, gid = os.geteuid(), os.getegid()
        record = self._record = create_volume(
            store, environment, None, uid=uid, gid=gid, created_by=user_name(), version=self._version or 2
        )
        beat(store, record.id)

        def keep() -> None:
            while not self._ended.wait(HEARTBEAT_S):
                with contextlib.suppress(Exception):  # the next beat tries again
                    beat(store, record.id)

        threading.Thread(target=keep, name="volfs-heartbeat", daemon=True).start()
        return Handle.of(record, client, text="Volume.ephemeral()")

    def _end(self) -> None:
        self._ended.set()
        assert self._client is not None and self._record is not None
        with contextlib.suppress(NotFoundError):  # somebody has deleted it already
            delete_volume(self._client.store(), self._record)
        delete_data(self._client.store(), self._record)

    def __enter__(self) -> H:
        return self._wrap(self._start())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end()

    async def __aenter__(self) -> A:
        return self._wrap_async(await anyio.to_thread.run_sync(self._start))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._end)
