"""Differences between a mount and a directory of ext4 that stay, and why. docs/reliability.md tells them, too."""

import os
import stat
from collections.abc import Sequence
from typing import Any

from tests.posix.table.case import Case

MAPPED = "set-user-ID and set-group-ID go with what a mapping wrote, too: FUSE's WRITE does not tell the two apart"
SAME_SIZE = "truncate(2) to the size that a file has leaves its times: so does the kernel with FUSE's writeback cache"
WHITEOUT = "ext4 changes the directory's times for a RENAME_WHITEOUT that it then refuses"

LARGEST = "a file of ext4 ends at 16 TiB, here at 8 EiB less one byte: seeking beyond is EINVAL"

PAST_END = "what was mapped and written behind a file's end is there when the file grows: the kernel does not clear it"

NOBODY = "another's chown(-1, -1) of a set-user-ID file sets its ctime, and is no EPERM: FUSE asks alike before a write"
BOTH_FLAGS = "setxattr with XATTR_CREATE and XATTR_REPLACE at once: pyfuse3 looks at the first alone"

LOOKED_AT = "another's link(2) after a write cleared set-user-ID is EPERM until a stat: the kernel has the old mode"
OPENER = "root's write clears set-user-ID and set-group-ID while another has it open to write: WRITE names nobody"


def opener_decides(steps: Sequence[Any]) -> bool:
    """Whether a sequence of (user, step) may meet OPENER."""
    root_writes = any(user == "root" and step[0] in ("write", "pwrite") for user, step in steps)
    return root_writes and any(user != "root" and step[0] == "open" and step[3] & os.O_ACCMODE for user, step in steps)


def is_cleared(local: Any, mount: Any) -> bool:
    """Whether a walk's rows of a regular file differ by set-user-ID and set-group-ID alone, gone on the mount."""
    if not local or not mount or not stat.S_ISREG(local[1][0]) or mount[1][0] & ~local[1][0]:
        return False
    return bool([_plain(part) for part in local] == [_plain(part) for part in mount])


def explained(case: Case, local: Any, mount: Any) -> str:
    """Why this difference is none of volfs' faults; "" for none known."""
    if case.name.startswith("mmap on ") and _without(local, mode=True) == _without(mount, mode=True):
        return MAPPED
    if case.name.startswith("truncate-same on ") and _without(local, times=True) == _without(mount, times=True):
        return SAME_SIZE
    nobody = case.name.startswith("chown -1:-1 of ") and local[0][0] == "EPERM" and mount[0][0] is None
    if nobody and local[0][1:] == mount[0][1:]:
        return NOBODY if _without(local, times=True)[1] == _without(mount, times=True)[1] else ""
    if case.name.startswith("xattr ") and " 3 of " in case.name:
        return BOTH_FLAGS
    if case.name == "mmap of 8000: past-end":
        return PAST_END
    if case.name.startswith("('lseek', 'f', 9223372036854775807") and local[1] == mount[1]:
        return LARGEST
    refused = case.name.startswith("rename ") and case.name.endswith(" flags 4") and local[0] == ["ENOTEMPTY"]
    if refused and _without(local, times=True) == _without(mount, times=True):
        return WHITEOUT
    return ""


def _without(seen: Any, *, mode: bool = False, times: bool = False) -> Any:
    """(outcomes, walk) less the special bits of each stat's mode, or less times."""
    outcomes, walk = seen
    rows = {}
    for path, (first, fields, told, content, xattrs) in walk.items():
        rows[path] = [first, _plain(fields) if mode else fields, None if times else told, content, xattrs]
    return [[_plain(outcome) if mode else outcome for outcome in outcomes], rows]


def _plain(outcome: Any) -> Any:
    """A stat's fields with no set-user-ID and set-group-ID; anything else as it is."""
    if isinstance(outcome, list) and len(outcome) == 6:
        return [outcome[0] & ~0o6000, *outcome[1:]]
    return outcome
