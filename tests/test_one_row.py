"""One recording, one row, whatever happens to it; and only storage as a whole fails a unit, naming the file."""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pytest
import s3fs
from conftest import ROOT, encoded, piece_of, tone
from faulty_storage import FaultyStorage
from hostile_storage import Answer
from test_pieces import tar_of
from transcribing import DIGESTS, commit_piece

from actors import VERSION
from actors.isolation import Isolated, NotCreated
from actors.parts.assemble import _join_stretches
from actors.parts.commit import commit_unit
from actors.parts.kept import entries_in
from actors.parts.stored import COMMITS, Commit, open_part
from actors.pieces import Cut, cut_unit
from actors.reader import read_piece
from actors.reading.faults import StorageUnavailable
from actors.schema import PART_SCHEMA
from actors.sources import objects, tar
from actors.sources.objects import ReadSettings
from actors.storage.place import Place
from actors.units import NO_EMISSIONS, Carried, Selection, SourceObject, Unit, Version
from jobs.cli.config import ConfigError, Input
from jobs.planning.listing import list_input
from jobs.planning.state import load_state, units_with_errors

WAV = encoded(tone(0.5))
RECIPE = "f" * 8 + NO_EMISSIONS + "f" * 16


@pytest.fixture
def faulty(s3_options: dict[str, Any]) -> Iterator[FaultyStorage]:
    for name in "abc":
        s3fs.S3FileSystem(**s3_options).pipe_file(f"bucket/rows/{name}.wav", WAV)
    proxy = FaultyStorage(s3_options["endpoint_url"])
    yield proxy
    proxy.close()


def kinds_of(uri: str, options: dict[str, Any], faulty: FaultyStorage | None = None, fault: Any = None) -> list[Any]:
    """The error of each recording of an input that goes wrong once it is listed."""
    listed = list_input(Input(uri=uri, storage_options=options), "/nowhere/out").objects
    if faulty:
        faulty.fault = fault
    return read_piece(piece_of(listed), ReadSettings(storage_options=options)).column("error_kind").to_pylist()


@pytest.mark.usefixtures("_tried_at_once")
@pytest.mark.parametrize(("status", "kind"), [(403, "forbidden"), (503, "unreachable"), ("reset", "unreachable")])
def test_trouble_with_one_object_is_its_row(
    faulty: FaultyStorage, s3_options: dict[str, Any], status: int | str, kind: str
) -> None:
    options = s3_options | {"endpoint_url": faulty.url, "skip_instance_cache": True}
    kinds = kinds_of("s3://bucket/rows", options, faulty, lambda method, path, _: status if "/b.wav" in path else None)
    assert kinds == [None, kind, None]


@pytest.mark.usefixtures("_tried_at_once")
@pytest.mark.parametrize("status", [403, 400, 503])
def test_trouble_with_all_of_a_storage_names_the_file(
    faulty: FaultyStorage, s3_options: dict[str, Any], status: int
) -> None:
    options = s3_options | {"endpoint_url": faulty.url, "skip_instance_cache": True}
    with pytest.raises(StorageUnavailable, match=r"bucket/rows/[abc]\.wav\) cannot be read, and the storage does not"):
        kinds_of("s3://bucket/rows", options, faulty, lambda *_: status)


@pytest.mark.usefixtures("_tried_at_once")
def test_where_listing_is_not_allowed_another_file_bears_witness(
    faulty: FaultyStorage, s3_options: dict[str, Any]
) -> None:
    options = s3_options | {"endpoint_url": faulty.url, "skip_instance_cache": True}
    lists = "list-type=2"
    refused = lambda method, path, _: 403 if "/a.wav" in path or lists in path else None  # noqa: E731
    assert kinds_of("s3://bucket/rows", options, faulty, refused) == ["forbidden", None, None]


def test_an_object_in_cold_storage_is_a_row(conditional_s3_options: dict[str, Any]) -> None:
    options = conditional_s3_options
    secrets = {"aws_access_key_id": options["key"], "aws_secret_access_key": options["secret"]}
    client = boto3.client("s3", endpoint_url=options["endpoint_url"], region_name="us-east-1", **secrets)
    for name, storage_class in (("a", "STANDARD"), ("b", "GLACIER"), ("c", "STANDARD")):
        client.put_object(Bucket="bucket", Key=f"cold/{name}.wav", Body=WAV, StorageClass=storage_class)
    assert kinds_of("s3://bucket/cold", options) == [None, "archived", None]


def test_what_a_manifest_names_wrongly_is_a_row(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "good.wav").write_bytes(WAV)
    names = ["good.wav", "folder", "pipe.wav", "gone.wav", "x" * 300 + ".wav"]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps({"audio_filepath": name}) + "\n" for name in names))
    listed = list_input(Input(uri=str(tmp_path / "m.jsonl")), "/nowhere/out").objects
    found = read_piece(piece_of(listed), ReadSettings()).to_pylist()
    assert {row["recording_id"]: row["error_kind"] for row in found} == dict(
        zip(names, [None, "bad_entry", "bad_entry", "missing", "missing"], strict=True)
    )


@pytest.mark.usefixtures("_tried_at_once")
@pytest.mark.parametrize(("denied", "kinds"), [("ab", ["forbidden"] * 2 + [None]), ("abc", ["unreachable"] * 3)])
def test_a_web_server_that_denies_everything_is_asked_again(serve: Any, denied: str, kinds: list[str | None]) -> None:
    """For so does one whose login or signature has expired."""
    is_late = False

    def answer(asked: Any) -> Answer:
        name = asked.key.rpartition("/")[2].removesuffix(".wav")
        if "." not in asked.key:
            pages = "".join(f'<a href="{name}.wav">' for name in "abc")
            return Answer(pages.encode(), headers={"Content-Type": "text/html"})
        return Answer(status=403) if is_late and name in denied else Answer(WAV, headers={"ETag": name})

    server = serve(answer)
    listed = list_input(Input(uri=f"{server.url}/in/"), "/nowhere/out").objects
    is_late = True
    assert read_piece(piece_of(listed), ReadSettings()).column("error_kind").to_pylist() == kinds


def test_a_container_that_breaks_off_is_accounted_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "t.tar").write_bytes(tar_of([(f"{number}.wav", WAV) for number in range(9)]))
    source = list_input(Input(uri=str(tmp_path)), "/nowhere/out").objects[0]
    read = tar.member_content

    def breaks_off(archive: Any, header: Any) -> bytes:
        if header.name == "5.wav":
            raise OSError("gone")
        return read(archive, header)

    monkeypatch.setattr(tar, "member_content", breaks_off)
    found = read_piece(piece_of([source]), ReadSettings())
    assert found.column("error_kind").to_pylist() == [None] * 5 + ["unreachable"]
    entries = entries_in(found)
    assert (entries.found, entries.recordings, entries.skipped, entries.unaccounted) == (6, 5, {"not read": 1}, 0)


def test_patience_is_for_recordings_and_not_for_the_way_to_them(tmp_path: Path) -> None:
    members = [(f"{number}.bin", bytes(200_000_000)) for number in range(4)] + [("a.wav", WAV)]
    (tmp_path / "t.tar.gz").write_bytes(gzip.compress(tar_of(members), 1))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    program = HANGS.replace("patience_s=2.0", "patience_s=0.3")
    ended = subprocess.run([sys.executable, "-c", program, str(tmp_path), "reads"], env=environment, timeout=50)
    assert ended.returncode == 0


def test_a_function_that_cannot_be_made_is_no_recordings_error() -> None:
    alone = Isolated(partial(int, "no number"), 20.0)
    for _ in range(2):
        with pytest.raises(NotCreated, match="ValueError"):
            alone(b"")


HANGS = """
import sys, time
from pathlib import Path
from conftest import piece_of
from actors.reader import read_piece
from actors.sources.objects import ReadSettings
from actors.storage.place import Place
from jobs.cli.config import ConfigError, Input
from jobs.planning.listing import list_input
objects = list_input(Input(uri=sys.argv[1]), "/nowhere/out").objects
if sys.argv[2] == "hangs":
    Place.read = lambda *_: time.sleep(60)
print(read_piece(piece_of(objects), ReadSettings(patience_s=2.0)).num_rows)
"""


@pytest.mark.parametrize("how", ["hangs", "reads"])
def test_patience_covers_the_fetch(how: str, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(WAV)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    ended = subprocess.run(
        [sys.executable, "-c", HANGS, str(tmp_path), how], env=environment, capture_output=True, text=True, timeout=50
    )
    assert (ended.returncode == 0, ended.stdout.strip()) == (how == "reads", "1" if how == "reads" else "")
    assert ("Timeout" in ended.stderr) == (how == "hangs")


def row(uri: str, stretch_s: float | None, text: str) -> dict[str, Any]:
    names = ("recording_id", "etag", "model", "model_sha256", "decoding", "run_id", "unit")
    times = {"offset_s": None if stretch_s is None else 0.0, "stretch_s": stretch_s}
    return dict.fromkeys(names, "x") | times | {"uri": uri, "segment_index": 0, "text": text, "transcribed_at": 0}


def test_two_stretches_with_one_offset_are_two_recordings(tmp_path: Path) -> None:
    """Of which one may be edited while the other is no longer listed."""
    output, uri = Place.at(str(tmp_path)), "s3://b/x.wav"
    rows = [row(uri, 2.0, "short"), row(uri, 4.0, "long"), row("s3://b/y.wav", None, "whole")]
    entry = SourceObject(f"{uri}#0.0+4.0", uri, "x", "manifest", "1", 9, lines='{"offset": 0, "duration": 4}')
    assert entry.selection == Selection(0.0, 4.0)
    commit_unit(Unit("0a", RECIPE, (entry,)), [pa.Table.from_pylist(rows, schema=PART_SCHEMA)], output)
    carried = (Carried("k1", Version("1"), uri, Selection(0.0, 2.0)), Carried("k2", Version("1"), "s3://b/y.wav"))
    again = pa.Table.from_pylist([row(uri, 4.0, "long, edited")], schema=PART_SCHEMA)
    commit_unit(Unit("0a", RECIPE, (entry,), carried), [again], output)
    texts = [text for table in open_part("0a", output).tables() for text in table.column("text").to_pylist()]
    assert texts == ["long, edited", "short", "whole"]


@pytest.mark.parametrize(
    ("errors", "version", "is_tried"),
    [
        ({"unreachable": 1}, VERSION, True),
        ({"host_memory": 1, "missing": 2}, VERSION, True),
        ({"changed": 1}, VERSION, True),
        ({"internal": 1}, VERSION, False),
        ({"internal": 1}, "0.0.1", True),
        ({"missing": 1, "crashed": 1, "forbidden": 1, "archived": 1}, "0.0.1", False),
    ],
)
def test_what_may_pass_is_tried_again_by_itself(
    errors: dict[str, int], version: str, is_tried: bool, tmp_path: Path
) -> None:
    output, again = Place.at(str(tmp_path)), sum(errors[kind] for kind in errors if kind not in ("missing", "crashed"))
    commit = Commit("0a", "f" * 64, "0", 9, sum(errors.values()), again)
    (output / COMMITS / commit.name).write(json.dumps({"errors": errors, "citrascribe_version": version}).encode())
    assert set(units_with_errors(frozenset(), load_state(output), output)) == ({"0a"} if is_tried else set())


def test_a_commit_counts_what_is_tried_again(tmp_path: Path) -> None:
    output, kinds = Place.at(str(tmp_path)), ["unreachable", "internal", "missing", None]
    sources = [SourceObject(f"s3://b/{n}", f"s3://b/{n}", f"{n}", "audio", "1", 9) for n in range(len(kinds))]
    rows = [row(each.uri, None, "") | {"error_kind": kind} for each, kind in zip(sources, kinds, strict=True)]
    unit = Unit.of("0a", RECIPE, sources)
    commit_unit(unit, [pa.Table.from_pylist(rows, schema=PART_SCHEMA)], output)
    (name,) = (each.name for each in (tmp_path / COMMITS).iterdir())
    assert Commit.from_name(name) == Commit("0a", unit.fingerprint, name.split(".")[2], 4, 3, 2)


def stretch(kind: str | None, start_s: float | None, text: str | None = None) -> list[dict[str, Any]]:
    columns = dict.fromkeys(PART_SCHEMA.names) | {"segment_index": 0, "start_s": start_s, "error_kind": kind}
    return [columns | {"text": text, "duration_s": None if start_s is None else 30.0}]


def test_a_text_without_its_middle_is_none() -> None:
    spoken = [stretch(None, 0.0, "one"), stretch(None, 10.0, "two"), stretch(None, 20.0, "three")]
    for kind in ("unreachable", "forbidden", "host_memory", "internal", "archived", "changed", "missing"):
        (joined,) = _join_stretches([spoken[0], stretch(kind, None), spoken[2]])
        assert (joined["error_kind"], joined["text"]) == (kind, None)
    (joined,) = _join_stretches([stretch("forbidden", None), stretch("unreachable", None), spoken[2]])
    assert joined["error_kind"] == "unreachable"  # so that it is tried again
    assert [row["text"] for row in _join_stretches(spoken)] == ["one", "two", "three"]


def test_a_container_has_one_row_for_what_concerns_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "t.tar").write_bytes(tar_of([(f"{number}.wav", WAV) for number in range(9)]))
    unit = Unit.of("0a", "f" * 32, list_input(Input(uri=str(tmp_path / "t.tar")), "/nowhere/out").objects)
    output, kinds = (
        Place.at(str(tmp_path / "out")),
        iter((PermissionError("no"), OSError("gone"), PermissionError("no"))),
    )

    def fails(*_: Any, **__: Any) -> None:
        raise next(kinds)

    monkeypatch.setattr(objects, "read_tar", fails)
    for piece in cut_unit(unit, Cut(1.0, 3, is_streamed=True)):
        commit_piece(piece, DIGESTS.hear(read_piece(piece, ReadSettings())), output, "one")
    rows = [row for table in open_part("0a", output).tables() for row in table.to_pylist()]
    assert [(row["error_kind"], row["member"]) for row in rows] == [("unreachable", None)]


def test_an_allowed_folder_that_is_not_there_stops_the_run(tmp_path: Path) -> None:
    """A disk that is not mounted would make a row `missing` of everything that a manifest names there."""
    (tmp_path / "a.wav").write_bytes(WAV)
    with pytest.raises(ConfigError, match=r"input\.allowed_roots: there is no folder .*/gone"):
        list_input(Input(uri=str(tmp_path), allowed_roots=[str(tmp_path / "gone")]), "/nowhere/out")
