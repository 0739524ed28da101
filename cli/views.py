"""commit, reload, status: what is asked of a running daemon. Imports neither trio nor pyfuse3 nor a store's client."""

import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from volfs.control import client, finding, registry
from volfs.control.registry import MountState, Place
from volfs.exception import DamageError, ExecutionError
from volfs.store.places import default_state_dir
from volfs.view.state import load_base

from .main import shared
from .output import plural, show_json, show_table, size
from .progress import bar

_STATUS_S = 10  # a daemon answers in milliseconds, and waits for its store no longer than 3 s


def state_directory(given: str | None) -> Path:
    return Path(given).absolute() if given else default_state_dir()


def ask(state_dir: str | None, mountpoint: str, verb: str, args: dict[str, Any] | None = None) -> dict[str, Any]:
    place, _ = finding.find(state_directory(state_dir), mountpoint)
    if not place.locked():
        raise ExecutionError(
            f"{mountpoint} is not mounted; its uncommitted changes are kept: mount it again to resume, publish them"
            f" with `volfs umount --commit {mountpoint}`, or drop them with `volfs umount --discard {mountpoint}`"
        )
    with bar() as progress:
        return client.call(place.socket, verb, args, progress)


@click.command("commit")
@click.argument("mountpoint")
@click.option("-m", "--message", default="", metavar="TEXT", help="Stands in the log")
@shared("state_dir", "json")
def commit_command(mountpoint: str, message: str, state_dir: str | None, as_json: bool) -> None:
    """Publish the changes of the mount at MOUNTPOINT."""
    report = ask(state_dir, mountpoint, "commit", {"message": os.fsencode(message).decode("utf-8", "backslashreplace")})
    if as_json:
        show_json(report)
    else:
        show_commit(report)


def show_commit(report: dict[str, Any]) -> None:
    if report["seq"] is None:
        click.echo("nothing to commit")
        return
    removed = f", {report['removed']} removed" if report["removed"] else ""
    sent = f"; {plural(report['requests'], 'request')}, {size(report['sent_bytes'])} sent" if report["requests"] else ""
    click.echo(f"commit {report['seq']}: {plural(report['files'], 'file')}, {size(report['bytes'])}{removed}{sent}")
    for line in report["lines"]:
        click.echo(line)


@click.command("reload")
@click.argument("mountpoint")
@click.option("--discard", is_flag=True, help="Throw uncommitted changes away instead of committing them")
@shared("state_dir", "json")
def reload_command(mountpoint: str, discard: bool, state_dir: str | None, as_json: bool) -> None:
    """Bring the mount at MOUNTPOINT to the latest commit. Refused while files are open."""
    report = ask(state_dir, mountpoint, "reload", {"discard": discard})
    if as_json:
        show_json(report)
        return
    if report["committed"] is not None:
        show_commit(report["committed"])
    if report["discarded_files"]:
        click.echo(f"discarded {plural(report['discarded_files'], 'change')}")
    if report["old"] == report["new"] and not report["changed"]:
        click.echo(f"at commit {report['new']}: nothing new")
    elif report["old"] == report["new"]:  # the view had gone on showing its own part of that commit
        click.echo(f"at commit {report['new']}: {plural(report['changed'], 'path')} changed")
    else:
        click.echo(f"commit {report['old']} -> {report['new']}: {plural(report['changed'], 'path')} changed")


@click.command("status")
@click.argument("mountpoint", required=False)
@shared("state_dir", "json")
def status_command(mountpoint: str | None, state_dir: str | None, as_json: bool) -> None:
    """Tell about the mount at MOUNTPOINT; without it, list all mounts and kept views."""
    if mountpoint is not None:
        place, state = finding.find(state_directory(state_dir), mountpoint)
        found = _found(place, state)
        if as_json:
            show_json(found)
        elif found["state"] == "mounted":
            _show_mounted(found)
        else:
            _show(found, ("base commit", "-" if found["base"] is None else found["base"]))
        return
    directory = state_directory(state_dir)
    all_of_them = _each(list(registry.places(directory)))
    for _, error in registry.damaged(directory):
        click.echo(f"{error}; run volfs fsck --repair on its volume", err=True)
    if as_json:
        show_json(all_of_them)
    elif not all_of_them:
        click.echo("no mounts")
    else:
        show_table(
            ("VOLUME", "MOUNTPOINT", "PID", "BASE", "LATEST", "DIRTY", "OPEN", "STATE"),
            [
                (
                    one["volume"],
                    one["mountpoint"],
                    one["pid"] or "-",
                    "-" if one.get("base") is None else one["base"],
                    "-" if one.get("latest") is None else one["latest"],
                    one.get("changes", "-"),
                    len(one["open_files"]) if "open_files" in one else "-",
                    f"{one['state']}, volume deleted" if one.get("deleted") else one["state"],
                )
                for one in all_of_them
            ],
        )


def _each(found: Sequence[tuple[Place, MountState]]) -> list[dict[str, Any]]:
    """All are asked at once: those that do not answer are waited for together."""
    answers: list[dict[str, Any]] = [{}] * len(found)

    def ask_one(i: int) -> None:
        answers[i] = _one(*found[i])

    threads = [threading.Thread(target=ask_one, args=(i,)) for i in range(len(found))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def _one(place: Place, state: MountState) -> dict[str, Any]:
    try:
        return _found(place, state)
    except ExecutionError as error:
        return {**_known(state), "pid": state.pid, "state": "not answering", "error": str(error)}
    except DamageError as error:
        return {**_known(state), "state": "damaged", "error": str(error)}


def _found(place: Place, state: MountState) -> dict[str, Any]:
    """What the daemon tells, else what is known without it. *state* is "dead" if it never came to its end.

    Raises ExecutionError when it is there and does not answer.
    """
    if place.locked():
        return {**client.call(place.socket, "status", timeout_s=_STATUS_S), "state": "mounted"}
    base = load_base(place.base)
    return {
        **_known(state),
        "volume_id": state.volume_id,
        "environment": state.environment,
        "sub_path": state.sub_path,
        "read_only": state.read_only,
        "base": base.seq if base is not None else None,
        "state": "kept" if state.pid == 0 else "dead",
    }


def _known(state: MountState) -> dict[str, Any]:
    return {"volume": state.volume_name, "mountpoint": state.mountpoint, "store": state.store, "pid": 0}


def _latest(found: dict[str, Any]) -> object:
    if found["deleted"]:
        return "none: the volume was deleted"
    return found["latest"] if found["store_error"] is None else f"unknown: {found['store_error']}"


def _show_mounted(found: dict[str, Any]) -> None:
    files = f"{plural(found['dirty_files'], 'file')}, {size(found['dirty_bytes'])}"
    _show(
        found,
        ("pid", found["pid"]),
        ("base commit", found["base"]),
        ("latest commit", _latest(found)),
        ("uncommitted", f"{plural(found['changes'], 'change')} ({files})"),
        ("staging", size(found["staging_bytes"])),
        ("open files", len(found["open_files"])),
        *_store_lines(found),
    )
    for file in found["open_files"]:
        click.echo(f"  {file['path']} (pid {file['pid']}, {file['command']})" if file["pid"] else f"  {file['path']}")
    if found["last_error"]:
        click.echo(f"{'last error':15} {found['last_error']}")


def _show(found: dict[str, Any], *more: tuple[str, object]) -> None:
    for label, value in (
        ("volume", f"{found['volume']} ({found['volume_id']})"),
        ("state", found["state"]),
        ("mountpoint", found["mountpoint"]),
        ("store", found["store"]),
        *more,
    ):
        click.echo(f"{label:15} {value}")


def _store_lines(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What a mount asked of a store that is not local."""
    use = found["store_use"]
    if not use:
        return
    cache = use["cache"]
    waiting = max(found["staging_bytes"] - found["uploaded_bytes"], 0)
    yield "uploaded", f"{size(found['uploaded_bytes'])} of staging, {size(waiting)} not yet"
    yield "store requests", f"{use['requests']}, {use['retries']} of them again"
    yield "store bytes", f"{size(use['sent_bytes'])} sent, {size(use['received_bytes'])} received"
    hits = f"{plural(cache['hits'], 'hit')} ({size(cache['hit_bytes'])}), {cache['misses']} missed"
    yield "cache", f"{hits}, {size(cache['put_bytes'])} put"
    fetched = found["prefetch"]
    if fetched["what"]:
        state = "at work" if fetched["running"] else "done"
        yield "prefetch", f"{fetched['what']}, {state}: {plural(fetched['files'], 'file')}, {size(fetched['bytes'])}"
