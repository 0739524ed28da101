"""What `volfs doctor` tells: one line of each thing looked at. May import: exception."""

from collections.abc import Callable, Iterator
from enum import StrEnum

from msgspec import Struct

from volfs.exception import Error


class State(StrEnum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


class Finding(Struct, frozen=True):
    """*text* is what was found, *advice* what to do about it ("" where there is nothing to do)."""

    check: str
    state: State
    text: str
    advice: str = ""


def ok(check: str, text: str) -> Finding:
    return Finding(check, State.OK, text)


def warning(check: str, text: str, advice: str) -> Finding:
    return Finding(check, State.WARNING, text, advice)


def failed(check: str, text: str, advice: str) -> Finding:
    return Finding(check, State.FAILED, text, advice)


def tried(check: str, call: Callable[[], Finding], advice: str) -> Iterator[Finding]:
    """What *call* finds; an error it raises is a finding, too."""
    try:
        yield call()
    except (Error, OSError) as error:
        yield failed(check, plain(error), advice)


def plain(error: Exception) -> str:
    """In one line. The store's errors have no credentials in them."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split())
