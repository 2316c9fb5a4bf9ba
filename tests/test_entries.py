"""Listings: every file once, however many folders there are and however small the pages."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import S3_KEY, S3_SECRET
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_storage import RecordedStorage

from actors.storage import listing, s3_listing
from actors.storage.place import Place


def test_names_by_prefix(tmp_path: Path, s3_options: dict[str, Any], conditional_s3_options: dict[str, Any]) -> None:
    places = [(str(tmp_path / "n"), {}), ("s3://bucket/n", s3_options), ("s3://bucket/n", conditional_s3_options)]
    for uri, options in places:
        root = Place.at(uri, options)
        assert listing.names(root) == []
        assert listing.names(root, "a1.") == []
        odd = "deep/林 +%&<é.b"
        for name in ("a1.a", "a10.a", "b2.a", odd):
            (root / name).write(b"x")
        assert listing.names(root) == ["a1.a", "a10.a", "b2.a"]
        assert listing.names(root, is_hashed=True) == ["a1.a", "a10.a", "b2.a"]
        assert listing.names(root, "a1.") == ["a1.a"]
        assert listing.names(root, "a", is_hashed=True) == ["a1.a", "a10.a"]
        below = {f"{root.path}/{name}" for name in (odd, "a1.a", "a10.a", "b2.a")}
        found = list(listing.find(root))
        assert len(found) == 4
        assert {each.path for each in found} == below
        for each in found:
            assert each.size == 1
            assert each.version == root.with_path(each.path).info().version
        assert [each.path for each in listing.find(root / "a1.a")] == [f"{root.path}/a1.a"]
        assert list(listing.find(root / "absent")) == []
    assert list(listing.find(root.with_path("no-such-bucket"))) == []
    assert list(listing.find(root.with_path("no-such-bucket/folder"))) == []


@pytest.fixture(scope="module")
def recorded() -> Iterator[tuple[RecordedStorage, Place]]:
    server = RecordedStorage([])
    yield server, Place.at("s3://bucket", {"endpoint_url": server.url, "key": S3_KEY, "secret": S3_SECRET})
    server.close()


_names = st.text("ab林-", min_size=1, max_size=3)
_trees = st.sets(st.lists(_names, min_size=1, max_size=4).map("/".join), max_size=30)


@settings(max_examples=80, deadline=None)
@given(
    keys=_trees, page=st.integers(1, 5), root=st.sampled_from(["", "a", "a/b", "林"]), most=st.sampled_from([1, 3, 256])
)
def test_every_object_is_listed_once(recorded: Any, keys: set[str], page: int, root: str, most: int) -> None:
    server, bucket = recorded
    keys |= {f"{root or 'b'}/folder/"}  # a key that stands for a folder
    server.record((key, len(key), f"etag of {key}") for key in keys)
    server.page = page
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(s3_listing, "MAX_PREFIXES", most)
        patch.setattr(s3_listing, "AT_ONCE", 3)
        found = list(listing.find(bucket / root if root else bucket))
    below = {key for key in keys if key.startswith(root and root + "/") and not key.endswith("/")}
    assert sorted(each.path for each in found) == sorted(f"bucket/{key}" for key in below)
    assert all((each.size, each.version) == (len(each.path[7:]), f"etag of {each.path[7:]}") for each in found)
