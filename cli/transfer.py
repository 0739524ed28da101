"""get and put: files of a volume to and from local ones. May import: sdk, progress, output, completion."""

import io
import os
from collections.abc import Sequence
from pathlib import Path

import click

from volfs.exception import ExecutionError
from volfs.sdk.download import Downloaded, download, download_into
from volfs.sdk.reading import parse_path
from volfs.sdk.sources import Batch, Put
from volfs.sdk.upload import upload

from .completion import remote_paths, volume_names
from .main import shared
from .opening import handle
from .output import plural, printable, raw_output, size
from .progress import Transfer

_TOLD = 10  # passed over paths that are named; the rest is counted


@click.command("get")
@click.argument("name", shell_complete=volume_names)
@click.argument("remote", shell_complete=remote_paths)
@click.argument("local", default=".", type=click.Path(allow_dash=True))
@click.option("-f", "--force", is_flag=True, help="Overwrite files that exist; add to directories")
@shared("store", "environment")
def get_command(name: str, remote: str, local: str, force: bool, store: str | None, environment: str) -> None:
    """Download REMOTE, a file or directory of volume NAME, to LOCAL.

    Into LOCAL if that is a directory or ends in "/", else to that name; what is in the volume's root goes straight
    into it; "-" is standard output. Modes and times are kept, links stay links, and nothing is ever written outside
    of LOCAL. What was interrupted goes on when the same is called again: until it is whole it grows beside its place
    as `.NAME.volfs-part`, and what is there already is verified instead of read anew.
    """
    volume = handle(name, store, environment)
    if local == "-":
        volume.read_file_into_fileobj(remote, raw_output())
        return
    path = parse_path(remote)
    snapshot = volume.session().latest()
    inode = snapshot.find(path, follow=True)
    if not inode.is_dir and not inode.is_file:
        raise ExecutionError(f"{remote} of volume {name} is neither a file nor a directory; there is nothing to get")
    into = local.endswith("/") or os.path.isdir(local)
    total = (inode.files, inode.bytes) if inode.is_dir else (1, inode.size)
    with Transfer("get", *total) as progress:
        if into and not path and os.path.isdir(local):
            done = download_into(snapshot, inode, local, force=force, progress=progress.advance)
        else:
            target = os.path.join(local, os.fsdecode(path[-1])) if into and path else local
            done = download(snapshot, inode, target, force=force, progress=progress.advance)
    _tell(done)


def _tell(done: Downloaded) -> None:
    if done.kept:
        click.echo(f"continued: {size(done.kept)} of {size(done.bytes)} were here already", err=True)
    _tell_passed_over(done.passed_over, "special files are not downloaded")


def _tell_passed_over(paths: Sequence[str], why: str) -> None:
    for path in paths[:_TOLD]:
        click.echo(f"passed over: {printable(path)}", err=True)
    if len(paths) > _TOLD:
        click.echo(f"passed over: {len(paths) - _TOLD} more", err=True)
    if paths:
        click.echo(f"({why})", err=True)


@click.command("put")
@click.argument("name", shell_complete=volume_names)
@click.argument("local", type=click.Path(allow_dash=True))
@click.argument("remote", default="/", shell_complete=remote_paths)
@click.option("-f", "--force", is_flag=True, help="Overwrite files that exist")
@click.option("-m", "--message", default="", metavar="TEXT", help="Stands in the log")
@shared("store", "environment")
def put_command(
    name: str, local: str, remote: str, force: bool, message: str, store: str | None, environment: str
) -> None:
    """Upload LOCAL, a file or directory, to REMOTE of volume NAME: one commit, all of it or nothing.

    A "/" at REMOTE's end means into that directory; "/." puts what is in directory LOCAL straight into the root. "-"
    is standard input. Of a directory the files are uploaded with their modes, links to files by content. What was
    interrupted begins anew; with --force, what the target has already at the same place is not stored again.
    """
    batch = Batch()
    if local == "-":
        if remote.endswith("/"):
            raise click.UsageError("standard input has no name: give the file's path in the volume")
        batch.add_file(Put(io.BufferedReader(_StandardInput()), parse_path(remote)))
    else:
        target = remote + os.path.basename(os.path.abspath(local)) if remote.endswith("/") else remote
        if os.path.isdir(local):
            batch.add_directory(Path(local), parse_path(target), recursive=True)
        else:
            batch.add_file(Put(local, parse_path(target)))
    session = handle(name, store, environment).session()
    passed_over: list[str] = []
    files, held = batch.survey(passed_over.append)
    with Transfer("put", files, held if local != "-" else None) as progress:
        seq = upload(session, batch, force=force, message=message, progress=progress.advance)
    if seq:
        click.echo(f"commit {seq}: {plural(progress.files, 'file')}, {size(progress.bytes)}")
    else:
        click.echo("nothing to upload")
    _tell_passed_over(passed_over, "links to directories, special files and empty directories are not uploaded")


class _StandardInput(io.RawIOBase):
    """From where it is: what was read of it before is not wanted, so it does not seek."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        return os.readv(0, [buffer])
