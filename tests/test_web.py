"""Web servers as they are: without HEAD, ranges, ETags or lengths; signed URLs, redirects, pages with odd names."""

import gzip
import io
import json
import tarfile
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from conftest import encoded, piece_of, tone
from loopback import Loopback

from actors.schema import UsageError
from actors.sources.memory import MemoryBudget
from actors.sources.objects import Reading, ReadSettings, read_objects
from actors.sources.recordings import Recording
from actors.storage.answers import EndpointError, FileTooLarge
from actors.storage.listing import find, glob
from actors.storage.place import Place
from actors.storage.urls import join_url, normal_url, public_url, without_signatures
from jobs.cli.config import Input, Output
from jobs.planning.listing import Listing, list_input

pytestmark = pytest.mark.usefixtures("_tried_at_once")
SECRET = "hunter2"
SIGNED = f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=20260101T000000Z&X-Amz-Expires=60&X-Amz-Signature={SECRET}"


class Server:
    """Serves `files` by their raw paths. Its properties are those of a server that knows everything."""

    def __init__(self) -> None:
        self.files = dict[str, bytes]()
        self.headers: Mapping[str, str] = {"ETag": '"e"', "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}
        self.head_status = 200
        self.has_ranges = self.has_lengths = True
        self.is_gzipped = False
        self.needs_signature = self.needs_login = False
        self.redirects = dict[str, str]()
        self.asked = list[tuple[str, str]]()
        self._server = Loopback(self._answer)
        self.url = self._server.url
        self.close = self._server.close

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        self.asked.append((request.command, request.path))
        url = urlsplit(request.path)
        if request.command == "HEAD" and self.head_status != 200:
            self._send(request, self.head_status)
        elif url.path in self.redirects:
            self._send(request, 302, headers={"Location": self.redirects[url.path]})
        elif self.needs_login and request.headers.get("Authorization") != f"Basic {b64encode(b'me:hunter2').decode()}":
            self._send(request, 401)
        elif self.needs_signature and (
            request.command != "GET" or parse_qs(url.query).get("X-Amz-Signature") != [SECRET]
        ):
            self._send(request, 403)
        else:
            name = next((each for each in (request.path, url.path) if each in self.files), None)
            self._send_file(request, self.files[name]) if name else self._send(request, 404)

    def _send_file(self, request: BaseHTTPRequestHandler, data: bytes) -> None:
        is_page = data.startswith(b"<")
        headers = dict(self.headers) | {"Content-Type": "text/html; charset=utf-8" if is_page else "audio/x-wav"}
        byte_range = request.headers.get("Range")
        if byte_range and self.has_ranges and not is_page:
            first, last = (int(each) for each in byte_range.removeprefix("bytes=").split("-"))
            if first >= len(data):
                self._send(request, 416, headers={"Content-Range": f"bytes */{len(data)}"})
                return
            part = data[first : last + 1]
            headers["Content-Range"] = f"bytes {first}-{first + len(part) - 1}/{len(data)}"
            self._send(request, 206, part, headers)
            return
        if self.is_gzipped:
            data, headers = gzip.compress(data), headers | {"Content-Encoding": "gzip"}
        self._send(request, 200, data, headers)

    def _send(
        self, request: BaseHTTPRequestHandler, status: int, data: bytes = b"", headers: Mapping[str, str] = {}
    ) -> None:
        request.send_response(status)
        is_chunked = status == 200 and not self.has_lengths
        length = {"Transfer-Encoding": "chunked"} if is_chunked else {"Content-Length": str(len(data))}
        for name, value in (dict(headers) | length).items():
            request.send_header(name, value)
        request.end_headers()
        if request.command == "HEAD":
            return
        try:
            request.wfile.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data) if is_chunked and data else data)
        except OSError:  # the client has what it wants
            request.close_connection = True


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    yield found
    found.close()


def listed(uri: str | list[str], **config: Any) -> Listing:
    return list_input(Input(uri=uri, **config), "/nowhere")


def recordings(listing: Listing, config: Input) -> list[Recording]:
    """What is read of a listing's objects, each alone."""
    settings = ReadSettings(storage_options=config.options())
    found = list[Recording]()
    for each in listing.objects:
        found += read_objects([each], Reading(piece_of([each]), settings, MemoryBudget(10**9)))
    return found


SERVERS: dict[str, Callable[[Server], object]] = {
    "one that knows everything": lambda server: None,
    "no ETags": lambda server: setattr(server, "headers", {"Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}),
    "no versions": lambda server: setattr(server, "headers", {}),
    "weak ETags": lambda server: setattr(server, "headers", {"ETag": 'W/"e"'}),
    "HEAD is not allowed": lambda server: setattr(server, "head_status", 405),
    "HEAD is forbidden": lambda server: setattr(server, "head_status", 403),
    "HEAD is not implemented": lambda server: setattr(server, "head_status", 501),
    "no ranges": lambda server: setattr(server, "has_ranges", False),
    "no ranges, no HEAD": lambda server: (setattr(server, "has_ranges", False), setattr(server, "head_status", 405)),
    "no lengths": lambda server: (setattr(server, "has_ranges", False), setattr(server, "has_lengths", False)),
    "compressed": lambda server: (setattr(server, "has_ranges", False), setattr(server, "is_gzipped", True)),
}


@pytest.mark.parametrize("kind", SERVERS)
def test_a_server(server: Server, kind: str, tmp_path: Path) -> None:
    SERVERS[kind](server)
    wav = encoded(tone(0.5))
    server.files = {"/a/x.wav": wav, "/a/empty.wav": b"", "/a/": b'<a href="x.wav">x</a> <a href="?C=N;O=D">Name</a>'}
    for uri in (f"{server.url}/a/x.wav", f"{server.url}/a"):
        config = Input(uri=uri)
        listing = list_input(config, "/nowhere")
        (read,) = recordings(listing, config)
        assert (read.content, read.uri, read.etag) == (wav, f"{server.url}/a/x.wav", listing.objects[0].etag)
        assert listing.objects == list_input(config, "/nowhere").objects
    place = Place.at(f"{server.url}/a/x.wav")
    assert place.info().size == (None if kind in ("no lengths", "compressed") else len(wav))
    assert (place.read_range(0, 100), place.read_range(1_000, 2_000)) == (wav[:100], wav[1_000:2_000])
    assert place.read_range(len(wav), len(wav) + 9) == b""
    assert place.open(1_000).read() == wav
    place.copy_to(str(tmp_path / "copy"), 10**6)
    assert (tmp_path / "copy").read_bytes() == wav
    with pytest.raises(FileTooLarge):
        place.copy_to(str(tmp_path / "copy"), 1_000)
    assert (place.exists(), Place.at(f"{server.url}/none").exists()) == (True, False)
    assert Place.at(f"{server.url}/a/empty.wav").info().size in (0, None)
    place.check_access()


def test_a_tar_is_read_from_a_server_without_ranges(server: Server) -> None:
    server.has_ranges = False
    file, wav = io.BytesIO(), encoded(tone(0.5))
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name in ("a.wav", "b.wav"):
            member = tarfile.TarInfo(name)
            member.size = len(wav)
            archive.addfile(member, io.BytesIO(wav))
    server.files = {"/x.tar": file.getvalue()}
    config = Input(uri=f"{server.url}/x.tar", limit=3)
    assert [each.member for each in recordings(list_input(config, "/nowhere"), config)] == ["a.wav", "b.wav"]


def test_signed_urls(server: Server) -> None:
    server.needs_signature = True
    server.files = {f"/a{number}.wav": encoded(tone(0.5 + number)) for number in range(3)}
    server.files |= {f"/get.wav?id={number}&{SIGNED}": encoded(tone(3 + number)) for number in range(2)}
    uris = [f"{server.url}/a{number}.wav?{SIGNED}" for number in range(3)]
    uris += [f"{server.url}/get.wav?id={number}&{SIGNED}" for number in range(2)]
    config = Input(uri=uris)
    listing = list_input(config, "/nowhere")
    assert [each.uri.removeprefix(server.url) for each in listing.objects] == [
        *(f"/a{number}.wav" for number in range(3)),
        *(f"/get.wav?id={number}" for number in range(2)),
    ]
    assert [each.content for each in recordings(listing, config)] == list(server.files.values())
    assert SECRET not in repr(listing.objects)
    assert SECRET not in str(Place.at(uris[0], config.options()).path)
    signed_later = [uri.replace("20260101", "20270101") for uri in uris]
    assert list_input(Input(uri=signed_later[:3]), "/nowhere").objects == listing.objects[:3]


@pytest.mark.parametrize("kind", ["signature", "login"])
def test_a_signed_folder(server: Server, kind: str) -> None:
    server.needs_signature, server.needs_login = kind == "signature", kind == "login"
    wav = encoded(tone(0.5))
    server.files = {"/a/": b'<a href="x%20.wav"><a href="b/">', "/a/b/": b'<a href="y.wav">', "/a/x%20.wav": wav}
    server.files |= {"/a/b/y.wav": wav}
    uri = f"{server.url}/a/?{SIGNED}" if kind == "signature" else f"{server.url}/a/".replace("://", "://me:hunter2@")
    config = Input(uri=uri)
    listing = list_input(config, "/nowhere")
    assert SECRET not in repr(listing.objects)
    assert [each.uri.removeprefix(server.url) for each in listing.objects] == ["/a/b/y.wav", "/a/x%20.wav"]
    assert [each.content for each in recordings(listing, config)] == [wav] * 2
    with pytest.raises(PermissionError, match=rf"{server.url}/other\.wav: responded with 40[13]"):
        Place.at(f"{server.url}/other.wav", config.options()).read()


def test_a_manifest_of_urls(server: Server) -> None:
    server.needs_signature = True
    wav = encoded(tone(0.5))
    names = ["/m/b%20c.wav", "/m/d%23.wav", "/m/e%3F.wav", "/m/x.wav", "/other/y.wav"]
    server.files = dict.fromkeys(names, wav)
    lines = ["b c.wav", "d#.wav", "e?.wav", f"{server.url}/m/x.wav?{SIGNED}", f"{server.url}/other/y.wav?{SIGNED}"]
    lines += [f"{server.url}/elsewhere/z.wav?{SIGNED}"]
    server.files["/m/manifest.jsonl"] = "\n".join(json.dumps({"audio_filepath": each}) for each in lines).encode()
    config = Input(uri=f"{server.url}/m/manifest.jsonl?{SIGNED}", allowed_roots=[f"{server.url}/other"])
    listing = list_input(config, "/nowhere")
    assert [each.uri.removeprefix(server.url) for each in listing.objects] == ["/elsewhere/z.wav", *names]
    refusals = [each.refusal and each.refusal[0] for each in listing.objects]
    assert refusals == ["outside_input", None, None, None, None, None]
    signed = Listing([listing.objects[0], *listing.objects[4:]])
    assert [each.content for each in recordings(signed, config)[1:]] == [wav] * 2
    server.needs_signature = False
    read = recordings(listing, config)
    assert [each.content for each in read[1:]] == [wav] * 5
    for each in read:
        assert SECRET not in f"{each.recording_id} {each.uri} {each.extra} {each.reference} {each.content!r}"
    versions = [each.text_version for each in listing.objects]
    server.files["/m/manifest.jsonl"] = server.files["/m/manifest.jsonl"].replace(b"20260101", b"20270101")
    assert [each.text_version for each in list_input(config, "/nowhere").objects] == versions


def test_redirects(server: Server) -> None:
    wav = encoded(tone(0.5))
    other = Server()
    try:
        other.files = {"/stored/x.wav": wav}
        server.redirects = {"/a.wav": f"{other.url}/stored/x.wav?{SIGNED}", "/loop.wav": f"/loop.wav?{SIGNED}"}
        config = Input(uri=f"{server.url}/a.wav")
        (read,) = recordings(list_input(config, "/nowhere"), config)
        assert (read.uri, read.content) == (f"{server.url}/a.wav", wav)
    finally:
        other.close()
    for call in (Place.info, Place.read):
        with pytest.raises(EndpointError, match=r"/loop\.wav: TooManyRedirects") as told:
            call(Place.at(f"{server.url}/loop.wav"))
        assert SECRET not in str(told.value)


PAGES = {
    "Apache": """<html><head><title>Index of /a</title></head><body><h1>Index of /a</h1><table><tr>
<th><a href="?C=N;O=D">Name</a></th><th><a href="?C=M;O=A">Last modified</a></th></tr>
<tr><td><a href="/">Parent Directory</a></td></tr><tr><td><a href="one%20two.wav">one two.wav</a></td></tr>
<tr><td><a href="what%3f.wav">what?.wav</a></td></tr><tr><td><a href="sub/">sub/</a></td></tr></table></body></html>""",
    "nginx": """<html><head><title>Index of /a/</title></head><body><pre><a href="../">../</a>
<a href="sub/">sub/</a>   01-Jan-2026 00:00   -
<a href="one%20two.wav">one two.wav</a>  01-Jan-2026 00:00  3
<a href="what%3F.wav">what?.wav</a> 01-Jan-2026 00:00  3
</pre></body></html>""",
    "another": """<HTML><A class=x HREF = '/a/one two.wav'>1</A><a href=what%3F.wav>
<a href="sub/#top"><a href="./sub/">""",
}


@pytest.mark.parametrize("kind", PAGES)
def test_index_pages(server: Server, kind: str) -> None:
    server.files = {"/a": PAGES[kind].encode(), "/a/": PAGES[kind].encode()}
    server.files["/a/sub/"] = b"""<a href="it's.wav">1</a><a href='x%2Fy.wav?download=1'>2</a><a href="gone.wav">3</a>
<a href="%23&amp;%e4%bb%8a.wav">4</a>"""
    names = ["/a/one%20two.wav", "/a/what%3F.wav", "/a/sub/it's.wav", "/a/sub/x%2Fy.wav", "/a/sub/%23&%E4%BB%8A.wav"]
    server.files |= dict.fromkeys(names, b"abc")
    if kind == "Apache":  # it serves either form
        server.files["/a/what%3f.wav"] = b"abc"
    root = Place.at(f"{server.url}/a/")
    found = {each.path.removeprefix(server.url): (each.size, each.version, each.fault) for each in find(root)}
    assert found == dict.fromkeys(names, (3, "e", "")) | {"/a/sub/gone.wav": (0, "", "dangling")}
    assert [each.path for each in glob(Place.at(f"{server.url}/a/*/*今*.wav"))] == [f"{server.url}{names[-1]}"]
    assert all("C=" not in path for _, path in server.asked)


def test_a_page_that_is_no_folder(server: Server) -> None:
    server.files = {"/a/list.html": b'<a href="x.wav">1</a><a href="list.html"><a href="../z.wav">', "/a/x.wav": b"abc"}
    assert [each.path for each in find(Place.at(f"{server.url}/a/list.html"))] == [f"{server.url}/a/x.wav"]


def test_urls() -> None:
    assert normal_url("HTTP://Host:80/a b/%41%2f%e4?q=a b#part") == "http://host:80/a%20b/A%2F%E4?q=a%20b"
    assert normal_url("http://h/100%.wav") == "http://h/100%25.wav"
    for url, public in {
        "http://h/a?id=1": "http://h/a?id=1",
        "http://me:pw@h/a": "http://h/a",
        "http://h/a?AWSAccessKeyId=A&Expires=1&Signature=s&versionId=v": "http://h/a?versionId=v",
        "http://h/a?sv=1&se=2&sr=b&sp=r&sig=s": "http://h/a",
        "http://h/a?X-Goog-Date=1&X-Goog-Signature=s": "http://h/a",
        "http://h/a?expires=1": "http://h/a?expires=1",  # of no signature
        "http://h/a?key=x/1.wav": "http://h/a?key=x/1.wav",
        "http://h/a?key=AIza123": "http://h/a",
        "http://h/a;token=t/b;v=2": "http://h/a/b;v=2",
    }.items():
        assert public_url(url) == public
        assert public_url(public) == public
    text = f"'http://h/a.wav?{SIGNED}' and http://h/b.wav?id=1 and s3://b/c?d"
    assert without_signatures(text) == "'http://h/a.wav' and http://h/b.wav?id=1 and s3://b/c?d"
    assert join_url("http://h/a", "/b?x.wav") == "http://h/b%3Fx.wav"
    assert join_url("http://h/a/", "b?id=1") == "http://h/a/b?id=1"


def test_what_cannot_be_used(server: Server) -> None:
    with pytest.raises(UsageError, match="HTTP cannot be written to"):
        Output(uri=f"{server.url}/out").place()
    with pytest.raises(UsageError, match="HTTP cannot be written to"):
        Place.at(f"{server.url}/out").write(b"")
    for uri, advice in {
        "gs://b/a": "gs:// needs the package gcsfs on every machine: pip install gcsfs",
        "gcs://b/a": "needs the package gcsfs",
        "abfss://c@a/b": "needs the package adlfs",
        "az://c/b": "needs the package adlfs",
        "sftp://h/b": "needs the package paramiko",
        "oss://b/a": "needs the package ossfs",
        "webhdfs://h/a": "webhdfs:// needs more than a URL: host in storage_options",
        "cos://b/a": "no storage has the protocol cos",
        f"zip::http://h/a?{SIGNED}": "chained URLs are not read",
    }.items():
        with pytest.raises(UsageError) as told:
            Place.at(uri)
        assert advice in str(told.value)
        assert SECRET not in str(told.value)
