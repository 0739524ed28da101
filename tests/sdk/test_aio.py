"""The awaited forms: event loops stay free, streams stream, a cancelled call ends whole; help and warnings."""

import asyncio
import inspect
import io
import pydoc
import threading
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

import volfs
import volfs.aio
from tests.sdk.test_batch import changing

STORES = ("file", "s3")

BACKENDS = pytest.mark.parametrize("backend", ["asyncio", "trio"])
METHODS = (
    "hydrate", "info", "commit", "reload", "iterdir", "listdir", "read_file", "read_file_into_fileobj", "stat",
    "exists", "log", "remove_file", "copy_files", "move", "write_file", "make_directory", "rename",
)  # fmt: skip


def run(backend: str, function: Callable[[], Awaitable[Any]]) -> Any:
    return anyio.run(function, backend=backend)


@BACKENDS
def test_modals_documented_way_to_await(store: str, backend: str) -> None:
    async def program() -> None:
        await volfs.aio.Volume.objects.create("v")
        vol = volfs.aio.Volume.from_name("v")
        async with vol.batch_upload() as batch:
            batch.put_file(io.BytesIO(b"x"), "f")
        assert [entry.path for entry in await vol.listdir("/")] == ["f"]
        assert [entry.path async for entry in vol.iterdir("/")] == ["f"]
        assert [vol.name for vol in await volfs.aio.Volume.objects.list()] == ["v"]
        await volfs.aio.Volume.objects.delete("v")
        async with volfs.Volume.ephemeral() as ephemeral:
            assert await ephemeral.listdir("/") == [] == await ephemeral.listdir.aio("/")
            assert [chunk async for chunk in ephemeral.iterdir.aio("/")] == []
        assert await volfs.Volume.objects.list.aio() == []

    run(backend, program)


@BACKENDS
def test_the_event_loop_goes_on_during_a_call(v: volfs.Volume, backend: str) -> None:
    """The upload waits for a file that a task of the same loop gives it."""

    async def program() -> None:
        given = threading.Event()
        batch = v.batch_upload()
        async with anyio.create_task_group() as group:

            async def upload() -> None:
                async with batch:
                    batch.put_file(changing(lambda: given.wait(30) or pytest.fail("the loop stood still")), "f")

            group.start_soon(upload)
            await anyio.sleep(0)
            given.set()

    run(backend, program)
    assert v.exists("f")


@BACKENDS
def test_coroutines_of_one_handle(v: volfs.Volume, backend: str) -> None:
    async def program() -> None:
        async def work(me: int) -> None:
            for i in range(3):
                await v.write_file.aio(f"{me}/{i}", f"{me} {i}")
                assert b"".join([chunk async for chunk in v.read_file.aio(f"{me}/{i}")]) == f"{me} {i}".encode()

        async with anyio.create_task_group() as group:
            for me in range(16):
                group.start_soon(work, me)

    run(backend, program)
    assert len(v.listdir("/", recursive=True)) == 64 and len(v.log()) == 48


@BACKENDS
def test_a_cancelled_upload_ends_whole(v: volfs.Volume, backend: str) -> None:
    async def program() -> None:
        entered = threading.Event()
        leave = threading.Event()
        with anyio.CancelScope() as scope:

            async def cancel() -> None:
                await anyio.to_thread.run_sync(entered.wait)
                scope.cancel()
                leave.set()

            def read() -> None:
                entered.set()
                leave.wait(30)

            async with anyio.create_task_group() as group:
                group.start_soon(cancel)
                async with v.batch_upload() as batch:
                    batch.put_file(changing(read), "f")

    run(backend, program)
    assert [entry.path for entry in v.listdir("/")] == ["f"]


@BACKENDS
def test_a_stream_that_is_left_early_is_closed(v: volfs.Volume, client: volfs.Client, backend: str) -> None:
    with v.batch_upload() as batch:
        batch.put_file(io.BytesIO(bytes(range(256)) * 250_000), "f")

    async def program() -> None:
        chunks = v.read_file.aio("f")
        async for chunk in chunks:
            assert chunk[:3] == b"\x00\x01\x02"
            break
        await chunks.aclose()  # type: ignore[attr-defined]

    run(backend, program)
    assert client.threads()._work_queue.qsize() == 0


# --- warnings


@BACKENDS
@pytest.mark.usefixtures("unwarned")
def test_blocking_in_a_running_loop_works_and_warns_once(v: volfs.Volume, backend: str) -> None:
    async def program() -> None:
        v.listdir("/")
        v.exists("f")
        list(v.iterdir("/"))

    v.hydrate()
    with pytest.warns(RuntimeWarning) as caught:
        run(backend, program)
    assert [str(warning.message) for warning in caught] == [
        "listdir() blocks the event loop it is called in; `await ...listdir.aio()` does not"
    ]
    assert caught[0].filename == __file__  # the caller's line


@BACKENDS
@pytest.mark.parametrize("call", ["hydrate", "list"])
@pytest.mark.usefixtures("unwarned")
@pytest.mark.usefixtures("store")
def test_the_warning_names_the_function_as_the_caller_does(v: volfs.Volume, backend: str, call: str) -> None:
    async def program() -> None:
        v.hydrate() if call == "hydrate" else volfs.Volume.objects.list()

    with pytest.warns(RuntimeWarning, match=rf"^{call}\(\) blocks .*\.{call}\.aio\(\)"):
        run(backend, program)


@BACKENDS
@pytest.mark.usefixtures("unwarned")
def test_neither_awaited_forms_nor_plain_programs_are_warned(v: volfs.Volume, backend: str) -> None:
    async def program() -> None:
        await v.listdir.aio("/")
        await anyio.to_thread.run_sync(v.listdir, "/")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        v.listdir("/")
        run(backend, program)
        threading.Thread(target=v.exists, args=("f",)).start()


# --- help and inspection


def test_help_shows_what_was_written() -> None:
    plain = pydoc.plaintext  # type: ignore[attr-defined]
    shown = pydoc.render_doc(volfs.Volume.listdir, renderer=plain)
    assert "listdir(self, path: str, *, recursive: bool = False) -> list[volfs.types.FileEntry]" in shown
    assert "List what is in a directory of the volume, sorted by name." in shown
    assert "Raises NotFoundError, InvalidError." in shown
    page = pydoc.render_doc(volfs.Volume, renderer=plain)
    for name in (*METHODS, "from_name", "from_id", "ephemeral", "batch_upload", "mounted", "with_mount_options"):
        assert f"{name}(" in page, name


@pytest.mark.parametrize("kind", [volfs.Volume, volfs.aio.Volume])
@pytest.mark.parametrize("name", METHODS)
def test_every_function_has_its_twin_its_name_and_its_words(v: volfs.Volume, kind: Any, name: str) -> None:
    shown = getattr(kind, name)
    bound = getattr(kind._wrapped(v._logic), name)
    for function in (shown, shown.aio, bound, bound.aio):
        assert (function.__name__, inspect.getdoc(function)) == (name, inspect.getdoc(shown))
    assert len(inspect.getdoc(shown) or "") > 30
    assert inspect.signature(bound) == inspect.signature(bound.aio)
    for objects in (kind.objects,):
        for one in ("create", "list", "delete"):
            assert getattr(objects, one).aio.__name__ == getattr(objects, one).__name__ == one


def test_calls_through_the_class_are_those_of_the_instance(v: volfs.Volume) -> None:
    volfs.Volume.write_file(v, "f", "x")
    assert [entry.path for entry in volfs.Volume.listdir(v, "/")] == ["f"]
    assert asyncio.run(volfs.Volume.listdir.aio(v, "/")) == v.listdir("/")  # type: ignore[attr-defined]
