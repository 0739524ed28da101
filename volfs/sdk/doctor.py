"""What is wrong with this host or a store, and what to do about it. May import: host_checks, store_checks, findings."""

from collections.abc import Iterator
from pathlib import Path

from volfs.sdk.findings import Finding
from volfs.sdk.host_checks import check_host
from volfs.sdk.store_checks import check_store
from volfs.store.options import StoreOptions


def examine(url: str, state_dir: Path, options: StoreOptions) -> Iterator[Finding]:
    """A finding for each thing looked at, as soon as it is known; of the host first. Takes a few seconds.

    Leaves nothing behind, neither here nor in the store, also when it is closed before its end.
    """
    yield from check_host(url, state_dir, options)
    yield from check_store(url, options)
