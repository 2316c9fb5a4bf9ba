"""Decodes with libsndfile, fast: WAV, W64, AIFF, AU, CAF, SPHERE, FLAC, and files that FFmpeg cannot read."""

from collections.abc import Iterator

import soundfile

from actors.audio.codecs import (
    BLOCK_SAMPLES,
    BrokenStream,
    FirstFrame,
    Source,
    Stream,
    Undecodable,
    check_format,
    translate_errors,
)
from actors.schema import Floats

_UNKNOWN_FRAMES = (1 << 63) - 1  # what libsndfile says of a FLAC whose length was not known when it was written
MAX_TRAILING_BYTES = 1 << 16  # bytes after the end that a FLAC header states; tags are smaller

#: Bytes per sample of the subtypes of fixed width, for which the file's size tells the number of samples.
_SAMPLE_BYTES = {
    **dict.fromkeys(("PCM_S8", "PCM_U8", "ULAW", "ALAW"), 1),
    "PCM_16": 2,
    "PCM_24": 3,
    **dict.fromkeys(("PCM_32", "FLOAT"), 4),
    "DOUBLE": 8,
}


def open_sndfile(source: Source, container: str, first_frame: FirstFrame) -> Stream:
    """Opens a file with libsndfile. Raises Undecodable, now or while the blocks are read."""
    own_errors = (soundfile.LibsndfileError, soundfile.SoundFileRuntimeError)
    file = source.open()
    with translate_errors("libsndfile", own_errors):
        sound = soundfile.SoundFile(file)
        if not len(sound.read(1)):
            raise Undecodable("libsndfile: no sound could be decoded")
        check_format(sound.samplerate, sound.channels, "libsndfile")
        sound.seek(min(first_frame(sound.samplerate), sound.frames))
        codec = f"{container}/{sound.subtype.lower()}"
        frame_bytes = _SAMPLE_BYTES.get(sound.subtype, 0) * sound.channels
    stated_s = sound.frames / sound.samplerate if sound.frames != _UNKNOWN_FRAMES else None
    is_exact = 0 < sound.frames * frame_bytes <= source.size

    def blocks() -> Iterator[Floats]:
        frames = BLOCK_SAMPLES // sound.channels
        while True:
            with translate_errors("libsndfile", own_errors, BrokenStream):
                block = sound.read(frames, dtype="float32", always_2d=True)
            if not len(block):
                break
            yield block
        if container == "flac" and source.size - source.tag_bytes - file.tell() > MAX_TRAILING_BYTES:
            raise Undecodable("libsndfile: the file has more data than its header states")

    return Stream(sound.samplerate, sound.channels, codec, blocks(), sound.frames if is_exact else None, stated_s)
