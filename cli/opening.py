"""The volume that a command names. May import: sdk."""

from volfs.format.ids import is_volume_id
from volfs.sdk.client import Client
from volfs.sdk.handle import Handle


def handle(
    name: str, store: str | None, environment: str, *, cache_dir: str | None = None, cache_size: str | None = None
) -> Handle:
    """The volume of that name or id."""
    client = Client(store, environment=environment, cache_dir=cache_dir, cache_size=cache_size)
    if is_volume_id(name):
        return Handle.by_id(name, client)
    return Handle.by_name(name, environment, client, create=False, version=None)
