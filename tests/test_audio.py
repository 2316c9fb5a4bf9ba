"""Sound with a known answer through every container and codec, and bytes that lie."""

import contextlib
import struct

import numpy as np
import pytest
import soxr
from audio_files import ffmpeg_file
from conftest import encoded, tone
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.audio.codecs import Source
from actors.audio.decode import MIN_SECONDS, DecodeRequest, SoundLimitExceeded, decode
from actors.audio.pcm import as_float
from actors.schema import ErrorKind, RecordingError
from actors.storage.stored_file import StoredFile
from demo.bundle import encode


def hertz_of(pcm: np.ndarray) -> float:
    """The loudest frequency of 16 kHz samples."""
    spectrum = np.abs(np.fft.rfft(pcm * np.hanning(len(pcm))))
    return float(np.argmax(spectrum) * 16_000 / len(pcm))


def error_of(data: bytes | StoredFile, **options: float) -> RecordingError:
    with pytest.raises(RecordingError) as caught:
        decode(data, DecodeRequest(**options))
    return caught.value


FILES = {
    "wav 8 kHz": lambda: encoded(tone(1.5, 8_000), 8_000, "WAV", "PCM_16"),
    "wav 8 bit": lambda: encoded(tone(1.5), subtype="PCM_U8"),
    "wav 24 bit 44.1 kHz": lambda: encoded(tone(1.5, 44_100), 44_100, "WAV", "PCM_24"),
    "wav float 96 kHz": lambda: encoded(tone(1.5, 96_000), 96_000, "WAV", "FLOAT"),
    "wav a-law": lambda: encoded(tone(1.5, 8_000), 8_000, "WAV", "ALAW"),
    "wav ima adpcm": lambda: encoded(tone(1.5), subtype="IMA_ADPCM"),
    "w64": lambda: encoded(tone(1.5), kind="W64"),
    "rf64": lambda: encoded(tone(1.5), kind="RF64"),
    "aiff": lambda: encoded(tone(1.5, 22_050), 22_050, "AIFF"),
    "au": lambda: encoded(tone(1.5), kind="AU"),
    "caf": lambda: encoded(tone(1.5), kind="CAF"),
    "sphere": lambda: encoded(tone(1.5), kind="NIST"),
    "flac": lambda: encoded(tone(1.5, 48_000), 48_000, "FLAC"),
    "mp3": lambda: encoded(tone(1.5, 44_100), 44_100, "MP3"),
    "mp3 after an ID3 tag": lambda: b"ID3\x04\0\0\0\0\x01\x05" + bytes(133) + encoded(tone(1.5, 44_100), 44_100, "MP3"),
    "vorbis": lambda: encoded(tone(1.5), kind="OGG", subtype="VORBIS"),
    "opus": lambda: encoded(tone(1.5, 48_000), 48_000, "OGG", "OPUS"),
    "m4a": lambda: encode(tone(1.5), 44_100, 2, "", ""),
    "aac": lambda: ffmpeg_file(tone(1.5, 44_100), 44_100, "adts", "aac"),
    "webm": lambda: ffmpeg_file(tone(1.5, 48_000), 48_000, "webm", "libopus"),
    "wma": lambda: ffmpeg_file(tone(1.5, 44_100), 44_100, "asf", "wmav2"),
    "mp3 in mp4": lambda: ffmpeg_file(tone(1.5, 44_100), 44_100, "mp4", "libmp3lame"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_tone_comes_through(name: str) -> None:
    sound = decode(FILES[name]())
    assert sound.duration_s == pytest.approx(1.5, abs=0.15)  # codecs pad by up to a few frames
    middle = as_float(sound.pcm)[4_000:20_000]
    assert hertz_of(middle) == pytest.approx(440, abs=2)
    assert np.abs(middle).max() == pytest.approx(0.5, abs=0.05)


def test_sixteen_bit_sixteen_kilohertz_is_unchanged_to_the_bit() -> None:
    samples = np.random.default_rng(1).integers(-32_768, 32_768, 16_000).astype(np.int16)
    for kind in ("WAV", "FLAC"):
        assert np.array_equal(decode(encoded(samples, kind=kind)).pcm, samples)


def test_channels_are_averaged_or_one_is_chosen() -> None:
    stereo = encoded(np.stack([tone(1, hertz=300), tone(1, hertz=2_000, level=0.2)], axis=1), subtype="FLOAT")
    both = decode(stereo)
    assert both.channels == 2
    assert both.sample_rate == 16_000
    spectrum = np.abs(np.fft.rfft(both.pcm)) / len(both.pcm) * 2
    assert spectrum[300] == pytest.approx(0.25, abs=0.01)
    assert spectrum[2_000] == pytest.approx(0.1, abs=0.01)
    assert hertz_of(decode(stereo, DecodeRequest(channel=1)).pcm) == pytest.approx(2_000, abs=1)
    with pytest.raises(RecordingError, match="channels 0 to 1"):
        decode(stereo, DecodeRequest(channel=2))


@pytest.mark.parametrize(
    ("kind", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS")]
)
def test_a_stretch_is_cut_where_it_lies(kind: str, subtype: str) -> None:
    rate = 48_000
    steps = np.concatenate([tone(1, rate, hertz) for hertz in (500, 1_000, 1_500)])
    cut = decode(encoded(steps, rate, kind, subtype), DecodeRequest(offset_s=1.0, duration_s=1.0))
    assert cut.duration_s == pytest.approx(1.0, abs=0.001)
    for at in (800, 8_000, 13_000):
        assert hertz_of(cut.pcm[at : at + 2_000]) == pytest.approx(1_000, abs=10)


@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_sound_is_resampled_without_seams(rate: int) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 130 * rate).astype(np.float32)
    pcm = decode(encoded(noise, rate, subtype="FLOAT")).pcm
    whole = soxr.resample(noise, rate, 16_000, "HQ")
    assert len(pcm) == len(whole)
    assert np.abs(pcm - whole).max() < 1e-6


@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_a_piece_of_the_last_second_has_the_samples_of_the_whole(rate: int) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, round(60.95 * rate)).astype(np.float32)
    data = encoded(noise, rate, subtype="FLOAT")
    whole = decode(data).pcm
    for begin in (59 * 16_000, 60 * 16_000, 60 * 16_000 + 1_000):
        assert np.array_equal(decode(data, DecodeRequest(begin=begin)).pcm, whole[begin:])


def test_a_limit_holds_for_the_stretch_and_not_the_file() -> None:
    data = encoded(tone(3))
    assert decode(data, DecodeRequest(max_seconds=2, offset_s=1, duration_s=1.5)).duration_s == 1.5
    with pytest.raises(SoundLimitExceeded):
        decode(data, DecodeRequest(max_seconds=2))
    assert error_of(data, offset_s=5.0).kind in (ErrorKind.UNREADABLE, ErrorKind.TOO_SHORT)


def test_what_is_wrong_has_a_kind() -> None:
    assert error_of(b"").kind == ErrorKind.EMPTY
    assert error_of(b"ffconcat version 1.0\nfile /etc/passwd\n").kind == ErrorKind.NOT_AUDIO
    assert error_of(b"#EXTM3U\n#EXT-X-TARGETDURATION:1\nfile:///etc/passwd\n").kind == ErrorKind.NOT_AUDIO
    assert error_of(b"RIFF\x24\0\0\0WAVE" + bytes(60)).kind == ErrorKind.UNREADABLE
    assert error_of(encoded(tone(1.0 / 16_000))).kind == ErrorKind.TOO_SHORT
    assert error_of(encoded(tone(MIN_SECONDS - 0.01))).kind == ErrorKind.TOO_SHORT
    assert error_of(encoded(np.zeros(0))).kind == ErrorKind.UNREADABLE
    assert error_of(FILES["m4a"]()[:3_000]).kind == ErrorKind.UNREADABLE
    detail = error_of(FILES["m4a"]()[:3_000]).detail
    assert detail.count("Invalid data found") == 1  # both ways of opening it fail so
    decode(encoded(tone(MIN_SECONDS)))


@pytest.mark.parametrize(
    "layout", [("FLAC", "PCM_16"), ("MP3", None), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("WAV", "PCM_24")]
)
def test_a_stream_that_ends_early_gives_what_is_there(layout: tuple[str, str | None]) -> None:
    data = encoded(tone(12.0, 48_000), 48_000, *layout)
    sound = decode(data[: len(data) * 2 // 3])
    assert 4 < sound.duration_s < 9
    assert hertz_of(sound.pcm[2_000:32_000]) == pytest.approx(440, abs=5)


def test_headers_that_lie_about_length() -> None:
    honest = encoded(tone(1.0), subtype="PCM_16")
    at = honest.index(b"data") + 4
    for claimed in (0xFFFFFFFF, 0x7FFFFFFF, 10**9):  # as streaming writers leave it, or worse
        lying = honest[:at] + struct.pack("<I", claimed) + honest[at + 4 :]
        assert decode(lying).duration_s == pytest.approx(1.0, abs=0.01)


def test_a_stream_that_expands_stops_at_the_limit() -> None:
    hours = encoded(np.zeros(8_000 * 3_600 * 2, np.int16), 8_000, "FLAC")  # two hours of silence in little space
    assert len(hours) < 2_000_000
    with pytest.raises(SoundLimitExceeded):
        decode(hours, DecodeRequest(max_seconds=600))


def test_silence_and_samples_that_are_not_numbers() -> None:
    assert not decode(encoded(np.zeros(16_000))).pcm.any()
    strange = tone(1.0)
    strange[100:200], strange[300], strange[301] = np.nan, np.inf, -np.inf
    pcm = decode(encoded(strange, subtype="FLOAT")).pcm
    assert not pcm[100:200].any()
    assert (pcm[300], pcm[301]) == (1, -1)
    beyond = decode(encoded(tone(1.0) * 1e7, subtype="FLOAT")).pcm
    assert (beyond.min(), beyond.max()) == (-1e6, 1e6)


def test_a_broken_rate_is_refused() -> None:
    data = bytearray(encoded(tone(1.0), subtype="PCM_16"))
    data[24:28] = struct.pack("<I", 4_000_000_000)
    assert error_of(bytes(data)).kind == ErrorKind.UNREADABLE


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=200),
    st.sampled_from(
        [
            b"",
            b"RIFF\0\0\0\0WAVE",
            b"fLaC",
            b"OggS",
            b"\0\0\0\x20ftyp",
            b"\xff\xfb\x90",
            b"\x1aE\xdf\xa3",
            b"#!AMR\n",
            b"0&\xb2u\x8ef\xcf\x11",
        ]
    ),
)
def test_no_bytes_do_worse_than_an_error(data: bytes, magic: bytes) -> None:
    with contextlib.suppress(RecordingError):  # and nothing else
        sound = decode(magic + data, DecodeRequest(max_seconds=5))
        assert 0 < sound.duration_s <= 5.1


def test_each_container_is_known_by_its_first_bytes() -> None:
    assert {name: Source(make()).container for name, make in FILES.items()} == {
        **{name: "wav" for name in FILES if name.startswith("wav")},
        "w64": "w64", "rf64": "wav", "aiff": "aiff", "au": "au", "caf": "caf", "sphere": "nistsphere",
        "flac": "flac", "mp3": "mp3", "mp3 after an ID3 tag": "mp3", "vorbis": "ogg", "opus": "ogg",
        "m4a": "mov", "aac": "aac", "webm": "matroska", "wma": "asf", "mp3 in mp4": "mov",
    }  # fmt: skip
