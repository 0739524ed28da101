"""Exceptions to errnos, in one table. May import: exception, pyfuse3."""

import errno
import logging

from pyfuse3 import FUSEError

from volfs.exception import BusyError, DamageError, InvalidError, NotFoundError, ServiceError

_log = logging.getLogger("volfs")

_ERRNOS: tuple[tuple[type[Exception], int], ...] = (
    (BusyError, errno.EBUSY),
    (NotFoundError, errno.ENOENT),
    (DamageError, errno.EIO),
    (ServiceError, errno.EIO),
    (InvalidError, errno.EINVAL),
)
_said: set[str] = set()


def to_fuse(error: Exception, what: str) -> FUSEError:
    """What the kernel is told; what is our fault or the store's is logged, once each."""
    if isinstance(error, OSError) and error.errno == errno.EMFILE:  # to a caller that would be its own limit
        _say_once("this daemon has no file descriptor left: raise its limit (ulimit -n, LimitNOFILE)")
        return FUSEError(errno.ENFILE)
    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, NotFoundError):
        return FUSEError(error.errno)
    for kind, number in _ERRNOS:
        if isinstance(error, kind):
            _say_once(f"{what}: {error}")
            return FUSEError(number)
    _log.error("%s failed", what, exc_info=error)
    return FUSEError(errno.EIO)


def _say_once(text: str) -> None:
    if text not in _said and len(_said) < 10_000:
        _said.add(text)
        _log.error("%s", text)
