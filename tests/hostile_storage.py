"""An S3 server that says what a test wants it to: pages that lie, sizes that cannot be, ranges it was not asked for."""

from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from conftest import S3_KEY, S3_SECRET
from loopback import Loopback

from actors.storage.place import Place

WRITTEN = "2026-01-01T00:00:00.000Z"


class Asked(NamedTuple):
    """A request: `number` counts those before it; the rest is as S3 names it."""

    method: str
    key: str
    prefix: str
    delimiter: str
    token: str
    number: int


class Answer(NamedTuple):
    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = {}  # noqa: RUF012 - never changed; Content-Length is the body's, unless given
    endless: bool = False  # the body is sent again and again, in chunks


class HostileStorage:
    """Answers every request with what `answer` says; `options` are those of a client that talks to it."""

    def __init__(self, answer: Callable[[Asked], Answer]) -> None:
        self.requests, self.sent = list[Asked](), 0
        self._answer = answer
        self._server = Loopback(self._handle)
        self.url = self._server.url
        self.options = {"endpoint_url": self.url, "key": S3_KEY, "secret": S3_SECRET, "skip_instance_cache": True}

    def place(self, path: str = "a") -> Place:
        return Place.at(f"s3://bucket/{path}", self.options)

    def close(self) -> None:
        self._server.close()

    def _handle(self, request: BaseHTTPRequestHandler) -> None:
        url = urlsplit(request.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        key = unquote(url.path).removeprefix("/bucket").lstrip("/")
        named = (query.get(name, "") for name in ("prefix", "delimiter", "continuation-token"))
        asked = Asked(request.command, key, *named, len(self.requests))
        self.requests.append(asked)
        answer = self._answer(asked)
        request.send_response(answer.status)
        headers = {"Transfer-Encoding": "chunked"} if answer.endless else {"Content-Length": str(len(answer.body))}
        for name, value in (headers | answer.headers).items():
            if value:
                request.send_header(name, value)
        request.end_headers()
        if request.command == "HEAD":
            return
        try:
            while answer.endless:
                request.wfile.write(b"%x\r\n%b\r\n" % (len(answer.body), answer.body))
                self.sent += len(answer.body)
            request.wfile.write(answer.body)
        except OSError:  # the client has had enough
            request.close_connection = True


Serve = Callable[[Callable[[Asked], Answer]], HostileStorage]


def page(
    *keys: str, prefixes: tuple[str, ...] = (), token: str = "", truncated: str = "", size: str = "3", etag: str = "e"
) -> Answer:
    """A page of a listing."""
    parts = [f"<IsTruncated>{truncated or ('true' if token else 'false')}</IsTruncated>"]
    parts += [f"<NextContinuationToken>{token}</NextContinuationToken>"] if token else []
    tag = f"<ETag>{etag}</ETag>" if etag else ""
    parts += [
        f"<Contents><Key>{key}</Key><Size>{size}</Size>{tag}<LastModified>{WRITTEN}</LastModified></Contents>"
        for key in keys
    ]
    parts += [f"<CommonPrefixes><Prefix>{prefix}</Prefix></CommonPrefixes>" for prefix in prefixes]
    return Answer(f"<ListBucketResult>{''.join(parts)}</ListBucketResult>".encode())
