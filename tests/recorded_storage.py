"""A stand-in for S3: serves a recorded listing page by page, each late by a stated time, and keeps what is put.

python tests/recorded_storage.py RECORDING.arrow 0.05
"""

import base64
import bisect
import hashlib
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import pyarrow as pa
from loopback import Loopback

BUCKET = "bucket"
WRITTEN = datetime(2026, 1, 1, tzinfo=UTC)
Recorded = tuple[str, int, str]  # key, size in bytes, ETag


class RecordedStorage:
    """Serves ListObjectsV2, GET, PUT, HEAD and DELETE of one bucket on loopback at `url`."""

    def __init__(self, recording: Iterable[Recorded], latency_s: float = 0.0, page: int = 1_000) -> None:
        self.page = page
        self._latency_s = latency_s
        self.record(recording)
        self._lock = threading.Lock()
        self._server = Loopback(self._answer)
        self.url = self._server.url

    def record(self, recording: Iterable[Recorded]) -> None:
        """From now on this is what lies there."""
        self.pages = 0  # served
        self._recorded = {key: (size, etag) for key, size, etag in recording}
        self._keys = sorted(self._recorded)
        self._stored = dict[str, bytes]()

    def close(self) -> None:
        self._server.close()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        url = urlsplit(request.path)
        key, asked = unquote(url.path).removeprefix(f"/{BUCKET}").lstrip("/"), parse_qs(url.query)
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        if not key:
            time.sleep(self._latency_s)
            self._send(request, 200, self._listing(*(asked.get(name, [""])[0] for name in ASKED)).encode())
        elif request.command == "PUT":
            self._put(key, body)
            self._send(request, 200)
        elif key not in self._stored:
            self._send(request, 404)
        elif request.command == "DELETE":
            with self._lock:
                del self._stored[key]
                self._keys.remove(key)
            self._send(request, 204)
        else:
            self._send(request, 200, self._stored[key], self._recorded[key][1])

    def _put(self, key: str, body: bytes) -> None:
        with self._lock:
            if key not in self._stored:
                bisect.insort(self._keys, key)
            self._recorded[key], self._stored[key] = (len(body), hashlib.md5(body).hexdigest()), body

    def _send(self, request: BaseHTTPRequestHandler, status: int, body: bytes = b"", etag: str = "") -> None:
        request.send_response(status)
        request.send_header("ETag", f'"{etag}"')
        request.send_header("Last-Modified", format_datetime(WRITTEN, usegmt=True))
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(body)

    def _listing(self, prefix: str, delimiter: str, token: str) -> str:
        self.pages += 1
        after = base64.b64decode(token).decode() if token else prefix
        parts, shown = list[str](), after
        found = self._below(prefix, delimiter, after)
        for number, (name, is_folder) in enumerate(found):
            if number == self.page:
                token = base64.b64encode(shown.encode()).decode()
                parts.append(f"<NextContinuationToken>{token}</NextContinuationToken>")
                break
            shown = name + "\U0010ffff" if is_folder else name + "\0"
            if is_folder:
                parts.append(f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>")
                continue
            size, etag = self._recorded[name]
            parts.append(
                f"<Contents><Key>{escape(name)}</Key><LastModified>{WRITTEN:%Y-%m-%dT%H:%M:%S}.000Z</LastModified>"
                f"<ETag>&quot;{etag}&quot;</ETag><Size>{size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
            )
        name_space = "http://s3.amazonaws.com/doc/2006-03-01/"
        return f'<?xml version="1.0"?><ListBucketResult xmlns="{name_space}">{"".join(parts)}</ListBucketResult>'

    def _below(self, prefix: str, delimiter: str, after: str) -> Iterator[tuple[str, bool]]:
        """Keys and folders from a key on, in their order, and whether each is a folder."""
        at = bisect.bisect_left(self._keys, after)
        while at < len(self._keys) and self._keys[at].startswith(prefix):
            name, slash, _ = self._keys[at][len(prefix) :].partition("/")
            if delimiter and slash:
                yield prefix + name + "/", True
                at = bisect.bisect_left(self._keys, prefix + name + "/\U0010ffff")
            else:
                yield self._keys[at], False
                at += 1


ASKED = ("prefix", "delimiter", "continuation-token")

if __name__ == "__main__":
    table = pa.ipc.open_file(pa.memory_map(sys.argv[1])).read_all()
    server = RecordedStorage(zip(*(column.to_pylist() for column in table.columns), strict=True), float(sys.argv[2]))
    print(server.url, flush=True)
    sys.stdin.read()  # until whoever started it goes
