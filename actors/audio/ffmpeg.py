"""Decodes with FFmpeg: MP3, AAC, Opus, WMA, AMR, and what libsndfile does not read, or not to its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, NamedTuple, cast

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
)
from actors.audio.conversion import MAX_FRAME_SAMPLES, Conversion
from actors.audio.mp4_tables import second_movie, table_error
from actors.audio.ogg import OggLink
from actors.audio.packets import frame_header, packets
from actors.audio.timeline import Timeline
from actors.audio.tracks import pick_track
from actors.schema import Floats, WarningKind

if TYPE_CHECKING:
    import av
    from av.audio.codeccontext import AudioCodecContext

PROBE_BYTES = 1 << 16  # of a stored file that are read at a time to look for a second one
GATHERED_SAMPLES = 1 << 16  # of frames that become one block: a frame has about a thousand, and each block costs time
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


class _Decoded(NamedTuple):
    """The sound of a frame, in one array or several; when and how long it is by its container; and whether packets
    before it were lost."""

    sounds: list[Floats]
    start_s: float | None = None
    duration_s: float = 0.0
    is_after_loss: bool = False


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
        self._sync: bytes | None = None  # of the last packet that was decoded

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
        gathered, samples = list[Floats](), 0
        sounds = self._sounds()
        try:
            for sound in sounds:
                start = self._timeline.position
                self._timeline.position += len(sound)
                if self._timeline.position <= self._first:
                    continue
                gathered.append(sound[max(self._first - start, 0) :])
                samples += sound.size
                if samples >= GATHERED_SAMPLES:
                    yield np.concatenate(gathered)
                    gathered, samples = [], 0
        except BrokenStream as problem:
            if not self._timeline.position:
                raise Undecodable(str(problem)) from None
            if gathered:
                yield np.concatenate(gathered)
            raise
        if gathered:
            yield np.concatenate(gathered)
        ended_s = self._origin_s + self._timeline.position / self.rate
        if self._promised_s and ended_s < self._promised_s - MAX_SHORT_S:
            self._warnings.add(WarningKind.ENDED_EARLY)
        second = self._file.next_link if isinstance(self._file, OggLink) else self._second
        return End(self._timeline.position, joined=second)

    def _sounds(self) -> Iterator[Floats]:
        """The sound of all packets one after the other, with silence for what is missing between them. Sound is added
        to the timeline before the next is requested."""
        last: _Decoded | None = None
        try:
            for decoded in self._decoded():
                if last:
                    yield from self._placed(last, decoded.start_s)
                last = decoded
                if not self._timeline.has_clock:  # nothing has to be known of the next one
                    yield from self._placed(decoded, None)
                    last = None
        except BrokenStream:
            if last:
                yield from self._placed(last, None)
            raise
        if last:
            yield from self._placed(last, None)
        with translate_errors("FFmpeg", self._own_errors, BrokenStream):
            rest = self._conversion.rest()
        yield from rest

    def _placed(self, decoded: _Decoded, next_s: float | None) -> Iterator[Floats]:
        """The sound of a frame, and before it the silence for what is missing there."""
        gap = self._timeline.gap(decoded.start_s, decoded.duration_s, next_s, decoded.is_after_loss)
        if gap and self._timeline.is_exact:
            self._warnings.add(WarningKind.DAMAGED)
        while gap > 0:
            block = min(gap, BLOCK_SAMPLES // self.channels)
            yield np.zeros((block, self.channels), np.float32)
            gap -= block
        yield from decoded.sounds

    def _decoded(self) -> Iterator[_Decoded]:
        """The frames of all packets, and what is known of those that cannot be decoded."""
        any_decoded, has_loss, problem = False, False, Undecodable("FFmpeg: no sound could be decoded")
        for packet in self._packets:
            try:
                with translate_errors("FFmpeg", self._own_errors):
                    frames = self._decoder.decode(packet)
                    sounds = [self._conversion(frame) for frame in frames]
            except Undecodable as failure:  # only this packet is lost
                problem = failure
                if any_decoded and (lost := self._lost_samples(packet)) is not None:
                    has_loss = True
                    self._warnings.add(WarningKind.DAMAGED)
                    yield _Decoded([np.zeros((lost, self.channels), np.float32)])
                continue
            for frame, sound in zip(frames, sounds, strict=True):
                any_decoded = True
                yield _Decoded(sound, frame.time, frame.samples / frame.sample_rate, has_loss)
                has_loss = False
            if frames and self._is_self_framed:
                self._sync = frame_header(packet)[_SYNC]
        if not any_decoded:
            raise problem

    def _lost_samples(self, packet: av.Packet) -> int | None:
        """The samples of a packet that could not be decoded: 0 if the container's times will tell, None if it is no
        sound, as what lies between the frames of a stream that frames itself, such as a tag with a picture."""
        if self._timeline.has_clock:
            return 0
        if self._is_self_framed and frame_header(packet)[_SYNC] != self._sync:
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
