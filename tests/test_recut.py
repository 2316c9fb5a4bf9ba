"""What holds more audio than its size promised is cut by what was measured, and plans grow with their objects alone."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from test_pieces import WAVS, cut, tar_of, unit_of, worked

from actors.blocks import start
from actors.pieces import Cut, NeedsRecut, Piece, cut_unit
from actors.reader import read_piece
from actors.sources.memory import MemoryBudget
from actors.sources.objects import ReadSettings
from actors.sources.tar import Shard, read_tar
from actors.storage.place import Place
from actors.storage.stored_file import StoredFile
from actors.units import SourceObject, Unit


def telephone(seconds: int) -> bytes:
    """A recording at 8 kHz in 8 bit: four times as much sound in a byte as at 16 kHz in 16 bit."""
    file = io.BytesIO()
    soundfile.write(file, np.zeros(8_000 * seconds), 8_000, format="WAV", subtype="ULAW")
    return file.getvalue()


def asked_for(piece: Piece) -> Cut:
    with pytest.raises(NeedsRecut) as needed:
        read_piece(piece, ReadSettings())
    return needed.value.cut


def test_telephone_recordings_are_worked_in_as_many_pieces_as_their_hours_need(tmp_path: Path) -> None:
    call = telephone(200)
    for number in range(100):
        (tmp_path / f"{number:03d}.wav").write_bytes(call)
    unit = unit_of(tmp_path)
    (whole,) = cut_unit(unit, Cut(1_800))
    finer = asked_for(whole)
    assert finer == Cut(1_800, 12)  # 20,000 seconds
    pieces = cut_unit(unit, finer)
    assert sorted({len(piece.objects) for piece in pieces}) == [8, 9]
    assert [source.name for piece in pieces for source in piece.objects] == [each.name for each in unit.objects]
    held = [read_piece(piece, ReadSettings()) for piece in pieces]
    assert sum(table.column("end_s").to_pylist()[-1] > 199 for table in held) == len(pieces)


def test_a_tar_of_telephone_recordings_is_measured_as_well(tmp_path: Path) -> None:
    call = telephone(200)
    (tmp_path / "t.tar").write_bytes(tar_of((f"{number:03d}.wav", call) for number in range(100)))
    finer = asked_for(cut(unit_of(tmp_path / "t.tar"), seconds=1_800)[0])
    assert 11 <= finer.shares <= 13
    pieces = cut_unit(unit_of(tmp_path / "t.tar"), finer)
    rows = [read_piece(piece, ReadSettings()) for piece in pieces]
    assert len({name for table in rows for name in table.column("member").to_pylist() if name}) == 100


def test_many_and_one_long_recording_in_one_unit(tmp_path: Path) -> None:
    """The rows of a unit that is cut into shares and stretches are those of the unit in one piece."""
    for number in range(6):
        (tmp_path / f"{number}.wav").write_bytes(WAVS[number])
    soundfile.write(tmp_path / "3-long.flac", np.random.default_rng(0).normal(0, 0.1, 8_000 * 700), 8_000)
    (tmp_path / "4.tar").write_bytes(tar_of([("a.wav", WAVS[7]), ("b.wav", WAVS[8]), ("b.txt", b"said")]))
    (tmp_path / "5-none.tar").write_bytes(tar_of([("x.bin", b"")]))
    (tmp_path / "6-bad.wav").write_bytes(b"no audio")
    unit = unit_of(tmp_path)
    whole = worked(cut(unit), tmp_path / "whole")
    assert [row["error_kind"] for row in whole if row["error_kind"]] == ["empty", "not_audio"]
    for shares, stretches in ((2, 1), (3, 2), (12, 1), (40, 3), (1, 4)):
        assert worked(cut(unit, shares, stretches), tmp_path / f"{shares}.{stretches}") == whole


def test_stretches_of_manifest_lines_of_one_file(tmp_path: Path) -> None:
    """Lines of one file, of which one is malformed: each has its own rows however the unit is cut."""
    soundfile.write(tmp_path / "a.flac", np.random.default_rng(0).normal(0, 0.1, 8_000 * 300), 8_000)
    lines = [{"offset": 10, "duration": 20}, {"offset": 280, "duration": 90}, {"offset": 400}, {"offset": 0}]
    text = "".join(json.dumps({"audio_filepath": "a.flac"} | line) + "\n" for line in lines)
    (tmp_path / "m.jsonl").write_text(text + "not json\n")
    unit = unit_of(tmp_path / "m.jsonl")
    whole = worked(cut(unit), tmp_path / "whole")
    for shares, stretches in ((5, 1), (2, 2), (1, 3)):
        assert worked(cut(unit, shares, stretches), tmp_path / f"{shares}.{stretches}") == whole


@pytest.mark.parametrize("count", [500, 2_000])
def test_a_plan_grows_with_its_objects(count: int) -> None:
    uris = [f"s3://archive/2026/11/speaker_{number:05d}/recording_{number:07d}.flac" for number in range(count)]
    unit = Unit.of("0a", "f" * 32, [SourceObject(uri, uri, uri[13:], "audio", "e" * 32, 9_000) for uri in uris])
    pieces = cut_unit(unit, Cut(1_800, count))
    rows = [start(piece) for piece in pieces]
    assert len(pieces) == count
    assert [piece.objects[0].uri for piece in pieces] == uris
    assert sum(len(row["piece"]) for row in rows) < 10_000 * count  # 2,000 objects: below 20 MB


def test_a_cut_survives_its_name() -> None:
    for each in (Cut(1_800), Cut(60.5, 12, 3), Cut(1e6, 2, 1, is_streamed=True)):
        assert Cut.parse(str(each)) == each
    assert Cut.parse(str(Cut(33.33333 * 60))) == Cut(33.33333 * 60)
    for text in ("", "1.1.s", "1.1.60.0", "a.1.60.0s", "1.1.60.0s-", "1.1.1e999s", "1" * 30 + ".1.60.0s"):
        assert Cut.parse(text) is None
    for text in ("0.1.60.0s", "1.0.60.0s", "00.1.60.0s", "-1.1.60.0s"):
        assert Cut.parse(text) is None


def test_the_objects_of_a_cut_stay_in_order() -> None:
    draw = np.random.default_rng(1)
    for _ in range(200):
        sizes = [int(size) for size in 10 ** draw.uniform(0, 8, draw.integers(1, 30))]
        kinds = draw.choice(["audio", "tar", "parquet"], len(sizes))
        objects = [
            SourceObject(f"{number}", f"s3://b/{number:02d}.wav", "", kind, "e", size)
            for number, (size, kind) in enumerate(zip(sizes, kinds, strict=True))
        ]
        unit = Unit.of("0a", "f" * 32, objects)
        pieces = cut_unit(unit, Cut(60, int(draw.integers(1, 50)), int(draw.integers(1, 4))))
        assert [piece.number for piece in pieces] == list(range(len(pieces)))
        assert {piece.count for piece in pieces} == {len(pieces)}
        firsts = [each for piece in pieces if piece.range == piece.stretch == 0 for each in piece.objects]
        assert firsts == objects


@pytest.mark.parametrize("sizes", [[0] * 20, [1 << 40, *[1] * 19], [0, 1, 1 << 50, 7]])
def test_enough_shares_divide_every_object_whatever_sizes_say(sizes: list[int]) -> None:
    objects = [SourceObject(f"{at}", f"s3://b/{at:02d}.tar", "", "tar", "e", size) for at, size in enumerate(sizes)]
    unit = Unit.of("0a", "f" * 32, objects)
    alone = cut_unit(unit, Cut(60, len(sizes)))
    assert all(len(piece.objects) == 1 for piece in alone)
    halved = cut_unit(unit, Cut(60, 32 * len(sizes)))
    assert {piece.objects[0].key for piece in halved if piece.ranges > 1} == {each.key for each in objects}
    assert len(halved) <= 64 * len(sizes)


def test_one_recording_that_is_too_long_with_its_context_is_cut_into_stretches(tmp_path: Path) -> None:
    """It is just within what a piece may hold, and its segments overlap: more shares would not divide it."""
    hum = np.sin(np.arange(8_000 * 6_900) * 0.5).astype(np.float32) * 0.5
    soundfile.write(tmp_path / "long.flac", hum, 8_000)
    (tmp_path / "t.tar").write_bytes(tar_of([("long.flac", (tmp_path / "long.flac").read_bytes())]))
    (tmp_path / "long.flac").unlink()
    unit = unit_of(tmp_path / "t.tar")
    finer = asked_for(cut_unit(unit, Cut(1_800))[0])
    assert (finer.shares, finer.stretches) == (1, 4)
    for piece in cut_unit(unit, finer):
        assert read_piece(piece, ReadSettings()).num_rows


def test_a_cut_that_is_as_fine_as_possible_is_tried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("actors.reading.measure.MAX_PIECES", 15)
    (tmp_path / "t.tar").write_bytes(tar_of((f"{number:02d}.wav", telephone(200)) for number in range(80)))
    unit = unit_of(tmp_path / "t.tar")
    assert asked_for(cut_unit(unit, Cut(600))[0]) == Cut(600, 15)  # and not 27


def test_a_tar_of_unknown_size_is_divided(tmp_path: Path) -> None:
    """As a server may give it that states no length; its recordings are then dealt out."""
    (tmp_path / "t.tar").write_bytes(tar_of((f"{number:02d}.wav", WAVS[number]) for number in range(24)))
    stored, source = Place.at(str(tmp_path / "t.tar")), unit_of(tmp_path / "t.tar").objects[0]
    found = list[list[str]]()
    for number in range(4):
        shard = Shard(source, "", 1 << 30, MemoryBudget(1 << 30))
        found.append([each.recording_id for each in read_tar(StoredFile(stored, 0), shard, (number, 4))])
    assert sorted(map(len, found)) == [6] * 4
    assert sorted(name for names in found for name in names) == [f"{number:02d}" for number in range(24)]
