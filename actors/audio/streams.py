"""Decodes a stored file to its end: with the second decoder where the first one fails, and over what was joined to it.

libsndfile decodes WAV, FLAC, AIFF, AU and CAF; FFmpeg decodes the rest and whatever libsndfile refuses. For MP3 and Ogg
libsndfile trusts a header or an estimate of the length, so that audio appended to a file, as in a recorded stream,
would be lost silently. Samples are counted from the file's beginning by both, so that one can go on where the other
failed, and a recording that is decoded in stretches has the samples that it has as a whole.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

from actors.audio.codecs import Blocks, BrokenStream, End, FirstFrame, Opening, Source, Stream, Undecodable
from actors.audio.ffmpeg import open_ffmpeg, open_unedited
from actors.audio.ogg import link_behind
from actors.audio.rest import PROBE_BYTES, WITH_REST, Rest, rest_of
from actors.audio.sndfile import open_raw, open_sndfile
from actors.formats import SNDFILE_FIRST
from actors.schema import RecordingError, WarningKind, Waveform

Decoder = Callable[[Source, str, Opening], Stream]


def open_stream(source: Source, container: str, opening: Opening) -> Stream:
    """Opens a file for decoding to its end. Raises Undecodable, and OSError if the storage fails, now or while blocks
    are read; what cannot be decoded behind the first block becomes one of the opening's warnings."""
    decoders = iter(decoders_of(container))
    stream = _open_next(decoders, source, container, opening)
    return replace(stream, blocks=_with_joined(source, container, stream, decoders, opening))


def decoders_of(container: str) -> tuple[Decoder, Decoder]:
    """The functions that open a container, in the order in which they are tried."""
    if container == "mov":
        return open_ffmpeg, open_unedited
    return (open_sndfile, open_ffmpeg) if container in SNDFILE_FIRST else (open_ffmpeg, open_sndfile)


def _with_joined(
    source: Source, container: str, stream: Stream, decoders: Iterator[Decoder], opening: Opening
) -> Blocks:
    """The blocks of a file, and of what was joined to it."""
    first, warnings, like = opening.first_frame(stream.sample_rate), opening.warnings, stream
    while True:
        end = yield from _to_end(source, container, stream, decoders, first, replace(opening, like=like))
        first = max(first - end.frames, 0)
        rest = rest_of(source.open(PROBE_BYTES)) if container in WITH_REST else Rest(joined=end.joined)
        if rest.is_cut:
            warnings.add(WarningKind.ENDED_EARLY)
        opening = replace(opening, first_frame=_at(first), like=like)
        try:
            if rest.sound and stream is not like:
                raise Undecodable("its rate is not that of the first file")
            if rest.sound:
                stream = open_raw(source, rest.sound, opening)
                return (yield from _to_end(source, container, stream, iter(()), first, opening))
            if rest.joined is None:
                return end
            source = source.joined(rest.joined)
            source, stream, decoders = _open_joined(source, opening)
            container = source.container or container
        except (Undecodable, RecordingError):  # the latter has not the track that is asked for
            warnings.add(WarningKind.ENDED_EARLY)
            return end


def _open_joined(source: Source, opening: Opening) -> tuple[Source, Stream, Iterator[Decoder]]:
    """A file that was joined to another one, or of an Ogg's links the first that decodes, with its stream and the
    decoders that were not tried."""
    while True:
        container = source.container or ""
        decoders = iter(decoders_of(container))
        try:
            return source, _open_next(decoders, source, container, opening), decoders
        except Undecodable:
            behind = link_behind(source.open()) if container == "ogg" else None
            if behind is None:
                raise
            opening.warnings.add(WarningKind.DAMAGED)
            source = source.joined(behind)


def _to_end(
    source: Source, container: str, stream: Stream, decoders: Iterator[Decoder], first: int, opening: Opening
) -> Blocks:
    """The blocks of a file from frame `first` on: of its stream, and, from where that ends early, of the first of the
    other decoders that goes on."""
    position = first
    while True:
        end, has_failed = End(position, is_whole=False), False
        try:
            blocks = stream.blocks
            while True:
                try:
                    block = next(blocks)
                except StopIteration as stop:
                    end = stop.value
                    break
                position += len(block)
                yield block
        except Undecodable:
            source.check()
            has_failed = True
        if end.is_whole:
            return end
        try:
            stream = _open_next(decoders, source, container, replace(opening, first_frame=_at(position)))
        except Undecodable:
            if has_failed:
                opening.warnings.add(WarningKind.ENDED_EARLY)
            return End(position)


def _open_next(decoders: Iterator[Decoder], source: Source, container: str, opening: Opening) -> Stream:
    """The stream of the first of the decoders that gets sound from a file."""
    reasons = list[str]()
    for open_decoder in decoders:
        try:
            stream = open_decoder(source, container, opening)
            return replace(stream, blocks=_begun(stream.blocks))
        except Undecodable as problem:
            source.check()
            reasons.append(str(problem))
    raise Undecodable("; ".join(dict.fromkeys(reasons)))  # two ways of opening may fail in one


def _begun(blocks: Blocks) -> Blocks:
    """The same blocks, of which the first is decoded now. That the decoder fails midway, before the first one that is
    needed, is told later: it is the file's decoder nevertheless, whatever part of the file is decoded."""
    try:
        first = next(blocks)
    except StopIteration as stop:
        return _no_blocks(stop.value)
    except BrokenStream as problem:
        return _no_blocks(problem)
    return _one_and(first, blocks)


def _no_blocks(end: End | BrokenStream) -> Blocks:
    yield from ()
    if isinstance(end, BrokenStream):
        raise end
    return end


def _one_and(first: Waveform, others: Blocks) -> Blocks:
    yield first
    return (yield from others)


def _at(frame: int) -> FirstFrame:
    return lambda rate: frame
