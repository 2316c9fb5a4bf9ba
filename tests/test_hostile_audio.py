"""Bytes that decoders were not made for: each recording ends as its own rows, whatever is raised over it."""

import io
import random
import struct
from dataclasses import replace
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pytest
import soundfile
import soxr
from conftest import ROOT, encoded, forget_peak, peak_bytes, piece_of, tone
from test_audio import FILES, error_of, ffmpeg_file, hertz_of

from actors.audio.decode import DecodeRequest, decode
from actors.pieces import Piece
from actors.reading import rows
from actors.reading.faults import StorageUnavailable
from actors.reading.rows import to_rows
from actors.schema import SPEECH_SCHEMA, ErrorKind, WarningKind
from actors.sources.objects import ReadSettings
from actors.sources.recordings import Recording
from actors.storage import access, ranges
from actors.storage.place import Place
from actors.storage.stored_file import StoredFile
from demo.bundle import encode

PIECE = piece_of(())
INTERESTING = [bytes(4), b"\xff" * 4, b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\0\0\0\1", b"\1\0\0\0", b"\xff\xff\xff\x7f"]


def rows_of(content: Any, piece: Piece = PIECE, channel: int | None = None, **fields: Any) -> list[dict[str, Any]]:
    """A recording as rows that fit their schema."""
    rows = to_rows(Recording("r", "u", "e", content, **fields), piece, ReadSettings(channel=channel))
    return pa.Table.from_pylist(rows, schema=SPEECH_SCHEMA).to_pylist()


@pytest.fixture(scope="module")
def demo_files() -> dict[str, bytes]:
    """Two seconds of the demo's speech in each container that is read, AMR of noise."""
    speech, rate = soundfile.read(ROOT / "demo/audio/loose/03.wav", dtype="float32", always_2d=True)
    at = {hertz: soxr.resample(speech[: 2 * rate, 0], rate, hertz) for hertz in (16_000, 44_100, 48_000)}
    made = {kind: encoded(at[16_000], kind=kind) for kind in ("WAV", "FLAC", "MP3", "AIFF", "AU", "CAF", "W64", "NIST")}
    made |= {
        "ogg": encoded(at[16_000], kind="OGG", subtype="VORBIS"),
        "opus": encoded(at[48_000], 48_000, "OGG", "OPUS"),
    }
    made["m4a"] = encode(at[44_100], 44_100, 1, "", "")
    for container, codec in (("adts", "aac"), ("asf", "wmav2"), ("mp4", "libmp3lame"), ("matroska", "libmp3lame")):
        made[container] = ffmpeg_file(at[44_100], 44_100, container, codec)
    made["webm"] = ffmpeg_file(at[48_000], 48_000, "webm", "libopus")
    made["amr"] = b"#!AMR\n" + b"".join(b"\x3c" + random.Random(5).randbytes(31) for _ in range(100))
    return made


def mutant(data: bytes, draw: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.choice([1, 1, 2, 3, 8, 40])):
        place = draw.randrange(min(len(changed), 600) if draw.random() < 0.6 else len(changed))
        how = draw.randrange(6)
        if how < 2:
            changed[place] = draw.randrange(256)
        elif how == 2:
            changed[place : place + 4] = draw.choice(INTERESTING)
        elif how == 3:
            changed[place : place + 100] = draw.randbytes(100)
        elif how == 4:
            del changed[place : place + draw.randrange(1, 200)]
        else:
            changed[place:place] = changed[place : place + 2_000]
    return bytes(changed)


def test_mutants_end_as_rows(demo_files: dict[str, bytes]) -> None:
    before, kinds = forget_peak(), set[str | None]()
    for seed in range(30 * len(demo_files)):
        draw = random.Random(seed)
        data = mutant(list(demo_files.values())[seed % len(demo_files)], draw)
        offset = draw.choice([None, None, 0.0, 1.0, 2.5, 1e6, 1e11])
        duration = draw.choice([None, 0.0, 1.0, 1e6])
        piece = replace(PIECE, stretch=draw.choice([0, 0, 1, 2]), stretches=3)
        rows = rows_of(data, piece, draw.choice([None, None, 0, 1]), offset_s=offset, duration_s=duration)
        kinds |= {row["error_kind"] for row in rows}
    assert kinds <= {None, "unreadable", "not_audio", "too_short"}  # and none that nobody foresaw
    assert len(kinds) >= 3
    assert peak_bytes() - before < 1_000_000_000


def wav_of(tag: int, channels: int = 1, rate: int = 16_000, bits: int = 16, body: bytes = bytes(40_000)) -> bytes:
    frame = channels * bits // 8
    form = struct.pack("<HHIIHH", tag, channels, rate, rate * frame % 2**32, frame % 2**16, bits)
    return b"RIFF" + struct.pack("<I", 36 + len(body)) + b"WAVEfmt " + struct.pack("<I", 16) + form + (
        b"data" + struct.pack("<I", len(body)) + body
    )  # fmt: skip


@pytest.mark.parametrize("tag", [0x0133, 0x0008, 0x0092, 0x1234, 0xFFFF])
def test_a_codec_without_a_decoder(tag: int) -> None:
    assert error_of(wav_of(tag)).kind == ErrorKind.UNREADABLE


def test_a_codec_without_a_decoder_in_other_containers(demo_files: dict[str, bytes]) -> None:
    for name, known, unknown in (
        ("webm", b"A_OPUS", b"A_OPUX"),
        ("matroska", b"A_MPEG/L3", b"\xff\xfeMPEG/L9"),  # no UTF-8
        ("asf", b"\x61\x01\x01\0", b"\x33\x01\x01\0"),
        ("CAF", b"lpcm", b"\xffpcX"),
        ("NIST", b"-s3 pcm", b"-s3 pcX"),
        ("mp4", b"mp4a", b"enca"),
    ):
        assert known in demo_files[name]
        (row,) = rows_of(demo_files[name].replace(known, unknown))
        assert row["error_kind"] == "unreadable" or (name == "mp4" and row["pcm"])


@pytest.mark.parametrize("channels", [0, 1_025, 32_768, 65_535])
def test_absurd_channels_and_rates(channels: int) -> None:
    for bits in (8, 16, 32):
        assert error_of(wav_of(1, channels, bits=bits, body=bytes(2_000_000))).kind == ErrorKind.UNREADABLE
    for rate in (0, 1, 999, 4_000_000_000):
        assert error_of(wav_of(1, rate=rate)).kind == ErrorKind.UNREADABLE


def test_what_came_before_a_failure_stands() -> None:
    data, at, frames = bytearray(FILES["aac"]() * 2), 0, list[int]()
    while at < len(data):
        frames.append(at)
        at += (data[at + 3] & 3) << 11 | data[at + 4] << 3 | data[at + 5] >> 5
    for at in frames[len(frames) // 2 :]:  # of a rate that is reserved, and of no channels
        data[at + 2] |= 0x3C
        data[at + 3] &= 0x3F
    assert 1 < decode(bytes(data)).duration_s < 2


class Raises:
    """Stands for a decoder of another version; what it raises none is known to raise today."""

    def __init__(self, problem: BaseException) -> None:
        self.problem = problem

    def __call__(self, *_: Any, **__: Any) -> Any:
        raise self.problem


PROBLEMS = [AttributeError("'NoneType'"), IndexError("x" * 9_999), TypeError(), OverflowError(), ZeroDivisionError()]
PROBLEMS += [SystemError("error return without exception set"), AssertionError(), RecursionError(), EOFError()]


@pytest.mark.parametrize("problem", PROBLEMS, ids=repr)
def test_whatever_a_decoder_raises_is_a_row(problem: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soundfile.SoundFile, "read", Raises(problem))
    (row,) = rows_of(encoded(tone(1), kind="MP3")[:300])
    assert row["error_kind"] == "unreadable"
    monkeypatch.setattr("av.open", Raises(problem))
    (row,) = rows_of(encoded(tone(1)))
    assert row["error_kind"] == "unreadable"
    assert row["error_detail"].count(type(problem).__name__) == 2
    assert len(row["error_detail"]) < 600
    monkeypatch.undo()
    monkeypatch.setattr(soxr, "ResampleStream", Raises(problem))
    assert rows_of(encoded(tone(1, 8_000), 8_000))[0]["error_detail"].startswith(
        f"soxr fails: {type(problem).__name__}"
    )
    monkeypatch.setattr(rows, "segments_of", Raises(problem))
    (row,) = rows_of(encoded(tone(1)))
    assert (row["error_kind"], type(problem).__name__ in row["error_detail"]) == ("internal", True)


def test_a_machine_without_memory_for_it_is_a_row_that_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, data in (("av.open", FILES["m4a"]()), ("soundfile.SoundFile", encoded(tone(1)))):
        monkeypatch.setattr(name, Raises(MemoryError()))
        assert rows_of(data)[0]["error_kind"] == "host_memory"


@pytest.mark.parametrize("problem", [KeyboardInterrupt(), SystemExit()], ids=repr)
def test_what_is_no_recordings_fault_passes(problem: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, data in (("av.open", FILES["m4a"]()), ("soundfile.SoundFile", encoded(tone(1)))):
        monkeypatch.setattr(name, Raises(problem))
        with pytest.raises(type(problem)):
            rows_of(data)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a decoder's callback prints them
@pytest.mark.parametrize("problem", [OSError("gone"), KeyError("a client's own")], ids=repr)
@pytest.mark.parametrize("name", ["flac", "m4a", "mp3"])
def test_what_the_storage_raises_is_of_one_file_or_of_all(
    name: str, problem: Exception, tmp_path: Any, monkeypatch: Any
) -> None:
    (tmp_path / "a").write_bytes(FILES[name]())
    stored, reads = StoredFile(Place.at(str(tmp_path / "a")), (tmp_path / "a").stat().st_size), []

    def fails_later(*args: Any, **options: Any) -> bytes:
        reads.append(args)
        if len(reads) > 1:
            raise problem
        return part(*args, **options)

    part = ranges.read_part
    monkeypatch.setattr(ranges, "read_part", fails_later)
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _: None)
    (row,) = rows_of(stored)
    assert row["error_kind"] == "unreachable"
    assert str(problem) in row["error_detail"]
    monkeypatch.setattr(access, "_check_local", Raises(PermissionError("token expired")))
    reads.clear()
    with pytest.raises(StorageUnavailable, match=r"/a cannot be read, and .*(gone|a client's own)"):
        rows_of(stored)


@pytest.mark.parametrize(
    ("codec", "container", "layout", "channels"),
    [
        ("aac", "mp4", "7.1", 8),
        ("libopus", "webm", "7.1", 8),
        ("aac", "adts", "5.1", 6),
        ("pcm_f32le", "matroska", "16 channels", 16),
        ("alac", "mp4", "7.1(wide)", 8),
    ],
)
def test_many_channels(codec: str, container: str, layout: str, channels: int) -> None:
    """An ordinary file of eight channels or more ended its process, for a planar frame was read beyond its planes."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as sink:
        stream = sink.add_stream(codec, rate=48_000, layout=layout)
        stream.codec_context.open()
        samples = np.repeat((tone(2, 48_000) * 32_767).astype(np.int16), channels)[None]
        frame = av.AudioFrame.from_ndarray(samples, "s16", layout)
        frame.sample_rate = 48_000
        kind, size = stream.codec_context.format, stream.codec_context.frame_size or None
        to_codec = av.AudioResampler(format=kind, layout=layout, rate=48_000, frame_size=size)
        for part in [*to_codec.resample(frame), *to_codec.resample(None)]:
            sink.mux(stream.encode(part))
        sink.mux(stream.encode(None))
    for channel in (None, channels - 1 - (channels == 6)):  # the last of six is for low tones alone
        sound = decode(file.getvalue(), DecodeRequest(channel=channel))
        assert (sound.channels, sound.duration_s) == (channels, pytest.approx(2, abs=0.1))
        assert hertz_of(sound.pcm[4_000:20_000]) == pytest.approx(440, abs=2)


@pytest.mark.filterwarnings("error")
def test_numbers_that_are_no_sound() -> None:
    strange = tone(1.0, 8_000).astype(np.float32)
    strange[4_000:4_010] = [1e38, -1e38, np.nan, np.inf, -np.inf, 3e38, 3e38, -3e38, 1e-45, np.nan]
    stereo = np.stack([strange, strange], axis=1)
    for samples in (strange, stereo):
        pcm = decode(encoded(samples, 8_000, subtype="FLOAT")).pcm
        assert np.array_equal(pcm[:6_000], decode(encoded(tone(1.0, 8_000), 8_000, subtype="FLOAT")).pcm[:6_000])


def test_a_frame_that_cannot_be_converted_costs_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    real = av.AudioResampler

    class Fails:
        frames = 0

        def __init__(self, **wanted: Any) -> None:
            self.real = real(**wanted)

        def resample(self, frame: Any) -> list[Any]:
            Fails.frames += 1
            if Fails.frames in (30, 31):
                raise ValueError("Frame does not match AudioResampler setup.")
            return list(self.real.resample(frame))

    tones = np.stack([tone(4.5, 44_100)] * 8, axis=1)  # in more planes than PyAV counts, so they have to be converted
    data = ffmpeg_file(tones, 44_100, "mov", "alac", layout="7.1(wide)")
    whole = decode(data)
    monkeypatch.setattr("av.AudioResampler", Fails)
    sound = decode(data)
    assert sound.duration_s == whole.duration_s
    assert sound.warnings == (WarningKind.DAMAGED,)
    differs = np.flatnonzero(np.abs(sound.pcm - whole.pcm) > 0.01)
    assert (differs[-1] - differs[0]) / 16_000 == pytest.approx(2 * 4_096 / 44_100, rel=0.05)
    assert np.abs(sound.pcm[differs[0] + 100 : differs[-1] - 100]).max() < 0.001


def test_a_tag_that_is_longer_than_its_file() -> None:
    for stated in (b"\x7f\x7f\x7f\x7f", b"\0\1\0\0"):
        problem = error_of(b"ID3\x04\0\0" + stated + b"\xff\xfb\x90\x64")
        assert problem.kind == ErrorKind.NOT_AUDIO
        assert "ID3" in problem.detail
