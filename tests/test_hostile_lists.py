"""Manifests, Kaldi's folders, companions and links that name what they should not: rows, and what lies outside is not
read."""

import json
import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import encoded, piece_of, tone

from actors.pieces import Cut, cut_unit
from actors.reader import read_piece
from actors.schema import ErrorKind, RecordingError, UsageError
from actors.sources.objects import ReadSettings
from actors.storage.file_info import FileInfo
from actors.storage.place import Place
from actors.units import Unit
from jobs.cli.config import Input
from jobs.planning import manifests
from jobs.planning.containment import AllowedFolders
from jobs.planning.listing import Listing, list_input

WAV = encoded(tone(0.5))
SECRET = "aws_access_key_id = AKIAFAKE\n"
PROTOCOLS = (
    "ftp github hdfs tar zip reference http https s3 gs simplecache sftp smb data memory nosuch FTP file.x".split()
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder `in` with a recording; beside it a secret and a recording that are none of the input."""
    (tmp_path / "in").mkdir()
    (tmp_path / "home").mkdir()
    (tmp_path / "in" / "a.wav").write_bytes(WAV)
    (tmp_path / "home" / "credentials").write_text(SECRET)
    (tmp_path / "home" / "a.wav").write_bytes(WAV)
    return tmp_path / "in"


def listed(uri: Path | str, **config: Any) -> Listing:
    return list_input(Input(uri=str(uri), **config), "/nowhere/out")


def rows_of(uri: Path | str, **config: Any) -> dict[str, dict[str, Any]]:
    """The rows of an input by recording_id. No row knows of what lies outside."""
    unit = Unit("u", "f", tuple(listed(uri, **config).objects))
    rows: list[dict[str, Any]] = read_piece(cut_unit(unit, Cut(60))[0], ReadSettings()).to_pylist()
    assert "AKIA" not in json.dumps(rows, default=str)
    assert len({row["recording_id"] for row in rows}) == len(rows)
    return {row["recording_id"]: row for row in rows}


def kinds(rows: dict[str, dict[str, Any]]) -> dict[str, str | None]:
    return {name: row["error_kind"] for name, row in rows.items()}


def write_lines(path: Path, *lines: dict[str, Any]) -> None:
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")


def test_a_protocol_is_judged_by_its_name(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **options: Any) -> None:
        raise AssertionError(f"a filesystem was built for {args}")

    monkeypatch.setattr("fsspec.filesystem", refuse)
    lines = [{"audio_filepath": f"{protocol}://127.0.0.1/x.wav", "id": protocol} for protocol in PROTOCOLS]
    lines += [{"audio_filepath": "zip::file:///etc/x.zip", "id": "chain"}, {"audio_filepath": "a.wav", "id": "right"}]
    write_lines(tree / "m.jsonl", *lines)
    found = kinds(rows_of(tree))
    assert found.pop("right") is None
    assert set(found.values()) == {"outside_input"}


def test_a_protocol_of_an_allowed_root_is_read_below_it_alone(
    tree: Path, s3_options: dict[str, Any], tmp_path: Path
) -> None:
    bucket = Place.at("s3://bucket", s3_options)
    for name in ("allowed/a.wav", "other/a.wav"):
        (bucket / name).write(WAV)
    names = ("s3://bucket/allowed/a.wav", "s3://bucket/other/a.wav", "s3://bucket/allowed/../other/b.wav")
    write_lines(tree / "m.jsonl", *({"audio_filepath": name, "id": name} for name in names))
    config = {"allowed_roots": ["s3://bucket/allowed"], "storage_options": s3_options}
    listing = listed(tree, **config)
    refusals = {each.name: each.refusal and each.refusal[0] for each in listing.objects}
    assert [refusals[name] for name in names] == [None, "outside_input", "outside_input"]


def test_ways_out_of_an_http_folder_are_seen() -> None:
    root = Place.at("http://127.0.0.1:9/archive")
    allowed = AllowedFolders([root])
    for way in ("%2e%2e/secret.wav", "x/%252e%252e/%2e%2e/s.wav", "..%5cs.wav", "a/..%2Fs.wav", "../s.wav"):
        assert allowed.refusal(allowed.locate(way, root, {}), way), way
    assert not allowed.refusal(allowed.locate("a..b/%41.wav?x=1", root, {}), "a")
    with pytest.raises(RecordingError):
        allowed.locate("https://127.0.0.1:9/archive/a.wav", root, {})
    assert allowed.refusal(allowed.locate("http://127.0.0.1:9@evil/a.wav", root, {}), "x")


def test_a_connection_is_a_plain_protocol() -> None:
    for uri in (
        "zip::s3://b/x.zip",
        "zip://a.wav::/etc/x.zip",
        "simplecache::s3://b/x",
        "tar://x",
        "ftp://",
        "nosuch://x",
    ):
        with pytest.raises(UsageError):
            Place.at(uri)


@pytest.mark.parametrize("name", ["text", "trans.txt", "utt2spk", "segments", "wav.scp"])
def test_kaldis_files_are_the_inputs_own(tree: Path, name: str) -> None:
    (tree / "wav.scp").write_text("aws_access_key_id a.wav\n")
    (tree / name).unlink(missing_ok=True)
    (tree / name).symlink_to("../home/credentials")
    found = rows_of(tree)
    assert "outside_input" in kinds(found).values()
    assert [row["error_kind"] for row in found.values() if row["duration_s"]] == [None]
    allowed = {each.name for each in listed(tree, allowed_roots=[str(tree.parent / "home")]).objects}
    assert name == "wav.scp" or "aws_access_key_id" in allowed or name == "segments"


@pytest.mark.parametrize("kind", ["device", "pipe", "folder", "socket", "large"])
def test_kaldis_files_are_files_of_a_size(tree: Path, kind: str) -> None:
    (tree / "wav.scp").write_text("u a.wav\n")
    if kind == "device":
        (tree / "text").symlink_to("/dev/zero")
    elif kind == "pipe":
        os.mkfifo(tree / "text")
    elif kind == "folder":
        (tree / "text").mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(tree / "text"))
    else:
        with (tree / "text").open("wb") as file:
            file.truncate(2_000_000_000)
    found = kinds(rows_of(tree, allowed_roots=["/dev"] if kind == "device" else []))
    assert found.pop("u") is None
    assert set(found.values()) <= {"bad_entry", "too_large"}
    assert found or kind == "folder"


def test_lines_of_kaldis_that_say_nothing(tree: Path) -> None:
    (tree / "wav.scp").write_text("u a.wav\n\nalone\n\x00\x00\n")
    (tree / "segments").write_text(
        "u1\nu2 u nan inf\nu3 u 1e999 2\nu4 nobody 0 1\nu5 u 0.1 0.2 0.3\nu6 u 0.0 0.2\nu7 u 0\n"
    )
    found = kinds(rows_of(tree))
    assert found.pop("u6") is None
    assert {kind for kind in found.values() if kind} == {"bad_entry"}


def test_a_manifest_that_is_none_has_few_rows(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "MAX_BAD_ENTRIES", 20)
    text = "".join(f"log line {number}\n" for number in range(500)) + json.dumps({"audio_filepath": "a.wav"}) + "\n"
    (tree / "m.jsonl").write_text(text)
    found = rows_of(tree)
    assert len(found) == 22
    assert found["a.wav"]["error_kind"] is None
    assert "480 more entries" in found["m.jsonl: others"]["error_detail"]


def test_lists_are_read_in_a_budget(tree: Path) -> None:
    for name in ("m_manifest.jsonl", "n_manifest.jsonl"):
        with (tree / name).open("wb") as file:
            file.truncate(700_000)
    (tree / "long.jsonl").write_bytes(b'{"x": "' + b"y" * 9_000_000 + b'"}\n' + b'{"audio_filepath": "a.wav"}\n')
    found = rows_of(tree, max_list_megabytes=10)
    assert sorted(map(str, kinds(found).values())) == ["None", "bad_entry", "bad_entry", "too_large"]
    (refused,) = (row for row in found.values() if row["error_kind"] == "too_large")
    assert "input.max_list_megabytes" in refused["error_detail"]


def test_short_lines_take_as_much_memory_as_long_ones(tree: Path) -> None:
    (tree / "m.jsonl").write_text('{"audio_filepath": "a.wav"}\n' * 5 + "{}\n" * 10_000)
    found = rows_of(tree, max_list_megabytes=0.1)
    assert found["a.wav"]["error_kind"] is None
    assert found["m.jsonl"]["error_kind"] == "too_large"
    assert not listed(tree, max_list_megabytes=0.1).is_complete


def test_what_a_list_that_is_not_read_would_name_is_not_deleted(tree: Path) -> None:
    write_lines(tree / "m.jsonl", {"audio_filepath": "a.wav", "offset": 0.1, "duration": 0.1})
    assert listed(tree).covers(f"file://{tree}/gone.wav")
    assert not listed(tree, max_list_megabytes=1e-6).covers(f"file://{tree}/gone.wav")
    (tree / "wav.scp").write_text("u a.wav\n")
    (tree / "text").symlink_to("/dev/zero")
    assert not listed(tree).covers(f"file://{tree}/gone.wav")


def test_lines_end_where_json_lines_do(tree: Path) -> None:
    write_lines(tree / "m.jsonl", {"audio_filepath": "a.wav", "text": "one\u2028line\x85only\x0b", "snr": float("nan")})
    (row,) = rows_of(tree).values()
    assert (row["reference"], row["extra"]) == ("one\u2028line\x85only\x0b", '{"snr": null}')


@pytest.mark.parametrize(
    "line", ["[" * 100_000, "1" * 5_000, '{"audio_filepath": {"a": 1}}', '{"audio_filepath": "c"}']
)
def test_a_line_costs_itself(tree: Path, line: str) -> None:
    (tree / "c").mkdir()
    (tree / "m.jsonl").write_text(f'{line}\n{{"audio_filepath": "a.wav"}}\n')
    found = kinds(rows_of(tree))
    assert found.pop("a.wav") is None
    assert list(found.values()) == ["bad_entry"]


def test_links_out_of_the_input_are_rows_and_others_are_followed(tree: Path) -> None:
    (tree / "x").mkdir()
    for name, target in {
        "out.wav": "../home/a.wav",
        "out": "../home",
        "x/far.tar": "../../home/credentials",
        "b.wav": "a.wav",
        "y": "x",
        "x/circle": "..",
        "gone.wav": "nothing",
        "gone.bin": "nothing",
        "a.txt": "../home/credentials",
    }.items():
        (tree / name).symlink_to(target)
    os.mkfifo(tree / "pipe.wav")
    listing, found = listed(tree), rows_of(tree)
    assert kinds(found) == {
        "a.wav": None,
        "b.wav": None,
        **dict.fromkeys(("out.wav", "out", "x/far.tar", "y/far.tar", "a.txt"), "outside_input"),
        "gone.wav": "missing",
        "pipe.wav": "bad_entry",
    }
    assert found["a.wav"]["reference"] is None
    assert "input.allowed_roots" in found["out"]["error_detail"]
    assert listing.files.skipped == {"link in a circle": 2, "dangling link": 1}
    home = [str(tree.parent / "home")]
    for name in ("a.txt", "x/far.tar"):  # the secret itself
        (tree / name).unlink()
    assert kinds(rows_of(tree, allowed_roots=home))["out/a.wav"] is None
    assert kinds(rows_of(f"{tree}/*.wav"))["out.wav"] == "outside_input"
    assert kinds(rows_of(f"{tree}/*.wav", allowed_roots=home))["out.wav"] is None


def test_companions_are_bounded_and_the_sound_is_read_all_the_same(tree: Path) -> None:
    for name in ("b", "c", "d"):
        (tree / f"{name}.wav").write_bytes(WAV)
    with (tree / "b.txt").open("wb") as file:
        file.truncate(2_000_000_000)
    (tree / "c.json").write_text("[" * 50_000)
    (tree / "d.json").write_text('{"text": "d", "snr": NaN, "n": 1e999, "big": ' + "9" * 400 + "}")
    (tree / "a.txt").write_text("x" * 2_000_000)
    found = rows_of(tree)
    assert set(kinds(found).values()) == {None}
    assert len(found["a.wav"]["reference"]) == 2_000_000
    assert "bytes" in json.loads(found["b.wav"]["extra"])["unread_text"]
    assert all("unreadable_json" in json.loads(found[f"{name}.wav"]["extra"]) for name in "cd")


def test_what_grows_after_it_was_looked_at_is_changed(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listing, info = listed(tree), Place.info

    def before(place: Place) -> FileInfo:
        return replace(info(place), size=100)

    monkeypatch.setattr(Place, "info", before)
    (row,) = read_piece(piece_of(listing.objects), ReadSettings()).to_pylist()
    assert row["error_kind"] == ErrorKind.CHANGED
