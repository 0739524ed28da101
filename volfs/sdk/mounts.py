"""The mounts of a volume that this process sees, asked in-band. May import: control.mounttable, exception.

Reading `user.volfs.*` of a mount's root works where only the mountpoint is visible, as in a container.
"""

import errno
import os
import queue
import threading
import time
from typing import Any

import msgspec

from volfs.control.mounttable import KIND, MountEntry, mounts

_STATUS = "user.volfs.status"
_PATIENCE_S = 5.0  # a mount answers in milliseconds, one whose daemon waits for a slow store in seconds


def mountpoints(volume_id: str, path: str | None = None) -> list[str]:
    """Where the volume is mounted; only the mount that *path* is in, if given. Bind mounts of one mount count once.

    Raises RuntimeError when there is none.
    """
    table = mounts()
    if path is not None:
        inside = os.path.realpath(path)
        above = [m for m in table if m.path == "/" or inside == m.path or inside.startswith(m.path.rstrip("/") + "/")]
        last = max(above, key=lambda m: len(m.path), default=None)
        if last is None or last.volume_id != volume_id:
            raise RuntimeError(f"{path} is not in a mount of volume {volume_id}")
        return [last.path]
    found: dict[tuple[int, int], str] = {}
    for mount in table:
        if mount.kind == KIND and mount.volume_id == volume_id and _is_root(mount.path):
            found.setdefault(mount.device, mount.path)
    if not found:
        raise RuntimeError(
            f"volume {volume_id} is not mounted where this process can see it; mount it, or use the file functions"
        )
    return list(found.values())


def _is_root(path: str) -> bool:
    """Whether a mount's own root is there: not covered by another mount, not a bind of a directory in it."""
    try:
        os.getxattr(path, _STATUS)
    except OSError:
        return False
    return True


def id_of_name(name: str, environment: str) -> str | None:
    """The id of the volume that a mount says has this name, else that had it when it was mounted; None when none does.

    All mounts are asked at once, and those that do not answer in time passed over: another volume's daemon may hang.
    """
    answers: queue.SimpleQueue[tuple[MountEntry, dict[str, Any]]] = queue.SimpleQueue()

    def ask_one(mount: MountEntry) -> None:
        try:
            answers.put((mount, status(mount.path)))
        except OSError:  # covered by another mount, or a bind of a directory in it
            answers.put((mount, {}))

    asked = [mount for mount in mounts() if mount.volume_id]
    for mount in asked:
        threading.Thread(target=ask_one, args=(mount,), name="volfs-ask", daemon=True).start()
    deadline = time.monotonic() + _PATIENCE_S
    former = None
    for _ in asked:
        try:
            mount, found = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        if found.get("environment") == environment and found.get("volume") == name:
            return mount.volume_id
        if found.get("environment") == environment and name in found.get("names", ()):
            former = mount.volume_id
    return former


def ask(mountpoint: str, verb: str) -> dict[str, Any]:
    """The answer of `user.volfs.<verb>`. Raises RuntimeError with the daemon's whole reason."""
    try:
        return _decoded(os.getxattr(mountpoint, f"user.volfs.{verb}"))
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            raise RuntimeError(f"{verb} of {mountpoint}: this user may not write the volume's root") from error
        raise RuntimeError(_reason(mountpoint, error)) from error


def status(mountpoint: str) -> dict[str, Any]:
    return _decoded(os.getxattr(mountpoint, _STATUS))


def _reason(mountpoint: str, error: OSError) -> str:
    """What the daemon said, in modal's words where they are known to programs."""
    try:
        found = status(mountpoint)
    except OSError:
        return error.strerror or str(error)
    reason = str(found.get("last_error") or error.strerror)
    if error.errno != errno.EBUSY:
        return reason
    files = [
        f"path {file['path']} is open in {file['command']} (pid {file['pid']})"
        for file in found.get("open_files", ())
        if file["pid"]
    ]
    return "there are open files preventing the operation: " + (", ".join(files) or reason)


def _decoded(answer: bytes) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(answer, type=dict[str, Any])
    return found
