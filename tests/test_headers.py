"""Header seconds against decoded ones: each format, whole or cut off, few ranges, and headers that lie."""

import gzip
import io
import os
import random
import struct
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from conftest import ROOT, encoded, tone
from test_audio import ffmpeg_file
from test_hostile_audio import mutant, wav_of
from test_reading import tar_of

from actors.audio.decode import decode
from actors.audio.headers import stated_seconds
from actors.foreign.errors import InvalidData
from actors.schema import RecordingError
from actors.sources.implied import RANGE_BYTES, TAR_BYTES, implied_seconds
from actors.storage import ranges
from actors.storage.place import Place
from actors.storage.stored_file import StoredFile
from actors.units import BYTES_PER_SECOND, Format
from demo.bundle import encode

SECONDS = 12.0


def sound(rate: int, seconds: float = SECONDS) -> np.ndarray:
    """Noise that is louder now and then, as speech is: codecs of variable bit rate need it."""
    at = np.arange(round(seconds * rate)) / rate
    return np.random.default_rng(1).normal(0, 0.1, len(at)) * (1 + np.sin(at))


def by_libsndfile(kind: str, subtype: str | None = None, rate: int = 16_000, channels: int = 1) -> bytes:
    file = io.BytesIO()
    samples = np.repeat(sound(rate)[:, None], channels, axis=1)
    with soundfile.SoundFile(file, "w", rate, channels, subtype, format=kind) as sink:
        for start in range(0, len(samples), rate):  # at once, libsndfile's Vorbis overflows its stack
            sink.write(samples[start : start + rate])
    return file.getvalue()


def amr(lengths: list[int], magic: bytes = b"#!AMR\n") -> bytes:
    """Frames of 20 ms of the best quality and of silence; no encoder is at hand."""
    heads = {32: b"\x3c", 61: b"\x44", 6: b"\x44", 1: b"\x7c"}
    return magic + b"".join(heads[length] + bytes(length - 1) for length in lengths)


FILES = {
    "wav": lambda: by_libsndfile("WAV"),
    "wav u-law 8 kHz": lambda: by_libsndfile("WAV", "ULAW", 8_000),
    "wav a-law 8 kHz": lambda: by_libsndfile("WAV", "ALAW", 8_000),
    "wav 8 bit": lambda: by_libsndfile("WAV", "PCM_U8", 8_000),
    "wav 24 bit stereo": lambda: by_libsndfile("WAVEX", "PCM_24", 48_000, 2),
    "wav float": lambda: by_libsndfile("WAV", "FLOAT"),
    "wav ima adpcm": lambda: by_libsndfile("WAV", "IMA_ADPCM"),
    "wav gsm": lambda: by_libsndfile("WAV", "GSM610", 8_000),
    "wav big-endian": lambda: encoded_big_endian(),
    "w64": lambda: by_libsndfile("W64", "PCM_16", 44_100, 2),
    "rf64": lambda: by_libsndfile("RF64"),
    "aiff": lambda: by_libsndfile("AIFF", "PCM_24", 22_050, 2),
    "aifc u-law": lambda: by_libsndfile("AIFF", "ULAW"),
    "aifc ima4": lambda: by_libsndfile("AIFF", "IMA_ADPCM"),
    "au": lambda: by_libsndfile("AU"),
    "au u-law": lambda: by_libsndfile("AU", "ULAW", 8_000),
    "au g721": lambda: by_libsndfile("AU", "G721_32"),
    "caf": lambda: by_libsndfile("CAF"),
    "caf alac": lambda: by_libsndfile("CAF", "ALAC_16"),
    "sphere": lambda: by_libsndfile("NIST"),
    "sphere u-law": lambda: by_libsndfile("NIST", "ULAW", 8_000),
    "flac": lambda: by_libsndfile("FLAC", "PCM_24", 48_000),
    "mp3": lambda: by_libsndfile("MP3", None, 44_100, 2),
    "mp3 8 kHz": lambda: by_libsndfile("MP3", None, 8_000),
    "mp3 22 kHz": lambda: by_libsndfile("MP3", None, 22_050),
    "mp3 after a picture": lambda: b"ID3\x04\0\0\0\x06\0\0" + bytes(6 << 14) + FILES["mp3"](),
    "mp3 without a count": lambda: without_count(FILES["mp3"]()),
    "vorbis": lambda: by_libsndfile("OGG", "VORBIS"),
    "opus": lambda: by_libsndfile("OGG", "OPUS", 48_000),
    "m4a": lambda: encode(sound(16_000), 44_100, 2, "", ""),
    "alac": lambda: ffmpeg_file(sound(44_100), 44_100, "mp4", "alac"),
    "mov": lambda: ffmpeg_file(sound(44_100), 44_100, "mov", "pcm_s16le"),
    "3gp": lambda: ffmpeg_file(sound(44_100), 44_100, "3gp", "aac"),
    "aac": lambda: ffmpeg_file(sound(44_100), 44_100, "adts", "aac"),
    "webm": lambda: ffmpeg_file(sound(48_000), 48_000, "webm", "libopus"),
    "webm live": lambda: without_duration(FILES["webm"]()),
    "mka": lambda: ffmpeg_file(sound(44_100), 44_100, "matroska", "libmp3lame"),
    "wma": lambda: ffmpeg_file(sound(44_100), 44_100, "asf", "wmav2"),
}
ESTIMATED = {"mp3 without a count"}  # by its first bit rate


def encoded_big_endian() -> bytes:
    file = io.BytesIO()
    soundfile.write(file, sound(16_000), 16_000, format="WAV", subtype="PCM_16", endian="BIG")
    return file.getvalue()


def without_count(mp3: bytes) -> bytes:
    """An MP3 without the frame that counts the others."""
    at = mp3.index(b"\xff\xfb", 4) if b"Info" in mp3[:100] or b"Xing" in mp3[:100] else 0
    assert at
    return mp3[at:]


def without_duration(webm: bytes) -> bytes:
    """A file as browsers record it: its duration was not known when its header was written."""
    at = webm.index(b"\x44\x89\x88")
    return webm[:at] + b"\xec\x89" + webm[at + 2 :].replace(b"\x88", b"\x88", 1)  # another element, to be ignored


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return {name: make() for name, make in FILES.items()}


@pytest.mark.parametrize("name", FILES)
def test_headers_tell_what_decoding_does(files: dict[str, bytes], name: str) -> None:
    data = files[name]
    decoded = decode(data).duration_s
    if name == "webm live":
        assert stated_seconds(data) is None
    else:
        assert stated_seconds(data) == pytest.approx(decoded, rel=0.05 if name in ESTIMATED else 0.02)


def stored(path: Path) -> StoredFile:
    return StoredFile(Place.at(str(path)), os.stat(path).st_size)


def test_few_ranges_are_read(files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, lengths = ranges.read_part, list[int]()

    def counted(place: Place, start: int, end: int) -> bytes:
        lengths.append(end - start)
        return read(place, start, end)

    monkeypatch.setattr(ranges, "read_part", counted)
    for name, data in files.items():
        (tmp_path / "a").write_bytes(data)
        lengths.clear()
        assert implied_seconds(stored(tmp_path / "a"), "audio") == stated_seconds(data)
        assert len(lengths) <= 10, name
        assert max(lengths) <= RANGE_BYTES


def test_headers_that_claim_years_are_capped() -> None:
    flac = bytearray(encoded(tone(1), kind="FLAC"))
    flac[21:26] = b"\xff\xff\xff\xff\xff"
    assert stated_seconds(bytes(flac)) == len(flac) / BYTES_PER_SECOND
    wav = bytearray(encoded(tone(1)))
    at = wav.index(b"data") + 4
    for claimed in (0, 0xFFFFFFFF, 0x7FFFFFFF):
        wav[at : at + 4] = struct.pack("<I", claimed)
        assert stated_seconds(bytes(wav)) == 1.0
    sphere = encoded(tone(1), kind="NIST")
    assert stated_seconds(sphere.replace(b"sample_count -i 16000", b"sample_count -i 99999")) == 1.0
    assert b"sample_count -i 16000" in sphere
    assert stated_seconds(wav_of(1, rate=4_000_000_000)) is None
    assert stated_seconds(wav_of(1, channels=0)) is None
    assert stated_seconds(wav_of(0x55, bits=0)) is None


def test_no_bytes_raise(files: dict[str, bytes]) -> None:
    told = 0
    for seed in range(100 * len(files)):
        draw = random.Random(seed)
        data = mutant(list(files.values())[seed % len(files)], draw)
        if draw.random() < 0.3:
            data = data[: draw.randrange(len(data))]
        seconds = stated_seconds(data, draw.choice([None, None, len(data) * 3]))
        assert seconds is None or 0 < seconds <= 3 * len(data) / BYTES_PER_SECOND
        told += seconds is not None
    assert told > 1_000
    for magic in (b"", b"fLaC", b"OggS", b"\0\0\0\x20ftyp", b"\x1aE\xdf\xa3", b"#!AMR\n", b"caff", b"NIST_1A"):
        for _ in range(50):
            assert (stated_seconds(magic + draw.randbytes(draw.randrange(300))) or 1) > 0


def test_storage_errors_pass(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "missing"):
        for kind in ("audio", "tar", "parquet"):
            with pytest.raises(OSError, match=name):
                implied_seconds(StoredFile(Place.at(str(tmp_path / name)), 1_000_000), kind)


DURATIONS = [int(each) for each in np.random.default_rng(3).integers(2, 16, 40)]


@pytest.fixture(scope="module", params=["wav", "mp3", "flac"])
def recordings(request: pytest.FixtureRequest) -> list[tuple[str, bytes]]:
    """Names and files of 40 recordings of the DURATIONS, no two alike, which would be stored once."""
    draw, kind = np.random.default_rng(2), request.param
    sounds = [draw.normal(0, 0.1, seconds * 16_000) for seconds in DURATIONS]
    return [(f"{number}.{kind}", encoded(each, kind=kind.upper())) for number, each in enumerate(sounds)]


def test_the_beginning_of_a_tar_tells(tmp_path: Path, recordings: list[tuple[str, bytes]]) -> None:
    members = [each for recording in recordings for each in (("a.txt", b"words"), recording)]
    for compress in (bytes, partial(gzip.compress, compresslevel=1)):
        (tmp_path / "a").write_bytes(compress(tar_of(members)))
        assert implied_seconds(stored(tmp_path / "a"), "tar") == pytest.approx(sum(DURATIONS), rel=0.05)


def test_a_tar_of_one_recording_larger_than_what_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(tar_of([("a.wav", encoded(tone(300, 8_000), 8_000, subtype="ALAW"))]))
    assert implied_seconds(stored(tmp_path / "a"), "tar") == pytest.approx(300, rel=0.01)


def test_a_tar_of_which_a_recording_begins_where_reading_ends(tmp_path: Path) -> None:
    first, second = (encoded(np.zeros(samples), 8_000, subtype="ALAW") for samples in (TAR_BYTES - 1_024 - 58, 10**7))
    assert len(first) == TAR_BYTES - 1_024  # and two headers before the second one's sound
    (tmp_path / "a").write_bytes(tar_of([("a.wav", first), ("b.wav", second)]))
    expected = (len(first) + len(second)) / 8_000
    assert implied_seconds(stored(tmp_path / "a"), "tar") == pytest.approx(expected, rel=0.01)


def test_tars_that_tell_nothing(tmp_path: Path) -> None:
    for data in (b"", b"x" * 5_000, tar_of([]), tar_of([("a.wav", b"no sound"), ("b.txt", b"words")])):
        for compress in (bytes, gzip.compress):
            (tmp_path / "a").write_bytes(compress(data))
            assert implied_seconds(stored(tmp_path / "a"), "tar") is None
    bomb = gzip.compress(tar_of([("a.bin", bytes(100_000_000)), ("b.wav", encoded(tone(1)))]))
    assert len(bomb) < 1_000_000
    (tmp_path / "a").write_bytes(bomb)
    assert implied_seconds(stored(tmp_path / "a"), "tar") is None


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "zstd"])
def test_the_recordings_of_a_parquet_file_tell(
    tmp_path: Path, recordings: list[tuple[str, bytes]], compression: str
) -> None:
    items = [data for _, data in recordings]
    structs = [{"bytes": data, "path": name} for name, data in recordings]
    for audio in (items, structs):
        for dictionary in (True, False):
            table = pa.table({"text": ["words"] * len(items), "audio": audio})
            options = {"compression": compression, "use_dictionary": dictionary, "row_group_size": 20}
            pq.write_table(table, tmp_path / "a", **options)
            assert implied_seconds(stored(tmp_path / "a"), "parquet") == pytest.approx(sum(DURATIONS), rel=0.05)


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_mutants_of_containers_tell_something_possible_or_nothing(tmp_path: Path, kind: Format) -> None:
    folder = {"tar": "shards", "parquet": "parquet"}[kind]
    paths = sorted((ROOT / "demo" / "audio" / folder).glob(f"*.{kind}*"))
    for seed in range(150):
        draw = random.Random(seed)
        data = mutant(paths[seed % len(paths)].read_bytes(), draw)
        if kind == "parquet" and seed % 2:  # in its footer
            data = data[:-900] + mutant(data[-900:], draw)
        (tmp_path / "a").write_bytes(data)
        seconds = None
        with suppress(InvalidData, RecordingError, OSError):
            seconds = implied_seconds(stored(tmp_path / "a"), kind)
        assert seconds is None or 0 < seconds <= len(data) / BYTES_PER_SECOND
