"""What a process sees mounted, and which of it is volfs: read from /proc. May import: nothing of volfs."""

from typing import NamedTuple

KIND = "fuse.volfs"
_SOURCE = "volfs:"


class MountEntry(NamedTuple):
    """One line of mountinfo (proc_pid_mountinfo(5)). *device* is (major, minor), *kind* the file system's type."""

    device: tuple[int, int]
    id: int
    path: str
    kind: str
    source: str

    @property
    def volume_id(self) -> str:
        """The id of the volume that a volfs mount shows; "" for other mounts."""
        if self.kind != KIND or not self.source.startswith(_SOURCE):
            return ""
        return self.source.removeprefix(_SOURCE).partition("/")[0]


def mounts(pid: int | str = "self") -> list[MountEntry]:
    """The mounts of a process's mount namespace in the order they were made; none when it cannot be seen."""
    found = []
    try:
        with open(f"/proc/{pid}/mountinfo", errors="surrogateescape") as file:
            lines = file.readlines()
    except OSError:
        return []
    for line in lines:
        head, _, tail = line.partition(" - ")
        fields, kind = head.split(" "), tail.split(" ")
        major, _, minor = fields[2].partition(":")
        found.append(MountEntry((int(major), int(minor)), int(fields[0]), _plain(fields[4]), kind[0], _plain(kind[1])))
    return found


def source_of(volume_id: str, sub_path: str) -> str:
    """What mount tables show as a mount's source."""
    return f"{_SOURCE}{volume_id}/{sub_path}" if sub_path else f"{_SOURCE}{volume_id}"


def _plain(text: str) -> str:
    """mountinfo writes blanks, tabs, newlines and backslashes in octal."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text
