"""Objects that are not what is said of them: sizes that cannot be, ranges not asked for, bytes without end."""

import os
import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import forget_peak, peak_bytes
from hostile_storage import Answer, Asked, HostileStorage, Serve

from actors.storage import listing
from actors.storage.answers import EndpointError, FileTooLarge, NotRegularFile
from actors.storage.place import Place
from actors.storage.stored_file import StoredFile

pytestmark = pytest.mark.usefixtures("_tried_at_once")
CONTENT = bytes(range(256)) * 40
PROTOCOLS = ["s3", "http"]


def place(server: HostileStorage, protocol: str) -> Place:
    return server.place("a") if protocol == "s3" else Place.at(f"{server.url}/a", {"skip_instance_cache": True})


def ranged(body: bytes, content_range: str, status: int = 206) -> Callable[[Asked], Answer]:
    return lambda asked: Answer(body, status, {"Content-Range": content_range})


BAD_RANGES: dict[str, Callable[[Asked], Answer]] = {
    "the whole object": lambda asked: Answer(CONTENT),
    "the whole object for ever": lambda asked: Answer(CONTENT, endless=True),
    "more, for ever": lambda asked: Answer(CONTENT, 206, {"Content-Range": "bytes 100-199/10240"}, endless=True),
    "too few": ranged(CONTENT[100:150], "bytes 100-199/10240"),
    "none": ranged(b"", "bytes 100-199/10240"),
    "too many": ranged(CONTENT[100:300], "bytes 100-199/10240"),
    "another": ranged(CONTENT[:100], "bytes 0-99/10240"),
    "one that begins right": ranged(CONTENT[100:150], "bytes 100-149/10240"),
    "one that is longer": ranged(CONTENT[100:300], "bytes 100-299/10240"),
    "one of no known place": ranged(CONTENT[100:200], ""),
    "one in words": ranged(CONTENT[100:200], "bytes some-more/all"),
    "one beyond its end": ranged(CONTENT[100:200], "bytes 100-199/120"),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("lie", BAD_RANGES, ids=lambda lie: lie.replace(" ", "_"))
def test_a_range_that_is_another_is_not_believed(serve: Serve, lie: str, protocol: str) -> None:
    server = serve(BAD_RANGES[lie])
    if protocol == "http" and lie.startswith("the whole object"):  # many web servers know no ranges
        assert place(server, protocol).read_range(100, 200) == CONTENT[100:200]
    else:
        with pytest.raises(EndpointError, match="bytes 100 to 199") as told:
            place(server, protocol).read_range(100, 200)
        assert server.url in str(told.value)
    assert len(server.requests) <= 12
    assert server.sent < 30_000_000


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_ranges_as_they_should_be(serve: Serve, protocol: str) -> None:
    answers = {
        (100, 200): ranged(CONTENT[100:200], "bytes 100-199/10240"),
        (10_000, 20_000): ranged(CONTENT[10_000:], "bytes 10000-10239/10240"),
        (0, 100): ranged(CONTENT[:100], "bytes 0-99/*"),
        (0, 20_000): lambda asked: Answer(CONTENT),  # all there is: a store may leave it at that
    }
    for (start, end), answer in answers.items():
        assert place(serve(answer), protocol).read_range(start, end) == CONTENT[start:end]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_file_that_ends_before_its_size_is_no_shorter_file(serve: Serve, protocol: str) -> None:
    def answer(asked: Asked) -> Answer:
        whole = {"Content-Length": "20480", "ETag": '"e"'}
        return Answer(headers=whole) if asked.method == "HEAD" else ranged(CONTENT, "bytes 0-10239/10240")(asked)

    def at_its_end(asked: Asked) -> Answer:
        return answer(asked) if asked.number == 0 or asked.method == "HEAD" else Answer(status=404)

    for served in (answer, at_its_end):
        with StoredFile(place(serve(served), protocol), 20_480).open() as file, pytest.raises(OSError):  # noqa: PT011
            file.read()


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("size", ["-1", "many", "1.5", str(10**15), "9" * 100, ""])
def test_a_size_that_cannot_be_is_not_believed(serve: Serve, protocol: str, size: str) -> None:
    server = serve(lambda asked: Answer(headers={"Content-Length": size, "Connection": "close"}))
    if (protocol, size) == ("http", ""):
        assert place(server, protocol).info().size is None  # as where pages are made while they are sent
        return
    with pytest.raises(OSError) as told:  # noqa: PT011
        place(server, protocol).info()
    assert not isinstance(told.value, FileNotFoundError)
    assert server.url in str(told.value)


@pytest.mark.parametrize("status", [500, 503, 403, 429])
def test_over_http_what_fails_is_not_absent(serve: Serve, status: int) -> None:
    file = place(serve(lambda asked: Answer(status=status)), "http")
    file = file.with_path(f"{file.path}?Signature=s3cret")
    for call in (Place.info, Place.read, lambda file: list(listing.find(file))):
        with pytest.raises(OSError, match=f"/a: responded with {status}") as told:
            call(file)
        assert not isinstance(told.value, FileNotFoundError)
        assert "s3cret" not in str(told.value)
    file = place(serve(lambda asked: Answer(status=404)), "http")
    with pytest.raises(FileNotFoundError):
        file.info()
    assert list(listing.find(file)) == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_more_is_read_than_is_believed(serve: Serve, protocol: str) -> None:
    server = serve(lambda asked: Answer(CONTENT))
    assert place(server, protocol).read(len(CONTENT)) == CONTENT
    assert place(server, protocol).read() == CONTENT
    with pytest.raises(FileTooLarge) as told:
        place(server, protocol).read(1_000)
    assert (told.value.size, told.value.max_bytes) == (len(CONTENT), 1_000)
    assert len(server.requests) == 3  # not tried again
    assert str(pickle.loads(pickle.dumps(told.value))) == str(told.value)
    endless = serve(lambda asked: Answer(bytes(100_000), endless=True))
    with pytest.raises(FileTooLarge):
        place(endless, protocol).read(1_000_000)
    assert len(endless.requests) == 1
    assert endless.sent < 20_000_000


def test_pages_of_http_have_an_end(serve: Serve) -> None:
    def deeper(asked: Asked) -> Answer:
        return Answer(b'<a href="a/">a</a><a href="../">up</a>', headers={"Content-Type": "text/html"})

    with pytest.raises(EndpointError, match="nested"):
        list(listing.find(place(serve(deeper), "http")))
    endless = serve(lambda asked: Answer(b"<a>" * 100_000, headers={"Content-Type": "text/html"}, endless=True))
    with pytest.raises(FileTooLarge):
        list(listing.find(place(endless, "http")))


def test_pages_of_http_are_listed(serve: Serve) -> None:
    links = '<A HREF="x%20y.wav">x</A><a href=\'b/\'>b</a><a href="/elsewhere.wav"><a href="http://other/a.wav">'
    links += '<a href="?C=N"><a href="%2e%2e/up.wav"><a href="http://[bad">'
    pages = {"a": links, "a/": links, "a/b/": '<a href="z.wav">', "a/b": ""}

    def answer(asked: Asked) -> Answer:
        if asked.key in pages:
            return Answer(pages[asked.key].encode(), headers={"Content-Type": "text/html"})
        return Answer(CONTENT, headers={"ETag": '"e"'})

    root = place(serve(answer), "http")
    found = {each.path.removeprefix(root.path): (each.size, each.version, each.fault) for each in listing.find(root)}
    real = (len(CONTENT), "e", "")
    assert found == {"/x%20y.wav": real, "/b/z.wav": real, "/%2E%2E/up.wav": (0, "", "outside")}
    assert [each.path for each in listing.glob(root / "*/*.wav") if not each.fault] == [f"{root.path}/b/z.wav"]


def test_what_is_no_file_on_a_disk_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    for path in (tmp_path / "pipe", tmp_path / "link", Path("/dev/zero")):
        for call in (
            lambda path=path: Place.at(str(path)).read(10),
            lambda path=path: Place.at(str(path)).read(),
        ):
            with pytest.raises(NotRegularFile, match=str(path)):
                call()
        with pytest.raises(NotRegularFile):
            Place.at(str(path)).read_range(0, 10)
    with pytest.raises(IsADirectoryError):
        Place.at(str(tmp_path)).read()


def test_a_large_file_on_a_disk_is_told_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(2 << 30)
    before = forget_peak()
    with pytest.raises(FileTooLarge, match="sparse has 2,147,483,648 bytes") as told:
        Place.at(str(tmp_path / "sparse")).read(10_000_000)
    assert told.value.path == str(tmp_path / "sparse")
    assert peak_bytes() - before < 50_000_000
    (tmp_path / "small").write_bytes(CONTENT)
    assert Place.at(str(tmp_path / "small")).read(len(CONTENT)) == CONTENT
    with pytest.raises(FileTooLarge):
        Place.at(str(tmp_path / "small")).read(len(CONTENT) - 1)
    assert Place.at("/proc/self/status").read(100_000).startswith(b"Name")  # has no size, and is a file
    with pytest.raises(FileTooLarge):
        Place.at("/proc/self/status").read(10)


def test_a_file_that_grows_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, ended = tmp_path / "log", threading.Event()
    path.write_bytes(CONTENT)
    fstat = os.fstat

    def grows(number: int) -> Any:
        known = fstat(number)
        with path.open("ab") as file:
            file.write(bytes(1_000_000))
        ended.set()
        return known

    monkeypatch.setattr(os, "fstat", grows)
    with pytest.raises(FileTooLarge):
        Place.at(str(path)).read(20_000)
    assert ended.is_set()


def test_what_lies_where_a_file_was_put_is_read_no_further_than_the_file(tmp_path: Path, serve: Serve) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert not Place.at(str(tmp_path / "pipe")).create(b"a claim")
    told = Answer(headers={"Content-Length": "7", "ETag": '"e"'})
    answers = {"PUT": Answer(), "HEAD": told, "GET": Answer(CONTENT, endless=True)}
    server = serve(lambda asked: answers[asked.method])
    with pytest.raises(FileExistsError):
        server.place().put(b"a claim")
    assert server.sent < 30_000_000


def test_a_protocol_may_be_written_in_capitals(tmp_path: Path) -> None:
    assert Place.at("S3://bucket/A", {"anon": True}).path == Place.at("s3a://bucket/A").path == "bucket/A"
    assert Place.at("HTTP://host/A").path == "http://host/A"
    assert Place.at(f"FILE://{tmp_path}/A").path == f"{tmp_path}/A"
