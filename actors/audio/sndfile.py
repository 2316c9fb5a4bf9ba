"""Decoding with libsndfile: WAV, FLAC, MP3, Ogg Vorbis and other formats, fast."""

from collections.abc import Iterator

import soundfile

from actors.audio.codecs import (
    BLOCK_SAMPLES,
    Broken,
    First,
    Source,
    Stream,
    Undecodable,
    check_format,
    translate_errors,
)
from actors.schema import Samples

MAX_LEFT = 1 << 16  # bytes behind the end that a FLAC file's header states; tags are less

#: Bytes of a sample where all have the same, so that a file's size tells how many there are.
_WIDTHS = {
    **dict.fromkeys(("PCM_S8", "PCM_U8", "ULAW", "ALAW"), 1),
    "PCM_16": 2,
    "PCM_24": 3,
    **dict.fromkeys(("PCM_32", "FLOAT"), 4),
    "DOUBLE": 8,
}


def open_sndfile(source: Source, container: str, first: First) -> Stream:
    """A file by libsndfile. Raises Undecodable, as do its blocks."""
    own = (soundfile.LibsndfileError, soundfile.SoundFileRuntimeError)
    file = source.open()
    with translate_errors("libsndfile", own):
        sound = soundfile.SoundFile(file)
        if not len(sound.read(1)):
            raise Undecodable("libsndfile: no sound could be decoded")
        check_format(sound.samplerate, sound.channels, "libsndfile")
        sound.seek(min(first(sound.samplerate), sound.frames))
        codec = f"{container}/{sound.subtype.lower()}"
        bytes_a_frame = _WIDTHS.get(sound.subtype, 0) * sound.channels
    is_exact = 0 < sound.frames * bytes_a_frame <= source.size

    def blocks() -> Iterator[Samples]:
        frames = BLOCK_SAMPLES // sound.channels
        while True:
            with translate_errors("libsndfile", own, Broken):
                block = sound.read(frames, dtype="float32", always_2d=True)
            if not len(block):
                break
            yield block
        if container == "flac" and source.size - source.tag - file.tell() > MAX_LEFT:
            raise Undecodable("libsndfile: there is more than its header states")

    return Stream(sound.samplerate, sound.channels, codec, blocks(), sound.frames if is_exact else None)
