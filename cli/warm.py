"""warm: the cache is filled before it is needed. May import: sdk, progress, output, completion."""

import time
from collections.abc import Sequence

import click
import msgspec

from volfs.sdk.reading import parse_path
from volfs.sdk.warm import warm

from .completion import remote_paths, volume_names
from .main import shared
from .opening import handle
from .output import plural, show_json, size
from .progress import Transfer


@click.command("warm")
@click.argument("name", shell_complete=volume_names)
@click.argument("paths", metavar="[PATH]...", nargs=-1, shell_complete=remote_paths)
@click.option("--cache-dir", metavar="DIR", help="The cache to fill [$VOLFS_CACHE]")
@click.option("--cache-size", metavar="SIZE", help="Its bound, such as 20G [a tenth of the disk]")
@shared("store", "environment", "json")
def warm_command(
    name: str,
    paths: Sequence[str],
    cache_dir: str | None,
    cache_size: str | None,
    store: str | None,
    environment: str,
    as_json: bool,
) -> None:
    """Bring what is at and below PATHs of volume NAME into this host's cache; without PATH all of it.

    Mounts and programs of this host then read it from the local disk. What is there already is not fetched again. Of a
    mount that uses another --cache-dir, name the same one here.
    """
    session = handle(name, store, environment, cache_dir=cache_dir, cache_size=cache_size).session()
    snapshot = session.latest()
    parts = [parse_path(path) for path in paths or ("/",)]
    inodes = [snapshot.find(path, follow=True) for path in parts]
    files = sum(inode.files if inode.is_dir else 1 for inode in inodes)
    total = sum(inode.bytes if inode.is_dir else inode.allocated for inode in inodes)
    start = time.monotonic()
    with Transfer("warm", files, total) as progress:
        done = warm(snapshot, parts, progress.advance)
    seconds = time.monotonic() - start
    if as_json:
        told = {**msgspec.to_builtins(done), "seconds": round(seconds, 3), "local": session.store.is_local}
        show_json({"volume": name, "commit": snapshot.seq, **told})
    elif session.store.is_local:
        click.echo(f"nothing to warm: {session.store.url} is on this host")
    else:
        rate = f", {size(int(done.fetched_bytes / max(seconds, 0.001)))}/s" if done.fetched_bytes else ""
        held = f"{plural(done.files, 'file')}, {size(done.bytes)}"
        click.echo(f"commit {snapshot.seq}: {held}; {size(done.fetched_bytes)} fetched{rate}")
