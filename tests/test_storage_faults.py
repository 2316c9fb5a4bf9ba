"""Storage that goes wrong: what may pass is tried again, what will not is told at once, and nothing hangs."""

import gc
import time
from collections.abc import Iterator
from typing import Any

import pytest
import s3fs
from faulty_storage import FaultyStorage

from actors.storage import listing
from actors.storage.place import Place

CONTENT = bytes(range(256)) * 4_000


@pytest.fixture
def faulty(s3_options: dict[str, Any]) -> Iterator[FaultyStorage]:
    s3fs.S3FileSystem(**s3_options).pipe_file("bucket/faults/object", CONTENT)
    proxy = FaultyStorage(s3_options["endpoint_url"])
    yield proxy
    proxy.close()


@pytest.fixture
def place(faulty: FaultyStorage, s3_options: dict[str, Any]) -> Place:
    """An object behind the faults; a client of its own for each test."""
    options = s3_options | {"endpoint_url": faulty.url, "skip_instance_cache": True}
    options["config_kwargs"] = {"read_timeout": 1, "connect_timeout": 1}
    return Place.at("s3://bucket/faults/object", options)


@pytest.mark.parametrize("fault", [503, 500, "reset", "truncate", "stall"])
def test_what_may_pass_is_tried_again(faulty: FaultyStorage, place: Place, fault: int | str) -> None:
    faulty.fault = lambda method, path, number: fault if number < 2 else None
    assert place.read() == CONTENT
    assert len(faulty.requests) >= 3
    for call in (lambda: place.info(), lambda: listing.find(place.parent)):
        faulty.requests.clear()
        assert call()
    faulty.requests.clear()
    (place.parent / "new").write(b"new")
    assert len(faulty.requests) >= 3
    faulty.fault = lambda *_: None
    assert (place.parent / "new").read() == b"new"


@pytest.mark.parametrize("fault", [403, 400])
def test_what_will_not_pass_is_told_at_once(faulty: FaultyStorage, place: Place, fault: int) -> None:
    faulty.fault = lambda *_: fault
    began = time.monotonic()
    with pytest.raises(PermissionError):
        place.read()
    with pytest.raises(PermissionError):
        place.write(b"new")
    assert time.monotonic() - began < 5
    assert len(faulty.requests) <= 4


@pytest.mark.parametrize("fault", ["reset", "stall"])
def test_what_does_not_pass_ends(faulty: FaultyStorage, place: Place, fault: int | str) -> None:
    faulty.fault = lambda *_: fault
    with pytest.raises(OSError):  # noqa: PT011 - whatever its words: it ends, within pytest's limit
        place.read()


@pytest.mark.timeout(60)
@pytest.mark.usefixtures("_tried_at_once")
@pytest.mark.parametrize("fault", ["reset", "truncate"])
def test_broken_answers_do_not_use_up_the_connections(faulty: FaultyStorage, place: Place, fault: str) -> None:
    """A client has ten; one that a broken answer kept would be waited for without end."""
    gc.disable()  # which would give them back at some time
    try:
        for call in (lambda: list(listing.find(place.parent)), place.read) * 3:
            faulty.fault = lambda *_: fault
            with pytest.raises(OSError):  # noqa: PT011 - whatever its words
                call()
            faulty.fault = lambda *_: None
            assert call()
    finally:
        gc.enable()


def test_a_stream_goes_on_where_it_broke(faulty: FaultyStorage, place: Place) -> None:
    faulty.fault = lambda method, path, number: "reset" if method == "GET" and number % 3 == 1 else None
    with place.open(100_000) as file:
        assert file.read() == CONTENT
