"""ls, rm, cp, mv, cat, du: files of a volume without a mount. May import: sdk, output, completion."""

import itertools
import json
import stat
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime

import click

from volfs.sdk import edits, reading
from volfs.sdk.reading import Row, parse_path
from volfs.sdk.session import Snapshot

from .completion import remote_paths, volume_names
from .main import shared
from .opening import handle
from .output import plural, printable, raw_output, show_json, size, when, write_lines

_TYPES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}


@click.command("ls")
@click.argument("name", shell_complete=volume_names)
@click.argument("path", default="/", shell_complete=remote_paths)
@click.option("-l", "--long", is_flag=True, help="Mode, size in bytes, mtime, path; where a link leads")
@click.option("-r", "--recursive", is_flag=True, help="Also what is in directories below")
@shared("store", "environment", "json")
def ls_command(
    name: str, path: str, long: bool, recursive: bool, store: str | None, environment: str, as_json: bool
) -> None:
    """List PATH of volume NAME: a table on a terminal, one path a line in a pipe."""
    snapshot = handle(name, store, environment).session().latest()
    rows = reading.scan(snapshot, parse_path(path), recursive=recursive)
    rows = itertools.chain([row for row in [next(rows, None)] if row is not None], rows)  # a missing path says so first
    if as_json:
        write_lines(_json_lines(rows))
    else:
        write_lines(_table_lines(rows, long=long, terminal=sys.stdout.isatty()))


def _table_lines(rows: Iterator[Row], *, long: bool, terminal: bool) -> Iterator[bytes]:
    if terminal:
        yield f"{'MODE      ' if long else 'TYPE  '} {'SIZE':>12}  {'MODIFIED':19}  FILENAME".encode()
    for row in rows:
        yield _line(row, long=long, terminal=terminal)


def _line(row: Row, *, long: bool, terminal: bool) -> bytes:
    if not long and not terminal:
        return row.path
    kind = stat.filemode(row.mode) if long else f"{_type(row.mode):6}"
    held = str(row.size) if long else size(row.size)
    target = b" -> " + row.target if long and row.target else b""
    return f"{kind} {held:>12}  {when(row.mtime * 10**9)}  ".encode() + _name(row.path + target, terminal=terminal)


def _type(mode: int) -> str:
    return _TYPES.get(stat.S_IFMT(mode), "device")


def _name(name: bytes, *, terminal: bool) -> bytes:
    """As it is for programs; for people's terminals without what would command them."""
    return printable(_text(name)).encode() if terminal else name


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _json_lines(rows: Iterator[Row]) -> Iterator[bytes]:
    """One array, an entry a line, as they come."""
    before = "  "
    yield b"["
    for row in rows:
        entry = {
            "filename": _text(row.path),
            "type": _type(row.mode),
            "created_modified": datetime.fromtimestamp(row.mtime).astimezone().isoformat(),
            "size": row.size,
        }
        yield before.encode() + json.dumps(entry).encode()
        before = ", "
    yield b"]"


@click.command("rm")
@click.argument("name", shell_complete=volume_names)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, shell_complete=remote_paths)
@click.option("-r", "--recursive", is_flag=True, help="Also directories with all that is in them")
@shared("store", "environment")
def rm_command(name: str, paths: Sequence[str], recursive: bool, store: str | None, environment: str) -> None:
    """Remove PATHs of volume NAME, all of them or none, in one commit. `-r /` empties the volume."""
    edits.remove(handle(name, store, environment).session(), [parse_path(path) for path in paths], recursive=recursive)


@click.command("cp")
@click.argument("name", shell_complete=volume_names)
@click.argument("paths", metavar="SRC... DST", nargs=-1, required=True, shell_complete=remote_paths)
@click.option("-r", "--recursive", is_flag=True, help="Also directories with all that is in them")
@shared("store", "environment")
def cp_command(name: str, paths: Sequence[str], recursive: bool, store: str | None, environment: str) -> None:
    """Copy within volume NAME: into directory DST if there is one, else to that name. No data moves; one commit."""
    *sources, target = _two(paths)
    handle(name, store, environment).copy_files(sources, target, recursive=recursive)


@click.command("mv")
@click.argument("name", shell_complete=volume_names)
@click.argument("paths", metavar="SRC... DST", nargs=-1, required=True, shell_complete=remote_paths)
@shared("store", "environment")
def mv_command(name: str, paths: Sequence[str], store: str | None, environment: str) -> None:
    """Move within volume NAME: into directory DST if there is one, else to that name. One commit."""
    *sources, target = _two(paths)
    session = handle(name, store, environment).session()
    edits.move(session, [parse_path(path) for path in sources], parse_path(target))


def _two(paths: Sequence[str]) -> Sequence[str]:
    if len(paths) < 2:
        raise click.UsageError("give at least one source and a target: SRC... DST")
    return paths


@click.command("cat")
@click.argument("name", shell_complete=volume_names)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, shell_complete=remote_paths)
@shared("store", "environment")
def cat_command(name: str, paths: Sequence[str], store: str | None, environment: str) -> None:
    """Write files of volume NAME to standard output, one after the other."""
    volume = handle(name, store, environment)
    for path in paths:
        volume.read_file_into_fileobj(path, raw_output())


@click.command("du", context_settings={"help_option_names": ["--help"]})
@click.argument("name", shell_complete=volume_names)
@click.argument("path", default="/", shell_complete=remote_paths)
@click.option("-s", "--summarize", is_flag=True, help="The total alone")
@click.option("-h", "--human-readable", "human", is_flag=True, help="Sizes such as 1.5 GiB instead of bytes")
@shared("store", "environment", "json")
def du_command(
    name: str, path: str, summarize: bool, human: bool, store: str | None, environment: str, as_json: bool
) -> None:
    """Tell what PATH of volume NAME and the directories in it hold: bytes without holes, files, path.

    The sums stand in the volume's tree: nothing is walked through, whatever its size. Data of files with several
    names counts once, in the volume's own total; the sums of directories do not have it.
    """
    snapshot = handle(name, store, environment).session().latest()
    parts = parse_path(path)
    found = list(_sums(snapshot, parts, below=not summarize))
    if as_json:
        keys = ("filename", "bytes", "files", "entries")
        show_json([dict(zip(keys, (_text(row[0]), *row[1:]), strict=True)) for row in found])
        return
    terminal = sys.stdout.isatty()
    for where, held, files, _ in found:
        shown_bytes = size(held) if human else str(held)
        line = f"{shown_bytes:>12}  {files:>10}  ".encode() + _name(where, terminal=terminal)
        write_lines([line])
    if parts and snapshot.root.link_count and snapshot.find(parts).is_dir:
        linked = f"{plural(snapshot.root.link_count, 'file')} with several names ({size(snapshot.root.link_bytes)})"
        click.echo(f"not in these sums: {linked}; `volfs du -s {name}` counts them", err=True)


def _sums(snapshot: Snapshot, path: tuple[bytes, ...], *, below: bool) -> Iterator[tuple[bytes, int, int, int]]:
    """(path, bytes, files, entries) of the directories in one, by name, then of itself; of a file its own."""
    inode = snapshot.find(path)
    where = b"/".join(path) or b"/"
    if not inode.is_dir:
        yield where, inode.allocated, 1, 1
        return
    if below:
        prefix = b"".join(part + b"/" for part in path)
        yield from sorted(
            (prefix + name, child.bytes, child.files, child.entries)
            for name, child in reading.children(snapshot, inode.top)
            if child.is_dir
        )
    linked = snapshot.root.link_bytes if not path else 0
    yield where, inode.bytes + linked, inode.files, inode.entries
