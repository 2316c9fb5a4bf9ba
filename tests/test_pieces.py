"""Objects too large for a block are worked in pieces, and give the rows that they give in one."""

import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import encoded, tone
from hypothesis import given, settings
from hypothesis import strategies as st
from transcribing import DIGESTS, WORK, Hearing, commit_piece

from actors.outcomes import Committed, Kept
from actors.parts.kept import PIECES, is_kept, sweep_pieces
from actors.pieces import Cut, NeedsRecut, Piece, cut_unit
from actors.reader import read_piece
from actors.schema import EMISSION_SCHEMA, SAMPLE_RATE
from actors.sources.objects import ReadSettings
from actors.storage.place import Place
from actors.units import Unit
from jobs.cli.config import Input
from jobs.planning.listing import list_input


def unit_of(path: Path, **config: Any) -> Unit:
    return Unit.of("0a", "f" * 32, list_input(Input(uri=str(path), **config), "/nowhere/out").objects)


def worked(
    pieces: list[Piece],
    out: Path,
    hearing: Hearing = DIGESTS,
    attempt: str = "one",
    settings: ReadSettings | None = None,
) -> list[dict[str, Any]]:
    """The rows of the part that pieces are committed to, cut finer where they ask for it, in an odd order."""
    output = Place.at(str(out))
    finer = None
    for piece in reversed(pieces):
        try:
            speech = read_piece(piece, settings or ReadSettings())
            told = commit_piece(piece, hearing.hear(speech), output, attempt, hearing.vocabulary)
            assert isinstance(told, Committed if piece is pieces[0] else Kept)
        except NeedsRecut as needed:
            finer = finer.merged(needed.cut) if finer else needed.cut
    if finer:
        unit = Unit(
            piece.unit,
            piece.fingerprint,
            tuple({each.key: each for piece in pieces for each in piece.objects}.values()),
        )
        return worked(cut_unit(unit, finer), out, hearing, attempt + "x", settings)
    assert not (out / PIECES).exists() or not list((out / PIECES).iterdir())
    rows: list[dict[str, Any]] = pq.read_table(out / "part-0a.parquet").to_pylist()
    for row in rows:
        del row["transcribed_at"]
    return rows


def cut(unit: Unit, shares: int = 1, stretches: int = 1, seconds: float = 1.0) -> list[Piece]:
    return cut_unit(unit, Cut(seconds, shares, stretches))


def tar_of(members: Iterable[tuple[str, bytes]], **options: Any) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", **options) as archive:
        for name, data in members:
            header = tarfile.TarInfo(name)
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))
    return file.getvalue()


WAVS = [encoded(tone(0.1 * (1 + number % 5), hertz=200 + 20 * number)) for number in range(24)]
INNER = tar_of([("inside/a.wav", WAVS[0]), ("inside/a.txt", b"no"), ("inside/b.wav", WAVS[1])])


@st.composite
def tars(draw: st.DrawFn) -> bytes:
    """Tars as they are found: with texts or without, beside their sound or far away, other members, tars among them."""
    folders = st.sampled_from(["d/", "d/", "long" * 40 + "/"])
    names = [f"{draw(folders)}{number:02d}" for number in range(draw(st.integers(0, 24)))]
    samples = [
        [(f"{name}.wav", WAVS[number])] + [(f"{name}.txt", f"text {number}".encode())] * draw(st.booleans())
        for number, name in enumerate(names)
    ]
    for _ in range(draw(st.integers(0, 3))):
        samples.insert(draw(st.integers(0, len(samples))), [(draw(st.sampled_from(["x.tar", "x.bin"])), INNER)])
    members = [member for sample in samples for member in sample]
    if draw(st.integers(0, 3)) == 0:
        members = draw(st.permutations(members))
    return tar_of(members, format=draw(st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])))


@settings(max_examples=60, deadline=None)
@given(data=tars(), ranges=st.integers(2, 12), cut_off=st.sampled_from([0, 0, 0, 700, 3_000]))
def test_ranges_of_a_tar_hold_every_sample_once(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, ranges: int, cut_off: int
) -> None:
    folder = tmp_path_factory.mktemp("tar")
    (folder / "t.tar").write_bytes(data[: len(data) - cut_off] if cut_off else data)
    unit = unit_of(folder / "t.tar")
    whole = worked(cut(unit), folder / "whole")
    assert worked(cut(unit, ranges), folder / "ranges") == whole


def test_ranges_of_a_common_tar_are_not_read_again(tmp_path: Path) -> None:
    sounds = [(f"{number:02d}.wav", wav) for number, wav in enumerate(WAVS)]
    members = [member for name, wav in sounds for member in ((name, wav), (name.replace("wav", "txt"), b"t"))]
    (tmp_path / "t.tar").write_bytes(tar_of(members))
    rows = worked(pieces := cut(unit_of(tmp_path / "t.tar"), 5), tmp_path / "out")
    assert len(rows) == 24
    held = [read_piece(piece, ReadSettings()).num_rows for piece in pieces]
    assert max(held) < 24  # so the ranges did fit together


def test_a_range_is_read_in_one_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = encoded(np.random.default_rng(0).normal(0, 0.1, 10 * SAMPLE_RATE))
    (tmp_path / "t.tar").write_bytes(tar_of((f"{number:03d}.wav", noise) for number in range(120)))
    asked = list[int]()
    read_range = Place.read_range

    def counted(place: Place, start: int, end: int) -> bytes:
        asked.append(end - start)
        return read_range(place, start, end)

    monkeypatch.setattr(Place, "read_range", counted)
    pieces = cut(unit_of(tmp_path / "t.tar"), 4)
    assert 28 <= read_piece(pieces[1], ReadSettings()).num_rows <= 32
    share = 120 * len(noise) / 4
    assert [size for size in asked if size > 5_000_000] == [pytest.approx(share, rel=0.01)]
    assert sum(asked) < share + 3 * 4_000_000


def test_a_compressed_tar_and_manifest_lines_in_ranges(tmp_path: Path) -> None:
    members = [(f"{number:02d}.wav", WAVS[number]) for number in range(24)]
    with tarfile.open(tmp_path / "t.tar.gz", "w:gz") as archive:
        for name, data in members:
            header = tarfile.TarInfo(name)
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))
    unit = unit_of(tmp_path / "t.tar.gz")
    assert worked(cut(unit, 4), tmp_path / "4") == worked(cut(unit), tmp_path / "1")
    held = [read_piece(piece, ReadSettings()).num_rows for piece in cut(unit, 4)]
    assert max(held) < 24
    limited = unit_of(tmp_path / "t.tar.gz", limit=10)
    assert len(worked(cut(limited, 4), tmp_path / "limited")) == 10

    (tmp_path / "nemo").mkdir()
    (tmp_path / "nemo" / "audio_0.tar").write_bytes(tar_of(members))
    lines = [{"audio_filepath": name, "text": name, "shard_id": 0} for name, _ in [*members, ("gone.wav", b"")]]
    (tmp_path / "nemo" / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    unit = unit_of(tmp_path / "nemo")
    rows = worked(cut(unit, 5), tmp_path / "nemo5")
    assert rows == worked(cut(unit), tmp_path / "nemo1")
    assert [row["error_kind"] for row in rows] == [None] * 24 + ["missing"]


@settings(max_examples=20, deadline=None)
@given(rows=st.integers(0, 24), group=st.integers(1, 30), ranges=st.integers(2, 9))
def test_shares_of_a_parquet_file_hold_every_row_once(
    tmp_path_factory: pytest.TempPathFactory, rows: int, group: int, ranges: int
) -> None:
    folder = tmp_path_factory.mktemp("parquet")
    table = pa.table({"audio": pa.array(WAVS[:rows], pa.binary()), "text": [f"{number}" for number in range(rows)]})
    pq.write_table(table, folder / "t.parquet", row_group_size=group)
    unit = unit_of(folder / "t.parquet")
    assert worked(cut(unit, ranges), folder / "ranges") == worked(cut(unit), folder / "whole")


def test_a_unit_goes_on_where_an_earlier_run_stopped(tmp_path: Path) -> None:
    (tmp_path / "t.tar").write_bytes(tar_of([(f"{number:02d}.wav", WAVS[number]) for number in range(24)]))
    unit = unit_of(tmp_path / "t.tar")
    pieces, out = cut(unit, 4), tmp_path / "out"
    output = Place.at(str(out))
    for piece in pieces[1:]:
        told = commit_piece(piece, DIGESTS.hear(read_piece(piece, ReadSettings())), output, "one")
        assert isinstance(told, Kept)
    assert [is_kept(piece, output) for piece in pieces] == [False, True, True, True]
    sweep_pieces([unit], 1.0, output)
    sweep_pieces([Unit("0b", "f", ())], 1.0, Place.at(str(tmp_path / "elsewhere")))
    assert sweep_pieces([Unit("0b", "f", ())], 1.0, output, keeps_others=True) == {}
    assert [is_kept(piece, output) for piece in pieces] == [False, True, True, True]
    kept = EMISSION_SCHEMA.empty_table().replace_schema_metadata(WORK)
    assert isinstance(commit_piece(pieces[2], kept, output, "two"), Kept)
    told = commit_piece(pieces[0], DIGESTS.hear(read_piece(pieces[0], ReadSettings())), output, "two")
    assert isinstance(told, Committed)
    assert (told.counts.recordings, told.counts.segments) == (24, 24)
    assert not list((out / PIECES).iterdir())
    commit_piece(pieces[1], DIGESTS.hear(read_piece(pieces[1], ReadSettings())), output, "three")
    sweep_pieces([], 1.0, output)
    assert not list((out / PIECES).iterdir())


def test_an_object_that_changed_is_one_row(tmp_path: Path) -> None:
    path = tmp_path / "t.wav"
    path.write_bytes(encoded(tone(300, 8_000), 8_000))
    pieces = cut(unit_of(path), stretches=3)
    output = Place.at(str(tmp_path / "out"))
    commit_piece(pieces[0], DIGESTS.hear(read_piece(pieces[0], ReadSettings())), output, "one")
    path.write_bytes(encoded(tone(301, 8_000), 8_000))
    for piece in pieces[1:]:
        told = commit_piece(piece, DIGESTS.hear(read_piece(piece, ReadSettings())), output, "one")
    assert isinstance(told, Committed)
    assert told.counts.errors == {"changed": 1}
    assert pq.read_table(tmp_path / "out" / "part-0a.parquet").num_rows == 1


def test_an_object_that_goes_midway_is_one_row(tmp_path: Path) -> None:
    path = tmp_path / "t.tar"
    path.write_bytes(tar_of([(f"{number:02d}.wav", WAVS[number]) for number in range(24)]))
    pieces = cut(unit_of(path), 3)
    output = Place.at(str(tmp_path / "out"))
    commit_piece(pieces[0], DIGESTS.hear(read_piece(pieces[0], ReadSettings())), output, "one")
    path.unlink()
    assert isinstance(commit_piece(pieces[1], DIGESTS.hear(read_piece(pieces[1], ReadSettings())), output, "one"), Kept)
    told = commit_piece(pieces[2], DIGESTS.hear(read_piece(pieces[2], ReadSettings())), output, "one")
    assert isinstance(told, Committed)
    assert told.counts.errors == {"changed": 1}
    assert pq.read_table(tmp_path / "out" / "part-0a.parquet").num_rows == 1


def test_a_broken_parquet_file_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_bytes(b"PAR1" + bytes(5_000) + b"PAR1")
    unit = unit_of(tmp_path / "t.parquet")
    rows = worked(cut(unit, 4), tmp_path / "4")
    assert [row["error_kind"] for row in rows] == ["unreadable"]
    assert rows == worked(cut(unit), tmp_path / "1")
