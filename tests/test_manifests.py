"""Manifests, tables and Kaldi's folders as people have them: each entry is a row with its own text, and what is no
manifest is counted."""

import io
import json
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import encoded, piece_of, sound_of, tone
from test_reading import tar_of

from actors.foreign.errors import InvalidData
from actors.foreign.parquet_rows import read_rows
from actors.foreign.plain_json import InvalidJson
from actors.reader import read_piece
from actors.sources.objects import ReadSettings
from jobs.cli.config import Input
from jobs.planning import json_documents, lists
from jobs.planning.listing import Listing, list_input

WAV = encoded(tone(0.5))
Row = dict[str, Any]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with three recordings, 0.wav to 2.wav."""
    (tmp_path / "in").mkdir()
    for number in range(3):
        (tmp_path / "in" / f"{number}.wav").write_bytes(WAV)
    return tmp_path / "in"


def listed(*uris: Path | str, **config: Any) -> Listing:
    return list_input(Input(uri=[str(uri) for uri in uris], **config), "/nowhere/out")


def rows_of(*uris: Path | str, **config: Any) -> list[Row]:
    rows: list[Row] = read_piece(piece_of(listed(*uris, **config).objects), ReadSettings()).to_pylist()
    return rows


def texts(rows: list[Row]) -> dict[str, str | None]:
    """The references by the name of the audio, of rows without an error."""
    found = {
        (row["member"] or row["uri"].rpartition("/")[2]): row["reference"] for row in rows if not row["error_kind"]
    }
    assert len(found) == sum(not row["error_kind"] for row in rows)
    return found


def errors(rows: list[Row]) -> dict[str, str]:
    return {row["recording_id"]: f"{row['error_kind']}: {row['error_detail']}" for row in rows if row["error_kind"]}


def write(path: Path, *entries: Row, encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(json.dumps(each, ensure_ascii=False) + "\n" for each in entries).encode(encoding))


SPEECH = ("今天早上司机在公园买东西", "银行的左边有一家好吃的商店", "星期三的会议改到夜里十一点半开始")
ENTRIES = [{"audio_filepath": f"{number}.wav", "text": text} for number, text in enumerate(SPEECH)]
READ = {f"{number}.wav": text for number, text in enumerate(SPEECH)}


# --- lines and encodings


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\u3000", "\x0b", "\x0c", "\x1c"])
def test_only_a_newline_ends_a_line(tree: Path, separator: str) -> None:
    text = f"{separator}a{separator}b{separator}"
    (tree / "wav.scp").write_bytes(b"u0 0.wav\r\nu1\t 1.wav \n")
    (tree / "text").write_text(f"u0 {text}\nu1 c\n", encoding="utf-8", newline="")
    assert texts(rows_of(tree, format="kaldi")) == {"0.wav": text, "1.wav": "c"}
    if separator > " ":  # JSON has no control characters in a text
        write(tree / "m.jsonl", ENTRIES[1], {"audio_filepath": "0.wav", "text": text})
        assert texts(rows_of(tree / "m.jsonl")) == {"0.wav": text, "1.wav": SPEECH[1]}


def test_a_carriage_return_does_not_cut_a_line(tree: Path) -> None:
    (tree / "wav.scp").write_bytes(b"u0 0.wav\nu1 1.wav\n")
    (tree / "text").write_bytes(b"u0 a\rb\r\nu1 c\r\n")
    assert texts(rows_of(tree, format="kaldi")) == {"0.wav": "a\rb", "1.wav": "c"}
    (tree / "m.jsonl").write_bytes(b'{"audio_filepath":\r"0.wav"}\r\n{"audio_filepath": "1.wav"}\r\n')
    assert texts(rows_of(tree / "m.jsonl")) == {"0.wav": None, "1.wav": None}


def test_line_separators_in_the_texts_of_a_shard(tmp_path: Path) -> None:
    (tmp_path / "audio_0.tar").write_bytes(tar_of([("a.wav", WAV), ("b.wav", WAV)]))
    separated = {"audio_filepath": "a.wav", "text": "x\u2028y\x85z", "shard_id": 0}
    write(tmp_path / "m.jsonl", separated, {"audio_filepath": "b.wav", "shard_id": 0})
    assert texts(rows_of(tmp_path)) == {"a.wav": "x\u2028y\x85z", "b.wav": None}
    assert [each.limit for each in listed(tmp_path, limit=2).objects] == [None]  # it holds two recordings


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gbk", "gb18030"])
def test_encodings_of_manifests_and_of_kaldis_files(tree: Path, encoding: str) -> None:
    write(tree / "m.jsonl", *ENTRIES, encoding=encoding)
    assert texts(rows_of(tree)) == READ
    (tree / "m.jsonl").unlink()
    (tree / "wav.scp").write_bytes("".join(f"u{each} {each}.wav\n" for each in range(3)).encode(encoding))
    (tree / "text").write_bytes("".join(f"u{each} {SPEECH[each]}\n" for each in range(3)).encode(encoding))
    assert texts(rows_of(tree)) == READ
    (tree / "wav.scp").unlink()
    (tree / "metadata.csv").write_bytes(
        ("file_name,sentence\n" + "".join(f"{name},{text}\n" for name, text in READ.items())).encode(encoding)
    )
    assert texts(rows_of(tree)) == READ


def test_a_list_in_no_known_encoding_is_refused_line_by_line(tree: Path) -> None:
    write(tree / "m.jsonl", ENTRIES[0] | {"text": "ascii"}, *ENTRIES[1:], encoding="utf-8")
    data = (tree / "m.jsonl").read_bytes()
    (tree / "m.jsonl").write_bytes(data[:-10] + b"\xff" + data[-9:])
    rows = rows_of(tree)
    assert texts(rows) == {"0.wav": "ascii", "1.wav": SPEECH[1], "2.wav": None}  # 2.wav as a file of its own
    assert "GB18030" in errors(rows)["m.jsonl:3"]


def test_a_log_in_no_known_encoding_is_no_manifest(tree: Path) -> None:
    (tree / "log.jsonl").write_bytes('{"event": "café"}\n'.encode("latin-1"))
    (tree / "list.jsonl").write_bytes('{"audio_filepath": "0.wav", "text": "café"}\n'.encode("latin-1"))
    assert listed(tree).files.skipped == {"no manifest": 1}
    assert list(errors(rows_of(tree))) == ["list.jsonl:1"]


def test_a_large_list_is_read_in_ranges(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "HELD_BYTES", 100)
    write(tree / "m.jsonl", *ENTRIES, encoding="utf-8-sig")
    assert texts(rows_of(tree)) == READ


# --- JSON documents


@pytest.mark.parametrize("chunk", [7, 1_000_000])
@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gbk"])
def test_a_manifest_that_is_an_array(
    tree: Path, indent: int | None, encoding: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_documents, "_CHUNK_BYTES", chunk)
    (tree / "manifest.json").write_bytes(json.dumps(ENTRIES, indent=indent, ensure_ascii=False).encode(encoding))
    assert texts(rows_of(tree)) == READ
    assert listed(tree).is_complete


def test_objects_by_id_and_objects_over_lines(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_id = {f"u{number}": {"wav": f"{number}.wav", "length": 0.5, "words": text} for number, text in enumerate(SPEECH)}
    for indent in (None, 2):
        (tree / "manifest.json").write_text(json.dumps(by_id, indent=indent), encoding="utf-8")
        rows = rows_of(tree)
        assert texts(rows) == READ
        assert {row["recording_id"] for row in rows} == {"u0", "u1", "u2"}
    monkeypatch.setattr(json_documents, "MAX_ELEMENT_CHARACTERS", 120)  # the object as a whole has more
    assert texts(rows_of(tree)) == READ
    (tree / "manifest.json").unlink()
    (tree / "m.jsonl").write_text("\n".join(json.dumps(each, indent=2) for each in ENTRIES), encoding="utf-8")
    assert texts(rows_of(tree)) == READ


def test_an_array_that_breaks_off_gives_what_it_holds_and_says_so(tree: Path) -> None:
    (tree / "manifest.json").write_text(json.dumps(ENTRIES)[:-40], encoding="utf-8")
    rows = rows_of(tree)
    assert texts(rows) == READ | {"2.wav": None}
    assert errors(rows)["manifest.json"].startswith("bad_entry: not JSON")
    assert not listed(tree).is_complete


@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 100])
def test_elements_of_documents(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_documents, "_CHUNK_BYTES", chunk)
    values = [12345, -1.5e10, {"a": [1, {"b": ']}\\"'}], "é": "今天"}, [], {}, None, True, "x"]
    for indent in (None, 1):
        text = json.dumps(values, indent=indent, ensure_ascii=False)
        assert list(json_documents.elements(io.BytesIO(text.encode()))) == [(None, value) for value in values]
        twice = io.BytesIO((text + " \n" + text).encode())
        assert [value for _, value in json_documents.elements(twice)] == values * 2
    by_id = io.BytesIO(b' {"a": {"x": 12}, "b": {"x": 3}}')
    assert list(json_documents.elements(by_id)) == [("a", {"x": 12}), ("b", {"x": 3})]
    for broken in ('[{"a": 1}, {"b"', '[{"a": 1} {"b": 2}]', '[{"a": 1}] x', '{"u": {"a": 1}, "v": {', "[" * 5_000):
        found = list[object]()
        with pytest.raises(InvalidJson):
            found.extend(value for _, value in json_documents.elements(io.BytesIO(broken.encode())))


def test_an_object_of_objects_that_breaks_off(tree: Path) -> None:
    by_id = json.dumps({f"u{n}": {"wav": f"{n}.wav", "words": text} for n, text in enumerate(SPEECH)}, indent=1)
    (tree / "manifest.json").write_text(by_id[:-20], encoding="utf-8")
    assert texts(rows_of(tree)) == READ | {"2.wav": None}


# --- other keys, and what is no manifest


@pytest.mark.parametrize(
    "entry",
    [
        {"file_name": "0.wav", "transcription": "a"},
        {"audio_path": "0.wav", "sentence": "a"},
        {"wav": "0.wav", "txt": "a", "key": "u"},
        {"path": "0.wav", "text": "a"},
        {"audio": "0.wav", "text": "a"},
        {"audio": {"path": "0.wav", "bytes": None}, "text": "a"},
        {"source": "0.wav", "target": "a", "key": "u"},
        {"path": "notes.pdf", "audio": "0.wav", "text": "a"},
    ],
)
def test_other_names_of_the_file(tree: Path, entry: Row) -> None:
    write(tree / "metadata.jsonl", entry)
    row = next(row for row in rows_of(tree) if row["uri"].endswith("/0.wav"))
    assert (row["error_kind"], row["reference"]) == (None, "a")
    assert row["recording_id"] == entry.get("key", "0.wav")


def test_start_and_end_are_stretches_and_a_lone_duration_describes(tree: Path) -> None:
    write(
        tree / "a.jsonl",
        {"wav": "0.wav", "start": 0.1, "end": 0.3, "txt": "a"},
        {"wav": "0.wav", "start": 0.3, "end": 0.5, "txt": "b"},
        {"wav": "1.wav", "duration": 0.2},
    )
    found = [(row["offset_s"], row["duration_s"], row["reference"]) for row in rows_of(tree)]
    assert found == [(0.1, 0.2, "a"), (0.3, 0.2, "b"), (0.0, 0.5, None), (None, 0.5, None)]


def test_what_names_no_audio_is_counted(tree: Path) -> None:
    (tree / "log.jsonl").write_text("".join(f'{{"event": "x", "path": "/var/{n}"}}\n' for n in range(3)) + "no json\n")
    (tree / "long.jsonl").write_text('{"x": "' + "y" * 5_000_000 + '"}\n')
    (tree / "metadata.csv").write_text("name,size\na,1\n")
    (tree / "empty.jsonl").write_text("")
    write(
        tree / "export.jsonl",
        {"recording_id": "0.wav", "uri": f"file://{tree}/0.wav", "text": "x", "segments": [{"text": "x"}]},
    )
    write(tree / "report.jsonl", {"file": "0.wav", "text": "what another tool heard"})
    write(tree / "out" / "_export" / "manifest" / "all.jsonl", ENTRIES[0])
    listing = listed(tree)
    assert listing.files.skipped == {"no manifest": 6, "made by jobs.export": 1}
    assert [each.format for each in listing.objects] == ["audio"] * 3
    assert listing.is_complete


def test_a_file_that_claims_to_be_a_manifest_has_rows(tree: Path) -> None:
    (tree / "manifest.jsonl").write_text("log\n")
    (tree / "x.jsonl").write_text("log 1\nlog 2\n" + json.dumps(ENTRIES[0]) + "\nlog 4\n")
    assert set(errors(rows_of(tree))) == {"manifest.jsonl:1", "x.jsonl:1", "x.jsonl:2", "x.jsonl:4"}
    (tree / "y.jsonl").write_text("log\n")
    assert set(errors(rows_of(tree / "y.jsonl"))) == {"y.jsonl:1"}
    write(tree / "z.jsonl", {"audio_filepath": "../../etc/passwd"})
    assert next(iter(errors(rows_of(tree / "z.jsonl")).values())).startswith("outside_input")


def test_an_index_of_shards_does_not_take_their_place(tree: Path) -> None:
    (tree / "a.tar").write_bytes(tar_of([("x.wav", WAV)]))
    write(tree / "shards.jsonl", {"path": "a.tar", "count": 1})
    write(tree / "strict.jsonl", {"audio_filepath": "a.tar"})
    rows = rows_of(tree)
    assert "x.wav" in texts(rows)
    assert "names a tar" in errors(rows)["strict.jsonl:1"]
    assert listed(tree).files.skipped == {"no manifest": 1}


def test_what_is_no_manifest_takes_nothing_of_the_budget(tree: Path) -> None:
    (tree / "a.jsonl").write_text('{"event": "x"}\n' * 2_000)
    (tree / "b.jsonl").write_text("[{" + " " * 1_000)  # and breaks off
    write(tree / "c.jsonl", *ENTRIES)
    listing = listed(tree, max_list_megabytes=0.401)
    assert [each.format for each in listing.objects] == ["manifest"] * 3
    assert listing.is_complete


def test_common_voice(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / "clips").mkdir(exist_ok=True)
        (tmp_path / "clips" / f"{number}.wav").write_bytes(WAV)
    lines = [f"c\t{number}.wav\t{text}" for number, text in enumerate(SPEECH)]
    for name, number in (("validated.tsv", 3), ("test.tsv", 1)):
        text = "\n".join(["client_id\tpath\tsentence", *lines[:number]])
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "reported.tsv").write_text("sentence_id\tsentence\n")
    assert texts(rows_of(tmp_path)) == READ
    assert listed(tmp_path).repeated == 1
    assert texts(rows_of(tmp_path, uri_column="path")) == READ


# --- shards


def sharded(folder: Path, bucket: str, names: list[str]) -> None:
    (folder / bucket).mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        (folder / bucket / f"audio_{number}.tar").write_bytes(tar_of([(f"{name}.wav", WAV)]))
        entry = {"audio_filepath": f"{name}.wav", "duration": 0.5, "text": f"of {name}"}
        write(folder / bucket / "sharded_manifests" / f"manifest_{number}.json", entry)


def test_shards_by_the_numbers_of_their_manifests_bucket_by_bucket(tmp_path: Path) -> None:
    sharded(tmp_path, "bucket1", ["a", "b"])
    sharded(tmp_path, "bucket2", ["c", "d"])
    rows = rows_of(tmp_path)
    assert texts(rows) == {f"{name}.wav": f"of {name}" for name in "abcd"}
    assert not errors(rows)


def test_manifests_of_one_shard_are_merged(tmp_path: Path) -> None:
    (tmp_path / "audio_007.tar").write_bytes(tar_of([("a.wav", WAV), ("b.wav", WAV)]))
    write(tmp_path / "x_manifest.json", {"audio_filepath": "b.wav", "text": "b", "shard_id": 7})
    write(
        tmp_path / "tarred_audio_manifest_7.json",
        {"audio_filepath": "a.wav", "text": "a"},
        {"audio_filepath": "b.wav", "text": "first"},
    )
    listing = listed(tmp_path)
    assert (len(listing.objects), listing.repeated) == (1, 1)
    assert texts(rows_of(tmp_path)) == {"a.wav": "a", "b.wav": "first"}


def test_a_shard_that_is_not_there_is_named_once(tmp_path: Path) -> None:
    sharded(tmp_path, "", ["a", "b"])
    (tmp_path / "audio_1.tar").unlink()
    write(tmp_path / "m.json", *({"audio_filepath": f"x{n}.wav", "shard_id": n // 2 + 4} for n in range(4)))
    (tmp_path / "m.json").rename(tmp_path / "more_manifest.json")
    rows = rows_of(tmp_path)
    assert texts(rows) == {"a.wav": "of a"}
    assert [value.split(",")[0] for value in errors(rows).values()] == [f"missing: shard {n}" for n in (4, 5, 1)]


def test_numbered_manifests_of_files_stay_such_beside_tars(tree: Path) -> None:
    (tree / "audio_0.tar").write_bytes(tar_of([("a.wav", WAV)]))
    write(tree / "manifest_0.json", *ENTRIES)
    assert texts(rows_of(tree)) == READ | {"a.wav": None}
    assert texts(rows_of(tree / "manifest_0.json", tree / "audio_0.tar")) == READ | {"a.wav": None}  # not listed


def test_a_line_that_names_a_listed_file_is_none_of_a_shard(tree: Path) -> None:
    (tree / "audio_0.tar").write_bytes(tar_of([("a.wav", WAV)]))
    write(tree / "manifest_0.json", {"audio_filepath": "a.wav", "text": "member"}, ENTRIES[0])
    assert texts(rows_of(tree)) == {"a.wav": "member", "0.wav": SPEECH[0], "1.wav": None, "2.wav": None}


def test_shards_elsewhere_count_only_if_it_is_clear_which(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        sharded(tmp_path / "tars", folder, [f"{folder}0"] + [f"{folder}1"] * (folder == "x"))
    write(tmp_path / "lists" / "a" / "manifest.json", {"audio_filepath": "x0.wav", "text": "a", "shard_id": 0})
    write(tmp_path / "lists" / "b" / "manifest.json", {"audio_filepath": "new.wav", "text": "b", "shard_id": 1})
    write(tmp_path / "lists" / "c" / "manifest_1.json", {"audio_filepath": "gone.wav", "text": "c"})
    rows = rows_of(tmp_path)
    assert texts(rows) == {"x0.wav": "of x0", "y0.wav": "of y0", "x1.wav": "of x1"}
    found = errors(rows)
    assert found["lists/a/manifest.json:1"].startswith("missing: shard 0")
    assert found["new.wav"].endswith("which the tar does not contain")  # the only shard 1
    assert found["gone.wav"].endswith("c/gone.wav does not exist")  # a number in a name elsewhere says little


# --- which of several counts


def test_the_first_manifest_by_uri_wins_in_any_order(tree: Path) -> None:
    for name in ("b", "c", "a"):
        write(tree / f"{name}.jsonl", {"audio_filepath": "0.wav", "text": name})
    for uris in (["b", "c", "a"], ["c", "a", "b"]):
        listing = listed(*(tree / f"{name}.jsonl" for name in uris))
        (only,) = listing.objects
        assert json.loads(only.lines or "")["text"] == "a"
        assert listing.repeated == 2


# --- Kaldi


def test_segments_of_kaldis(tree: Path) -> None:
    (tree / "wav.scp").write_text("r0 0.wav\nr1 1.wav\nr2 2.wav\n")
    (tree / "segments").write_text(
        "a r0 0.0 0.2 -1\nb r0 0.0 0.2 A\nc r0 0.3 -1\nd r0 0.1\ne r1 x 0.2\nf r1 0.1 abc\ng r1 0.3 0.1\nh r1 0 1 2 3\n"
    )
    (tree / "text").write_text("a t\nb u\n")
    rows = rows_of(tree)
    read = [
        (row["recording_id"], row["offset_s"], row["duration_s"], row["reference"])
        for row in rows
        if not row["error_kind"]
    ]
    assert read == [
        ("a", 0.0, 0.2, "t"),
        ("b", 0.0, 0.2, "u"),
        ("c", 0.3, 0.2, None),
        ("r1", 0.0, 0.5, None),
        ("r2", 0.0, 0.5, None),
    ]
    assert [row["channel"] for row in rows[:3]] == [None, 0, None]
    assert set(errors(rows)) == {f"segments:{n}" for n in range(4, 9)}
    assert all("start, end" in each for each in errors(rows).values())


def test_segments_of_one_channel(tree: Path) -> None:
    left, right = tone(0.5), tone(0.5, hertz=880.0)
    (tree / "0.wav").write_bytes(encoded(np.stack([left, right], axis=1)))
    (tree / "wav.scp").write_text("r0 0.wav\nr1 1.wav\n")
    (tree / "segments").write_text("a r0 0.0 0.5 0\nb r0 0.0 0.5 1\nc r0 0.0 0.5\nd r1 0.0 0.5 1\n")
    *rows, refused = sorted(rows_of(tree / "wav.scp"), key=itemgetter("recording_id"))
    assert [(row["recording_id"], row["channel"]) for row in rows] == [("a", 0), ("b", 1), ("c", None)]
    for sound, expected in zip(map(sound_of, rows), (left, right, (left + right) / 2), strict=True):
        assert np.abs(sound - expected).max() < 1e-3
    assert (refused["error_kind"], refused["channel"]) == ("unreadable", 1)
    assert "channels 0 to 0" in refused["error_detail"]


def test_one_selection_is_one_recording_however_it_is_written(tree: Path) -> None:
    lines = [
        {"offset": 0, "duration": 1},
        {"offset": 0.0, "duration": 1.0},
        {"offset": None, "duration": 1, "channel_selector": None},
        {"offset": 0, "duration": 1, "channel_selector": 0},
        {"offset": 0, "duration": 1, "channel_selector": [0]},
        {"offset": 0, "duration": 1, "channel_selector": 0.0},
        {"offset": 0, "duration": 1, "channel_selector": "average"},
        {"offset": 0, "duration": 1, "channel_selector": [0, 1]},
    ]
    write(tree / "m.jsonl", *({"audio_filepath": "0.wav"} | line for line in lines))
    listing = listed(tree / "m.jsonl")
    assert {each.selection for each in listing.objects if not each.refusal} == {(0.0, 1.0, None), (0.0, 1.0, 0)}
    assert listing.repeated == 4
    assert [each.refusal[0] for each in listing.objects if each.refusal] == ["bad_entry"] * 2


def test_ids_of_kaldis_that_are_taken(tree: Path) -> None:
    (tree / "wav.scp").write_text("r 0.wav\nr 1.wav\ns 2.wav\ns 2.wav\n")
    (tree / "text").write_text("r whose?\ns of s\n")
    rows = rows_of(tree / "wav.scp")
    assert texts(rows) == {"0.wav": None, "1.wav": None, "2.wav": "of s"}
    assert list(errors(rows)) == ["wav.scp:2"]
    assert "r is taken" in errors(rows)["wav.scp:2"]
    (tree / "text").write_text("s a\ns b\n")
    (tree / "segments").write_text("s s 0 -1\nr r 0 0.1\n")
    rows = rows_of(tree / "wav.scp")
    assert texts(rows) == {"0.wav": None, "1.wav": None, "2.wav": None}
    assert set(errors(rows)) == {"text:2", "wav.scp:2", "segments:2"}


# --- tables


@pytest.fixture
def table() -> list[Row]:
    return [{"url": f"{n}.wav", "sentence": text, "speaker": f"s{n}"} for n, text in enumerate(SPEECH)]


@pytest.mark.parametrize("kind", ["csv", "semicolons.csv", "tsv", "jsonl", "array.json", "parquet"])
def test_tables_of_recordings(tree: Path, table: list[Row], kind: str) -> None:
    path = tree / f"table.{kind}"
    if kind == "parquet":
        columns: dict[str, Any] = {name: [row[name] for row in table] for name in table[0]}
        pq.write_table(pa.table(columns | {"vector": [[1.0]] * 3, "thumb": [b"x"] * 3}), path, row_group_size=2)
    elif kind == "jsonl":
        write(path, *table)
    elif kind == "array.json":
        path.write_text(json.dumps(table), encoding="utf-8")
    else:
        delimiter = {"csv": ",", "tsv": "\t"}.get(kind, ";")
        path.write_text(
            "".join(delimiter.join(row) + "\n" for row in [list(table[0]), *(each.values() for each in table)]),
            encoding="utf-8-sig",
        )
    rows = rows_of(tree, uri_column="url")
    assert texts(rows) == READ
    assert [json.loads(row["extra"]) for row in rows] == [{"speaker": f"s{n}"} for n in range(3)]


def test_rows_of_tables_that_cannot_be_used(tree: Path) -> None:
    (tree / "t.csv").write_text(
        'url,text,offset,duration\n0.wav,"a ""b"",\nc",0.1,0.2\n,none\n1.wav,too,1,2,3\n../x.wav,\n'
        "2.wav,t,zero\n0.wav,,0.3,\n"
    )
    rows = rows_of(tree, uri_column="url")
    read = [
        (row["uri"][-5:], row["offset_s"], row["duration_s"], row["reference"]) for row in rows if not row["error_kind"]
    ]
    assert read == [
        ("0.wav", 0.1, 0.2, 'a "b",\nc'),
        ("0.wav", 0.3, 0.2, None),
        ("1.wav", None, 0.5, None),
        ("2.wav", None, 0.5, None),
    ]
    assert {name: value.split(":")[0] for name, value in errors(rows).items()} == {
        "t.csv:4": "bad_entry",
        "t.csv:5": "bad_entry",
        "../x.wav": "outside_input",
        "t.csv:7": "bad_entry",
    }


def test_quotation_marks_of_tsv_are_characters(tree: Path) -> None:
    (tree / "t.tsv").write_text('path\tsentence\n0.wav\t"Hello" he said\n1.wav\t"open\n2.wav\t"a ""b"""\n')
    assert texts(rows_of(tree, uri_column="path")) == {"0.wav": '"Hello" he said', "1.wav": '"open', "2.wav": 'a "b"'}


def test_urls_of_a_table_need_an_allowed_root(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "x.wav").write_bytes(WAV)
    (tree / "t.csv").write_text(f"id,url\nu,file://{tmp_path}/far/x.wav\nv,https://media.host/x.wav\n")
    assert {each[:13] for each in errors(rows_of(tree, uri_column="url")).values()} == {"outside_input"}
    config = {"uri_column": "url", "allowed_roots": [str(tmp_path / "far"), "https://media.host/"]}
    objects = {each.name: each for each in listed(tree, **config).objects}
    assert [objects[name].refusal for name in ("u", "v")] == [None, None]


def test_a_parquet_file_without_the_column_is_a_shard(tree: Path, table: list[Row]) -> None:
    pq.write_table(pa.table({"audio": pa.array([WAV], pa.binary()), "text": ["a"]}), tree / "shard.parquet")
    rows = rows_of(tree, uri_column="url")
    assert ("shard.parquet", "a", None) in {
        (row["uri"].rpartition("/")[2], row["reference"], row["error_kind"]) for row in rows
    }


def test_the_delimiter_is_that_which_finds_the_column(tree: Path) -> None:
    (tree / "t.csv").write_text("url;text;notes (a, b, c)\n0.wav;t;x, y\n")
    assert texts(rows_of(tree, uri_column="url"))["0.wav"] == "t"


def test_a_table_counts_by_what_is_read_of_it(tree: Path) -> None:
    columns: dict[str, Any] = {
        "url": list(READ),
        "text": list(SPEECH),
        "vectors": [[n * seed for n in range(900)] for seed in (0.1, 0.7, 0.9)],
    }
    pq.write_table(pa.table(columns), tree / "t.parquet", use_dictionary=False)
    assert (tree / "t.parquet").stat().st_size > 10_000
    assert texts(rows_of(tree, uri_column="url", max_list_megabytes=0.001)) == READ
    rows = rows_of(tree, uri_column="url", max_list_megabytes=0.0005)
    assert [value[:9] for value in errors(rows).values()] == ["too_large"]


def test_tables_of_parquet_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(
        pa.table({"url": ["a.wav"] * 3, "big": ["x" * 2_000_000] * 3, "day": pa.array([0, 10**7, 1], pa.date32())}),
        path,
    )
    with path.open("rb") as file:
        rows = list(read_rows(file, ["url"], 1_000_000))
    assert [list(row) for row in rows] == [["url", "day"]] * 3
    assert rows[1]["day"] is None
    with path.open("rb") as file, pytest.raises(InvalidData, match="unpacks"):
        list(read_rows(file, ["big"], 1_000_000))
    with pytest.raises(InvalidData):
        list(read_rows(io.BytesIO(path.read_bytes()[:-20] + b"x" * 20), ["url"], 1_000_000))


# --- what would be lost, doubled or another's without a word


def test_a_quotation_mark_that_nothing_closes_costs_its_own_line(tree: Path) -> None:
    (tree / "t.csv").write_text('path,text\n0.wav,"hello\n1.wav,two\n2.wav,"three"\n')
    rows = rows_of(tree / "t.csv", uri_column="path")
    assert texts(rows) == {"1.wav": "two", "2.wav": "three"}
    assert list(errors(rows)) == ["t.csv:2"]
    (tree / "t.csv").write_text('path,text\n0.wav,"two\nlines"\n1.wav,' + "x" * 200_000 + "\n")
    assert texts(rows_of(tree / "t.csv", uri_column="path")) == {"0.wav": "two\nlines", "1.wav": "x" * 200_000}
    (tree / "t.csv").write_text('"path","the\ntext"\n0.wav,x\n')
    (row,) = rows_of(tree / "t.csv", uri_column="path")
    assert json.loads(row["extra"]) == {"the\ntext": "x"}


def test_a_table_with_a_column_twice_is_refused(tree: Path) -> None:
    (tree / "t.csv").write_text("path,text,path\n0.wav,one,1.wav\n")
    assert "column 'path' is there twice" in errors(rows_of(tree / "t.csv", uri_column="path"))["t.csv"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"start": 0.1, "duration": 0.2}, (0.1, 0.2)),
        ({"start": 0.1, "end": None}, (0.1, None)),
        ({"start": 0.1, "end": -1}, (0.1, None)),
        ({"start": "0.1", "end": "0.3"}, (0.1, 0.2)),
        ({"duration": 0.2}, (0.0, None)),
        ({"start": 0.3, "end": 0.1}, "bad_entry"),
    ],
)
def test_a_start_is_that_of_a_stretch(tree: Path, fields: Row, expected: object) -> None:
    write(tree / "m.jsonl", {"audio": "0.wav", "text": "one"} | fields)
    (row,) = rows_of(tree / "m.jsonl")
    assert (row["error_kind"] or (row["offset_s"], row["stretch_s"])) == expected


def test_lines_of_shards_select_as_those_of_files_do(tree: Path) -> None:
    sound = encoded(np.stack([tone(0.5), tone(0.5, hertz=880.0)], axis=1))
    (tree / "audio_0.tar").write_bytes(tar_of([("x.wav", sound), ("y.wav", WAV)]))
    lines = [
        {"audio_filepath": "x.wav", "channel_selector": 0, "id": "left"},
        {"audio_filepath": "./x.wav", "channel_selector": [1], "id": "right"},
        {"audio_filepath": "x-sub1.wav", "channel_selector": 1, "id": "again"},
        {"audio_filepath": "x.wav", "duration": 0.3, "channel_selector": 0},
        {"audio_filepath": "y.wav", "channel_selector": 5},
    ]
    write(tree / "manifest.json", *(line | {"shard_id": 0} for line in lines))
    rows = [row for row in rows_of(tree) if row["uri"].endswith(".tar")]
    found = {row["recording_id"]: (row["member"], row["channel"], row["error_kind"]) for row in rows}
    assert found == {
        "left": ("x.wav", 0, None),
        "right": ("x.wav", 1, None),
        "y.wav": ("y.wav", 5, "unreadable"),
    }
    assert len(rows) == 3


def test_two_sets_of_shards_in_one_folder(tree: Path) -> None:
    for name in ("dev", "train"):
        (tree / f"{name}_0.tar").write_bytes(tar_of([("x.wav", WAV)]))
        write(tree / f"{name}_manifest.json", {"audio_filepath": "x.wav", "shard_id": 0, "text": name})
    rows = [row for row in rows_of(tree) if row["member"]]
    assert {row["uri"].rpartition("/")[2]: row["reference"] for row in rows} == {
        "dev_0.tar": "dev",
        "train_0.tar": "train",
    }


def test_an_input_that_is_reached_by_a_link(tree: Path) -> None:
    write(tree / "m.jsonl", {"audio_filepath": str(tree / "0.wav"), "text": "t"})
    (tree.parent / "link").symlink_to(tree)
    assert texts(rows_of(tree.parent / "link")) == {"0.wav": "t", "1.wav": None, "2.wav": None}


def test_two_files_of_texts_of_kaldis(tree: Path) -> None:
    (tree / "wav.scp").write_text("u0 0.wav\nu1 1.wav\n")
    (tree / "trans.txt").write_text("u0 mine\n")
    (tree / "text").write_text("u0 other\nu1 yours\n")
    assert texts(rows_of(tree / "wav.scp")) == {"0.wav": "mine", "1.wav": "yours"}


def test_a_table_without_rows_is_no_damage(tree: Path) -> None:
    pq.write_table(pa.table({"path": pa.array([], pa.string())}), tree / "t.parquet")
    listing = listed(tree, uri_column="path")
    assert (listing.is_complete, [each.name for each in listing.objects]) == (True, ["0.wav", "1.wav", "2.wav"])
