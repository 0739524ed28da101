"""fsck: looks a volume over, says what is wrong, and repairs it. May import: sdk, progress, output, completion."""

import click
import msgspec

from volfs.exception import DamageError
from volfs.sdk.client import Client
from volfs.sdk.fsck import Findings
from volfs.sdk.fsck_volume import fsck_volume

from .completion import volume_names
from .main import shared
from .output import plural, printable, show_json, size
from .progress import Transfer
from .views import state_directory


@click.command("fsck")
@click.argument("name", shell_complete=volume_names)
@click.option("--data", is_flag=True, help="Read every byte, not only the structure")
@click.option("--repair", is_flag=True, help="Mend what can be mended; nothing that is damaged is thrown away")
@shared("store", "environment", "state_dir", "json")
def fsck_command(
    name: str, data: bool, repair: bool, store: str | None, environment: str, state_dir: str | None, as_json: bool
) -> None:
    """Check volume NAME: its name, its log, all that any of its commits refers to, and its views on this host.

    Says each damage with its commit and path. The exit code is 5 when damage is left, else 0, also after a repair.
    Commits made meanwhile are not looked at.
    """
    client = Client(store, environment=environment)
    with Transfer("fsck", 0, None) as progress:
        found = fsck_volume(
            client,
            name,
            state_directory(state_dir),
            data=data,
            repair=repair,
            progress=progress.advance,
            expect=progress.expect,
        )
    if as_json:
        show_json({"volume": name, **msgspec.to_builtins(found)})
    else:
        _show(found, data=data)
    if found.problems:
        raise DamageError(f"{plural(len(found.problems), 'problem')} found in volume {name}")


def _show(found: Findings, *, data: bool) -> None:
    for line in found.repaired:
        click.echo(printable(f"repaired: {line}"))
    for problem in found.problems:
        click.echo(printable(str(problem)))
    for note in found.notes:
        click.echo(printable(f"note: {note}"))
    if found.history:
        click.echo(f"note: {plural(len(found.history), 'problem')} in commits older than the repair (--json has them)")
    what = "all read" if data else "structure only; --data reads every byte"
    views = f", {plural(found.views, 'view')} here" if found.views else ""
    click.echo(
        f"{plural(found.commits, 'commit')}, {plural(found.directories, 'directory', 'directories')},"
        f" {plural(found.files, 'file')}, {size(found.bytes)} ({what}){views}"
    )
    if found.unused_packs:
        click.echo(f"{plural(found.unused_packs, 'pack')} of {size(found.unused_bytes)} in use by no commit")
