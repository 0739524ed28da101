"""A progress bar for what takes longer than a second, on a terminal only."""

import contextlib
import importlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

_PATIENCE_S = 1.0


@contextlib.contextmanager
def bar() -> Iterator[Callable[[dict[str, Any]], None] | None]:
    """Yields what is to be told of a verb's progress (step, done, total); None where nobody would see it."""
    if not sys.stderr.isatty():
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
        # Imported when there is something to show: it costs 60 ms, and most commits take less.
        rich = importlib.import_module("rich.progress")
        console = importlib.import_module("rich.console").Console(stderr=True)
        columns = (rich.TextColumn("{task.description:10}"), rich.BarColumn(), rich.TaskProgressColumn())
        self._shown = rich.Progress(*columns, rich.TimeElapsedColumn(), console=console, transient=True)
        self._shown.start()
        self._task = self._shown.add_task("", total=None)

    def __exit__(self, *_: object) -> None:
        if self._shown is not None:
            self._shown.stop()
