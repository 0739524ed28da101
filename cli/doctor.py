"""doctor: one line for each thing looked at. May import: sdk, store, output."""

import sys

import click
import msgspec

from volfs.sdk.doctor import examine
from volfs.sdk.findings import Finding, State
from volfs.store.options import options_from_env
from volfs.store.store import default_store

from .main import shared
from .output import printable, show_json
from .views import state_directory

_COLOURS = {State.OK: "green", State.WARNING: "yellow", State.FAILED: "red"}


@click.command("doctor")
@click.option("--cache-dir", metavar="DIR", help="Cache of a store that is not local [$VOLFS_CACHE]")
@click.option("--cache-size", metavar="SIZE", help="Its bound, such as 20G [a tenth of the disk]")
@shared("store", "state_dir", "json")
def doctor_command(
    cache_dir: str | None, cache_size: str | None, store: str | None, state_dir: str | None, as_json: bool
) -> None:
    """Check this host and a store: one line each, with what to do about what is wrong.

    Takes a few seconds. Writes some objects below "doctor/" into the store, and removes them. Exit code 1 when
    something failed; warnings are 0.
    """
    options = options_from_env(cache_dir=cache_dir, cache_size=cache_size)
    findings = []
    for finding in examine(store or default_store(), state_directory(state_dir), options):
        findings.append(finding)
        if not as_json:
            _show(finding)
    if as_json:
        show_json([msgspec.to_builtins(finding) for finding in findings])
    if any(finding.state is State.FAILED for finding in findings):
        sys.exit(1)


def _show(finding: Finding) -> None:
    advice = f" -> {finding.advice}" if finding.advice else ""
    state = click.style(f"{finding.state:8}", fg=_COLOURS[finding.state])
    click.echo(f"{state} {finding.check:17} {printable(finding.text + advice)}")
