"""Reads a stream's packets from a container, and of an MP3 passes over those before the sound that is asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from typing import TYPE_CHECKING

from actors.audio.codecs import BrokenStream, translated
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
) -> Iterator[av.Packet | None]:
    """The packets to decode, for the sound from sample `first` on. None among them asks for the sound of those before
    to be added to the timeline before the next is requested.

    Of an MP3 those before that sample are passed over, but for a few that it depends on, and only while all are alike:
    so a sample is the same wherever decoding starts. Raises BrokenStream.
    """
    demuxed = _demuxed(container, stream, warnings)
    if (container.format.name, stream.codec_context.name) == _INDEPENDENT:
        yield from islice(demuxed, PREROLL)
        yield None
        yield from _passing_over(demuxed, timeline, first)
    yield from demuxed


def _passing_over(demuxed: Iterator[av.Packet], timeline: Timeline, first: int) -> Iterator[av.Packet]:
    """The packets behind those that are passed over; the latter are added to the timeline."""
    usual: tuple[bytes, int] | None = None
    passed = deque["av.Packet"]()
    for packet in demuxed:
        alike = frame_header(packet), _length(packet, timeline.rate)
        usual = usual or alike
        passed.append(packet)
        if alike != usual or not usual[1] or timeline.position + (len(passed) + 1) * usual[1] > first:
            break
        if len(passed) > PREROLL:
            passed.popleft()
            timeline.position += usual[1]
    yield from passed


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
        try:
            for packet in container.demux(stream):
                if failure:
                    if not packet.size:  # the last one, which is empty
                        break
                    warnings.add(WarningKind.DAMAGED)
                    failure = None
                yield packet
        except Exception as problem:  # noqa: BLE001 - third-party code on untrusted bytes may raise anything
            broken = translated(problem, "FFmpeg", (av.FFmpegError,), BrokenStream)
            if failure or not isinstance(broken, BrokenStream):
                raise broken from None
            failure = broken
            continue
        if failure:
            raise failure
        return
