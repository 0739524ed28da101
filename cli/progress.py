"""Progress bars, on a terminal only: of verbs that take longer than a second, and of transfers.

Imports rich, an optional extra, when there is something to show: it costs 60 ms, and most commits take less.
"""

import contextlib
import importlib
import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from .output import size

_PATIENCE_S = 1.0


@contextlib.contextmanager
def bar() -> Iterator[Callable[[dict[str, Any]], None] | None]:
    """Yields what is to be told of a verb's progress (step, done, total); None where nobody would see it."""
    if not sys.stderr.isatty() or not _there():
        yield None
        return
    with _Bar() as shown:
        yield shown.tell


class _Bar(contextlib.AbstractContextManager["_Bar"]):
    def __init__(self) -> None:
        self._start = time.monotonic()
        self._shown: Any = None
        self._task: Any = None

    def tell(self, told: dict[str, Any]) -> None:
        if self._shown is None:
            if time.monotonic() - self._start < _PATIENCE_S:
                return
            self._open()
        self._shown.update(
            self._task, description=told["step"], completed=told["done"], total=told["total"] or None
        )

    def _open(self) -> None:
        rich = importlib.import_module("rich.progress")
        columns = (rich.TextColumn("{task.description:10}"), rich.BarColumn(), rich.TaskProgressColumn())
        self._shown = rich.Progress(*columns, rich.TimeElapsedColumn(), console=_console(), transient=True)
        self._shown.start()
        self._task = self._shown.add_task("", total=None)

    def __exit__(self, *_: object) -> None:
        if self._shown is not None:
            self._shown.stop()


class Transfer(contextlib.AbstractContextManager["Transfer"]):
    """Files, bytes and rate of one transfer. *total* in bytes; None: not known.

    Without a terminal at both standard error and standard output, and without rich, it only counts.
    """

    def __init__(self, what: str, files: int, total: int | None) -> None:
        self.files = 0
        self.bytes = 0
        self._start = time.monotonic()
        self._shown: Any = None
        if sys.stderr.isatty() and sys.stdout.isatty() and _there():
            self._shown = _transfer_bar()
            self._task = self._shown.add_task(what, total=total, files=0, of=files, rate="")

    def expect(self, files: int, total: int) -> None:
        """So many files and bytes will there be."""
        if self._shown is not None:
            self._shown.update(self._task, total=total, of=files)

    def advance(self, files: int, count: int) -> None:
        """So many files are done, and so many bytes have come, since the last call."""
        self.files += files
        self.bytes += count
        if self._shown is not None:
            self._shown.update(self._task, completed=self.bytes, files=self.files, rate=self._rate())

    def _rate(self) -> str:
        """Since the start: of a short transfer there is no other."""
        return f"{size(int(self.bytes / max(time.monotonic() - self._start, 0.001)))}/s"

    def __enter__(self) -> "Transfer":
        if self._shown is not None:
            self._shown.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._shown is None:
            return
        if kind is None:  # the total was as things were told before, without holes and second names
            self._shown.update(self._task, completed=self.bytes, total=self.bytes, of=self.files, rate=self._rate())
        self._shown.stop()


def _transfer_bar() -> Any:
    rich = importlib.import_module("rich.progress")
    return rich.Progress(
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.TextColumn("{task.fields[files]}/{task.fields[of]} files"),
        rich.DownloadColumn(binary_units=True),
        rich.TextColumn("{task.fields[rate]}"),
        rich.TimeRemainingColumn(),
        console=_console(),
    )


def _console() -> Any:
    return importlib.import_module("rich.console").Console(stderr=True)


def _there() -> bool:
    return importlib.util.find_spec("rich") is not None
