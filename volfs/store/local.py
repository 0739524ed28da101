"""Objects as files of a local directory. May import: backend, durable, exception. Must not know: what they mean.

An object appears whole or not at all: written to a temporary file, fsync'd, linked to its name, and the directory
fsync'd. Readers never see a temporary file: those lie apart, in `tmp`.
"""

import errno
import os
from pathlib import Path

from volfs.exception import InvalidError, NotFoundError, StoreError
from volfs.store.backend import Sent
from volfs.store.durable import make_directory, sync_directory

_TEMPORARY = "tmp"
_PARTS = frozenset(("", ".", ".."))  # names that no part of a key has


class Local:
    """A backend. Raises StoreError where the directory refuses, OSError (ENOSPC, EIO) where the disk does.

    Its `filename` is the store or something in it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._prefix = f"{root}/"

    @property
    def url(self) -> str:
        return f"file://{self.root}"

    def path_of(self, key: str) -> Path:
        return Path(self._file_of(key))

    def _file_of(self, key: str) -> str:
        """As text: a Path costs as much as reading a small object."""
        if "\0" in key or not _PARTS.isdisjoint(key.split("/")):
            raise InvalidError(f"not an object's key: {key!r}")
        return f"{self._prefix}{key}"

    def put_if_absent(self, key: str, data: bytes) -> bool:
        path = self.path_of(key)
        temporary = self._written(data)
        try:
            while True:
                try:
                    os.link(temporary, path)
                    break
                except FileExistsError:
                    return False
                except FileNotFoundError:
                    make_directory(path.parent)
        finally:
            temporary.unlink()
        sync_directory(path.parent)
        return True

    def put(self, key: str, data: bytes) -> None:
        path = self.path_of(key)
        temporary = self._written(data)
        try:
            make_directory(path.parent)
            os.rename(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_directory(path.parent)

    def get(self, key: str) -> bytes:
        try:
            with open(self._file_of(key), "rb", buffering=0) as file:
                return file.read()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFoundError(f"no object {key} in {self.root}") from error
        except PermissionError as error:
            raise self._refused(error) from error
        except OSError as error:
            raise self._named(error) from error

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        try:
            fd = os.open(self._file_of(key), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise NotFoundError(f"no object {key} in {self.root}") from error
        try:
            return os.pread(fd, length, offset)
        except OSError as error:
            raise self._named(error) from error
        finally:
            os.close(fd)

    def size(self, key: str) -> int | None:
        try:
            return os.stat(self._file_of(key)).st_size
        except (FileNotFoundError, NotADirectoryError):
            return None

    def children(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[str]:
        try:
            names = [name for name in os.listdir(self._file_of(prefix)) if name > after]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except PermissionError as error:
            raise self._refused(error) from error
        if limit == 1:
            return [min(names)] if names else []
        names.sort()
        return names[:limit]

    def first(self, prefix: str) -> str | None:
        for name in self.children(prefix):
            key = f"{prefix}/{name}"
            if not os.path.isdir(self._file_of(key)):
                return key
            if (found := self.first(key)) is not None:
                return found
        return None  # a directory made for an object that never came

    def delete(self, key: str) -> None:
        path = self.path_of(key)
        path.unlink(missing_ok=True)
        if path.parent.exists():
            sync_directory(path.parent)

    def adopt(self, path: Path, key: str, sent: Sent | None = None) -> None:
        target = self.path_of(key)
        os.chmod(path, 0o444)
        while True:
            try:
                os.link(path, target)
                break
            except FileExistsError:
                if os.path.samefile(path, target):
                    break  # by one who may have been killed before it was durable
                raise
            except FileNotFoundError:
                if not path.exists():
                    raise
                make_directory(target.parent)
        sync_directory(target.parent)

    def _written(self, data: bytes) -> Path:
        """A synced temporary file with *data*."""
        path = self.root / _TEMPORARY / os.urandom(12).hex()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            try:
                fd = os.open(path, flags, 0o600)
            except FileNotFoundError:
                make_directory(path.parent)
                fd = os.open(path, flags, 0o600)
        except PermissionError as error:
            raise self._refused(error) from error
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(fd, rest) :]
            os.fsync(fd)
        except BaseException as error:
            path.unlink()
            if isinstance(error, OSError):
                raise self._named(error) from error
            raise
        finally:
            os.close(fd)
        return path

    def _named(self, error: OSError) -> OSError:
        """The same error of this store: of a descriptor it names no file."""
        return OSError(error.errno, error.strerror, str(self.root))

    def _refused(self, error: OSError) -> StoreError:
        return StoreError(f"the store {self.root} refuses access ({os.strerror(error.errno or errno.EACCES)})")

