"""Real mounts for tests; none is left behind, also when a test fails."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.moto import Moto
from tests.s3 import Weed, set_credentials
from volfs import Client
from volfs.exception import NotFoundError
from volfs.sdk.fsck_volume import fsck_volume

VOLFS = Path(sys.executable).with_name("volfs")


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """In CI a skip is a failure: the machine has all that a test may need."""
    if call.excinfo is not None and call.excinfo.errisinstance(pytest.skip.Exception) and os.environ.get("CI"):
        raise AssertionError(f"{item.nodeid} was skipped in CI: {call.excinfo.value}")


class Host:
    """A store, a state directory and mountpoints of one test; `run` is the command line.

    `store` is the directory of a local store; `url` names the one that is used.
    """

    def __init__(self, path: Path, url: str = "") -> None:
        self.path = path
        self.store = path / "store"
        self.url = url or f"file://{self.store}"
        self.state = path / "state"
        self.env = {**os.environ, "VOLFS_STORE": self.url, "VOLFS_STATE": str(self.state)}
        self.env["VOLFS_CACHE"] = str(path / "cache")
        self.prefix: list[str] = []  # of each command: what runs it elsewhere

    def run(self, *arguments: object, check: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Runs volfs; *check* is the exit code that is expected, None for any."""
        done = subprocess.run(
            [*self.prefix, str(VOLFS), *map(str, arguments)],
            env=self.env, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        if check is not None:
            assert done.returncode == check, f"exit {done.returncode}: {done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def mount(self, name: str = "m", *options: object, volume: str = "v") -> Path:
        point = self.path / name
        point.mkdir(exist_ok=True)
        self.run("mount", "--create", volume, point, *options)
        return point

    def pid_of(self, point: Path) -> int:
        """The daemon's pid, without asking the daemon."""
        for path in self.state.glob("*/mount.json"):
            state = json.loads(path.read_text())
            if state["mountpoint"] == str(point):
                return int(state["pid"])
        raise AssertionError(f"{point} is not mounted")

    def pid(self, point: Path) -> int:
        for line in self.run("status").stdout.splitlines()[1:]:
            fields = line.split()
            if fields[1] == str(point):
                return int(fields[2])
        raise AssertionError(f"{point} is not mounted")

    def kill(self, point: Path) -> None:
        """kill -9 of the daemon; returns when it is gone."""
        pid = self.pid(point)
        os.kill(pid, signal.SIGKILL)
        while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split(") ")[1][:1]:
            pass

    def mounts(self) -> list[str]:
        rows = [line.split(" ") for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        return [row[4] for row in rows if row[4].startswith(str(self.path) + "/")]

    def check(self) -> None:
        """Whatever a test did, each volume of a local store and its views are sound."""
        for path in self.store.glob("names/*/*.json"):
            client = Client(self.url, environment=path.parent.name)
            with contextlib.suppress(NotFoundError):  # stale
                found = fsck_volume(client, path.stem, self.state, data=False, repair=False)
                assert not found.problems, [str(problem) for problem in found.problems]

    def clean(self) -> None:
        for point in reversed(self.mounts()):
            subprocess.run(["umount", "-l", point], check=False)
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    command = (entry / "cmdline").read_bytes()
                except OSError:
                    continue
                if os.fsencode(self.path) in command and b"volfs" in command:
                    os.kill(int(entry.name), signal.SIGKILL)
        shutil.rmtree(self.path, ignore_errors=True)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests of a module with STORES run on each of them; those marked `local_store` on a directory only.

    Those on S3 are not part of `make quick`.
    """
    if "backing" in metafunc.fixturenames:
        stores = getattr(metafunc.module, "STORES", ("file",))
        if metafunc.definition.get_closest_marker("local_store"):
            stores = ("file",)
        params = [pytest.param(store, marks=pytest.mark.slow if store != "file" else ()) for store in stores]
        metafunc.parametrize("backing", params, scope="module", ids=None if len(stores) > 1 else [""])


@pytest.fixture(scope="module")
def new_url(backing: str, request: pytest.FixtureRequest) -> Callable[[], str]:
    """Gives a place where no store is yet; "" for a directory of the test's own. *backing* is one of STORES."""
    if backing == "file":
        return str
    server: Weed | Moto = request.getfixturevalue("weed" if backing == "s3" else backing)
    return lambda: server.url(f"t-{os.urandom(8).hex()}")


@pytest.fixture
def host(tmp_path: Path, new_url: Callable[[], str], request: pytest.FixtureRequest) -> Iterator[Host]:
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        pytest.skip("needs root and /dev/fuse")
    host = Host(tmp_path, new_url())
    yield host
    try:
        if not request.node.get_closest_marker("damages") and request.node.path.parent.name == "mount":
            host.check()
    finally:
        host.clean()


@pytest.fixture(scope="session")
def weed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weed]:
    """An S3 server for the whole run."""
    set_credentials()
    server = Weed(tmp_path_factory.mktemp("s3") / "weed")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    """Another implementation of S3, for the whole run."""
    set_credentials()
    server = Moto(tmp_path_factory.mktemp("moto") / "moto")
    yield server
    server.stop()
