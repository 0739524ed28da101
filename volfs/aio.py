"""The API of volfs for asyncio and trio: every function is awaited. May import: sdk.

    from volfs.aio import Volume

    await Volume.objects.create("data")
    async with Volume.ephemeral() as volume:
        await volume.listdir("/")
"""

from volfs.sdk.client import Client
from volfs.sdk.volume import AsyncVolume as Volume
from volfs.types import CommitInfo, FileEntry, FileEntryType, FileStat, VolumeInfo

__all__ = ["Client", "CommitInfo", "FileEntry", "FileEntryType", "FileStat", "Volume", "VolumeInfo"]
