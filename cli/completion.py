"""Shell completion: what a shell loads, and what arguments complete to. Imports the SDK when a shell asks."""

import importlib
from typing import Any

import click
from click.shell_completion import CompletionItem, get_completion_class

from volfs.exception import Error
from volfs.types import FileEntryType

from .main import volfs

_MOST = 1000  # paths offered: a shell asks before it shows more, and a directory may have a million

_HINTS = {
    "bash": "eval \"$(volfs completion bash)\" in ~/.bashrc",
    "zsh": "eval \"$(volfs completion zsh)\" in ~/.zshrc, after compinit",
    "fish": "volfs completion fish > ~/.config/fish/completions/volfs.fish",
}


@click.command("completion", epilog="Use: " + "; ".join(_HINTS.values()))
@click.argument("shell", type=click.Choice(list(_HINTS)))
def completion_command(shell: str) -> None:
    """Print what makes SHELL complete commands, options, volumes and paths in volumes."""
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(volfs, {}, "volfs", "_VOLFS_COMPLETE").source())


def volume_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The volumes of the store and environment that stand on the line so far."""
    try:
        client = _module("volfs.sdk.client").Client(ctx.params.get("store"), environment=_environment(ctx))
        found = [handle.name for handle in _module("volfs.sdk.naming").listed(None, None, "", client)]
        return [CompletionItem(name) for name in sorted(found) if name.startswith(incomplete)]
    except (Error, OSError):
        return []  # a shell has no place for errors; the command itself tells them


def remote_paths(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """What the directory named so far has, in the volume named before."""
    above, slash, start = incomplete.rpartition("/")
    try:
        volume = _module(f"{__package__}.opening").handle(
            ctx.params["name"], ctx.params.get("store"), _environment(ctx)
        )
        found = []
        for entry in volume.iterdir(above, recursive=False):
            name = entry.path.rpartition("/")[2]
            if name.startswith(start) and name.isprintable():
                found.append(above + slash + name + ("/" if entry.type is FileEntryType.DIRECTORY else ""))
            if len(found) >= _MOST:
                break
        return [CompletionItem(path) for path in found]
    except (Error, OSError, KeyError):
        return []


def _environment(ctx: click.Context) -> str:
    return ctx.params.get("environment") or "main"


def _module(name: str) -> Any:
    """Now and not before: commands that ask a daemon import neither store nor SDK."""
    return importlib.import_module(name)
