"""A real S3 server for tests: SeaweedFS, started once a run, on free ports of this machine."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

KEY, SECRET, BUCKET = "volfs-test-key", "volfs-test-secret", "volfs-tests"
_SOCKETS = Path("/tmp")
_WEED = Path(sys.executable).with_name("weed")


def free_ports(count: int) -> list[int]:
    """Ports whose gRPC sisters, 10,000 above, are free, too."""
    found: list[int] = []
    while len(found) < count:
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            if port + 10_000 > 65_535 or port in found:
                continue
            try:
                other.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
            found.append(port)
    return found


class Weed:
    """`weed server -s3` in a directory of its own, with room for *volumes* files of 256 MiB."""

    def __init__(self, directory: Path, volumes: int = 100) -> None:
        self.directory = directory
        master, volume, self.filer, self.port, self.metrics = self._ports = free_ports(5)
        identity = {
            "name": "volfs",
            "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
            "actions": ["Admin", "Read", "List", "Write"],
        }
        directory.mkdir(parents=True)
        (directory / "data").mkdir()
        (directory / "s3.json").write_text(json.dumps({"identities": [identity]}))
        command = [str(_WEED), "server", f"-dir={directory}/data", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
        command += [f"-master.port={master}", f"-volume.port={volume}", "-filer", f"-filer.port={self.filer}"]
        command += [f"-volume.max={volumes}", "-master.volumeSizeLimitMB=256"]
        command += ["-s3", f"-s3.port={self.port}", f"-s3.config={directory}/s3.json"]
        command += [f"-metricsPort={self.metrics}", "-metricsIp=127.0.0.1"]
        command += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"]
        self._log = open(directory / "log", "wb")  # noqa: SIM115 - closed by stop
        self._process = subprocess.Popen(command, stdout=self._log, stderr=subprocess.STDOUT, cwd=directory)
        self._wait()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def url(self, prefix: str, endpoint: str | None = None) -> str:
        """The URL of a store below *prefix*, in its one form."""
        where = urllib.parse.quote(endpoint or self.endpoint, safe="")
        return f"s3://{BUCKET}/{prefix}?allow_http=true&endpoint={where}&region=us-east-1"

    def _wait(self) -> None:
        deadline = time.monotonic() + 90
        waiting = [f"http://127.0.0.1:{self.filer}/", self.endpoint]
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                urllib.request.urlopen(waiting[0], timeout=2).close()
            except urllib.error.HTTPError:
                pass  # it answers
            except OSError:
                time.sleep(0.1)
                continue
            del waiting[0]
            if not waiting:
                return
        log = (self.directory / "log").read_text()[-2000:]
        self.stop()
        raise RuntimeError(f"weed does not answer: {log}")

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()
        shutil.rmtree(self.directory, ignore_errors=True)
        for port in self._ports:  # weed makes sockets there, whatever it is told, and leaves them
            for number in (port, port + 10_000):
                for path in _SOCKETS.glob(f"seaweedfs-*-{number}.sock"):
                    path.unlink(missing_ok=True)


def credentials() -> dict[str, str]:
    """For the environment of who uses the server."""
    return {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}


def set_credentials() -> None:
    os.environ.update(credentials())
