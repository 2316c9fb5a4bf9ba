"""However many frames are decoded at a time, samples are what the decoders and the resampler alone make of a file.

The references are PyAV frame by frame, libsndfile and soxr, without anything of the project's own.
"""

import io
from fractions import Fraction
from itertools import islice
from typing import Any

import av
import numpy as np
import pytest
import soundfile
import soxr
from audio_files import Sound, ffmpeg_file, sndfile_file, spoken
from numpy.typing import NDArray

from actors.audio.codecs import BrokenStream
from actors.audio.conversion import Conversion
from actors.audio.decode import DecodeRequest, decode, decode_each
from actors.audio.mix import Mixer
from actors.audio.packets import packets
from actors.audio.pcm import as_float
from actors.audio.resample import passed_on, resample
from actors.audio.runs import Gathering, run_frames
from actors.schema import Floats, WarningKind, Waveform

RATE = 16_000
SECONDS = 64.0  # more than a minute with its margin, so that two are mixed and joined


def by_pyav(content: bytes) -> Sound:
    """All frames, each converted by FFmpeg itself, of shape (samples, channels)."""
    parts = []
    with av.open(io.BytesIO(content)) as container:
        for frame in container.decode(audio=0):
            to_float = av.AudioResampler(format="fltp", layout=frame.layout, rate=frame.sample_rate)
            parts += [each.to_ndarray().T for each in to_float.resample(frame)]
    return np.concatenate(parts)


def mono_of(sound: Sound, rate: int) -> NDArray[np.float32]:
    """The mean of the channels at 16 kHz, resampled at once."""
    mean = sound.mean(axis=1, dtype=np.float32)
    return mean if rate == RATE else soxr.resample(mean, rate, RATE, "HQ")


@pytest.mark.parametrize(
    ("container", "codec", "rate", "channels"),
    [
        ("mp3", "libmp3lame", 44_100, 2),
        ("adts", "aac", 44_100, 2),
        ("ogg", "libopus", 48_000, 2),
        ("matroska", "pcm_u8", RATE, 1),
        ("mp4", "alac", RATE, 2),
        ("matroska", "pcm_s16le", RATE, 2),
        ("matroska", "pcm_s32le", RATE, 1),
        ("matroska", "pcm_f64le", RATE, 1),
        ("matroska", "pcm_s24le", 22_050, 2),
    ],
)
def test_runs_of_frames_are_what_ffmpeg_makes_of_each(container: str, codec: str, rate: int, channels: int) -> None:
    content = ffmpeg_file(spoken(rate, channels, SECONDS), rate, container, codec)
    expected, found = mono_of(by_pyav(content), rate), as_float(decode(content).pcm)
    assert len(found) == len(expected)
    if rate == RATE:
        assert np.array_equal(found, expected)
    inner = slice(0, 59 * RATE)  # what soxr makes of all at once differs a little where a minute ends
    assert np.abs(found[inner] - expected[inner]).max() <= 1e-6


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [
        *(("WAV", subtype) for subtype in ("PCM_16", "PCM_24", "PCM_U8", "ULAW", "ALAW", "FLOAT")),
        *(("FLAC", subtype) for subtype in ("PCM_16", "PCM_24", "PCM_S8")),
    ],
)
def test_sound_at_16_khz_is_passed_on(kind: str, subtype: str) -> None:
    content = sndfile_file(spoken(RATE, 2, SECONDS), RATE, kind, subtype)
    expected, _ = soundfile.read(io.BytesIO(content), dtype="float32")
    for sound in decode_each(content, DecodeRequest(channel="each")):
        assert np.array_equal(as_float(sound.pcm), expected[:, sound.channel])
        assert sound.pcm.dtype == (np.float32 if subtype in ("PCM_24", "FLOAT") else np.int16)
    first = decode(content, DecodeRequest(channel=0))
    assert np.array_equal(as_float(first.pcm), expected[:, 0])
    stretch = decode(content, DecodeRequest(begin=61 * RATE + 5, end=62 * RATE, channel=0))
    assert np.array_equal(as_float(stretch.pcm), expected[61 * RATE + 5 : 62 * RATE, 0])


@pytest.mark.parametrize("size", [1, 7_001, 100_000])
def test_what_lies_before_a_minute_is_left_out_of_blocks_of_any_size(size: int) -> None:
    sound = np.arange(20_000, dtype=np.int16)[:, None]
    for first_minute, left_out in ((0, 0), (1, RATE)):
        parts = [part for (part,) in passed_on(blocks_of(sound, size), first_minute, Mixer(1, RATE, None))]
        assert np.array_equal(np.concatenate(parts), sound[left_out:, 0])


def test_sounds_of_one_minute_do_not_change_with_the_next() -> None:
    """Memory is used again for each minute."""
    left = np.concatenate([np.full(60 * RATE, 0.25), np.full(60 * RATE, 0.1)]).astype(np.float32)
    sounds = np.stack([left, left / 3], axis=1)
    content = sndfile_file(sounds, RATE, "WAV", "FLOAT")
    for sound in decode_each(content, DecodeRequest(channel="each")):
        assert np.array_equal(sound.pcm, sounds[:, sound.channel])
    assert np.array_equal(decode(content).pcm, (sounds[:, 0] + sounds[:, 1]) / np.float32(2))


@pytest.mark.parametrize(
    ("scale", "offset", "cancels"),
    [(-1.0, 0.0, True), (-0.5, 0.0, False), (-1.0, 0.3, True), (0.0, 0.0, False), (1.0, 0.3, False)],
)
def test_channels_that_cancel_are_found_beside_an_offset(scale: float, offset: float, cancels: bool) -> None:
    """An offset makes the mean loud, and is not heard."""
    speech = spoken(RATE, seconds=5.0)
    minute = np.stack([speech, speech * np.float32(scale)], axis=1) + np.float32(offset)
    expected = minute[:, 0] if cancels else minute.mean(axis=1)
    for size in (len(minute), 7_001):
        mixer = Mixer(2, RATE, None)
        sound = np.concatenate([part for (part,) in resample(blocks_of(minute, size), RATE, 0, mixer)])
        assert (WarningKind.CHANNELS_CANCEL in mixer.warnings) == cancels
        assert np.allclose(sound, expected, atol=1e-6)


def test_the_mean_is_only_taken_unseen_where_a_look_at_all_channels_would_take_it() -> None:
    """Of the sums that blocks leave."""
    random, seen = np.random.default_rng(3), set[tuple[bool, bool]]()
    for _ in range(300):
        common, own = random.normal(0, 0.1, RATE), random.normal(0, 0.1, (3, RATE)) * random.uniform(0, 0.3)
        minute = (common * random.uniform(-1, 1, (3, 1)) + own + random.uniform(0, 0.1)).astype(np.float32).T
        mixer = Mixer(3, RATE, None)
        is_taken = mixer.is_mean_heard(mixer(minute).tally)
        sound = mixer.heard(minute, slice(0, RATE))
        is_mean = not mixer.warnings
        assert is_mean == np.array_equal(sound, mixer(minute).sounds[0])
        assert is_mean or not is_taken
        seen.add((is_taken, is_mean))
    assert seen == {(True, True), (False, True), (False, False)}


@pytest.mark.parametrize("rate", [RATE, 44_100])
@pytest.mark.parametrize("fault", [None, np.nan, np.inf, 1e7])
def test_samples_do_not_depend_on_the_blocks_or_the_first_minute(rate: int, fault: float | None) -> None:
    """Also where a sample that is no sound lies in what two minutes share."""
    sounds = np.random.default_rng(5).normal(0, 0.1, (round(122.5 * rate), 2)).astype(np.float32)
    if fault is not None:
        sounds[round(60.5 * rate), 1] = fault
    good = np.where(np.abs(sounds) < 1e6, sounds, 0)
    whole = [
        resampled(good[max(first - 1, 0) * rate : (first + 61) * rate], rate, bool(first)) for first in (0, 60, 120)
    ]
    whole_sound = np.concatenate(whole)
    for size in (len(sounds), 65_536, 44_100, 30_001):
        parts = list(resample(blocks_of(sounds, size), rate, 0, Mixer(2, rate, None)))
        sound = np.concatenate([part for (part,) in parts])
        later = list(resample(blocks_of(sounds[59 * rate :], size), rate, 1, Mixer(2, rate, None)))
        assert np.array_equal(sound[60 * RATE :], np.concatenate([part for (part,) in later]))
        if fault != 1e7:  # whose mean is cut at the loudest that is possible
            near = np.ones(len(sound), bool)
            near[60 * RATE : 61 * RATE] = fault is None
            assert np.array_equal(sound[near], whole_sound[near])
        assert np.isfinite(sound).all()


def resampled(minute: Floats, rate: int, has_margin: bool) -> Floats:
    """The mean of a minute with its margins, by soxr."""
    mean: Floats = (minute[:, 0] + minute[:, 1]) / np.float32(2)
    sound = mean if rate == RATE else soxr.resample(mean, rate, RATE, "HQ")
    return sound[RATE * has_margin :][: 60 * RATE]


def blocks_of(sound: Waveform, size: int) -> list[Waveform]:
    """The blocks of so many frames that make (frames, channels)."""
    return [sound[first : first + size] for first in range(0, len(sound), size)]


def test_what_was_gathered_before_the_container_fails_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    content = ffmpeg_file(spoken(RATE, 1, 10.0), RATE, "adts", "aac")
    whole = decode(content)

    def fails_after_20(*arguments: Any) -> Any:
        yield from islice(packets(*arguments), 20)
        raise BrokenStream("FFmpeg: Invalid data found when processing input")

    monkeypatch.setattr("actors.audio.ffmpeg.packets", fails_after_20)
    sound = decode(content)
    assert len(sound.pcm) == 20 * 1_024
    assert np.array_equal(sound.pcm, whole.pcm[: len(sound.pcm)])
    assert sound.warnings == (WarningKind.ENDED_EARLY,)


def test_a_frame_too_short_to_be_resampled_is_no_loss() -> None:
    """The second file's last frame has one sample, of which FFmpeg's resampler makes none before the end."""
    first = sndfile_file(spoken(RATE, seconds=5.0), RATE, "FLAC", "PCM_16")
    second = sndfile_file(spoken(48_000, seconds=1.0)[: 4 * 4_096 + 1], 48_000, "FLAC", "PCM_16")
    sound, alone = decode(first + second), decode(first)
    assert np.array_equal(as_float(sound.pcm[: 5 * RATE]), as_float(alone.pcm))
    assert len(sound.pcm) >= 5 * RATE + 3 * 4_096 // 3  # FFmpeg passes over the frame with which a header changes
    assert sound.warnings == ()


def test_one_channel_does_not_hold_the_memory_of_all() -> None:
    """Of samples that lie channel by channel, as FFmpeg decodes them."""
    block, mixer = np.zeros((8, 1_000), np.int16).T, Mixer(8, RATE, 3)
    (found,) = mixer(block).sounds
    owner = found
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    assert owner.nbytes == 2 * len(found) == 2_000


def frame_of(samples: int, form: str = "s16", rate: int = RATE, layout: str = "mono") -> Any:
    """A frame of FFmpeg."""
    channels = 1 if layout == "mono" else 2
    kind = np.int16 if form.startswith("s16") else np.float32
    frame = av.AudioFrame.from_ndarray(np.full((1, samples * channels), 7, kind), form, layout)
    frame.sample_rate = rate
    return frame


def test_a_frame_that_is_converted_does_not_keep_others_from_being_gathered() -> None:
    """Only a resampler holds something back, which must come before them, and only until the rate is right again."""
    conversion, half, samples = Conversion(RATE, 1), RATE // 2, 0
    for frame, is_idle in (
        (frame_of(run_frames(RATE, 1) + 1), True),
        (frame_of(100, layout="stereo"), True),
        (frame_of(4_001, rate=half), False),
        (frame_of(100), True),
    ):
        samples += frame.samples * RATE // frame.sample_rate
        assert conversion.is_idle or frame.sample_rate == RATE
        samples -= sum(map(len, conversion(frame)))
        assert conversion.is_idle == is_idle
        assert is_idle == (samples == 0)
    assert conversion.rest() == []


class TestGathering:
    """By runs of frames that are made here."""

    def test_another_rate_or_number_of_channels_is_not_gathered(self) -> None:
        gathering = Gathering(RATE, 1)
        assert gathering.add([frame_of(100)], is_after_loss=False)
        assert not gathering.add([frame_of(100, rate=8_000)], is_after_loss=False)
        assert not gathering.add([frame_of(100), frame_of(100, layout="stereo")], is_after_loss=False)
        assert not gathering.add([frame_of(run_frames(RATE, 1) + 1)], is_after_loss=False)
        gathering.end()
        (run,) = gathering.taken()
        assert (run.lengths, run.sound.shape, run.sound.dtype) == ([100], (100, 1), np.int16)

    def test_a_packet_of_two_formats_is_not_gathered(self) -> None:
        gathering = Gathering(RATE, 1)
        assert gathering.add([frame_of(100)], is_after_loss=False)
        assert not gathering.add([frame_of(10), frame_of(20, "flt")], is_after_loss=False)
        assert gathering.add([frame_of(30)], is_after_loss=False)
        gathering.end()
        assert [(sum(run.lengths), len(run.sound)) for run in gathering.taken()] == [(130, 130)]

    def test_a_packet_that_fails_leaves_nothing_in_the_queue(self) -> None:
        """The queue refuses a frame of another clock."""
        frames = [frame_of(samples) for samples in (100, 20, 10, 30)]
        for frame, rate in zip(frames, (RATE, RATE, 8_000, RATE), strict=True):
            frame.time_base = Fraction(1, rate)
        gathering = Gathering(RATE, 1)
        assert gathering.add(frames[:1], is_after_loss=False)
        with pytest.raises(ValueError, match="does not match"):
            gathering.add(frames[1:3], is_after_loss=False)
        assert gathering.add(frames[3:], is_after_loss=True)
        gathering.end()
        runs = gathering.taken()
        assert [(run.lengths, len(run.sound), run.is_after_loss) for run in runs] == [
            ([100], 100, False),
            ([30], 30, True),
        ]

    def test_another_format_starts_another_run(self) -> None:
        gathering = Gathering(RATE, 1)
        for form in ("s16", "flt", "s16"):
            assert gathering.add([frame_of(10, form)], is_after_loss=form == "flt")
        gathering.end()
        runs = gathering.taken()
        assert [(run.sound.dtype, run.is_after_loss) for run in runs] == [
            (np.int16, False),
            (np.float32, True),
            (np.int16, False),
        ]
        assert gathering.taken() == []

    def test_a_run_ends_when_it_is_full(self) -> None:
        gathering, most = Gathering(RATE, 1), run_frames(RATE, 1)
        for _ in range(3):
            assert gathering.add([frame_of(most // 2 + 1)], is_after_loss=False)
        assert [sum(run.lengths) for run in gathering.taken()] == [2 * (most // 2 + 1)]
