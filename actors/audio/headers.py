"""The seconds of sound in a file by its header, without decoding it."""

from actors.audio.codecs import Opening, Source, Stream, Undecodable
from actors.audio.streams import decoders_of
from actors.storage.stored_file import StoredFile
from actors.units import BYTES_PER_SECOND


def stated_seconds(content: bytes | StoredFile, size: int | None = None, of_each_channel: bool = False) -> float | None:
    """The seconds of sound that a file's header states or implies, at most those that its size can hold; None if it
    does not tell, or the file cannot be opened. Raises OSError if the storage fails.

    If `content` is only the beginning of a file of `size` bytes, only what is certain counts: samples of a fixed width,
    and the number of samples in a FLAC's header. With `of_each_channel`, the seconds of all channels count.
    """
    source = Source(content)
    stream, size = _opened(source), size or source.size
    if stream is None or not stream.stated_s or stream.stated_s < 0:
        return None
    seconds = stream.stated_s
    if size > source.size:
        if stream.frames is not None:
            seconds *= size / source.size
        elif not stream.codec.startswith("flac/"):
            return None
    return min(seconds * (stream.channels if of_each_channel else 1), size / BYTES_PER_SECOND)


def _opened(source: Source) -> Stream | None:
    """A stream of the first decoder that opens a file, None if none does."""
    container = source.container
    if container is None:
        return None
    for open_stream in decoders_of(container):
        try:
            stream = open_stream(source, str(container), Opening(lambda rate: 0))
        except Undecodable:
            source.check()
            continue
        source.check()
        return stream
    return None
