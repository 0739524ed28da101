"""What `volfs mount` asks of the daemon. May import: store.options."""

from pathlib import Path

import msgspec

from volfs.store.options import StoreOptions


class MountRequest(msgspec.Struct, frozen=True, kw_only=True):
    """*on_unmount*: keep, commit or discard. *commit_interval_s* 0: never by itself; *prefetch*: "",
    metadata or all."""

    store: str
    environment: str
    volume: str
    mountpoint: str
    state_dir: Path
    create: bool = False
    read_only: bool = False
    sub_path: str = ""
    foreground: bool = False
    on_unmount: str = "keep"
    commit_interval_s: float = 0.0
    commit_on_sync: bool = True
    nonempty: bool = False
    allow_other: bool = False
    fuse_options: tuple[str, ...] = ()
    prefetch: str = ""
    store_options: StoreOptions = StoreOptions()
