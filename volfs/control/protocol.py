"""The control socket's messages: one JSON object a line. May import: exception. Pure.

A request is {"v": 1, "verb": ..., "args": {...}, "progress": false}. The answer is {"v": 1, "ok": {...}} or {"v": 1,
"error": {"code": ..., "message": ..., "paths": [...]}}. Who asks for progress is sent lines {"v": 1, "progress":
{"step": ..., "done": ..., "total": ...}} before it, as often as that changes.
"""

from typing import Any

import msgspec

from volfs import exception

VERSION = 1
MAX_LINE_BYTES = 1 << 16

_CODES: dict[str, type[exception.Error]] = {
    "invalid": exception.InvalidError,
    "conflict": exception.ConflictError,
    "not_found": exception.NotFoundError,
    "exists": exception.AlreadyExistsError,
    "execution": exception.ExecutionError,
    "busy": exception.BusyError,
    "service": exception.ServiceError,
    "store": exception.StoreError,
    "damage": exception.DamageError,
    "error": exception.Error,
}
_CODE_OF = {kind: code for code, kind in _CODES.items()}


class Request(msgspec.Struct, frozen=True):
    v: int
    verb: str
    args: dict[str, Any] = {}
    progress: bool = False


class Failure(msgspec.Struct, frozen=True):
    code: str
    message: str
    paths: tuple[str, ...] = ()


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    v: int
    ok: dict[str, Any] | None = None
    error: Failure | None = None
    progress: dict[str, Any] | None = None


def encode_request(verb: str, args: dict[str, Any], *, progress: bool = False) -> bytes:
    return msgspec.json.encode(Request(VERSION, verb, args, progress)) + b"\n"


def decode_request(line: bytes) -> Request:
    """Raises InvalidError for what is no request of this version."""
    try:
        request = msgspec.json.decode(line, type=Request)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise exception.InvalidError(f"not a request: {error}") from error
    if request.v != VERSION:
        raise exception.InvalidError(f"protocol version {request.v}; this daemon speaks {VERSION}: upgrade one of them")
    return request


def encode_answer(ok: dict[str, Any]) -> bytes:
    return msgspec.json.encode(Answer(VERSION, ok=ok)) + b"\n"


def encode_progress(progress: dict[str, Any]) -> bytes:
    return msgspec.json.encode(Answer(VERSION, progress=progress)) + b"\n"


def encode_error(error: Exception) -> bytes:
    return msgspec.json.encode(Answer(VERSION, error=failure_of(error))) + b"\n"


def failure_of(error: Exception) -> Failure:
    code = next((_CODE_OF[kind] for kind in type(error).__mro__ if kind in _CODE_OF), "error")
    text = str(error) or type(error).__name__
    if not isinstance(error, exception.Error | OSError):
        text = f"unexpected {type(error).__name__}: {text}; see the daemon's log"
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    text = " ".join(text.encode("utf-8", "backslashreplace").decode().splitlines())
    return Failure(code, text, error.paths if isinstance(error, exception.BusyError) else ())


def error_of(failure: Failure) -> exception.Error:
    kind = _CODES.get(failure.code, exception.Error)
    if kind is exception.BusyError:
        return exception.BusyError(failure.message, failure.paths)
    return kind(failure.message)


def decode_answer(line: bytes) -> dict[str, Any]:
    """The answer's object; raises the error that it tells."""
    answer = _decoded(line)
    if answer.error is not None:
        raise error_of(answer.error)
    return answer.ok or {}


def decode_progress(line: bytes) -> dict[str, Any] | None:
    """What a line tells of progress; None for the answer itself."""
    return _decoded(line).progress


def _decoded(line: bytes) -> Answer:
    try:
        return msgspec.json.decode(line, type=Answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise exception.ExecutionError("the daemon's answer cannot be read; see its log") from error
