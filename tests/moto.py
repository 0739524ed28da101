"""A second implementation of S3 with conditional puts: moto. `python -m tests.moto` serves it until killed.

It checks a condition and puts afterwards, in threads: of 16 puts at once more than one might be first. Here one request
is answered at a time, as by a store that keeps its word.
"""

import shutil
import subprocess
import sys
import threading
import urllib.parse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tests.s3 import BUCKET, credentials


class Moto:
    """In memory, on a free port of this machine."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True)
        self._log = open(directory / "log", "wb")  # noqa: SIM115 - closed by stop
        command = [sys.executable, "-m", "tests.moto"]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self._log, text=True, cwd=Path(__file__).parents[1]
        )
        assert self._process.stdout is not None
        self.endpoint = self._process.stdout.readline().strip()
        if not self.endpoint:
            log = (directory / "log").read_text()[-2000:]
            self.stop()
            raise RuntimeError(f"moto does not start: {log}")

    def url(self, prefix: str, endpoint: str | None = None) -> str:
        """The URL of a store below *prefix*, in its one form."""
        where = urllib.parse.quote(endpoint or self.endpoint, safe="")
        return f"s3://{BUCKET}/{prefix}?allow_http=true&endpoint={where}&region=us-east-1"

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._log.close()
        shutil.rmtree(self.directory, ignore_errors=True)


class _OneAtATime:
    def __init__(self, app: Any) -> None:
        self._app = app
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        with self._lock:
            return list(self._app(environ, start_response))


def main() -> None:
    import boto3
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    app = _OneAtATime(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, app, threaded=True)  # type: ignore[arg-type]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    who = credentials()
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=who["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=who["AWS_SECRET_ACCESS_KEY"],
    )
    client.create_bucket(Bucket=BUCKET)
    print(endpoint, flush=True)
    thread.join()


if __name__ == "__main__":
    main()
