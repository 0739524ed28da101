"""Many hosts commit to one volume at once, on a store that fails. `python -m tests.mount.hosts SECONDS SEED [HOSTS]`.

Each host is a daemon in a network namespace of its own, with its own state and cache. It writes and removes files of
its own and files that all share, commits, reloads, is killed and mounted again, while a proxy before the store delays,
cuts, loses, refuses, shortens and falsifies answers, and the store is away now and then. In the end the log has every
acknowledged commit once, no attempt twice, and its tree is that of a naive replay: tests/mount/journal.py.
"""

import contextlib
import errno
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import Host
from tests.mount.journal import Attempt, Based, Journal, Tree, Verdict, content, difference, judge, tag_of
from tests.mount.network import Network
from tests.proxy import Proxy
from tests.s3 import Weed, set_credentials
from volfs import Client, Volume

HOSTS = 16
RATES = {"delay": 0.03, "reset": 0.02, "lost": 0.03, "error": 0.03, "truncate": 0.02, "corrupt": 0.02}
STORE_TIMEOUT_S = 5  # short: some calls have to fail
OWN, SHARED = 5, 12


class Site(threading.Thread):
    """One host at work, from when all are mounted until *stop* is set. What it did stands in `journal`, a failure of
    the test in `error`."""

    def __init__(self, name: str, host: Host, seed: int, mounted: threading.Barrier, stop: threading.Event) -> None:
        super().__init__(name=name)
        self.host = host
        self.journal = Journal()
        self.counts: Counter[str] = Counter()
        self.error: BaseException | None = None
        self._chance = random.Random(seed)
        self._mounted = mounted
        self._stop_work = stop
        self._shown: Tree = {}
        self._made = 0
        self._committed = True  # nothing was changed since
        self.point = host.path / "m"

    def run(self) -> None:
        try:
            self.point.mkdir(parents=True)
            self._mount()
            self._mounted.wait()
            while not self._stop_work.is_set():
                self._step()
        except BaseException as error:  # noqa: BLE001 - told by the test
            self.error = error
            self._mounted.abort()

    def last_commit(self) -> None:
        """Of what is left; the store does no wrong any more."""
        self._write()
        self._commit()
        assert self._committed, "a commit failed without a fault"

    def _step(self) -> None:
        for _ in range(self._chance.choice((1, 1, 2, 4))):
            self._change()
        if self._chance.random() < 0.06:
            with self._killing():
                self._commit()
        else:
            self._commit()
        if self._committed and self._chance.random() < 0.3:
            if self._chance.random() < 0.1:
                with self._killing():
                    self._reload()
            elif (seq := self._reload()) is not None:
                self._shown = self._tree()
                self.journal.events.append(Based(seq, dict(self._shown)))

    # --- changes

    def _change(self) -> None:
        mine = [path for path in sorted(self._shown) if path.startswith((f"{self.name}/f", "shared/"))]
        if mine and self._chance.random() < 0.2:
            self._remove(self._chance.choice(mine))
        else:
            self._write()

    def _path(self) -> str:
        if self._chance.random() < 0.5:
            return f"{self.name}/f{self._chance.randrange(OWN)}"
        n = self._chance.randrange(SHARED)
        return f"shared/d{n % 3}/s{n}"

    def _write(self) -> None:
        path, tag = self._path(), f"{self.name}-{self._made}"
        self._made += 1
        target = self.point / path
        data = content(tag)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if self._chance.random() < 0.5:
                target.write_bytes(data)  # in place
            else:
                fresh = target.with_name(f".{self.name}.new")
                fresh.write_bytes(data)
                fresh.rename(target)
        except OSError:
            self.counts["refused"] += 1
            self._look_again()
        else:
            self._shown[path] = tag
        self._committed = False

    def _remove(self, path: str) -> None:
        try:
            (self.point / path).unlink()
        except OSError:
            self.counts["refused"] += 1
            self._look_again()
        else:
            del self._shown[path]
        self._committed = False

    def _look_again(self) -> None:
        """After a call that failed in the middle: what the view shows is what it shows."""
        self._shown = self._tree()

    def _tree(self) -> Tree:
        return tree_of(self.point, self.counts)

    # --- verbs

    def _commit(self) -> None:
        message = f"{self.name}:{len(self.journal.events)}"
        shown = dict(self._shown)
        seq = None
        try:
            answer = json.loads(os.getxattr(self.point, f"user.volfs.commit.m.{message}"))
            seq = answer["seq"] or 0
            self._committed = True
            self.counts["acknowledged"] += 1
        except OSError:
            self.counts["not acknowledged"] += 1
        self.journal.events.append(Attempt(message, shown, seq))

    def _reload(self) -> int | None:
        """The commit that the view stands on now; None when the reload failed."""
        try:
            answer = json.loads(os.getxattr(self.point, "user.volfs.reload"))
        except OSError:
            self.counts["reloads failed"] += 1
            return None
        assert answer["committed"] is None, answer
        self.counts["reloads"] += 1
        return int(answer["new"])

    # --- deaths

    @contextlib.contextmanager
    def _killing(self) -> Iterator[None]:
        """The daemon is killed at some moment of what is done inside, or after it, and mounted again."""
        pid = self.host.pid_of(self.point)
        timer = threading.Timer(self._chance.random() * 0.5, os.kill, (pid, signal.SIGKILL))
        timer.start()
        yield
        timer.join()
        self.counts["killed"] += 1
        self._mount(dict(self._shown))

    def _mount(self, kept: Tree | None = None) -> None:
        """*kept*: what the view showed when its daemon was killed."""
        while self.host.run("mount", "v", self.point, check=None).returncode:
            self.counts["mounts failed"] += 1
            time.sleep(0.2)
        status = json.loads(os.getxattr(self.point, "user.volfs.status"))
        self._shown = self._tree()
        self._committed = not status["changes"]
        if self._committed:
            self.journal.events.append(Based(status["base"], dict(self._shown), kept))
        else:
            assert self._shown == kept, f"{self.name}: answered writes are lost: {difference(kept or {}, self._shown)}"


def tree_of(point: Path, counts: Counter[str]) -> Tree:
    """All that a mount shows, verified; waits for a store that is away."""
    while True:
        try:
            found: Tree = {}
            for above, _, names in os.walk(point, onerror=_raise):
                for name in names:
                    path = os.path.join(above, name)
                    with open(path, "rb") as file:
                        found[os.path.relpath(path, point)] = tag_of(file.read())
            counts["files read"] += len(found)
            return found
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            counts["read again"] += 1
            time.sleep(0.2)


def _raise(error: OSError) -> None:
    raise error


@dataclass(frozen=True)
class Figures:
    seconds: float
    hosts: int
    verdict: Verdict
    counts: Counter[str]
    faults: Counter[str]
    requests: int
    files: int

    def __str__(self) -> str:
        verdict, counts = self.verdict, self.counts
        tried = counts["acknowledged"] + counts["not acknowledged"]
        rows = [
            ("hosts, seconds", f"{self.hosts}, {self.seconds:.0f}"),
            ("requests", f"{self.requests}"),
            ("faults", ", ".join(f"{kind} {count}" for kind, count in sorted(self.faults.items()))),
            ("commits tried", f"{tried}: {counts['acknowledged']} acknowledged"),
            ("not acknowledged", f"{counts['not acknowledged']}, of which {verdict.surprising} came to be"),
            ("commits in the log", f"{verdict.commits}"),
            ("daemons killed", f"{counts['killed']}"),
            ("reloads", f"{counts['reloads']}, {counts['reloads failed']} failed"),
            ("files read and compared", f"{counts['files read']}, {self.files} in the end"),
            ("acknowledged and lost", f"{len(verdict.lost)} {verdict.lost[:5] or ''}"),
            ("committed twice", f"{len(verdict.twice)} {verdict.twice[:5] or ''}"),
            ("views unlike the replay", "\n".join([f"{len(verdict.wrong)}", *verdict.wrong[:5]])),
        ]
        return "\n".join(f"{name:25} {value}".rstrip() for name, value in rows)


def run(path: Path, weed: Weed, seconds: float, seed: int, hosts: int = HOSTS) -> Figures:
    """Raises AssertionError, and what a host failed with."""
    names = [f"h{n}" for n in range(hosts)]
    prefix = f"hosts-{time.time_ns()}"
    first = {f"{name}/first": f"{name}-first" for name in names} | {f"shared/d{n}/first": f"d-{n}" for n in range(3)}
    client = Client(weed.url(prefix), cache_dir=path / "cache")
    volume = Volume.from_name("v", create_if_missing=True, client=client)
    with volume.batch_upload() as batch:
        for file, tag in first.items():
            batch.put_file(io.BytesIO(content(tag)), file)
    stop, mounted = threading.Event(), threading.Barrier(hosts + 1)
    sites: list[Site] = []
    with Network(hosts) as network, Proxy(weed.endpoint, seed=seed, address=network.address) as proxy:
        try:
            for name, elsewhere in zip(names, network.prefixes, strict=True):
                host = Host(path / name, weed.url(prefix, proxy.endpoint))
                host.prefix = elsewhere
                host.env["VOLFS_STORE_TIMEOUT"] = str(STORE_TIMEOUT_S)
                sites.append(Site(name, host, seed * 1000 + len(sites), mounted, stop))
            for site in sites:
                site.start()
            with contextlib.suppress(threading.BrokenBarrierError):
                mounted.wait()
            started = time.monotonic()
            proxy.rates = dict(RATES)
            _be_away_now_and_then(proxy, started + seconds, sites)
            stop.set()
            for site in sites:
                site.join()
            proxy.rates = {}
            failures = [f"{site.name}: {site.error!r}" for site in sites if site.error is not None]
            assert not failures, failures
            for site in sites:
                site.last_commit()
            took = time.monotonic() - started
            reader = Host(path / "reader", weed.url(prefix))
            reader.path.mkdir()
            try:
                final = tree_of(reader.mount(), Counter())
                reader.run("fsck", "v", "--data")
            finally:
                reader.clean()
        finally:
            stop.set()
            for site in sites:
                site.host.clean()
    log = [(commit.number, commit.message) for commit in volume.log()][::-1]
    verdict = judge(first, log, {site.name: site.journal for site in sites}, final)
    counts = sum((site.counts for site in sites), Counter[str]())
    return Figures(took, hosts, verdict, counts, proxy.faults, sum(proxy.requests.values()), len(final))


def _be_away_now_and_then(proxy: Proxy, end: float, sites: list[Site]) -> None:
    """Until *end*; longer than a request is tried."""
    while time.monotonic() < end and not any(site.error for site in sites):
        time.sleep(min(12.0, max(0.0, end - time.monotonic())))
        proxy.away = True
        time.sleep(STORE_TIMEOUT_S + 2)
        proxy.away = False
        time.sleep(min(30.0, max(0.0, end - time.monotonic())))


def check(figures: Figures) -> None:
    verdict = figures.verdict
    assert not verdict.lost and not verdict.twice and not verdict.wrong, str(figures)


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 240
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 20)
    hosts = int(sys.argv[3]) if len(sys.argv) > 3 else HOSTS
    print(f"seed {seed}", flush=True)
    set_credentials()
    path = Path(tempfile.mkdtemp(prefix="volfs-hosts-")).resolve()
    weed = Weed(path / "weed")
    try:
        figures = run(path, weed, seconds, seed, hosts)
    finally:
        weed.stop()
        shutil.rmtree(path, ignore_errors=True)
    print(figures)
    check(figures)


if __name__ == "__main__":
    main()
