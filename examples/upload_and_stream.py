"""Upload a data set in one commit, then read it as a stream, without a mount: `python upload_and_stream.py`.

Everything is awaited, so that a server or a training loop goes on meanwhile; trio would do as well as asyncio.
"""

import asyncio
import random
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from volfs.aio import FileEntryType, Volume

SHARDS, RECORDS, READERS = 40, 500, 8


def make_dataset(directory: Path) -> int:
    """Shards of numbers, one a line; returns their sum."""
    chance = random.Random(1)
    total = 0
    for i in range(SHARDS):
        numbers = [chance.randrange(1000) for _ in range(RECORDS)]
        (directory / f"shard-{i:03}.txt").write_text("".join(f"{number}\n" for number in numbers))
        total += sum(numbers)
    return total


async def records(volume: Volume, path: str) -> AsyncIterator[int]:
    """The numbers of one shard, piece by piece: memory stays bounded however large it is."""
    rest = b""
    async for chunk in volume.read_file(path):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield int(line)


async def main() -> None:
    volume = Volume.from_name("dataset", create_if_missing=True)
    with tempfile.TemporaryDirectory() as local:
        wanted = make_dataset(Path(local))
        # All shards appear at once, at the block's end, or none does. Content that is there already is not sent again.
        async with volume.batch_upload(force=True) as batch:
            batch.put_directory(local, "/train")

    shards = [e.path async for e in volume.iterdir("/train") if e.type is FileEntryType.FILE]
    slots = asyncio.Semaphore(READERS)

    async def total(path: str) -> int:
        async with slots:
            return sum([number async for number in records(volume, path)])

    found = sum(await asyncio.gather(*map(total, shards)))
    print(f"{len(shards)} shards, {SHARDS * RECORDS} records, sum {found}, as uploaded: {found == wanted}")


asyncio.run(main())
