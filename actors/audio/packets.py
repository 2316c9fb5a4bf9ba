"""Reads a stream's packets from a container, and of an MP3 passes over those before the sound that is asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

from actors.audio.codecs import BrokenStream, translate_errors
from actors.audio.timeline import Timeline
from actors.schema import WarningKind

if TYPE_CHECKING:
    import av
    from av.audio.stream import AudioStream
    from av.container import InputContainer

PREROLL = 50  # packets; an MP3 frame depends on at most the ten before it

#: What decodes to the same samples wherever decoding started, after a few packets. (MP2 is dithered by a state.)
_INDEPENDENT = ("mp3", "mp3float")  # container and decoder


def packets(
    container: InputContainer, stream: AudioStream, timeline: Timeline, first: int, warnings: set[WarningKind]
) -> Iterator[av.Packet]:
    """The packets to decode, for the sound from sample `first` on. The sound of each is added to the timeline before
    the next is requested.

    Of an MP3 those before that sample are passed over, but for a few that it depends on, and only while all are alike:
    so a sample is the same wherever decoding starts. Raises BrokenStream.
    """
    can_skip = (container.format.name, stream.codec_context.name) == _INDEPENDENT
    usual: tuple[bytes, int] | None = None
    passed = deque["av.Packet"]()
    for number, packet in enumerate(_demuxed(container, stream, warnings)):
        if number == PREROLL and can_skip:
            usual = frame_header(packet), _length(packet, timeline.rate)
        is_usual = usual and (frame_header(packet), _length(packet, timeline.rate)) == usual
        if usual and usual[1] and is_usual and timeline.position + (len(passed) + 2) * usual[1] <= first:
            passed.append(packet)
            if len(passed) > PREROLL:
                passed.popleft()
                timeline.position += usual[1]
            continue
        if number >= PREROLL:
            usual = None
            yield from passed
            passed.clear()
        yield packet


def frame_header(packet: av.Packet) -> bytes:
    """What an MP3 frame's header says of version, layer and rate: its first three bytes, less the bit rate."""
    head = bytes(memoryview(packet)[:3])
    return head[:2] + bytes([head[2] & 0x0C]) if len(head) == 3 else head


def _length(packet: av.Packet, rate: int) -> int:
    """The samples of a packet; 0 if that is unknown, or not a whole number."""
    samples = Fraction(packet.duration or 0) * Fraction(packet.time_base or 0) * rate
    return samples.numerator if samples.denominator == 1 else 0


def _demuxed(container: InputContainer, stream: AudioStream, warnings: set[WarningKind]) -> Iterator[av.Packet]:
    """A stream's packets. A damaged place in the container is passed over, if there is another packet behind."""
    import av

    failure: BrokenStream | None = None
    while True:
        demuxed = container.demux(stream)
        try:
            while True:
                with translate_errors("FFmpeg", (av.FFmpegError,), BrokenStream):
                    packet = next(demuxed, None)
                if failure and (packet is None or not packet.size):
                    raise failure
                if packet is None:
                    return
                if failure:
                    warnings.add(WarningKind.DAMAGED)
                failure = None
                yield packet
        except BrokenStream as problem:
            if failure:
                raise
            failure = problem
