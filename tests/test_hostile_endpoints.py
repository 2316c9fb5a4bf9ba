"""Listings that lie: each ends, soon, with a sentence that names the endpoint; what is odd but right is listed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hostile_storage import Answer, Asked, Serve, page

from actors.engine.models import resolve
from actors.schema import UsageError
from actors.storage import listing, s3_pages
from actors.storage.answers import EndpointError
from jobs import plan

pytestmark = pytest.mark.usefixtures("_tried_at_once")


def xml(inside: str) -> Answer:
    return Answer(f"<ListBucketResult>{inside}</ListBucketResult>".encode())


LIES: dict[str, Callable[[Asked], Answer]] = {
    "the same page, the same token": lambda asked: page("a/1", "a/2", token="t"),
    "the same page, new tokens": lambda asked: page("a/1", "a/2", token=f"t{asked.number}"),
    "a window that moves round": lambda asked: page(
        *(f"a/{(asked.number + i) % 7}" for i in range(3)), token=f"t{asked.number}"
    ),
    "the same folders": lambda asked: page(prefixes=("a/x/",), token=f"t{asked.number}"),
    "empty pages for ever": lambda asked: page(token=f"t{asked.number}"),
    "empty pages with one token": lambda asked: page(token="t"),
    "two tokens in turn": lambda asked: page(f"a/{asked.number}", token=f"t{asked.number % 2}"),
    "truncated without a token": lambda asked: page("a/1", truncated="true"),
    "truncated, perhaps": lambda asked: page("a/1", truncated="maybe"),
    "TRUNCATED without a token": lambda asked: page("a/1", truncated="TRUE"),
    "a token of 100 kB": lambda asked: page("a/1", token="t" * 100_000),
    "a folder that is itself": lambda asked: page(prefixes=(asked.prefix,)),
    "a folder above": lambda asked: page(prefixes=("",)),
    "a folder elsewhere": lambda asked: page(prefixes=("b/",)),
    "a folder deeper than directly": lambda asked: page(prefixes=("a/b/c/",)),
    "a folder without the delimiter": lambda asked: page(prefixes=("a/b",)),
    "ever deeper folders": lambda asked: page(prefixes=(asked.prefix + "a/",)),
    "folders without being asked": lambda asked: page(
        prefixes=tuple(f"{asked.prefix}{i}/" for i in range(20 if asked.delimiter else 1))
    ),
    "a key outside": lambda asked: page("a/1", "b/1"),
    "a key that only seems inside": lambda asked: page("a/1", "ab/1"),
    "a key of 1,025 bytes": lambda asked: page("a/" + "k" * 1_023),
    "a key of 1,025 bytes in few characters": lambda asked: page("a/" + "\N{PILE OF POO}" * 256),
    "no key": lambda asked: xml("<Contents><Size>3</Size></Contents>"),
    "an empty key": lambda asked: page(""),
    "no size": lambda asked: xml("<Contents><Key>a/1</Key></Contents>"),
    "an empty answer": lambda asked: Answer(),
    "no content": lambda asked: Answer(status=204),
    "no XML": lambda asked: Answer(b"\x00\x01\x02"),
    "HTML": lambda asked: Answer(b"<!doctype html><html><body>Log in<br></body></html>"),
    "well-formed HTML": lambda asked: Answer(b"<html><body>Log in</body></html>"),
    "another answer of S3's": lambda asked: Answer(b"<Error><Code>SlowDown</Code></Error>"),
    "half a page": lambda asked: Answer(page("a/1").body[:-30]),
    "entities": lambda asked: Answer(
        b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>' + page("a/&b;").body
    ),
    "entities in UTF-16": lambda asked: Answer(
        ('<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE x [<!ENTITY a "1">]>' + page("a/&a;").body.decode()).encode(
            "utf-16"
        )
    ),
    "XML for ever": lambda asked: Answer(b"<Contents/>" * 10_000, endless=True),
    "many tags": lambda asked: xml("<a/>" * 1_500_000),
    **{
        f"a size of {size}": lambda asked, size=size: page("a/1", size=size)  # type: ignore[misc]
        for size in ("many", "-1", "1.5", "1e3", "50000000000001", "9" * 5_000, "0x10", "١٢", " ", "NaN", "+3")
    },
}


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.replace(" ", "_"))
def test_a_listing_that_lies_ends_with_a_sentence(serve: Serve, lie: str) -> None:
    server = serve(LIES[lie])
    place = server.place()
    with pytest.raises(EndpointError, match=r"\(s3://bucket/a/") as told:
        list(listing.find(place))
    assert server.url in str(told.value)
    assert len(str(told.value)) < 600
    assert len(server.requests) <= s3_pages.MAX_EMPTY_PAGES + 600
    assert server.sent < 200_000_000


@pytest.mark.parametrize("lie", ["the same page, new tokens", "an empty answer", "a size of -1", "XML for ever"])
def test_the_plan_ends_with_a_line_and_a_status(
    serve: Serve, job: Any, lie: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOT_TO_BE_SEEN", "s3cret")
    server = serve(LIES[lie])
    keys = "key: 'env:NOT_TO_BE_SEEN', secret: 'env:NOT_TO_BE_SEEN'"
    options = f"input.storage_options={{endpoint_url: '{server.url}', {keys}}}"
    status, said, seen = job("input.uri=s3://bucket/a", options, main=plan.main)
    assert (status, said["status"]) == (1, 1)
    assert server.url in "".join(seen.split())
    assert "Traceback" not in seen
    assert "s3cret" not in seen


def test_the_state_of_an_output_that_lies_is_not_taken_for_none(serve: Serve) -> None:
    server = serve(LIES["truncated without a token"])
    place = server.place()
    for call in (lambda: listing.in_folder(place), lambda: list(listing.below(place))):
        with pytest.raises(EndpointError):
            call()
    with pytest.raises(EndpointError):
        listing.glob(place / "*.wav")


def test_a_bucket_that_goes_between_two_pages_is_no_short_listing(serve: Serve) -> None:
    server = serve(lambda asked: Answer(status=404) if asked.token else page("a/1", token="t"))
    with pytest.raises(EndpointError, match="no longer"):
        list(listing.find(server.place()))


def test_what_is_odd_but_right_is_listed(serve: Serve) -> None:
    pages = [
        page("a/z", "a/", "a//b", token="1"),  # in no order, with a folder's marker and an empty name
        *(page(token=f"{number}") for number in range(2, 900)),
        page("a/k &amp; %", "a/" + "k" * 1_022, "a/b..c", token="900", size="50000000000000"),
        page("a/last", etag=""),
    ]
    server = serve(lambda asked: pages[int(asked.token or 0)])
    found = {each.path.removeprefix("bucket/"): each for each in listing.find(server.place())}
    assert set(found) == {"a/z", "a//b", "a/k & %", "a/" + "k" * 1_022, "a/b..c", "a/last"}
    assert not any(each.fault for each in found.values())
    assert found["a/k & %"].size == 50_000_000_000_000
    assert found["a/last"].version == "2026-01-01 00:00:00+00:00"


def test_a_key_that_climbs_is_outside_and_the_others_are_listed(serve: Serve) -> None:
    server = serve(lambda asked: page("a/1", "a/../../etc/passwd", "a/x/..", "a/..b"))
    found = {each.path: each.fault for each in listing.find(server.place())}
    climbing = ("bucket/a/../../etc/passwd", "bucket/a/x/..")
    assert found == {"bucket/a/1": "", "bucket/a/..b": "", **dict.fromkeys(climbing, "outside")}


def test_a_version_without_an_etag_is_the_same_from_a_listing_and_of_a_file(serve: Serve) -> None:
    header = {"Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT", "Content-Length": "3"}
    server = serve(lambda asked: Answer(headers=header) if asked.method == "HEAD" else page("a/1", etag=""))
    place = server.place()
    [entry] = listing.find(place)
    assert entry.version == place.with_path(entry.path).info().version


@pytest.mark.parametrize("length", ["5000", "100"])
def test_a_model_of_another_length_than_was_told_is_no_model(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, length: str
) -> None:
    monkeypatch.setenv("CITRASCRIBE_CACHE", str(tmp_path / "cache"))
    server = serve(lambda asked: Answer(b"x" * 1_000, headers={"Content-Length": length, "Connection": "close"}))
    with pytest.raises((OSError, UsageError)):
        resolve(f"{server.url}/m.nemo", None, {})
    assert not list(tmp_path.rglob("model.nemo")) or length == "100"
