"""What a storage denies, and whether it answers at all: errors of one file are told from those of all."""

import os
from pathlib import Path
from typing import Any

import pytest
import s3fs
from conftest import free_port
from faulty_storage import FaultyStorage
from hostile_storage import Answer, Serve

from actors.storage.answers import ArchivedObject
from actors.storage.place import Place

pytestmark = pytest.mark.usefixtures("_tried_at_once")


@pytest.mark.parametrize("storage_class", ["GLACIER", "DEEP_ARCHIVE"])
def test_an_object_in_cold_storage(conditional_s3_options: dict[str, Any], storage_class: str) -> None:
    client = s3fs.S3FileSystem(**conditional_s3_options)
    client.pipe_file("bucket/cold/a.wav", b"abc", StorageClass=storage_class)
    client.pipe_file("bucket/cold/b.wav", b"abc")
    cold = Place.at("s3://bucket/cold/a.wav", conditional_s3_options)
    assert cold.info().size == 3
    for read in (cold.read, lambda: cold.read_range(0, 2), lambda: cold.open().read(2)):
        with pytest.raises(ArchivedObject, match="cold storage and has to be restored"):
            read()
    with pytest.raises(ArchivedObject, match=r"bucket/cold/a\.wav"):
        cold.read()
    cold.check_access()
    assert (cold.parent / "b.wav").read() == b"abc"


def test_what_s3_denies(s3_options: dict[str, Any]) -> None:
    s3fs.S3FileSystem(**s3_options).pipe_file("bucket/denied/a.wav", b"abc")
    proxy = FaultyStorage(s3_options["endpoint_url"])
    try:
        options = s3_options | {"endpoint_url": proxy.url, "skip_instance_cache": True}
        place = Place.at("s3://bucket/denied/a.wav", options)
        proxy.fault = lambda method, path, number: 403 if "a.wav" in path else None
        with pytest.raises(PermissionError, match=r"bucket/denied/a\.wav"):
            place.read()
        place.check_access()
        (place.parent / "none.wav").check_access()
        proxy.requests.clear()
        proxy.fault = lambda method, path, number: 403
        with pytest.raises(PermissionError):
            place.check_access()
        assert len(proxy.requests) == 1  # permanent, so not tried again
        with pytest.raises(FileNotFoundError):
            Place.at("s3://none-such/a.wav", s3_options).check_access()
    finally:
        proxy.close()


def test_an_endpoint_that_is_gone() -> None:
    gone = f"http://127.0.0.1:{free_port()}"
    for place in (
        Place.at("s3://bucket/a/b.wav", {"endpoint_url": gone, "key": "k", "secret": "s"}),
        Place.at(f"{gone}/a/b.wav"),
    ):
        with pytest.raises(OSError, match=r"127\.0\.0\.1"):
            place.check_access()


def test_a_web_server(serve: Serve) -> None:
    statuses = [404, 403, 500] + [503] * 3
    place = Place.at(f"{serve(lambda asked: Answer(status=statuses[asked.number])).url}/a/b.wav")
    for _ in range(3):
        place.check_access()
    with pytest.raises(OSError, match="responded with 503"):
        place.check_access()


def test_local_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.wav", "none/deep/a.wav"):
        Place.at(str(tmp_path / name)).check_access()
    scandir = os.scandir

    def denied(path: str) -> Any:
        if Path(path).is_relative_to(tmp_path):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)  # tests may run as root, who is denied nothing
    Place.at(str(tmp_path / "a.wav")).check_access()  # the rest of the disk answers
    monkeypatch.setattr(os.path, "ismount", lambda path: str(path) == str(tmp_path))
    with pytest.raises(PermissionError):
        Place.at(str(tmp_path / "b" / "a.wav")).check_access()


def test_memory() -> None:
    Place.at("memory://none/a.wav").check_access()
