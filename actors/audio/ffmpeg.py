"""Decodes with FFmpeg: MP3, AAC, Opus, WMA, AMR, and what libsndfile does not read, or not to its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, cast

import numpy as np

from actors.audio.codecs import (
    BLOCK_SAMPLES,
    Blocks,
    BrokenStream,
    End,
    Opening,
    Source,
    Stream,
    Undecodable,
    check_format,
    translate_errors,
    translated,
)
from actors.audio.conversion import MAX_FRAME_SAMPLES, Conversion
from actors.audio.mp4_tables import second_movie, table_error
from actors.audio.ogg import OggLink
from actors.audio.packets import frame_header, packets
from actors.audio.pcm import joined
from actors.audio.runs import Gathering, Run, run_frames, run_of
from actors.audio.timeline import Timeline
from actors.audio.tracks import pick_track
from actors.schema import WarningKind, Waveform

if TYPE_CHECKING:
    import av
    from av.audio.codeccontext import AudioCodecContext

PROBE_BYTES = 1 << 16  # of a stored file that are read at a time to look for a second one
MAX_SHORT_S = 1.0  # by which a stream may end before its header says
_CLOCK = 1_000_000  # ticks per second of a container's times

#: Streams whose frames begin with a header of their own. Their times are counted by FFmpeg, junk between them included.
_SELF_FRAMED = frozenset({"mp3", "aac", "ac3", "eac3", "dts", "loas"})

#: libsndfile's names of what it decodes first, by codec and format of samples: rows do not tell who decoded them.
_CODECS = {("flac", "s16"): "pcm_16", ("flac", "s32"): "pcm_24"}
#: Of times that seem to jump back FFmpeg thinks that their 33 bits wrapped around, which adds a day.
_OPTIONS = {"mpegts": {"correct_ts_overflow": "0"}, "mpeg": {"correct_ts_overflow": "0"}}
_SYNC = slice(0, 2)  # bytes of a frame that are the same in all of a stream


def open_unedited(source: Source, container: str, opening: Opening) -> Stream:
    """Opens an MP4 without its edit list, which may be wrong and leave nothing of the sound. Raises Undecodable."""
    return open_ffmpeg(source, container, opening, {"ignore_editlist": "1"})


def open_ffmpeg(source: Source, container: str, opening: Opening, options: Mapping[str, str] = {}) -> Stream:
    """Opens a file with FFmpeg, with options of its demuxer. Raises Undecodable, now or while the blocks are read."""
    file = _File(source, container, opening, options)
    return Stream(file.rate, file.channels, file.codec, file.blocks(), stated_s=file.stated_s(source.size))


class _File:
    """An open file and the state of decoding it once."""

    def __init__(self, source: Source, container: str, opening: Opening, options: Mapping[str, str]) -> None:
        import av  # loads FFmpeg's libraries, which most archives never need

        self._own_errors, self._warnings = (av.FFmpegError,), opening.warnings
        with translate_errors("FFmpeg", self._own_errors):
            self._second: int | None = None  # the byte at which another file begins
            if container == "mov":
                self._second = second_movie(source.open(PROBE_BYTES))
                source = source.until(self._second)
                if fault := table_error(source.open()):
                    raise Undecodable(f"FFmpeg: {fault}")
            self._file = OggLink(source.open()) if container == "ogg" else source.open()
            self._container = av.open(
                self._file,
                format=container,
                metadata_errors="ignore",
                options={"max_samples": str(MAX_FRAME_SAMPLES)},
                container_options={"codec_whitelist": _audio_decoders(), **_OPTIONS.get(container, {}), **options},
            )
            audio = pick_track(self._container, container, opening.track)
            if audio is None:
                raise Undecodable("FFmpeg: no audio stream in the container")
            self.audio = audio
            for other in self._container.streams:  # of a film, pictures are most of it
                if other.index != audio.index:
                    other.discard = av.stream.Discard.all
            context = audio.codec_context
            if context is None:
                raise Undecodable("FFmpeg: it has no decoder for this codec")
            self._decoder = context = _better(context)
            context.options = {"max_samples": str(MAX_FRAME_SAMPLES)}
            if container == "flac":  # a damaged frame would be a burst of noise
                context.options |= {"err_detect": "crccheck+explode"}
            form = context.format.name if context.format else ""
            self.codec = f"{container}/{_CODECS.get((context.name, form), context.name)}"
            check_format(context.sample_rate, context.channels, "FFmpeg")
            like = opening.like or context
            self.rate, self.channels = like.sample_rate, like.channels
            self._conversion = Conversion(self.rate, self.channels)
            self._first = opening.first_frame(self.rate)
            start, duration = self._container.start_time, self._container.duration
            start_s, duration_s = (None if each is None else each / _CLOCK for each in (start, duration))
            counts_samples = audio.time_base is not None and audio.time_base * context.sample_rate == 1
            self._timeline = Timeline.of(container, self.rate, start_s, duration_s, counts_samples)
            self._origin_s = self._timeline.origin_s
            self._packets = packets(self._container, audio, self._timeline, self._first, opening.warnings)
        self._name, self._is_self_framed = container, container in _SELF_FRAMED
        self._good: av.Packet | None = None  # the last packet that was decoded

    def stated_s(self, size: int) -> float | None:
        """The seconds that the stream's header states, else the container's, else those that a file of `size` bytes has
        at the bit rate stated."""
        stream, container = self.audio, self._container
        if stream.duration and stream.time_base:
            return float(stream.duration * stream.time_base)
        if container.duration:
            return float(container.duration / _CLOCK)
        return float(size * 8 / container.bit_rate) if container.bit_rate else None

    @property
    def _promised_s(self) -> float | None:
        """The seconds at which the sound ends by a header that says so of this stream; most others are estimates."""
        stream, container = self.audio, self._container
        if self._name in ("mov", "flac") and stream.duration and stream.time_base:
            return float(((stream.start_time or 0) + stream.duration) * stream.time_base)
        is_alone = len(container.streams) == 1 and self._name in ("matroska", "asf", "flv")
        return (container.duration or 0) / _CLOCK if is_alone else None

    def blocks(self) -> Blocks:
        """Blocks of (frames, channels) from the first frame on that was asked for."""
        gathered, frames, most = list[Waveform](), 0, run_frames(self.rate, self.channels)
        sounds = self._sounds()
        try:
            for sound in sounds:
                start = self._timeline.position
                self._timeline.position += len(sound)
                if self._timeline.position <= self._first:
                    continue
                gathered.append(sound[max(self._first - start, 0) :])
                frames += len(gathered[-1])
                if frames >= most:
                    yield joined(gathered)
                    gathered, frames = [], 0
        except BrokenStream as problem:
            if not self._timeline.position:
                raise Undecodable(str(problem)) from None
            if gathered:
                yield joined(gathered)
            raise
        if gathered:
            yield joined(gathered)
        ended_s = self._origin_s + self._timeline.position / self.rate
        if self._promised_s and ended_s < self._promised_s - MAX_SHORT_S:
            self._warnings.add(WarningKind.ENDED_EARLY)
        second = self._file.next_link if isinstance(self._file, OggLink) else self._second
        return End(self._timeline.position, joined=second)

    def _sounds(self) -> Iterator[Waveform]:
        """The sound of all packets one after the other, with silence for what is missing between them. Sound is added
        to the timeline before the next is requested."""
        last: Run | None = None  # a frame of which it depends on the next where it is
        try:
            for run in self._runs():
                if last:
                    yield from self._placed(last, run.starts_s[0])
                    last = None
                if self._timeline.goes_on(run):
                    yield run.sound
                    continue
                for frame in run.frames():
                    if last:
                        yield from self._placed(last, frame.starts_s[0])
                    last = frame
        except BrokenStream:
            if last:
                yield from self._placed(last, None)
            raise
        if last:
            yield from self._placed(last, None)
        with translate_errors("FFmpeg", self._own_errors, BrokenStream):
            rest = self._conversion.rest()
        yield from rest

    def _placed(self, frame: Run, next_s: float | None) -> Iterator[Waveform]:
        """The sound of a frame, and before it the silence for what is missing there."""
        gap = self._timeline.gap(frame.starts_s[0], frame.durations_s[0], next_s, frame.is_after_loss)
        if gap and self._timeline.is_exact:
            self._warnings.add(WarningKind.DAMAGED)
        while gap > 0:
            block = min(gap, BLOCK_SAMPLES // self.channels)
            yield np.zeros((block, self.channels), np.float32)
            gap -= block
        yield frame.sound

    def _runs(self) -> Iterator[Run]:
        """The frames of all packets, and what is known of those that cannot be decoded."""
        any_decoded, has_loss, problem = False, False, Undecodable("FFmpeg: no sound could be decoded")
        decode, conversion, gathering = self._decoder.decode, self._conversion, Gathering(self.rate, self.channels)
        nothing = np.empty((0, self.channels), np.float32)  # of a frame so short that the resampler holds it all back
        for packet in self._packets_until(failures := list[BrokenStream]()):
            if packet is None:
                gathering.end()
                yield from gathering.taken()
                continue
            try:
                frames = decode(packet)
                is_gathered = conversion.is_idle and gathering.add(frames, has_loss)
                sounds = [] if is_gathered else [conversion(frame) for frame in frames]
            except Exception as failure:  # noqa: BLE001 - third-party code on untrusted bytes may raise anything
                lost = translated(failure, "FFmpeg", self._own_errors)
                if not isinstance(lost, Undecodable):
                    raise lost from None
                gathering.end()
                yield from gathering.taken()
                problem = lost  # only this packet is lost
                if any_decoded and (missing := self._lost_samples(packet)) is not None:
                    has_loss = True
                    self._warnings.add(WarningKind.DAMAGED)
                    yield Run(np.zeros((missing, self.channels), np.float32), [missing], [None], [0.0])
                continue
            if not frames:
                continue
            any_decoded, self._good = True, packet
            if not is_gathered:
                gathering.end()
            if gathering.done:
                yield from gathering.taken()
            if not is_gathered:
                for number, (frame, sound) in enumerate(zip(frames, sounds, strict=True)):
                    yield run_of(sound or [nothing], frame, has_loss and not number)
            has_loss = False
        gathering.end()
        yield from gathering.taken()
        if failures:
            raise failures[0]
        if not any_decoded:
            raise problem

    def _packets_until(self, failures: list[BrokenStream]) -> Iterator[av.Packet | None]:
        """The packets until the container fails, if it does: the failure is told in a list, for what was decoded before
        is good."""
        try:
            yield from self._packets
        except BrokenStream as problem:
            failures.append(problem)

    def _lost_samples(self, packet: av.Packet) -> int | None:
        """The samples of a packet that could not be decoded: 0 if the container's times will tell, None if it is no
        sound, as what lies between the frames of a stream that frames itself, such as a tag with a picture."""
        if self._timeline.has_clock:
            return 0
        if self._is_self_framed and self._good and frame_header(packet)[_SYNC] != frame_header(self._good)[_SYNC]:
            return None
        return round(float((packet.duration or 0) * (packet.time_base or 0)) * self.rate)


def _better(context: AudioCodecContext) -> AudioCodecContext:
    """Another decoder of the same codec if that is better: FFmpeg's own one of AMR refuses the frames of pauses."""
    import av

    if context.name != "amrnb" or "libopencore_amrnb" not in av.codecs_available:
        return context
    better = cast("AudioCodecContext", av.CodecContext.create("libopencore_amrnb", "r"))
    better.sample_rate, better.layout = context.sample_rate, context.layout
    return better


@cache
def _audio_decoders() -> str:
    """Comma-separated names of FFmpeg's audio decoders. Embedded pictures, of any size, are thus never decoded."""
    import av

    names = list[str]()
    for name in av.codecs_available:
        with suppress(ValueError):  # it only encodes
            codec = av.Codec(name, "r")
            names += [codec.name] * (codec.type == "audio")
    return ",".join(names)
