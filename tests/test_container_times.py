"""Sound is where its container says: late starts and gaps are silence, so that subtitles fit the film."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from audio_files import RATE, Sound, ffmpeg_file, ogg_pages, scaled, sndfile_ogg, spoken
from conftest import DEMO_MODEL
from films import TOLERANCE_S, Script, Sentence, holes, misread, onset_of, write_film
from test_pieces import cut, unit_of, worked
from transcribing import Transcribing

from actors.audio.decode import DecodeRequest, decode
from actors.audio.segments import SegmentationSettings
from actors.engine.interface import EngineSettings
from actors.engine.models import resolve
from actors.reader import read_piece
from actors.sources.objects import ReadSettings

FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
SECONDS = 125.0
SETTINGS = ReadSettings(segmentation=SegmentationSettings(8, 16))  # an anchor every 80 s

#: Container, codecs of its audio tracks, options of the container.
FILMS: dict[str, tuple[str, list[str], dict[str, str]]] = {
    "mkv mp3": ("matroska", ["libmp3lame"], {}),
    "mkv aac": ("matroska", ["aac"], {}),
    "mkv ac3": ("matroska", ["ac3"], {}),
    "mkv opus": ("matroska", ["libopus"], {}),
    "mkv tracks": ("matroska", ["libmp3lame", "aac", "ac3"], {}),
    "mp4 mp3": ("mp4", ["libmp3lame"], {}),
    "mp4 aac": ("mp4", ["aac"], {}),
    "mp4 ac3": ("mp4", ["ac3"], {}),
    "mp4 in fragments": ("mp4", ["aac"], FRAGMENTED),
    "ts": ("mpegts", ["aac"], {}),
    "flv": ("flv", ["aac"], {}),
}


@pytest.fixture(scope="module")
def script(speech: list[tuple[Sound, str]]) -> Script:
    return Script.of(speech, SECONDS)


@pytest.fixture(scope="module")
def film(script: Script, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("films")

    def make(name: str) -> Path:
        container, codecs, options = FILMS[name]
        path = folder / name.replace(" ", "_") / f"film.{name.split()[0]}"
        if not path.exists():
            path.parent.mkdir()
            write_film(path, container, codecs, script, options)
        return path

    return make


@pytest.mark.parametrize("name", FILMS)
def test_sentences_are_where_they_are_in_the_film(name: str, script: Script, film: Callable[[str], Path]) -> None:
    sound = decode(film(name).read_bytes())
    assert script.misplaced(sound.pcm) == []
    assert sound.duration_s == pytest.approx(123, abs=0.15)  # the last whole chunk ends there


@pytest.mark.parametrize("name", FILMS)
def test_a_film_in_pieces_is_the_film(name: str, film: Callable[[str], Path]) -> None:
    path = film(name)
    whole = decode(path.read_bytes()).pcm
    for begin in (30.0, 60.0, 70.0, 84.5, 121.0):  # in the gap and beyond the second minute, among others
        piece = decode(path.read_bytes(), DecodeRequest(begin=round(begin * RATE), end=round((begin + 9) * RATE))).pcm
        assert np.array_equal(piece, whole[round(begin * RATE) : round((begin + 9) * RATE)])
    unit = unit_of(path)
    rows = own_rows(cut(unit, seconds=200.0))
    assert len(rows) > 6
    assert holes(rows) == []
    assert own_rows(cut(unit, stretches=2, seconds=80.0)) == rows


def own_rows(pieces: list[Any]) -> list[dict[str, Any]]:
    """The rows of a recording's segments, in order, as they are read in pieces."""
    read = pa.concat_tables([read_piece(piece, SETTINGS) for piece in pieces]).to_pylist()
    rows = [row for row in read if row["own"] and row["end_s"] is not None]
    return [row | {"segment_index": at, "duration_s": rows[-1]["duration_s"]} for at, row in enumerate(rows)]


@pytest.mark.parametrize("name", ["mkv mp3", "mp4 aac"])
def test_tokens_are_where_they_are_said(name: str, script: Script, film: Callable[[str], Path], tmp_path: Path) -> None:
    engine = EngineSettings("fused", "cpu", "float32", 2, 30)
    transcribe = Transcribing(resolve(str(DEMO_MODEL), None, {}), engine, tokens=True)
    rows = worked(cut(unit_of(film(name)), stretches=2, seconds=120.0), tmp_path / "out", transcribe)
    assert holes(rows) == []
    assert misread(script, rows) == []


@pytest.mark.parametrize("codec", ["opus", "vorbis", "flac"])
def test_lost_pages_are_silence(codec: str) -> None:
    if codec == "vorbis":
        data = sndfile_ogg(spoken(44_100, seconds=40.0), 44_100, "VORBIS")
    else:
        encoder, rate = {"opus": ("libopus", 48_000), "flac": ("flac", RATE)}[codec]
        data = ffmpeg_file(spoken(rate, seconds=40.0), rate, "ogg", encoder, {"page_duration": "500000"})
    pages = ogg_pages(data)
    lost = pages[len(pages) // 2 : len(pages) // 2 + max(len(pages) // 10, 2)]
    whole, damaged = (scaled(decode(each).pcm) for each in (data, data[: lost[0][0]] + data[lost[-1][1] :]))
    assert len(damaged) == pytest.approx(len(whole), abs=TOLERANCE_S * RATE)
    last, size = len(whole) - 2 * RATE, min(len(whole), len(damaged))
    assert np.abs(whole[last:size] - damaged[last:size]).max() < 0.01
    assert np.count_nonzero(np.abs(damaged) > 1e-4) < np.count_nonzero(np.abs(whole) > 1e-4) - RATE


def test_a_short_delay_costs_no_sound(speech: Any, tmp_path: Path) -> None:
    for late_s in (0.05, 0.5):
        sentence = Sentence(late_s, *speech[0])
        for name in ("mkv mp3", "mkv aac", "mp4 aac"):
            container, codecs, _ = FILMS[name]
            path = tmp_path / f"{late_s}.{name}"
            write_film(path, container, codecs, Script((sentence,), 11.0, 99.0, late_s))
            heard_s = onset_of(scaled(decode(path.read_bytes()).pcm)) / RATE
            assert heard_s == pytest.approx(sentence.onset_s, abs=TOLERANCE_S)
