"""The command `volfs`: which commands there are, and how errors end. Commands are imported when they are run."""

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from volfs import __version__
from volfs.exception import (
    AlreadyExistsError,
    BusyError,
    ConflictError,
    DamageError,
    Error,
    InvalidError,
    NotFoundError,
)

from .output import printable

_COMMANDS = {
    "create": ("volumes", "Make a new, empty volume."),
    "list": ("volumes", "List the volumes."),
    "info": ("volumes", "Tell about one volume."),
    "log": ("volumes", "List a volume's commits, newest first."),
    "rename": ("volumes", "Give a volume another name."),
    "delete": ("volumes", "Delete a volume."),
    "ls": ("files", "List files of a volume."),
    "get": ("transfer", "Download a file or directory."),
    "put": ("transfer", "Upload a file or directory, in one commit."),
    "rm": ("files", "Remove files."),
    "cp": ("files", "Copy within a volume."),
    "mv": ("files", "Move within a volume."),
    "cat": ("files", "Write files to standard output."),
    "du": ("files", "Tell what directories hold."),
    "fsck": ("fsck", "Check a volume for damage."),
    "warm": ("warm", "Fill the cache with what will be read."),
    "mount": ("mount", "Show a volume as a directory."),
    "umount": ("mount", "End a mount."),
    "commit": ("views", "Publish a mount's changes."),
    "reload": ("views", "Bring a mount to the latest commit."),
    "status": ("views", "Tell about one mount, or list all."),
    "doctor": ("doctor", "Check this host and a store."),
    "completion": ("completion", "Print what a shell needs to complete."),
}

_EXITS: tuple[tuple[type[Exception], int], ...] = (
    (BusyError, 3),
    (DamageError, 5),
    (FileNotFoundError, 4),
    (AlreadyExistsError, 2),
    (FileExistsError, 2),
    (ConflictError, 1),
    (InvalidError, 2),
)


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"{__package__}.{_COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:  # whoever read our output has left: silence. Click's exit code differs by version
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="volfs")
def volfs() -> None:
    """Named, versioned volumes for containers on your own machines.

    Mount a volume, work on it with any program, `commit` to publish, `reload` to see what others have published.
    """


def main() -> None:
    """Exit codes: 0 done, 1 error, 2 usage or a target that exists, 3 refused: files open, 4 not found, 5 damage."""
    try:
        volfs.main(standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        where = context.command_path if context is not None else "volfs"
        text = " ".join(error.format_message().split())
        print(f"{where}: {text.rstrip('.')}; see `{where} --help`", file=sys.stderr)
        sys.exit(error.exit_code)
    except click.exceptions.Abort as error:
        sys.exit(130 if isinstance(error.__cause__, KeyboardInterrupt) else 1)
    except KeyboardInterrupt:
        sys.exit(130)
    except (Error, OSError) as error:
        print(f"volfs: {_text(error)}", file=sys.stderr)
        sys.exit(next((code for kind, code in _EXITS if isinstance(error, kind)), 1))


def _text(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and not isinstance(error, NotFoundError):
        text = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    else:
        text = str(error)
    for argument, option in _OPTIONS:
        text = text.replace(argument, option)
    return printable(" ".join(text.split("\n")))


# What messages of the SDK call by its Python name.
_OPTIONS = (("recursive=True", "--recursive"), ("force=True", "--force"))

F = TypeVar("F", bound=Callable[..., Any])


def shared(*names: str) -> Callable[[F], F]:
    """The options that several commands have."""
    known = {
        "store": click.option(
            "--store", metavar="URL", default=None, help="The store: a directory, s3://, gs://, az:// [$VOLFS_STORE]"
        ),
        "environment": click.option(
            "-e",
            "--env",
            "--environment",
            "environment",
            envvar="VOLFS_ENVIRONMENT",
            default="main",
            show_default=True,
            help="Keeps names apart",
        ),
        "state_dir": click.option(
            "--state-dir", metavar="DIR", default=None, help="Where mounts are kept track of [$VOLFS_STATE]"
        ),
        "json": click.option("--json", "as_json", is_flag=True, help="Print JSON"),
    }

    def decorate(function: F) -> F:
        for name in reversed(names):
            function = known[name](function)
        return function

    return decorate


if __name__ == "__main__":
    main()
