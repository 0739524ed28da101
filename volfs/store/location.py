"""The URL of a store, taken apart. May import: exception. Pure.

file:///path, or a plain path; s3://bucket/prefix, gs://bucket/prefix, az://container/prefix, with options behind a `?`.
Credentials come from the environment and the cloud's own chain, never from a URL: those stand in logs and records.
"""

import os
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from volfs.exception import InvalidError

_SCHEMES = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "az": "az", "azure": "az", "abfs": "az"}
_OPTIONS = {
    "s3": ("endpoint", "region", "allow_http", "virtual_hosted_style", "skip_signature"),
    "gs": ("allow_http", "skip_signature", "base_url"),
    "az": ("account_name", "endpoint", "allow_http", "skip_signature"),
}
_SWITCHES = ("allow_http", "virtual_hosted_style", "skip_signature")


class Location(NamedTuple):
    """*scheme* is file, s3, gs or az; *bucket* is "" for file, whose *path* is absolute, else a prefix without slashes
    at its ends. *options* are sorted."""

    scheme: str
    bucket: str
    path: str
    options: tuple[tuple[str, str], ...] = ()

    @property
    def url(self) -> str:
        """The one form of this URL."""
        if self.scheme == "file":
            return f"file://{self.path}"
        path = f"/{quote(self.path)}" if self.path else ""
        return f"{self.scheme}://{self.bucket}{path}" + (f"?{urlencode(self.options)}" if self.options else "")


def parse_url(url: str) -> Location:
    """Raises InvalidError for what names no store."""
    scheme = url.partition("://")[0] if "://" in url else ""
    if scheme in ("", "file"):
        return Location("file", "", _local_path(url))
    if scheme not in _SCHEMES:
        raise InvalidError(f"store {url!r}: '{scheme}' is not supported; use file:///path, s3://, gs:// or az://")
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise InvalidError(f"store {_safe(url)!r} is no URL: {error}") from error
    kind = _SCHEMES[scheme]
    if not parts.netloc or "@" in parts.netloc:
        raise InvalidError(f"store {_safe(url)!r}: it is named {kind}://BUCKET/PREFIX, without credentials")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name, value in options.items():
        if name not in _OPTIONS[kind]:
            known = ", ".join(_OPTIONS[kind])
            raise InvalidError(
                f"store {_safe(url)!r}: option {name!r} is not known (known: {known});"
                " credentials come from the environment"
            )
        if name in _SWITCHES and value not in ("true", "false"):
            raise InvalidError(f"store {_safe(url)!r}: {name} is true or false")
    endpoint = options.get("endpoint", "") or options.get("base_url", "")
    if endpoint.startswith("http://") and options.get("allow_http") != "true":
        raise InvalidError(f"store {_safe(url)!r}: {endpoint} is not encrypted; add allow_http=true if that is meant")
    path = "/".join(part for part in unquote(parts.path).split("/") if part)
    if any(part in (".", "..") for part in path.split("/")):
        raise InvalidError(f"store {_safe(url)!r}: the prefix has '.' or '..' in it")
    return Location(kind, parts.netloc, path, tuple(sorted(options.items())))


def _safe(url: str) -> str:
    """Without what might be a secret."""
    plain = url.partition("?")[0]
    scheme, _, rest = plain.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def _local_path(url: str) -> str:
    if "://" in url:
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise InvalidError(f"store {url!r} is no URL: {error}") from error
        if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
            raise InvalidError(f"store {url!r}: a local store is named file:///absolute/path")
        url = unquote(parts.path)
    if not url or "\0" in url:
        raise InvalidError(f"store {url!r}: the path is empty or has a NUL in it; use file:///path")
    return os.path.realpath(url)
