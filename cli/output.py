"""How results are printed."""

import io
import json
import os
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any, BinaryIO, cast

import click

_GATHERED_BYTES = 1 << 16


def show_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2))


def show_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    cells = [tuple(header), *(tuple(printable(str(cell)) for cell in row) for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    for row in cells:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def raw_output() -> BinaryIO:
    """Standard output for bytes, without a buffer: when Ctrl-C ends a command, nothing waits for a reader any more."""
    return cast(BinaryIO, io.FileIO(sys.stdout.fileno(), "wb", closefd=False))


def write_lines(lines: Iterable[bytes]) -> None:
    """Many of them at a time, whether or not Python was told to buffer."""
    gathered: list[bytes] = []
    held = 0
    for line in lines:
        gathered.append(line)
        held += len(line) + 1
        if held >= _GATHERED_BYTES:
            write_bytes(b"\n".join(gathered) + b"\n")
            gathered, held = [], 0
    if gathered:
        write_bytes(b"\n".join(gathered) + b"\n")


def write_bytes(data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(sys.stdout.fileno(), rest) :]


def size(count: int) -> str:
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            break
        value /= 1024
    return f"{int(value)} B" if unit == "B" else f"{value:.1f} {unit}"


def when(time_ns: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time_ns // 10**9))


def plural(count: int, noun: str, nouns: str = "") -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {nouns or noun + 's'}"


def printable(text: str) -> str:
    """For people: control characters, and bytes that are no text, as escapes."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
