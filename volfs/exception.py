"""What callers may catch. May import: nothing of volfs.

Errors are split by what the caller can do: mend the input (InvalidError and its kin), try again
(ServiceError), run fsck (DamageError). Where POSIX has an errno the code raises OSError instead.
All are picklable, and their texts are one line: what was wrong, where, what to do.
"""


class Error(Exception):
    """Base of everything volfs raises on purpose."""


class InvalidError(Error):
    """An argument that can never work: a bad name, a bad option."""


class ConflictError(InvalidError):
    """The request contradicts the state it meets: other options over kept changes, say."""


class NotFoundError(Error, FileNotFoundError):
    """No such volume, environment, commit or path."""


class AlreadyExistsError(Error):
    """The name is taken."""


class ExecutionError(Error):
    """The operation cannot run here and now: a missing program, a missing device, a bad process state."""


class BusyError(Error):
    """Refused because files are open. `paths` are those files, as far as known."""

    def __init__(self, message: str = "", paths: tuple[str, ...] = ()) -> None:
        super().__init__(message, paths)
        self.paths = paths

    def __str__(self) -> str:
        return str(self.args[0])


class ServiceError(Error):
    """The store is away for now; the same call may succeed later."""


class StoreError(Error):
    """The store cannot be used: wrong format, no permission, not a store."""


class DamageError(Error):
    """Bytes that do not match their hash, or a structure that cannot be right: names the object."""
