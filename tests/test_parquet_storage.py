"""Parquet shards in storage that fails, or does not say how large they are."""

import io
import re
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import encoded, tone
from loopback import Loopback

from actors.pieces import Cut, cut_unit
from actors.reader import read_piece
from actors.sources import objects, parquet
from actors.sources.objects import ReadSettings
from actors.units import Format, SourceObject, Unit

pytestmark = pytest.mark.usefixtures("_tried_at_once")


@pytest.fixture(scope="module")
def shard() -> bytes:
    sink = io.BytesIO()
    audio = [encoded(tone(seconds), kind="FLAC") for seconds in (0.5, 0.7, 0.9)]
    pq.write_table(pa.table({"id": ["a", "b", "c"], "audio": audio}), sink, row_group_size=1)
    return sink.getvalue()


class Web:
    """A server of one file, over HTTP with ranges; it gives nothing from the request of number `fails_from` on."""

    def __init__(self, data: bytes, tells_size: bool = True) -> None:
        self.data, self.tells_size, self.fails_from, self.asked = data, tells_size, 1_000, 0
        self._server = Loopback(self._handle)
        self.url, self.close = self._server.url + "/a.parquet", self._server.close

    def _handle(self, request: BaseHTTPRequestHandler) -> None:
        self.asked += 1
        if self.asked > self.fails_from:
            request.send_error(503)
            return
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("Range", ""))
        first, last = (int(wanted[1]), int(wanted[2])) if wanted else (0, len(self.data) - 1)
        body = self.data[first : last + 1]
        request.send_response(206 if wanted else 200)
        if wanted:
            request.send_header("Content-Range", f"bytes {first}-{first + len(body) - 1}/{len(self.data)}")
        request.send_header("ETag", '"e"')
        if self.tells_size:
            request.send_header("Content-Length", str(len(body)))
        else:
            request.send_header("Transfer-Encoding", "chunked")
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(body)


@pytest.fixture
def web() -> Iterator[Callable[..., Web]]:
    opened = list[Web]()

    def start(data: bytes, tells_size: bool = True) -> Web:
        opened.append(Web(data, tells_size))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


def rows_of(url: str, kind: Format = "parquet") -> pa.Table:
    source = SourceObject(url, url, "a.parquet", kind, None, 0)
    unit = Unit("a" * 16, "b" * 24, (source,))
    return read_piece(cut_unit(unit, Cut(60))[0], ReadSettings(storage_options={"skip_instance_cache": True}))


def test_what_the_storage_does_not_give_is_no_fault_of_the_file(
    web: Callable[..., Web], shard: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "HELD_BYTES", 0)  # so that each row group is a request
    server = web(shard)
    right = rows_of(server.url)
    assert right.column("error_kind").to_pylist() == [None] * 3
    for number in range(server.asked):
        server.asked, server.fails_from = 0, number
        kinds = rows_of(server.url).column("error_kind").to_pylist()
        assert kinds == [None] * (len(kinds) - 1) + ["unreachable"]


def test_a_server_need_not_tell_the_size(
    web: Callable[..., Web], shard: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = web(shard, tells_size=False)
    assert rows_of(server.url).column("recording_id").to_pylist() == ["a", "b", "c"]
    monkeypatch.setattr(parquet, "HELD_BYTES", 1_000)
    monkeypatch.setattr(objects, "HELD_BYTES", 1_000)
    for kind in ("parquet", "audio"):
        assert rows_of(server.url, kind).column("error_kind").to_pylist() == ["too_large"]
