"""create, list, info, log, rename, delete: commands on the store."""

import contextlib
import os
import sys

import click

from volfs.exception import DamageError, InvalidError, NotFoundError
from volfs.format.root import decode_root
from volfs.sdk.finding import user_name
from volfs.store.commits import Commits
from volfs.store.store import Store, default_store, open_store
from volfs.store.volumes import Volume, create_volume, delete_volume, find_volume, list_volumes, rename_volume

from .completion import volume_names
from .main import shared
from .output import plural, show_json, show_table, size, when

_DAMAGED = "damaged"


def _store(url: str | None, *, create: bool = False) -> Store:
    return open_store(url or default_store(), create=create)


@click.command("create")
@click.argument("name")
@click.option("--version", type=click.IntRange(1, 2), default=2, show_default=True, help="As at modal; no difference")
@shared("store", "environment", "json")
def create_command(name: str, version: int, store: str | None, environment: str, as_json: bool) -> None:
    """Make a new, empty volume NAME."""
    volume = create_volume(
        _store(store, create=True),
        environment,
        name,
        uid=os.geteuid(),
        gid=os.getegid(),
        created_by=user_name(),
        version=version,
    )
    if as_json:
        show_json(_described(volume, 0))
    else:
        click.echo(f"created {volume.name} ({volume.id})")


@click.command("list")
@shared("store", "environment", "json")
def list_command(store: str | None, environment: str, as_json: bool) -> None:
    """List the volumes. Exit code 5 when one of them is damaged."""
    rows: list[tuple[Volume, int, str]] = []
    damage: list[str] = []
    try:
        opened = _store(store)
        volumes = list(list_volumes(opened, environment))
    except NotFoundError:
        volumes = []  # no store: no volume was ever made
    for volume in volumes:
        commits = Commits(opened.backend, volume.id, volume.name)
        with contextlib.suppress(NotFoundError):  # deleted just now
            try:
                latest = commits.latest()
                held = size(decode_root(latest.root).dir.bytes) if latest is not None else "-"
                rows.append((volume, latest.seq if latest is not None else 0, held))
            except DamageError as error:
                damage.append(str(error))
                rows.append((volume, _number(commits), _DAMAGED))
    if as_json:
        show_json([{**_described(volume, seq), "damaged": held == _DAMAGED} for volume, seq, held in rows])
    else:
        show_table(
            ("NAME", "COMMIT", "SIZE", "CREATED", "ID"),
            [(volume.name, seq or "-", held, when(volume.created_at_ns), volume.id) for volume, seq, held in rows],
        )
    if damage:
        raise DamageError("; ".join(damage))


def _number(commits: Commits) -> int:
    """Of a damaged volume's last commit; 0 when not even its key can be read."""
    try:
        return commits.latest_seq()
    except DamageError:
        return 0


def _described(volume: Volume, seq: int) -> dict[str, object]:
    return {
        "name": volume.name,
        "environment": volume.environment,
        "id": volume.id,
        "version": volume.version,
        "created_at_ns": volume.created_at_ns,
        "created_by": volume.created_by,
        "latest": seq,
    }


@click.command("info")
@click.argument("name", shell_complete=volume_names)
@shared("store", "environment", "json")
def info_command(name: str, store: str | None, environment: str, as_json: bool) -> None:
    """Tell about volume NAME."""
    opened = _store(store)
    volume = find_volume(opened, environment, name)
    latest = Commits(opened.backend, volume.id, volume.name).latest()
    found = _described(volume, latest.seq if latest else 0)
    root = decode_root(latest.root) if latest else None
    found["store"] = opened.url
    found["files"] = root.dir.files if root else 0
    found["entries"] = root.dir.entries if root else 0
    found["bytes"] = root.dir.bytes + root.link_bytes if root else 0
    found["committed_at_ns"] = latest.time_ns if latest else None
    if as_json:
        show_json(found)
        return
    for key, value in found.items():
        text = when(int(str(value))) if key.endswith("_ns") and value is not None else value
        click.echo(f"{key.removesuffix('_ns').replace('_', ' '):14} {text if text is not None else '-'}")


@click.command("log")
@click.argument("name", shell_complete=volume_names)
@shared("store", "environment", "json")
def log_command(name: str, store: str | None, environment: str, as_json: bool) -> None:
    """List the commits of volume NAME, newest first."""
    opened = _store(store)
    volume = find_volume(opened, environment, name)
    history = list(Commits(opened.backend, volume.id, volume.name).history())
    if as_json:
        keep = ["seq", "parent", "time_ns", "host", "message", "files", "bytes", "removed", "stored_bytes"]
        keep += ["requests", "sent_bytes", "lines"]
        rows = [{key: value for key in keep if (value := getattr(c, key)) is not None} for c in history]
        show_json([{**row, "id": c.token} for row, c in zip(rows, history, strict=True)])
        return
    if not history:
        click.echo(f"{name} has no commit yet")
        return
    show_table(
        ("COMMIT", "TIME", "HOST", "FILES", "BYTES", "SENT", "REQUESTS", "MESSAGE"),
        [
            (c.seq, when(c.time_ns), c.host, c.files, size(c.bytes), size(c.sent_bytes), c.requests or "-", c.message)
            for c in history
        ],
    )


@click.command("rename")
@click.argument("old", shell_complete=volume_names)
@click.argument("new")
@click.option("-y", "--yes", is_flag=True, help="Do not ask")
@shared("store", "environment")
def rename_command(old: str, new: str, yes: bool, store: str | None, environment: str) -> None:
    """Rename volume OLD to NEW. Mounts of it go on."""
    opened = _store(store)
    volume = find_volume(opened, environment, old)
    _confirm(yes, f"Rename volume {old} to {new}?")
    rename_volume(opened, volume, new)
    click.echo(f"renamed {old} to {new}")


@click.command("delete")
@click.argument("name", shell_complete=volume_names)
@click.option("-y", "--yes", is_flag=True, help="Do not ask")
@click.option("--allow-missing", is_flag=True, help="No volume of that name is fine")
@shared("store", "environment")
def delete_command(name: str, yes: bool, allow_missing: bool, store: str | None, environment: str) -> None:
    """Delete volume NAME with all its commits."""
    try:
        opened = _store(store)
        volume = find_volume(opened, environment, name)
    except NotFoundError:
        if not allow_missing:
            raise
        click.echo(f"no volume {name}: nothing to delete")
        return
    count = Commits(opened.backend, volume.id, volume.name).latest_seq()
    _confirm(yes, f"Delete volume {name} with {plural(count, 'commit')}?")
    delete_volume(opened, volume)
    click.echo(f"deleted {name}")


def _confirm(yes: bool, question: str) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise InvalidError(f"{question} Say so with --yes (there is no terminal to ask on)")
    click.confirm(question, abort=True)
