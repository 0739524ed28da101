"""File systems on one S3 server, each mounted, drained and unmounted by its own commands."""

import json
import os
import shutil
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path

import obstore

from tests.s3 import BUCKET, KEY, SECRET, Weed, free_ports

_BIN = Path(sys.executable).parent


def s3_store(endpoint: str, bucket: str, prefix: str | None = None) -> obstore.store.S3Store:
    """As a program without volfs would use it."""
    return obstore.store.S3Store(
        bucket,
        prefix=prefix,
        endpoint=endpoint,
        region="us-east-1",
        client_options={"allow_http": True},
        access_key_id=KEY,
        secret_access_key=SECRET,
    )


def shell(*arguments: object, env: dict[str, str] | None = None) -> str:
    words = [str(word) for word in arguments]
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"bench: {' '.join(words)}: exit {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def start(log: Path, *arguments: object) -> subprocess.Popen[bytes]:
    """A daemon; it may go to the background or not."""
    with open(log, "wb") as out:
        words = [str(word) for word in arguments]
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)


def until_mounted(point: Path, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if os.path.ismount(point):
            return
        if process.poll():
            break
        time.sleep(0.05)
    raise SystemExit(f"bench: {point} is not mounted")


class Peer(ABC):
    """One file system. *root* is a directory for its caches and logs; *endpoint* is where it finds the server."""

    name: str
    speaks_s3 = True

    def __init__(self, weed: Weed, endpoint: str, root: Path) -> None:
        self.weed, self.endpoint, self.root = weed, endpoint, root
        self.point = root / "mnt"
        self._caches = 0

    def new_cache(self) -> Path:
        """An empty cache, as of another host."""
        self._caches += 1
        path = self.root / f"cache{self._caches}"
        path.mkdir(parents=True)
        return path

    def mount(self) -> None:
        self.point.mkdir(parents=True, exist_ok=True)
        self._mount(self.new_cache())

    @abstractmethod
    def _mount(self, cache: Path) -> None: ...

    @abstractmethod
    def commit(self, name: str, files: int) -> None:
        """Returns when what was written is in the store, as far as that can be had before an unmount: *files* files
        below the directory *name*."""

    def unmount(self) -> None:
        shell("umount", self.point)

    def clear(self) -> None:
        """Removes all of its own on this host; never fails."""
        subprocess.run(["umount", "-l", self.point], capture_output=True, check=False)
        shutil.rmtree(self.root, ignore_errors=True)


class Volfs(Peer):
    name = "volfs"

    def _volfs(self, *arguments: object) -> str:
        return shell(_BIN / "volfs", *arguments, env=self._env)

    def _mount(self, cache: Path) -> None:
        self._env = {
            **os.environ,
            "VOLFS_STORE": self.weed.url("volfs", self.endpoint),
            "VOLFS_STATE": str(cache / "state"),
            "VOLFS_CACHE": str(cache / "cache"),
        }
        self._volfs("mount", "--create", "bench", self.point)

    def commit(self, name: str = "", files: int = 0) -> None:
        self._volfs("commit", self.point)

    def reload(self) -> None:
        self._volfs("reload", self.point)

    def unmount(self) -> None:
        self._volfs("umount", self.point)


class Rclone(Peer):
    """`--vfs-cache-mode full`, its only mode with all of what a file system does; uploads begin at once."""

    name = "rclone mount"

    def _mount(self, cache: Path) -> None:
        (self.port,) = free_ports(1)
        config = cache / "rclone.conf"
        config.write_text(
            f"[s]\ntype = s3\nprovider = SeaweedFS\nendpoint = {self.endpoint}\n"
            f"access_key_id = {KEY}\nsecret_access_key = {SECRET}\n"
        )
        self._process = start(
            cache / "log",
            *(_BIN / "rclone", "mount", f"s:{BUCKET}/rclone", self.point, "--config", config),
            *("--cache-dir", cache / "files", "--vfs-cache-mode", "full", "--vfs-write-back", "0s"),
            *("--transfers", "16", "--rc", "--rc-addr", f"127.0.0.1:{self.port}", "--rc-no-auth"),
        )
        until_mounted(self.point, self._process)

    def unmount(self) -> None:
        super().unmount()
        self._process.wait()

    def commit(self, name: str, files: int) -> None:
        # A file is queued when its RELEASE is handled, after close() has returned: an empty queue alone says nothing.
        store = s3_store(self.endpoint, BUCKET, f"rclone/{name}")
        while True:
            told = json.loads(shell(_BIN / "rclone", "rc", "--rc-addr", f"127.0.0.1:{self.port}", "vfs/stats"))
            disk = told["diskCache"]
            idle = not disk["uploadsInProgress"] and not disk["uploadsQueued"]
            if idle and sum(len(page) for page in obstore.list(store)) >= files:
                return
            time.sleep(0.1)


class S3fs(Peer):
    """Uploads when a file is closed: a commit is nothing more."""

    name = "s3fs"

    def _mount(self, cache: Path) -> None:
        obstore.put(s3_store(self.weed.endpoint, f"{BUCKET}-s3fs"), "made", b"")  # the server makes the bucket
        password = cache / "password"
        password.write_text(f"{KEY}:{SECRET}")
        password.chmod(0o600)
        process = start(
            cache / "log",
            *("s3fs", f"{BUCKET}-s3fs", self.point, "-o", f"url={self.endpoint}", "-o", f"passwd_file={password}"),
            *("-o", "use_path_request_style", "-o", f"use_cache={cache}/files"),
            *("-o", "multireq_max=30", "-o", "parallel_count=16", "-o", "multipart_size=32"),
        )
        until_mounted(self.point, process)
        process.wait()

    def commit(self, name: str, files: int) -> None:
        return


class WeedMount(Peer):
    """The server's own mount: it speaks with filer and volume server, past S3."""

    name = "weed mount"
    speaks_s3 = False

    def _mount(self, cache: Path) -> None:
        self._process = start(
            cache / "log",
            *(_BIN / "weed", "mount", f"-filer=127.0.0.1:{self.weed.filer}", f"-dir={self.point}"),
            *("-filer.path=/buckets/weedmount", f"-cacheDir={cache}", "-dirAutoCreate"),
        )
        until_mounted(self.point, self._process)

    def commit(self, name: str, files: int) -> None:
        shell("sync", "-f", self.point)

    def unmount(self) -> None:
        super().unmount()
        self._process.wait()


PEERS: tuple[type[Peer], ...] = (Volfs, Rclone, WeedMount, S3fs)
