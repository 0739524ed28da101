"""fsync for many at once: who comes while one runs shares the next. May import: staging, trio."""

import trio

from volfs.view.staging import Staging


class Durability:
    """After `sync` returns, all that the log held when it was called survives a loss of power."""

    def __init__(self, staging: Staging) -> None:
        self._staging = staging
        self._durable = (0, 0)
        self._drops = 0
        self._turn = trio.Lock()

    async def sync(self) -> None:
        """Raises OSError when the disk refuses: then nothing is known to be durable."""
        wanted, drops = self._staging.position, self._staging.drops
        async with self._turn:
            if self._drops == drops and self._durable >= wanted:
                return  # another's turn has covered it
            position, segments = self._staging.position, self._staging.unsynced()
            drops = self._staging.drops

            def write() -> None:
                for segment in segments:
                    segment.sync(self._staging.digest)

            await trio.to_thread.run_sync(write)
            if self._staging.drops != drops:
                return  # the log was thrown away meanwhile
            self._durable, self._drops = position, drops
            if segments and segments[-1] in self._staging.segments:
                self._staging.mark_synced(position)
