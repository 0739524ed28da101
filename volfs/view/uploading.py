"""Full segments of the log go to a store that is far while the view is written on. May import: staging, packs, trio.

Then a commit after 10 GiB waits for the last segment only. What fails here is tried again, and told by the commit.
"""

import logging

import trio

from volfs.exception import Error
from volfs.store.packs import Packs
from volfs.view.segments import Segment
from volfs.view.staging import Staging

_log = logging.getLogger("volfs")

_AT_ONCE = 2  # uploads; each holds a few parts of 8 MiB in memory
_LOOK_S = 0.5
_AGAIN_S = 10.0


class Uploads:
    def __init__(self, staging: Staging, packs: Packs) -> None:
        self._staging = staging
        self._packs = packs
        self._free = trio.CapacityLimiter(_AT_ONCE)

    async def run(self) -> None:
        """Until cancelled. Does nothing for a store in which segments become packs by a link."""
        if self._packs.at_once == 1:
            return
        async with trio.open_nursery() as nursery:
            while True:
                for segment in self._staging.full():
                    # From here on nothing is punched out of it: the store would have another pack of that name.
                    segment.taken = True
                    nursery.start_soon(self._upload, segment)
                await trio.sleep(_LOOK_S)

    async def _upload(self, segment: Segment) -> None:
        try:
            await trio.to_thread.run_sync(
                self._packs.add, segment.pack, segment.path, limiter=self._free, abandon_on_cancel=True
            )
            segment.uploaded = True
        except (Error, OSError) as error:
            if segment not in self._staging.segments:
                return  # a commit has taken it meanwhile, or the changes were dropped
            _log.warning("upload in the background: %s; trying again", error)
            await trio.sleep(_AGAIN_S)
            segment.taken = False
