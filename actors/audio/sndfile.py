"""Decodes with libsndfile, fast: WAV, W64, AIFF, AU, CAF, SPHERE, FLAC, and files that FFmpeg cannot read."""

from dataclasses import replace

import soundfile

from actors.audio.codecs import (
    BLOCK_SAMPLES,
    SAMPLE_BYTES,
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
from actors.audio.rest import RawSound

_INT16 = frozenset({"PCM_16", "PCM_S8", "PCM_U8", "ULAW", "ALAW"})  # subtypes whose samples int16 holds exactly
_UNKNOWN_FRAMES = (1 << 63) - 1  # what libsndfile says of a FLAC whose length was not known when it was written
_OWN_ERRORS = (soundfile.LibsndfileError, soundfile.SoundFileRuntimeError)
MAX_TRAILING_BYTES = 1 << 11  # bytes after the end that a FLAC header states: a short tag
TAIL_BYTES = 1 << 17  # at the end of a FLAC, in which another is looked for that was joined
_JOINED_FLAC = b"fLaC\0\0\0\x22"  # how another begins (RFC 9639, section 8)


def open_sndfile(source: Source, container: str, opening: Opening) -> Stream:
    """Opens a file with libsndfile. Raises Undecodable, now or while the blocks are read."""
    file = source.open()
    with translate_errors("libsndfile", _OWN_ERRORS):
        sound = soundfile.SoundFile(file)
        if not len(sound.read(1)):
            raise Undecodable("libsndfile: no sound could be decoded")
        if sound.subtype.startswith("MPEG"):
            raise Undecodable("libsndfile: it does not find places in MPEG audio exactly")
        if sound.frames == _UNKNOWN_FRAMES:
            raise Undecodable("libsndfile: the length of a FLAC is not known, so it loses the last block")
        if not _can_seek(sound):  # back to the beginning, even
            sound = soundfile.SoundFile(file := source.open())
    stream = _stream(source, f"{container}/{sound.subtype.lower()}", sound, opening)

    def blocks() -> Blocks:
        end = yield from stream.blocks
        is_whole = container != "flac" or not _has_more_flac(source, file.tell())
        return replace(end, is_whole=is_whole)

    return replace(stream, blocks=blocks())


def open_raw(source: Source, raw: RawSound, opening: Opening) -> Stream:
    """Opens samples without a header, of the rate and channels of those before. Raises Undecodable, now or while the
    blocks are read."""
    like = opening.like
    with translate_errors("libsndfile", _OWN_ERRORS):
        if not like:
            raise Undecodable("libsndfile: nothing states the rate")
        file, form = source.open(offset=raw.start), {"subtype": raw.subtype, "endian": raw.endian, "format": "RAW"}
        sound = soundfile.SoundFile(file, samplerate=like.sample_rate, channels=like.channels, **form)
    return _stream(source, like.codec, sound, opening)


def _stream(source: Source, codec: str, sound: soundfile.SoundFile, opening: Opening) -> Stream:
    """The stream of an open file. Raises Undecodable if it cannot be what `opening` asks for."""
    rate, channels, frames = sound.samplerate, sound.channels, sound.frames
    check_format(rate, channels, "libsndfile")
    if opening.like and (opening.like.sample_rate, opening.like.channels) != (rate, channels):
        raise Undecodable("libsndfile: the rate or the channels change")
    is_exact = 0 < frames * SAMPLE_BYTES.get(sound.subtype, 0) * channels <= source.size
    blocks = _blocks(sound, opening.first_frame(rate))
    return Stream(rate, channels, codec, blocks, frames if is_exact else None, frames / rate)


def _can_seek(sound: soundfile.SoundFile) -> bool:
    """Whether samples are sought: only those of a fixed width are, for elsewhere what is damaged may have other samples
    after a seek than when it is read from its beginning."""
    return sound.subtype in SAMPLE_BYTES and sound.format != "FLAC" and bool(sound.seekable())


def _blocks(sound: soundfile.SoundFile, first: int) -> Blocks:
    """The blocks of an open file from a frame on."""
    start = 0
    if _can_seek(sound):
        with translate_errors("libsndfile", _OWN_ERRORS, BrokenStream):
            start = sound.seek(min(first, sound.frames))
    skipped, position = first - start, start
    form = "int16" if sound.subtype in _INT16 else "float32"
    while True:
        with translate_errors("libsndfile", _OWN_ERRORS, BrokenStream):
            block = sound.read(BLOCK_SAMPLES // sound.channels, form, always_2d=True)
        if not len(block):
            return End(position)
        position += len(block)
        if len(block) > skipped:
            yield block[skipped:]
        skipped = max(skipped - len(block), 0)


def _has_more_flac(source: Source, position: int) -> bool:
    """Whether there is more sound than the header states, behind the bytes that were read."""
    if source.length - position > MAX_TRAILING_BYTES:
        return True
    file = source.open(TAIL_BYTES)
    file.seek(max(source.length - TAIL_BYTES, len(_JOINED_FLAC)))
    return _JOINED_FLAC in file.read()
