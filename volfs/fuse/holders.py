"""Who has files of a mount open, mapped or running: read from /proc. May import: control.mounttable.

Nothing here touches the mount itself: a stat of it from the daemon could wait for the daemon.
"""

import os

from volfs.control.mounttable import mounts


def device_of(mountpoint: str) -> tuple[int, int] | None:
    """(major, minor) of the mount at exactly this path; the topmost one."""
    found = None
    for mount in mounts("self"):
        if mount.path == mountpoint:
            found = mount.device
    return found


def holders(device: tuple[int, int]) -> list[tuple[int, int, str]]:
    """(inode, pid, command) of each open descriptor and mapping, of all processes that can be seen but this one."""
    found: list[tuple[int, int, str]] = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        ids = {mount.id for mount in mounts(entry) if mount.device == device}
        if not ids:
            continue
        inodes = _open(entry, ids) | _mapped(entry, device)
        if inodes:
            command = _command(entry)
            found += [(ino, int(entry), command) for ino in sorted(inodes)]
    return found


def without_heir(found: list[tuple[int, int, str]], pid: int) -> list[tuple[int, int, str]]:
    """Of holders, all but process *pid* where another has the same inode: a command that a shell runs inherits what the
    shell has open, and is gone when its message is read."""
    others = {ino for ino, holder, _ in found if holder != pid}
    return [holder for holder in found if holder[1] != pid or holder[0] not in others]


def working_in(mountpoint: str) -> list[tuple[int, str]]:
    """(pid, command) of the processes whose working or root directory is at or below *mountpoint*, by its path."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and any(_is_below(_link(f"/proc/{entry}/{kind}"), mountpoint) for kind in ("cwd", "root")):
            found.append((int(entry), _command(entry)))
    return found


def mounted_below(mountpoint: str) -> list[str]:
    return [mount.path for mount in mounts("self") if mount.path.startswith(mountpoint + "/")]


def mounted_at(device: tuple[int, int]) -> list[tuple[str, int, str]]:
    """(path, pid, command) of the places where a file system is mounted, each with one process that sees it there."""
    found: dict[tuple[str, str], tuple[str, int, str]] = {}
    for entry in os.listdir("/proc"):
        space = _link(f"/proc/{entry}/ns/mnt") if entry.isdigit() else ""
        if space:
            for mount in mounts(entry):
                if mount.device == device and (space, mount.path) not in found:
                    found[space, mount.path] = (mount.path, int(entry), _command(entry))
    return list(found.values())


def _link(path: str) -> str:
    """"" where it cannot be read."""
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _is_below(path: str, top: str) -> bool:
    return path == top or path.startswith(top + "/")


def _open(pid: str, ids: set[int]) -> set[int]:
    found: set[int] = set()
    try:
        descriptors = os.listdir(f"/proc/{pid}/fdinfo")
    except OSError:
        return found
    for descriptor in descriptors:
        try:
            with open(f"/proc/{pid}/fdinfo/{descriptor}") as file:
                fields = dict(line.split(":", 1) for line in file if ":" in line)
        except OSError:
            continue
        if int(fields.get("mnt_id", "-1")) in ids and "ino" in fields:
            found.add(int(fields["ino"]))
    return found


def _mapped(pid: str, device: tuple[int, int]) -> set[int]:
    wanted = f"{device[0]:02x}:{device[1]:02x}"
    try:
        with open(f"/proc/{pid}/maps", errors="surrogateescape") as file:
            rows = [line.split(None, 5) for line in file]
    except OSError:
        return set()
    return {int(row[4]) for row in rows if row[3] == wanted}


def _command(pid: str) -> str:
    try:
        with open(f"/proc/{pid}/comm", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""
