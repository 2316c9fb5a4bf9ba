"""Files that are damaged, joined, or longer than they say: all of their sound is heard, each part at its own place."""

import io
import struct
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from audio_seeds import ffmpeg_file, id3, sndfile_file
from conftest import forget_peak, peak_bytes, tone
from test_audio import hertz_of

from actors.audio.decode import DecodeRequest, Sound, decode
from actors.audio.ogg import OggLink
from actors.audio.pcm import as_float
from actors.schema import SAMPLE_RATE, WarningKind
from actors.storage.place import Place
from actors.storage.stored_file import StoredFile

LOW, HIGH = 500.0, 1_500.0  # Hz
FRAGMENTS = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}


def stored(path: Path, data: bytes) -> StoredFile:
    path.write_bytes(data)
    return StoredFile(Place.at(str(path)), len(data), 5_000)


def heard(sound: Sound) -> list[float]:
    """The frequencies of a sound's quarters of a second, each once."""
    quarters = [
        hertz_of(part) for part in np.split(sound.pcm[: len(sound.pcm) // 4_000 * 4_000], len(sound.pcm) // 4_000)
    ]
    near = [min((LOW, HIGH), key=lambda known: abs(known - each)) for each in quarters if np.abs(each) > 50]
    return [near[0], *(after for before, after in pairwise(near) if after != before)]


def low(rate: int, channels: int = 1, seconds: float = 2.0, hertz: float = LOW) -> np.ndarray:
    sound = tone(seconds, rate, hertz).astype(np.float32)
    return sound if channels == 1 else np.stack([sound] * channels, axis=1)


def high(rate: int, channels: int = 1, seconds: float = 2.0) -> np.ndarray:
    return low(rate, channels, seconds, HIGH)


def wav(samples: np.ndarray, rate: int = 16_000, subtype: str = "PCM_16", kind: str = "WAV") -> bytes:
    return sndfile_file(samples, rate, kind, subtype)


def flac(samples: np.ndarray, subtype: str = "PCM_16") -> bytes:
    return sndfile_file(samples, 16_000, "FLAC", subtype)


def mp3(samples: np.ndarray, rate: int) -> bytes:
    return ffmpeg_file(samples, rate, "mp3", "libmp3lame")


#: Where headers state the bytes of sound: behind which bytes, in which form, and how many are counted besides.
STATED = {
    "WAV": (b"data", "<I", 0),
    "AIFF": (b"SSND", ">I", 8),
    "AU": (b".snd\0\0\0\x18", ">I", 0),
    "CAF": (b"data", ">Q", 4),
}


def with_stated_bytes(data: bytes, stated: int, kind: str = "WAV") -> bytes:
    """A file whose header states another number of bytes of sound."""
    name, form, besides = STATED[kind]
    at = data.index(name) + len(name)
    return data[:at] + struct.pack(form, stated + besides) + data[at + struct.calcsize(form) :]


JOINED = {
    "wav": lambda: wav(low(16_000)) + wav(high(16_000)),
    "wav with chunks behind": lambda: wav(low(16_000)) + b"LIST\x04\0\0\0INFO" + wav(high(16_000)),
    "wav of other rates": lambda: wav(low(16_000)) + wav(high(8_000), 8_000),
    "wav of other channels": lambda: wav(low(16_000, 2)) + wav(high(16_000)),
    "wav extensible": lambda: wav(low(48_000, 2), 48_000, "PCM_24", "WAVEX") + wav(high(48_000, 2), 48_000, "PCM_24"),
    "rf64": lambda: wav(low(16_000), kind="RF64") + wav(high(16_000)),
    "aiff": lambda: wav(low(16_000), kind="AIFF") + wav(high(16_000), kind="AIFF"),
    "au": lambda: wav(low(16_000), kind="AU") + wav(high(16_000), kind="AU"),
    "caf": lambda: wav(low(16_000), kind="CAF") + wav(high(16_000), kind="CAF"),
    "alac": lambda: wav(low(16_000), subtype="ALAC_16", kind="CAF") + wav(high(16_000), kind="CAF"),
    "mp4": lambda: ffmpeg_file(low(44_100), 44_100, "mp4", "aac") + ffmpeg_file(high(48_000, 2), 48_000, "mp4", "aac"),
    "mp4 in fragments": lambda: ffmpeg_file(low(44_100), 44_100, "mp4", "aac", FRAGMENTS)
    + ffmpeg_file(high(44_100), 44_100, "mp4", "aac", FRAGMENTS),
    "webm": lambda: ffmpeg_file(low(48_000), 48_000, "webm", "libopus")
    + ffmpeg_file(high(48_000), 48_000, "webm", "libopus"),
    "flac": lambda: flac(low(16_000)) + flac(high(16_000)),
    "mp3 of falling rate": lambda: mp3(low(44_100), 44_100) + mp3(high(22_050), 22_050),
    "mp3 of rising rate": lambda: mp3(low(16_000), 16_000) + mp3(high(44_100), 44_100),
    "mp3 of other channels": lambda: mp3(low(44_100, 2), 44_100) + mp3(high(44_100), 44_100),
    "mp3 with a picture between": lambda: mp3(low(44_100), 44_100) + id3(300_000) + mp3(high(44_100), 44_100),
    "opus of other channels": lambda: ffmpeg_file(low(48_000), 48_000, "ogg", "libopus")
    + ffmpeg_file(high(48_000, 2), 48_000, "ogg", "libopus"),
    "vorbis of other rates": lambda: sndfile_file(low(16_000), 16_000, "OGG", "VORBIS")
    + sndfile_file(high(44_100), 44_100, "OGG", "VORBIS"),
    "vorbis and opus": lambda: sndfile_file(low(16_000), 16_000, "OGG", "VORBIS")
    + ffmpeg_file(high(48_000), 48_000, "ogg", "libopus"),
    "aac": lambda: ffmpeg_file(low(44_100), 44_100, "adts", "aac") + ffmpeg_file(high(22_050), 22_050, "adts", "aac"),
}  # fmt: skip


@pytest.mark.parametrize("name", JOINED)
def test_what_was_joined_follows(name: str, tmp_path: Path) -> None:
    data = JOINED[name]()
    sound = decode(data)
    assert sound.duration_s == pytest.approx(4.0, abs=0.25)
    assert heard(sound) == [LOW, HIGH]
    assert not sound.warnings
    assert np.array_equal(decode(stored(tmp_path / "a", data)).pcm, sound.pcm)


def test_three_joined_and_cut_anywhere() -> None:
    """In stretches, which begin at a minute of the whole."""
    for one in (wav, lambda sound: sndfile_file(sound, 16_000, "OGG", "VORBIS")):
        data = b"".join(one(each(16_000, seconds=50.0)) for each in (low, high, low))
        whole = decode(data).pcm
        assert len(whole) == 150 * SAMPLE_RATE
        for begin, end in (
            (0, 1_000_000),
            (700_000, 1_700_000),
            (1_300_000, None),
            (2_390_000, None),
            (2_500_000, None),
        ):
            assert np.array_equal(decode(data, DecodeRequest(begin=begin, end=end)).pcm, whole[begin:end])


@pytest.mark.parametrize("kind", STATED)
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "ULAW"])
def test_sound_goes_on_behind_its_stated_end(kind: str, subtype: str, tmp_path: Path) -> None:
    """Recorders append, and sizes of over 4 GB wrap around."""
    sound = np.concatenate([low(8_000, 2), high(8_000, 2)])
    data = wav(sound, 8_000, subtype, kind)
    whole, size = decode(data), sound.size * {"PCM_16": 2, "PCM_24": 3, "FLOAT": 4, "ULAW": 1}[subtype]
    for stated in (size // 2, size // 3 | 1):
        shortened = with_stated_bytes(data, stated, kind)
        assert np.array_equal(decode(shortened).pcm, whole.pcm)
        assert np.array_equal(decode(stored(tmp_path / "a", shortened)).pcm, whole.pcm)
    assert not whole.warnings
    assert decode(data[: -size // 2]).warnings == (WarningKind.ENDED_EARLY,)


def test_sound_that_goes_on_is_not_taken_for_a_tag() -> None:
    """Samples may be any bytes: these are a tag's header, which states 8,192 bytes."""
    data = wav(low(16_000))
    half = (len(data) - data.index(b"data") - 8) // 2
    at = data.index(b"data") + 8 + half
    data = data[:at] + b"ID3\x03\0\0\0\0\x40\0" + data[at + 10 :]
    assert np.array_equal(decode(with_stated_bytes(data, half)).pcm, decode(data).pcm)


def test_what_is_no_sound_behind_a_wav() -> None:
    data = wav(low(16_000))
    chunk = b"LIST" + struct.pack("<I", 20_000) + bytes(range(250)) * 80
    for rest in (bytes(100_000), chunk, b"id3 \x04\0\0\0abcd" + chunk, chunk[:-1], b"xyz"):
        sound = decode(data + rest)
        assert len(sound.pcm) == 2 * SAMPLE_RATE
        assert not sound.warnings


def test_chunks_without_end_are_passed_over_for_a_while_only() -> None:
    assert len(decode(wav(low(16_000)) + b"JUNK\0\0\0\0" * 100_000 + wav(high(16_000))).pcm) == 2 * SAMPLE_RATE


def test_damaged_flac_costs_what_is_damaged() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 150 * SAMPLE_RATE).astype(np.float32)
    data = flac(noise)
    good = decode(data).pcm
    cases = {
        "wrong bytes": data[:2_000_000] + b"\1\2\3\4\5\6\7\x08" + data[2_000_008:],
        "missing bytes": data[:2_000_000] + data[2_040_000:],
        "inserted bytes": data[:2_000_000] + b"\x55" * 9_999 + data[2_000_000:],
    }
    for damaged in cases.values():
        sound = decode(damaged)
        assert len(sound.pcm) == len(good)
        assert sound.warnings == (WarningKind.DAMAGED,)
        assert np.count_nonzero(sound.pcm != good) < 4 * SAMPLE_RATE
        for begin, end in ((0, 1_000_000), (1_200_000, 2_000_000), (1_900_000, None)):
            assert np.array_equal(decode(damaged, DecodeRequest(begin=begin, end=end)).pcm, sound.pcm[begin:end])
    cut = decode(data[: len(data) // 2])
    assert len(cut.pcm) == pytest.approx(75 * SAMPLE_RATE, abs=SAMPLE_RATE)
    assert np.array_equal(cut.pcm[: 74 * SAMPLE_RATE], good[: 74 * SAMPLE_RATE])
    assert WarningKind.ENDED_EARLY in cut.warnings


def test_flac_of_unknown_length_has_its_end() -> None:
    data = bytearray(flac(np.concatenate([low(16_000, seconds=100.0), high(16_000, seconds=39.3)])))
    data[21] &= 0xF0
    data[22:26] = bytes(4)  # the number of samples, RFC 9639, section 8.2
    sound = decode(bytes(data))
    assert len(sound.pcm) == round(139.3 * SAMPLE_RATE)
    assert not sound.warnings


@pytest.mark.parametrize("container", ["matroska", "asf"])
def test_rounded_times_do_not_add_up(container: str) -> None:
    """MP3 packets last 26.12 ms, and these containers write 26."""
    steps = np.concatenate([low(22_050, seconds=30.0, hertz=hertz) for hertz in range(400, 2_400, 400)])
    data = ffmpeg_file(steps, 22_050, container, "libmp3lame")
    whole = decode(data).pcm
    assert len(whole) == pytest.approx(150 * SAMPLE_RATE, abs=0.1 * SAMPLE_RATE)
    for begin in (60, 120):
        assert np.array_equal(decode(data, DecodeRequest(begin=begin * SAMPLE_RATE)).pcm, whole[begin * SAMPLE_RATE :])
    for number, hertz in enumerate(range(400, 2_400, 400)):
        assert hertz_of(whole[(30 * number + 1) * SAMPLE_RATE : (30 * number + 29) * SAMPLE_RATE]) == pytest.approx(
            hertz, abs=1
        )


def test_links_of_ogg_are_found_where_they_begin() -> None:
    one, other = (sndfile_file(each(16_000), 16_000, "OGG", "VORBIS") for each in (low, high))
    for size in (1, 7, 1_000, 1 << 20):
        link, read = OggLink(io.BytesIO(one + other)), b""
        while more := link.read(size):
            read += more
        assert (read, link.next_link) == (one, len(one))
    alone = OggLink(io.BytesIO(one))
    while alone.read(1 << 20):
        pass
    assert (alone.tell(), alone.next_link) == (len(one), None)


def test_a_link_that_is_damaged_costs_itself() -> None:
    one, other, last = (sndfile_file(each(16_000), 16_000, "OGG", "VORBIS") for each in (low, low, high))
    sound = decode(one + other[:200] + last)  # of the middle one, the recorder wrote the beginning only
    assert sound.duration_s == pytest.approx(4, abs=0.1)
    assert heard(sound) == [LOW, HIGH]
    assert sound.warnings == (WarningKind.DAMAGED,)


def test_a_film_that_starts_late_as_a_whole_does_not_end_early() -> None:
    data = ffmpeg_file(low(48_000), 48_000, "matroska", "libopus", {"output_ts_offset": "100"})
    assert decode(data).duration_s == pytest.approx(2, abs=0.1)
    assert not decode(data).warnings


@pytest.mark.parametrize("stated", [0x7FFFF000, 0x80000000, 0x7FFFFFFF, 0xFFFFFFFF])
def test_lengths_that_stand_for_an_unknown_one(stated: int) -> None:
    data = wav(low(16_000))
    assert not decode(with_stated_bytes(data, stated)).warnings
    aiff = wav(low(16_000), kind="AIFF")
    at = aiff.index(b"SSND") + 4
    assert not decode(aiff[:at] + struct.pack(">I", stated) + aiff[at + 4 :]).warnings


def test_one_of_many_channels_is_held_without_the_others() -> None:
    data = wav(np.zeros((8_000 * 40, 128), np.float32) + low(8_000, seconds=40.0)[:, None], 8_000)
    decode(data, DecodeRequest(channel=3))
    before = forget_peak()
    decode(data, DecodeRequest(channel=3))
    assert peak_bytes() - before < 60_000_000


def test_pauses_of_amr_last() -> None:
    """A telephone sends frames without sound while nobody speaks (RFC 4867)."""
    amr = ffmpeg_file(low(8_000, seconds=10.0), 8_000, "amr", "libopencore_amrnb", bit_rate=12_200)
    frames = [amr[6 + 32 * number :][:32] for number in range(500)]
    assert b"".join([amr[:6], *frames]) == amr[: 6 + 32 * 500]
    frames[150:350] = [b"\x7c"] * 200
    sound = decode(amr[:6] + b"".join(frames))
    assert sound.duration_s == pytest.approx(10, abs=0.1)
    assert not sound.warnings


@pytest.mark.parametrize("codec", ["libmp3lame", "aac", "ac3", "flac"])
def test_a_change_of_channels_leaves_the_level(codec: str) -> None:
    container = {"libmp3lame": "mp3", "aac": "adts", "ac3": "ac3", "flac": "flac"}[codec]
    for first, second in ((1, 2), (2, 1)):
        parts = (ffmpeg_file(low(48_000, channels), 48_000, container, codec) for channels in (first, second))
        pcm = as_float(decode(b"".join(parts)).pcm)
        before, after = (np.sqrt(np.square(pcm[at : at + 16_000]).mean()) for at in (8_000, 40_000))
        assert after / before == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("offsets", [(0, 1_000), (1_000, 0), (70, 0)])
def test_transport_streams_that_were_joined(offsets: tuple[int, int]) -> None:
    """Their clocks have nothing to do with each other; a jump of minutes may be a pause."""
    parts = zip((low(48_000), high(48_000)), offsets, strict=True)
    data = b"".join(ffmpeg_file(one, 48_000, "mpegts", "aac", {"output_ts_offset": str(at)}) for one, at in parts)
    sound = decode(data, DecodeRequest(max_hours=1))
    assert sound.duration_s == pytest.approx(4 + max(offsets[1] - offsets[0], 0), abs=3)
    assert hertz_of(sound.pcm[-16_000:]) == pytest.approx(HIGH, abs=5)


def test_an_edit_list_that_leaves_nothing_is_not_believed() -> None:
    data = ffmpeg_file(low(44_100), 44_100, "mov", "pcm_s16le", {"use_editlist": "1"})
    at = data.index(b"elst") + 12
    wrong = data[:at] + struct.pack(">Ii", 0, 0x7FFFFFF0) + data[at + 8 :]
    assert decode(wrong).duration_s == pytest.approx(2, abs=0.05)
