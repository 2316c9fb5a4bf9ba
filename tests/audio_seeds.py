"""Good recordings in every container and codec that can be written here, each with the sound that is in it.

All are made of the demo's speech. They are the same bytes in every process, so that a number is enough to name a
mutant.
"""

import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from audio_files import (
    ID3V1,
    RATE,
    Sound,
    ape_tag,
    ffmpeg_file,
    id3,
    remuxed,
    scaled,
    sndfile_file,
    sndfile_ogg,
    speech,
    spoken,
)
from numpy.typing import NDArray

SHORT_S, LONG_S = 7.0, 70.0
CODEC_S = 0.15  # by which a codec may lengthen and delay a sound
WINDOW = RATE  # samples that are compared at once; parts last whole seconds
QUIET = 0.1  # of the mean power; a quieter window is not compared


@dataclass(frozen=True)
class Seed:
    """A good recording; `sound` is what it says, mono at 16 kHz, if that is known.

    `parts` files make it up, each of which its codec may lengthen and delay. What is decoded correlates with `sound` by
    `similarity` at least.
    """

    name: str
    content: bytes
    sound: Sound | None
    similarity: float = 0.9
    parts: int = 1

    def fault_of(self, pcm: NDArray[Any]) -> str | None:
        """What is wrong with decoded samples at 16 kHz: their length, or a second of another sound."""
        if self.sound is None:
            return None
        surplus_s = (len(pcm) - len(self.sound)) / RATE
        if abs(surplus_s) > CODEC_S * self.parts:
            return f"{abs(surplus_s):.3f} s too {'long' if surplus_s > 0 else 'short'}"
        decoded = scaled(pcm)
        power = np.square(self.sound).mean()
        for start in range(0, len(self.sound), WINDOW):
            if np.square(self.sound[start : start + WINDOW]).mean() < QUIET * power:
                continue
            found = _likeness(decoded, self.sound, start)
            if found < self.similarity:
                return f"a correlation of {found:.3f} at {start / RATE:.1f} s"
        return None

    @property
    def is_ogg(self) -> bool:
        return self.content[:4] == b"OggS"


def _likeness(decoded: Sound, sound: Sound, start: int) -> float:
    """The correlation of a window of `sound` with what was decoded about there, at the best delay."""
    wanted = sound[start : start + WINDOW]
    reach = round(2 * CODEC_S * RATE)
    about = np.pad(decoded, reach)[start : start + WINDOW + 2 * reach]
    size = 1 << (len(about) + len(wanted)).bit_length()
    products = np.fft.irfft(np.fft.rfft(about, size) * np.conj(np.fft.rfft(wanted, size)), size)
    delay = int(np.argmax(products[: max(len(about) - len(wanted), 0) + 1]))
    there = about[delay : delay + len(wanted)]
    wanted = wanted[: len(there)]
    return float(there @ wanted / max(np.linalg.norm(there) * np.linalg.norm(wanted), 1e-9))


# The seeds

#: Written by libsndfile: format, subtype, rate, channels.
_BY_SNDFILE = [
    ("WAV", "PCM_U8", 8_000, 1),
    ("WAV", "PCM_16", 8_000, 2),
    ("WAV", "PCM_16", 16_000, 1),
    ("WAV", "PCM_16", 44_100, 2),
    ("WAV", "PCM_24", 48_000, 1),
    ("WAV", "PCM_32", 16_000, 2),
    ("WAV", "FLOAT", 16_000, 1),
    ("WAV", "DOUBLE", 44_100, 1),
    ("WAV", "ULAW", 8_000, 1),
    ("WAV", "ALAW", 8_000, 2),
    ("WAV", "IMA_ADPCM", 16_000, 1),
    ("WAV", "MS_ADPCM", 16_000, 2),
    ("WAV", "GSM610", 8_000, 1),
    ("WAV", "G721_32", 8_000, 1),
    ("WAV", "NMS_ADPCM_32", 8_000, 1),
    ("WAVEX", "PCM_24", 48_000, 2),
    ("WAVEX", "FLOAT", 16_000, 2),
    ("RF64", "PCM_16", 16_000, 1),
    ("RF64", "PCM_24", 48_000, 2),
    ("W64", "PCM_16", 44_100, 1),
    ("W64", "IMA_ADPCM", 16_000, 1),
    ("AIFF", "PCM_16", 44_100, 2),
    ("AIFF", "PCM_S8", 16_000, 1),
    ("AIFF", "FLOAT", 16_000, 1),
    ("AIFF", "ULAW", 8_000, 1),
    ("AIFF", "IMA_ADPCM", 44_100, 1),
    ("AU", "PCM_16", 16_000, 1),
    ("AU", "ULAW", 8_000, 1),
    ("AU", "FLOAT", 48_000, 2),
    ("AU", "G723_40", 8_000, 1),
    ("CAF", "PCM_16", 16_000, 1),
    ("CAF", "PCM_24", 48_000, 2),
    ("CAF", "ALAC_16", 16_000, 1),
    ("CAF", "ALAC_24", 44_100, 2),
    ("NIST", "PCM_16", 16_000, 1),
    ("NIST", "ULAW", 8_000, 2),
    ("FLAC", "PCM_16", 16_000, 1),
    ("FLAC", "PCM_24", 48_000, 2),
    ("FLAC", "PCM_S8", 8_000, 1),
    ("MP3", "MPEG_LAYER_III", 44_100, 2),
    ("VOC", "PCM_16", 16_000, 1),
    ("IRCAM", "PCM_16", 16_000, 1),
]

#: Written by FFmpeg: container, codec, rate, channels, options of the container.
_BY_FFMPEG: list[tuple[str, str, int, int, dict[str, str]]] = [
    ("wav", "adpcm_ima_wav", 16_000, 2, {}),
    ("wav", "g726", 8_000, 1, {}),
    ("wav", "libmp3lame", 44_100, 2, {}),
    ("aiff", "pcm_s16be", 16_000, 1, {}),
    ("caf", "alac", 44_100, 1, {}),
    ("flac", "flac", 44_100, 2, {}),
    ("ogg", "flac", 16_000, 1, {}),
    ("ogg", "libopus", 16_000, 1, {}),
    ("mp3", "libmp3lame", 44_100, 1, {}),
    ("mp3", "libmp3lame", 16_000, 1, {}),
    ("mp3", "libmp3lame", 8_000, 1, {}),
    ("mp3", "libmp3lame", 48_000, 2, {"write_xing": "0"}),
    ("mp3", "libmp3lame", 22_050, 1, {"write_xing": "0"}),
    ("mp2", "mp2", 48_000, 2, {}),
    ("mp2", "mp2", 16_000, 1, {}),
    ("adts", "aac", 44_100, 2, {}),
    ("adts", "aac", 16_000, 1, {}),
    ("latm", "aac", 44_100, 1, {}),
    ("mp4", "aac", 44_100, 2, {}),
    ("mp4", "aac", 16_000, 1, {"movflags": "faststart"}),
    ("mp4", "aac", 48_000, 1, {"movflags": "frag_keyframe+empty_moov+default_base_moof", "frag_duration": "1000000"}),
    ("mp4", "alac", 44_100, 2, {}),
    ("mp4", "libmp3lame", 44_100, 1, {}),
    ("mp4", "libopus", 48_000, 1, {}),
    ("mp4", "flac", 16_000, 1, {}),
    ("mp4", "ac3", 48_000, 2, {}),
    ("mov", "pcm_s16le", 16_000, 1, {}),
    ("mov", "pcm_s24le", 48_000, 2, {}),
    ("mov", "adpcm_ima_qt", 44_100, 1, {}),
    ("3gp", "libopencore_amrnb", 8_000, 1, {}),
    ("matroska", "libopus", 48_000, 2, {}),
    ("matroska", "aac", 44_100, 1, {}),
    ("matroska", "libmp3lame", 44_100, 2, {}),
    ("matroska", "libmp3lame", 16_000, 1, {}),
    ("matroska", "flac", 16_000, 1, {}),
    ("matroska", "pcm_s16le", 16_000, 1, {}),
    ("matroska", "ac3", 48_000, 1, {}),
    ("matroska", "mp2", 16_000, 1, {"live": "1"}),
    ("webm", "libopus", 48_000, 1, {}),
    ("webm", "libopus", 16_000, 1, {"live": "1"}),
    ("asf", "wmav1", 44_100, 1, {}),
    ("asf", "wmav2", 44_100, 2, {}),
    ("asf", "wmav2", 16_000, 1, {}),
    ("asf", "libmp3lame", 44_100, 1, {}),
    ("amr", "libopencore_amrnb", 8_000, 1, {}),
    ("avi", "libmp3lame", 44_100, 2, {}),
    ("avi", "pcm_s16le", 16_000, 1, {}),
    ("avi", "ac3", 48_000, 1, {}),
    ("flv", "libmp3lame", 44_100, 1, {}),
    ("flv", "aac", 44_100, 2, {}),
    ("flv", "nellymoser", 8_000, 1, {}),
    ("mpegts", "aac", 44_100, 2, {}),
    ("mpegts", "mp2", 48_000, 1, {}),
    ("mpegts", "libopus", 48_000, 1, {}),
    ("mpeg", "mp2", 48_000, 2, {}),
    ("wv", "wavpack", 44_100, 2, {}),
    ("wv", "wavpack", 16_000, 1, {}),
    ("tta", "tta", 16_000, 1, {}),
    ("ac3", "ac3", 48_000, 2, {}),
    ("eac3", "eac3", 48_000, 1, {}),
    ("voc", "pcm_u8", 8_000, 1, {}),
    ("nut", "aac", 44_100, 1, {}),
]

#: Of a minute and more, so that the recording's own minutes are cut: as in _BY_FFMPEG.
_LONG: list[tuple[str, str, int]] = [
    ("flac", "flac", 16_000),
    ("mp3", "libmp3lame", 16_000),
    ("ogg", "libopus", 16_000),
    ("mp4", "aac", 16_000),
    ("matroska", "libmp3lame", 16_000),
    ("asf", "wmav2", 16_000),
    ("wav", "pcm_mulaw", 8_000),
]

#: Codecs that a waveform does not survive as it was, in which speech still is the same to the ear.
_SIMILARITY = {"libopencore_amrnb": 0.65, "GSM610": 0.8, "nellymoser": 0.8, "g726": 0.8, "G723_40": 0.8}

Made = tuple[bytes, Sound | None]


def _joined(*parts: tuple[bytes, Sound]) -> Made:
    return b"".join(content for content, _ in parts), np.concatenate([sound for _, sound in parts])


def _mp3(rate: int, channels: int = 1, first: int = 0, seconds: float = 4.0, **options: str) -> tuple[bytes, Sound]:
    sound = spoken(rate, channels, seconds, first)
    return ffmpeg_file(sound, rate, "mp3", "libmp3lame", options), speech(seconds, first)


def _ogg(codec: str, rate: int, channels: int, first: int, serial: int) -> tuple[bytes, Sound]:
    return sndfile_ogg(spoken(rate, channels, 4.0, first), rate, codec, serial), speech(4.0, first)


def _aac(rate: int, channels: int = 1, first: int = 0) -> tuple[bytes, Sound]:
    return ffmpeg_file(spoken(rate, channels, 4.0, first), rate, "adts", "aac"), speech(4.0, first)


def _wav(rate: int = RATE, first: int = 0) -> tuple[bytes, Sound]:
    return sndfile_file(spoken(rate, 1, 4.0, first), rate, "WAV", "PCM_16"), speech(4.0, first)


def _flac(first: int = 0) -> tuple[bytes, Sound]:
    return sndfile_file(spoken(RATE, 1, 4.0, first), RATE, "FLAC", "PCM_16"), speech(4.0, first)


def _amr_wb() -> Made:
    """Frames of 23.85 kbit/s with the sound of chance (RFC 4867); no encoder is at hand."""
    draw = random.Random(5)
    return b"#!AMR-WB\n" + b"".join(b"\x44" + draw.randbytes(60) for _ in range(350)), None


def _wav_of_unknown_length() -> Made:
    """As from a pipe: both sizes are the largest possible."""
    data = sndfile_file(spoken(RATE), RATE, "WAV", "PCM_16")
    return data[:4] + b"\xff" * 4 + data[8:40] + b"\xff" * 4 + data[44:], speech(SHORT_S)


def _flac_of_unknown_length() -> Made:
    """As from a pipe: the number of samples in STREAMINFO is 0 (RFC 9639)."""
    data = bytearray(sndfile_file(spoken(RATE), RATE, "FLAC", "PCM_16"))
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    return bytes(data), speech(SHORT_S)


def _wav_of_half_the_length() -> Made:
    """As a recorder leaves it that wrote its header before it went on."""
    data = bytearray(sndfile_file(spoken(RATE), RATE, "WAV", "PCM_16"))
    half = (len(data) - 44) // 4 * 2
    data[4:8], data[40:44] = struct.pack("<I", 36 + half), struct.pack("<I", half)
    return bytes(data), speech(SHORT_S)


def _without_ftyp(data: bytes) -> Made:
    """As QuickTime wrote files before there was such a box; none moves."""
    return data.replace(b"ftyp", b"wide", 1), speech(SHORT_S)


def _begun_late(made: tuple[bytes, Sound], missing: int) -> Made:
    return made[0][missing:], made[1]


def _after(before: bytes, made: tuple[bytes, Sound]) -> Made:
    return before + made[0], made[1]


def _tagged_mp3() -> Made:
    content, sound = _mp3(44_100, seconds=5.0)
    return id3(4_000) + content + ape_tag() + ID3V1, sound


def _spliced_tag() -> Made:
    """An MP3 within which another begins, tag and all."""
    (one, first), (two, second) = _mp3(44_100), _mp3(44_100, first=3)
    return _joined((one, first), (id3(30_000) + two, second))


_OTHERS: dict[str, Callable[[], Made]] = {
    "amr-wb": _amr_wb,
    "wav-rifx": lambda: (sndfile_file(spoken(RATE), RATE, "WAV", "PCM_16", "BIG"), speech(SHORT_S)),
    "wav-unknown-length": _wav_of_unknown_length,
    "flac-unknown-length": _flac_of_unknown_length,
    "flac-after-id3": lambda: (id3(500) + sndfile_file(spoken(RATE), RATE, "FLAC", "PCM_16"), speech(SHORT_S)),
    "ogg-vorbis-sndfile": lambda: (sndfile_ogg(spoken(44_100), 44_100, "VORBIS"), speech(SHORT_S)),
    "ogg-opus-sndfile": lambda: (sndfile_ogg(spoken(48_000, 2), 48_000, "OPUS"), speech(SHORT_S)),
    "webm-vorbis": lambda: (remuxed(sndfile_ogg(spoken(48_000, 2), 48_000, "VORBIS"), "webm"), speech(SHORT_S)),
    "ogg-vorbis-chained": lambda: _joined(_ogg("VORBIS", RATE, 1, 0, 1), _ogg("VORBIS", RATE, 1, 3, 2)),
    "ogg-opus-chained": lambda: _joined(_ogg("OPUS", 48_000, 1, 0, 1), _ogg("OPUS", 48_000, 1, 3, 2)),
    "mp3-tags": _tagged_mp3,
    "mp3-joined": lambda: _joined(_mp3(44_100), _mp3(44_100, first=3)),
    "mp3-joined-without-xing": lambda: _joined(_mp3(RATE, write_xing="0"), _mp3(RATE, first=3, write_xing="0")),
    "mp3-joined-with-tag": _spliced_tag,
    "mp3-joined-rates": lambda: _joined(_mp3(44_100), _mp3(22_050, first=3)),
    "mp3-joined-channels": lambda: _joined(_mp3(44_100, 2), _mp3(44_100, first=3)),
    "mp3-cut-midframe": lambda: _begun_late(_mp3(44_100, write_xing="0"), 100),
    "mp3-after-junk": lambda: _after(random.Random(6).randbytes(1_000).replace(b"\xff", b"\0"), _mp3(44_100)),
    "mp3-after-zeros": lambda: _after(bytes(3_000), _mp3(44_100)),
    "mp3-after-two-tags": lambda: _after(id3(300) + id3(700, 3), _mp3(44_100)),
    "mp3-after-padded-tag": lambda: _after(id3(300) + bytes(500), _mp3(44_100)),
    "aac-joined": lambda: _joined(_aac(44_100), _aac(44_100, first=3)),
    "aac-joined-rates": lambda: _joined(_aac(44_100), _aac(22_050, first=3)),
    "aac-joined-channels": lambda: _joined(_aac(44_100), _aac(44_100, 2, first=3)),
    "aac-cut-midframe": lambda: _begun_late(_aac(44_100), 100),
    "ogg-opus-chained-channels": lambda: _joined(_ogg("OPUS", 48_000, 1, 0, 1), _ogg("OPUS", 48_000, 2, 3, 2)),
    "ogg-vorbis-chained-rates": lambda: _joined(_ogg("VORBIS", 44_100, 1, 0, 1), _ogg("VORBIS", RATE, 1, 3, 2)),
    "ogg-chained-codecs": lambda: _joined(_ogg("VORBIS", 48_000, 1, 0, 1), _ogg("OPUS", 48_000, 1, 3, 2)),
    "wav-joined": lambda: _joined(_wav(), _wav(first=3)),
    "wav-half-stated": _wav_of_half_the_length,
    "wav-bw64": lambda: (b"BW64" + sndfile_file(spoken(RATE), RATE, "RF64", "PCM_16")[4:], speech(SHORT_S)),
    "flac-joined": lambda: _joined(_flac(), _flac(first=3)),
    "mov-without-ftyp": lambda: _without_ftyp(ffmpeg_file(spoken(44_100), 44_100, "mov", "aac")),
}


def _by_ffmpeg(container: str, codec: str, rate: int, channels: int, options: dict[str, str], seconds: float) -> Made:
    bit_rate = 32_000 if codec in ("g726", "aac") and rate < 20_000 else 96_000 if channels > 1 else 64_000
    bit_rate = 12_200 if codec == "libopencore_amrnb" else bit_rate
    sound = spoken(rate, channels, seconds)
    return ffmpeg_file(sound, rate, container, codec, options, bit_rate), speech(seconds)


def _by_sndfile(kind: str, subtype: str, rate: int, channels: int) -> Made:
    return sndfile_file(spoken(rate, channels), rate, kind, subtype), speech(SHORT_S)


def makers() -> dict[str, Callable[[], Seed]]:
    """By name, a function that makes a seed."""
    made: dict[str, Any] = {}
    for kind, subtype, rate, channels in _BY_SNDFILE:
        name = f"{kind}-{subtype}-{rate}-{channels}".lower()
        made[name] = (subtype, partial(_by_sndfile, kind, subtype, rate, channels))
    for container, codec, rate, channels, options in _BY_FFMPEG:
        name = "-".join([container, codec, str(rate), str(channels), *options])
        made[f"ff-{name}"] = (codec, partial(_by_ffmpeg, container, codec, rate, channels, options, SHORT_S))
    for container, codec, rate in _LONG:
        made[f"long-{container}-{codec}"] = (codec, partial(_by_ffmpeg, container, codec, rate, 1, {}, LONG_S))
    made |= {name: ("", make) for name, make in _OTHERS.items()}
    return {name: partial(_seed, name, *each) for name, each in made.items()}


def _seed(name: str, codec: str, make: Callable[[], Made]) -> Seed:
    content, sound = make()
    return Seed(name, content, sound, _SIMILARITY.get(codec, 0.9), 2 if "joined" in name or "chained" in name else 1)
