"""fsck: looks a volume over, and says what is wrong. May import: sdk, progress, output, completion."""

import click
import msgspec

from volfs.exception import DamageError
from volfs.sdk.fsck import fsck

from .completion import volume_names
from .main import shared
from .opening import handle
from .output import plural, show_json, size
from .progress import Transfer


@click.command("fsck")
@click.argument("name", shell_complete=volume_names)
@click.option("--data", is_flag=True, help="Read every byte, not only the structure")
@shared("store", "environment", "json")
def fsck_command(name: str, data: bool, store: str | None, environment: str, as_json: bool) -> None:
    """Check volume NAME: its log, and all that any of its commits refers to. Changes nothing.

    Says each damage with its commit and path; the exit code is 5 then. Commits made meanwhile are not looked at.
    """
    session = handle(name, store, environment).session()
    root = session.latest_or_none()
    files, total = (root.dir.files, root.dir.bytes + root.link_bytes) if root is not None else (0, 0)
    with Transfer("fsck", files, total or None) as progress:
        found = fsck(session, data=data, progress=progress.advance)
    if as_json:
        show_json({"volume": name, **msgspec.to_builtins(found)})
    else:
        for problem in found.problems:
            click.echo(str(problem))
        what = "all read" if data else "structure only; --data reads every byte"
        click.echo(
            f"{plural(found.commits, 'commit')}, {plural(found.directories, 'directory', 'directories')},"
            f" {plural(found.files, 'file')}, {size(found.bytes)} ({what})"
        )
        if found.unused_packs:
            click.echo(f"{plural(found.unused_packs, 'pack')} of {size(found.unused_bytes)} in use by no commit")
    if found.problems:
        raise DamageError(f"{plural(len(found.problems), 'problem')} found in volume {name}")
