"""An S3 server without what volfs needs of one: it overwrites what should only be put if absent. Its clock is off."""

import email.utils
import re
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from xml.sax.saxutils import escape

_TIME = "2026-01-01T00:00:00.000Z"
_ROW = f"<Contents><Key>{{}}</Key><Size>{{}}</Size><ETag>e</ETag><LastModified>{_TIME}</LastModified></Contents>"


class LaxServer:
    """*behind_s*: what its clock lacks. `objects` by "/bucket/key"."""

    def __init__(self, behind_s: float = 0.0) -> None:
        self.objects: dict[str, bytes] = {}
        self.behind_s = behind_s
        server = self

        class Handler(_Handler):
            lax = server

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever)
        self._thread.start()

    @property
    def url(self) -> str:
        endpoint = f"http://127.0.0.1:{self._http.server_port}"
        return f"s3://bucket/lax?allow_http=true&endpoint={endpoint}&region=us-east-1"

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    lax: LaxServer

    def do_PUT(self) -> None:
        self.lax.objects[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(200, b"")

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if query:
            self._list(path, dict(urllib.parse.parse_qsl(query)))
        elif path in self.lax.objects:
            self._answer(200, self.lax.objects[path])
        else:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")

    do_HEAD = do_GET

    def do_POST(self) -> None:
        """DeleteObjects: the only request of this kind."""
        bucket = self.path.partition("?")[0].rstrip("/")
        keys = re.findall(r"<Key>(.*?)</Key>", self.rfile.read(int(self.headers["Content-Length"])).decode())
        for key in keys:
            self.lax.objects.pop(f"{bucket}/{key}", None)
        deleted = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
        self._answer(200, f"<DeleteResult>{deleted}</DeleteResult>".encode())

    def _list(self, bucket: str, query: dict[str, str]) -> None:
        top = bucket.rstrip("/") + "/"
        names = sorted(key.removeprefix(top) for key in self.lax.objects)
        rows = [
            _ROW.format(escape(name), len(self.lax.objects[top + name]))
            for name in names
            if name.startswith(query.get("prefix", "")) and name > query.get("start-after", "")
        ]
        text = f"<ListBucketResult><IsTruncated>false</IsTruncated>{''.join(rows)}</ListBucketResult>"
        self._answer(200, text.encode())

    def _answer(self, code: int, body: bytes) -> None:
        self.send_response(code)
        self.send_header("ETag", '"e"')
        self.send_header("Last-Modified", email.utils.formatdate(time.time() - self.lax.behind_s, usegmt=True))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""
