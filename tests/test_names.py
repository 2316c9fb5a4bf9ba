"""Any name, in any storage: listed, read, named by a manifest, written and found by a pattern."""

import functools
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
import s3fs

from actors.storage.listing import below, find, glob, names
from actors.storage.place import Place
from jobs.cli.config import Input
from jobs.planning.listing import list_input

NAMES = {
    "two colons": "spk::utt",
    "chained, as it seems": "zip::s3:x",
    "a colon": "12:30",
    "a question mark": "what?",
    "a query, as it seems": "a?id=1&b=2",
    "a version, as it seems": "a?versionId=3",
    "a number sign": "call #3",
    "a percent sign": "100%",
    "an escape, as it seems": "a%20b%2Fc",
    "a plus": "a+b",
    "spaces": "  a  b ",
    "an emoji": "😀",
    "a composed accent": "\N{LATIN SMALL LETTER E WITH ACUTE}",
    "a combining accent": "e\N{COMBINING ACUTE ACCENT}",
    "Chinese": "今天",
    "brackets": "[a]",
    "braces": "{a,b}",
    "a star": "a*",
    "a backslash": "a\\b",
    "quotes": 'it\'s "a" `b`',
    "a dash": "-rf",
    "a tilde": "~root",
    "dots": "a..b..",
    "a tab": "a\tb",
    "signs": "a&b=c;d|$HOME<x>,@!^",
    "a folder": "x/y",
    "a folder with a space": " /y",
    "long": "x" * 251,
}
S3_NAMES = {
    "an empty part": "x//b",
    "an empty part first": "/b",
    "a URL, as it seems": "a/s3://bucket/b",
    "very long": "/".join(["y" * 100] * 9),
}
#: On disks, where the other S3 server and the web server keep theirs, there are no such names.
CASES = [(storage, name) for storage in ("local", "s3", "s3-conditional", "memory", "http") for name in NAMES]
CASES += [("s3-conditional", name) for name in S3_NAMES]


class Storage(NamedTuple):
    """A folder of a storage; `write` stores a file below it as others would."""

    root: Place
    write: Callable[[str, bytes], object]
    options: dict[str, Any]
    manifest_name: Callable[[str], str] = str  # a path as a manifest's line names it


class Quiet(SimpleHTTPRequestHandler):
    """Python's own server: index pages, no ETags, no ranges."""

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def http_root(tmp_path: Path) -> Iterator[str]:
    handler = functools.partial(Quiet, directory=str(tmp_path))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def on_disk(folder: Path) -> Callable[[str, bytes], object]:
    def write(name: str, data: bytes) -> None:
        path = Path(os.path.join(folder, name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    return write


@pytest.fixture
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    kind = request.param
    if kind == "local":
        return Storage(Place.at(str(tmp_path / "in")), on_disk(tmp_path / "in"), {})
    if kind == "http":
        root = request.getfixturevalue("http_root")
        return Storage(Place.at(f"{root}/in"), on_disk(tmp_path / "in"), {}, quote)
    if kind == "memory":
        place = Place.at(f"memory://{tmp_path}/in")
        return Storage(place, lambda name, data: place.filesystem.pipe_file(f"{place.path}/{name}", data), {})
    logging.disable(logging.INFO)
    options = request.getfixturevalue("s3_options" if kind == "s3" else "conditional_s3_options")
    client, folder = s3fs.S3FileSystem(**options), f"names-{tmp_path.name}/in"
    return Storage(
        Place.at(f"s3://bucket/{folder}", options),
        lambda name, data: client.call_s3("put_object", Bucket="bucket", Key=f"{folder}/{name}", Body=data),
        options,
    )


@pytest.mark.parametrize(("storage", "name"), CASES, indirect=["storage"])
def test_a_name(storage: Storage, name: str) -> None:
    root, options = storage.root, storage.options
    stem = (NAMES | S3_NAMES)[name]
    data = f"the content of {stem}".encode()
    storage.write(f"{stem}.wav", data)
    (entry,) = find(root)
    place = Place.at(root.with_path(entry.path).uri, options)
    assert (place.path, place.uri) == (entry.path, root.with_path(entry.path).uri)
    assert root.with_uri(place.uri) == place
    assert (place.info().version, place.info().size) == (entry.version, entry.size) != ("", None)
    assert place.read() == data
    assert place.read_range(3, 9) == data[3:9]
    assert place.open(4).read() == data
    assert [each for each in glob(root.with_path(f"{root.path}/**")) if not each.fault] == [entry]

    storage.write(f"{stem}.txt", b"words")
    listing = list_input(Input(uri=root.uri, storage_options=options), "/nowhere")
    (listed,) = listing.objects
    assert listed.name == f"{stem}.wav"
    assert Place.at(listed.companion or "", options).read() == b"words"
    assert Place.at(listed.uri, options).read() == data

    relative = storage.manifest_name(f"{stem}.wav") if not stem.startswith("/") else place.uri
    lines = [{"audio_filepath": relative}, {"audio_filepath": place.uri, "offset": 1}]
    storage.write("manifest.jsonl", "\n".join(map(json.dumps, lines)).encode())
    listing = list_input(Input(uri=root.uri, storage_options=options), "/nowhere")
    assert [(each.refusal, each.format, each.uri, each.etag) for each in listing.objects] == [
        (None, "manifest", place.uri, entry.version)
    ] * 2
    if not root.is_http:
        place.write(b"another")
        assert place.read() == b"another"
        output = Place.at(place.with_path(place.path.removesuffix(".wav")).uri, options)
        (output / "_runs" / "1").write(b"1")
        assert (names(output / "_runs"), [each.path for each in below(output)]) == (["1"], [f"{output.path}/_runs/1"])
