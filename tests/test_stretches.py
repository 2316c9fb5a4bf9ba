"""A long recording that is worked in stretches has the rows that it has when worked at once."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from conftest import DEMO_MODEL, encoded, tone
from test_pieces import WAVS, cut, tar_of, unit_of, worked
from transcribing import Transcribing

from actors.audio.decode import DecodeRequest, decode
from actors.engine.interface import EngineSettings
from actors.engine.models import resolve
from actors.pieces import Cut, NeedsRecut, cut_unit
from actors.reader import read_piece
from actors.schema import SAMPLE_RATE
from actors.sources.objects import ReadSettings
from actors.text.cer import character_errors
from actors.units import nominal_seconds
from demo.bundle import encode
from jobs.planning.sizing import planned_cut


@pytest.fixture(scope="module")
def five_minutes(speech: Any) -> np.ndarray:
    """Sentences after each other, few of them with a pause, in noise."""
    draw, parts, samples = np.random.default_rng(2), [], 0
    while samples < 280 * SAMPLE_RATE:
        for index in draw.permutation(len(speech)):
            parts += [speech[index][0], np.zeros(round(draw.choice([0, 0, 0, 0.8]) * SAMPLE_RATE))]
            samples += len(parts[-1]) + len(parts[-2])
    sound = np.concatenate(parts)
    return sound + draw.normal(0, 0.01, len(sound))


ENCODINGS = {
    "flac": lambda samples: encoded(samples, kind="FLAC"),
    "44.1.flac": lambda samples: encode(samples, 44_100, 2, "FLAC", "PCM_16"),
    "mp3": lambda samples: encode(samples, 44_100, 1, "MP3", "MPEG_LAYER_III"),
    "m4a": lambda samples: encode(samples, 48_000, 1, "", ""),
}


@pytest.fixture(scope="module", params=ENCODINGS)
def long_file(request: pytest.FixtureRequest, five_minutes: np.ndarray) -> tuple[str, bytes]:
    """A name, and what is in the file."""
    return f"long.{request.param}", ENCODINGS[request.param](five_minutes)


def test_stretches_of_a_recording_say_what_it_says(long_file: tuple[str, bytes], tmp_path: Path) -> None:
    engine = EngineSettings("fused", "cpu", "float32", 2, 30)
    transcriber = Transcribing(resolve(str(DEMO_MODEL), None, {}), engine, tokens=True)
    (tmp_path / long_file[0]).write_bytes(long_file[1])
    (tmp_path / long_file[0]).with_suffix(".txt").write_text("said")
    unit = unit_of(tmp_path)
    whole = worked(cut(unit), tmp_path / "whole", transcriber)
    assert whole[0]["reference"] == "said"
    assert len(whole) > 20
    for stretches in (3, 5):  # of two minutes; the fifth is beyond the end
        assert worked(cut(unit, stretches=stretches), tmp_path / str(stretches), transcriber) == whole


def test_where_nobody_speaks(speech: Any, tmp_path: Path) -> None:
    engine = EngineSettings("fused", "cpu", "float32", 2, 30)
    transcriber = Transcribing(resolve(str(DEMO_MODEL), None, {}), engine, tokens=True)
    music = tone(200, hertz=440, level=0.2) + tone(200, hertz=554, level=0.2)
    talk = np.concatenate([samples for samples, _ in speech])
    sound = np.concatenate([music[: 30 * SAMPLE_RATE], talk, music[: 50 * SAMPLE_RATE], talk, music])
    (tmp_path / "long.flac").write_bytes(encoded(sound, kind="FLAC"))
    (tmp_path / "long.txt").write_text("said")
    unit = unit_of(tmp_path)
    everything = worked(cut(unit), tmp_path / "all", transcriber)
    for drops in (False, True):
        settings = ReadSettings(vad=True, drops_silence=drops)
        whole = worked(cut(unit), tmp_path / f"{drops}", transcriber, settings=settings)
        assert worked(cut(unit, stretches=4), tmp_path / f"{drops} 4", transcriber, settings=settings) == whole
        assert (whole[0]["reference"], whole[0]["text"]) == ("said", "")
        silent = [row for row in whole if row["text"] == ""]
        assert len(silent) == 1 if drops else len(silent) >= 10
        assert [row["segment_index"] for row in whole] == list(range(len(whole)))
        assert not drops or len(whole) < len(everything)
        said = "".join(row["text"] for row in whole)
        words = "".join(text for _, text in speech)
        assert character_errors([(words * 2, said)])[0] <= 0.02 * 2 * len(words)
    assert [(row["start_s"], row["end_s"]) for row in everything] == [
        (row["start_s"], row["end_s"]) for row in pq.read_table(tmp_path / "False" / "part-0a.parquet").to_pylist()
    ]


def test_a_stretch_does_not_depend_on_where_decoding_began(long_file: tuple[str, bytes]) -> None:
    whole = decode(long_file[1]).pcm
    for begin, end in ((0, 900_000), (2_000_000, 3_000_000), (3_500_001, None)):
        assert np.array_equal(decode(long_file[1], DecodeRequest(begin=begin, end=end)).pcm, whole[begin:end])


def test_a_damaged_mp3_keeps_its_places(five_minutes: np.ndarray) -> None:
    draw, data = np.random.default_rng(1), bytearray(ENCODINGS["mp3"](five_minutes) * 2)
    for place in draw.integers(5_000, len(data) - 5_000, 60):
        data[place : place + 300] = draw.bytes(300)
    whole = decode(bytes(data)).pcm
    assert len(whole) == pytest.approx(2 * len(five_minutes), rel=0.01)
    for begin, end in ((2_000_000, 3_000_000), (len(five_minutes) - 160_000, None)):
        assert np.array_equal(decode(bytes(data), DecodeRequest(begin=begin, end=end)).pcm, whole[begin:end])


def test_members_of_a_tar_in_stretches(five_minutes: np.ndarray, tmp_path: Path) -> None:
    long = encoded(five_minutes, kind="FLAC")
    (tmp_path / "t.tar").write_bytes(tar_of([("a.flac", long), ("b.wav", WAVS[0]), ("bad.wav", b"x"), ("b.txt", b"t")]))
    unit = unit_of(tmp_path / "t.tar")
    whole = worked(cut(unit), tmp_path / "whole")
    assert [row["error_kind"] for row in whole][-2:] == [None, "not_audio"]
    for ranges, stretches in ((1, 4), (3, 2), (2, 5)):
        assert worked(cut(unit, ranges, stretches), tmp_path / f"{ranges}.{stretches}") == whole


def test_what_holds_more_than_its_size_promised_is_cut_finer(tmp_path: Path) -> None:
    with soundfile.SoundFile(tmp_path / "hours.flac", "w", 8_000, 1) as file:
        for _ in range(4):
            file.write(np.zeros(8_000 * 3_600, np.int16))  # four hours of silence in little space
    (tmp_path / "short.wav").write_bytes(WAVS[0])
    unit = unit_of(tmp_path)
    (piece,) = cut_unit(unit, planned_cut(unit, 1_800, 120, nominal_seconds))
    with pytest.raises(NeedsRecut) as asked:
        read_piece(piece, ReadSettings())
    assert asked.value.cut == Cut(1_800, 1, 8)  # by the length that was measured
    rows = worked(cut_unit(unit, asked.value.cut), tmp_path / "out")
    assert [row["duration_s"] for row in rows if row["segment_index"] == 0] == [4 * 3_600, pytest.approx(0.1)]


def test_headers_that_are_wrong_about_the_length() -> None:
    """Recorded streams have no header, or that of their first part: nothing of them may be lost."""
    noise = np.random.default_rng(0).normal(0, 0.1, 30 * SAMPLE_RATE)
    for kind, subtype in (("MP3", "MPEG_LAYER_III"), ("OGG", "VORBIS"), ("OGG", "OPUS")):
        one = encode(noise, SAMPLE_RATE, 1, kind, subtype)
        assert decode(one + one).duration_s == pytest.approx(60, abs=0.5)
    mp3 = encode(np.concatenate([np.zeros(30 * SAMPLE_RATE), noise]), SAMPLE_RATE, 1, "MP3", "MPEG_LAYER_III")
    headerless = mp3[mp3.index(mp3[:2], 4) :]
    assert decode(headerless).duration_s == pytest.approx(60, abs=0.5)
    flac = bytearray(encoded(noise, kind="FLAC"))
    for claimed in (0, 5 * SAMPLE_RATE):
        flac[22:26] = claimed.to_bytes(4, "big")  # of total samples: RFC 9639, section 8.2
        assert decode(bytes(flac)).duration_s == 30
