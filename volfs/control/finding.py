"""The view at a path: by its state, and where that is damaged by asking its daemon. May import: registry, client,
exception. Blocks; imports neither trio nor pyfuse3."""

from pathlib import Path
from typing import Any

from volfs.control import registry
from volfs.control.client import call
from volfs.control.registry import MountState, Place
from volfs.exception import Error, NotFoundError

_ANSWER_S = 10  # as status waits


def find(state_dir: Path, path: str) -> tuple[Place, MountState]:
    """The view mounted at *path*, or kept for it. Raises NotFoundError, which names the mount that *path* is in, and
    the states that cannot be read."""
    try:
        return registry.find(state_dir, path)
    except NotFoundError as error:
        missing = error
    wanted = registry.normal_path(path)
    unreadable: list[str] = []
    for place, damage in registry.damaged(state_dir):
        state = _told(place)
        if state is None:
            unreadable.append(str(damage))
        elif state.mountpoint == wanted:
            return place, state
        elif wanted.startswith(state.mountpoint + "/"):
            raise NotFoundError(f"{path} is inside the volfs mount {state.mountpoint}; name that")
    if unreadable:
        raise NotFoundError(
            f"{missing}; but {'; '.join(unreadable)}: if that is its state, end the mount with umount(8), run"
            " `volfs fsck --repair` on the volume, and mount it there again to resume"
        ) from missing
    raise missing


def _told(place: Place) -> MountState | None:
    """What a daemon says of itself; None when none answers."""
    if not place.locked():
        return None
    try:
        told: dict[str, Any] = call(place.socket, "status", timeout_s=_ANSWER_S)
        return MountState(
            store=told["store"],
            environment=told["environment"],
            volume_id=told["volume_id"],
            volume_name=told["volume"],
            mountpoint=told["mountpoint"],
            sub_path=told["sub_path"],
            read_only=told["read_only"],
            pid=told["pid"],
            started_ns=told["started_ns"],
        )
    except Error:
        return None
