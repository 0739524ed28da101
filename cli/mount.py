"""mount and umount."""

import importlib
import math
import os
import time

import click
import msgspec

from volfs.control import client, finding
from volfs.control.mounttable import KIND, mounts
from volfs.control.registry import MountState, Place
from volfs.control.request import MountRequest
from volfs.exception import ExecutionError, InvalidError
from volfs.store.options import options_from_env
from volfs.store.places import work_dir

from .completion import volume_names
from .main import shared
from .views import show_commit, state_directory


@click.command("mount")
@click.argument("name", shell_complete=volume_names)
@click.argument("mountpoint")
@click.option("--create", is_flag=True, help="Make the volume if there is none of that name")
@click.option("--read-only", is_flag=True, help="Refuse every change")
@click.option("--sub-path", default="", metavar="P", help="Show only this directory of the volume")
@click.option("--foreground", is_flag=True, help="Stay in front; the log goes to stderr")
@click.option(
    "--on-unmount",
    type=click.Choice(["keep", "commit", "discard"]),
    default="keep",
    show_default=True,
    help="What becomes of uncommitted changes",
)
@click.option("--commit-interval", type=click.FloatRange(min=0), default=0.0, metavar="SECONDS", help="0: never")
@click.option("--no-commit-on-sync", is_flag=True, help="`sync MOUNTPOINT` does not commit")
@click.option("--nonempty", is_flag=True, help="Mount over a directory that is not empty")
@click.option("--allow-other", is_flag=True, help="Other users may use the mount (root's mounts always)")
@click.option("-o", "fuse_options", multiple=True, metavar="OPTIONS", help="FUSE options, by commas: a slower mount")
@click.option("--store-timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="Of a request; 0: for ever [60]")
@click.option("--cache-dir", metavar="DIR", help="Cache of a store that is not local [$VOLFS_CACHE]")
@click.option("--cache-size", metavar="SIZE", help="Its bound, such as 20G [a tenth of the disk]")
@click.option(
    "--prefetch",
    type=click.Choice(["metadata", "all"]),
    default=None,
    help="Fill the cache in the background: names and attributes, or content, too",
)
@shared("store", "environment", "state_dir")
def mount_command(
    name: str,
    mountpoint: str,
    create: bool,
    read_only: bool,
    sub_path: str,
    foreground: bool,
    on_unmount: str,
    commit_interval: float,
    no_commit_on_sync: bool,
    nonempty: bool,
    allow_other: bool,
    fuse_options: tuple[str, ...],
    store_timeout: float | None,
    cache_dir: str | None,
    cache_size: str | None,
    prefetch: str | None,
    store: str | None,
    environment: str,
    state_dir: str | None,
) -> None:
    """Show volume NAME at MOUNTPOINT, an empty directory."""
    if not math.isfinite(commit_interval):
        raise InvalidError(f"--commit-interval {commit_interval}: a number of seconds; 0: never")
    request = MountRequest(
        store=store or importlib.import_module("volfs.store.store").default_store(),
        environment=environment,
        volume=name,
        mountpoint=mountpoint,
        state_dir=state_directory(state_dir),
        create=create,
        read_only=read_only,
        sub_path=sub_path.strip("/"),
        foreground=foreground,
        on_unmount=on_unmount,
        commit_interval_s=commit_interval,
        commit_on_sync=not no_commit_on_sync,
        nonempty=nonempty,
        allow_other=allow_other or os.geteuid() == 0,
        fuse_options=tuple(option for given in fuse_options for option in given.split(",") if option),
        prefetch=prefetch or "",
        store_options=options_from_env(timeout_s=store_timeout, cache_dir=cache_dir, cache_size=cache_size),
    )
    text = importlib.import_module("volfs.fuse.daemon").run(request)
    if text:
        click.echo(text)


@click.command("umount")
@click.argument("mountpoint")
@click.option("--commit", "action", flag_value="commit", help="Publish uncommitted changes first")
@click.option("--discard", "action", flag_value="discard", help="Throw uncommitted changes away")
@click.option("--lazy", is_flag=True, help="Also when busy: it goes once nobody uses it")
@shared("state_dir")
def umount_command(mountpoint: str, action: str | None, lazy: bool, state_dir: str | None) -> None:
    """End the mount at MOUNTPOINT. Uncommitted changes are kept unless said otherwise."""
    place, state = finding.find(state_directory(state_dir), mountpoint)
    if not place.locked():
        _end_dead(place, state, action)
        return
    answer = client.call(place.socket, "unmount", {"action": action or "", "lazy": lazy})
    if answer["commit"] is not None:
        show_commit(answer["commit"])
    while not lazy and place.locked():
        time.sleep(0.01)
    if not lazy and action and place.state.exists():
        done = {"commit": "committed", "discard": "thrown away"}[action]
        raise ExecutionError(
            f"{state.mountpoint} is unmounted, but its daemon failed before the changes were {done}: see {place.log};"
            f" then `volfs umount --{action}` it again"
        )
    if not lazy and place.state.exists():
        click.echo(
            f"uncommitted changes are kept for {state.mountpoint}: mount it again to resume, or `volfs umount`"
            " it with --commit or --discard"
        )


def _end_dead(place: Place, state: MountState, action: str | None) -> None:
    """A kept view, or the mount of a daemon that was killed."""
    at = importlib.import_module("volfs.fuse.mountpoint")
    if any(mount.path == state.mountpoint and mount.kind == KIND for mount in mounts()):
        at.unmount(state.mountpoint, lazy=True)
    if action == "commit":
        show_commit(msgspec.to_builtins(importlib.import_module("volfs.fuse.daemon").commit_kept(place, state)))
    if action == "discard":
        importlib.import_module("volfs.store.durable").remove_log(work_dir(state.store) / place.directory.name)
        place.remove()
        click.echo(f"discarded the changes kept for {state.mountpoint}")
