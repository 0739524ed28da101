"""A program of a user who runs a strict type checker: test_types.py runs it over this. It is not executed."""

import io
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import assert_type

import volfs
import volfs as modal
import volfs.aio
from volfs.types import CommitInfo, FileEntry, FileStat, VolumeInfo


def blocking() -> None:
    vol = volfs.Volume.from_name("v", create_if_missing=True, version=2, environment_name="dev")
    assert_type(vol, volfs.Volume)
    assert_type(vol.hydrate(), volfs.Volume)
    assert_type(vol.name, str | None)
    assert_type(vol.object_id, str)
    assert_type(vol.info(), VolumeInfo)
    assert_type(vol.info().created_at, datetime)
    assert_type(vol.listdir("/", recursive=True), list[FileEntry])
    assert_type(vol.iterdir("/"), Iterator[FileEntry])
    assert_type(vol.read_file("f"), Iterator[bytes])
    assert_type(vol.read_file_into_fileobj("f", io.BytesIO()), int)
    assert_type(vol.stat("f"), FileStat)
    assert_type(vol.exists("f"), bool)
    assert_type(vol.log(), list[CommitInfo])
    assert_type(vol.with_mount_options(read_only=True, sub_path=PurePosixPath("d")), volfs.Volume)
    for entry in vol.iterdir("/"):
        if entry.type is volfs.FileEntryType.FILE:
            assert_type(b"".join(vol.read_file(entry.path)), bytes)
    vol.remove_file("f", recursive=True)
    vol.copy_files(["a", "b"], "d")
    vol.move("a", "b")
    vol.write_file("f", "text")
    vol.commit()
    vol.reload(path=Path("/mnt"))
    assert_type(modal.Volume.objects.list(max_objects=3, created_before="2025-01-01"), list[volfs.Volume])
    modal.Volume.objects.create("v", allow_existing=True)
    modal.Volume.objects.delete("v", allow_missing=True)
    modal.Volume.rename("v", "w")
    with vol.batch_upload(force=True) as batch:
        batch.put_file("local", "/remote")
        batch.put_file(Path("local"), PurePosixPath("/remote"), mode=0o600)
        batch.put_file(io.BytesIO(b"data"), "/remote")
        batch.put_directory("local", "/", recursive=False)
    with volfs.Volume.ephemeral() as ephemeral:
        assert_type(ephemeral, volfs.Volume)
        assert_type(ephemeral.listdir("/"), list[FileEntry])
    with vol.mounted("/mnt/v", read_only=True) as path:
        assert_type(path, str)
    with volfs.Client("/store", environment="dev") as client:
        assert_type(volfs.Volume.from_id("vo-", client), volfs.Volume)
    try:
        vol.listdir("gone")
    except volfs.exception.NotFoundError as error:
        assert_type(error.errno, int | None)


async def twins() -> None:
    vol = volfs.Volume.from_name("v")
    assert_type(await vol.hydrate.aio(), volfs.Volume)
    assert_type(await vol.info.aio(), VolumeInfo)
    assert_type(await vol.listdir.aio("/", recursive=True), list[FileEntry])
    assert_type(vol.iterdir.aio("/"), AsyncIterator[FileEntry])
    async for chunk in vol.read_file.aio("f"):
        assert_type(chunk, bytes)
    assert_type(await vol.read_file_into_fileobj.aio("f", io.BytesIO()), int)
    await vol.remove_file.aio("f", recursive=True)
    await vol.copy_files.aio(["a"], "b")
    await vol.commit.aio()
    await vol.reload.aio(path="/mnt")
    assert_type(await modal.Volume.objects.list.aio(), list[volfs.Volume])
    await modal.Volume.objects.create.aio("v")
    await modal.Volume.rename.aio("v", "w")
    async with vol.batch_upload() as batch:
        batch.put_file("local", "/remote")
    async with volfs.Volume.ephemeral() as ephemeral:
        assert_type(ephemeral, volfs.aio.Volume)
        assert_type(await ephemeral.listdir("/"), list[FileEntry])
        assert_type(await ephemeral.listdir.aio("/"), list[FileEntry])
    async with vol.mounted("/mnt/v") as path:
        assert_type(path, str)


async def all_async() -> None:
    vol = volfs.aio.Volume.from_name("v")
    assert_type(await vol.hydrate(), volfs.aio.Volume)
    assert_type(await vol.listdir("/"), list[FileEntry])
    assert_type(vol.iterdir("/"), AsyncIterator[FileEntry])
    async for chunk in vol.read_file("f"):
        assert_type(chunk, bytes)
    assert_type(await volfs.aio.Volume.objects.list(), list[volfs.aio.Volume])
    await volfs.aio.Volume.objects.delete("v")
    await vol.write_file("f", b"data")
