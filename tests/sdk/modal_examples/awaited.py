"""The same in a coroutine, as modal's reference writes it, and by `.aio`."""

import asyncio
import io

import volfs
from volfs import aio as modal


async def main() -> None:
    await modal.Volume.objects.create("my-volume")
    await modal.Volume.objects.create("my-volume", environment_name="dev")
    async with modal.Volume.ephemeral() as vol:
        assert await vol.listdir("/") == []
        async with vol.batch_upload() as batch:
            batch.put_file(io.BytesIO(b"some data"), "/foobar")
        async for entry in vol.iterdir("/"):
            assert entry.path == "foobar"
        assert b"".join([chunk async for chunk in vol.read_file("foobar")]) == b"some data"
    blocking = volfs.Volume.from_name("my-volume")
    assert await blocking.listdir.aio("/") == []
    await modal.Volume.objects.delete("my-volume")
    await modal.Volume.objects.delete("my-volume", environment_name="dev")


asyncio.run(main())
print("done")
