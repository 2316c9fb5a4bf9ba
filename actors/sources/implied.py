"""The seconds of sound that the beginning of a stored object implies."""

from actors.audio.headers.seconds import header_seconds
from actors.sources.parquet_seconds import parquet_seconds
from actors.sources.tar_seconds import tar_seconds
from actors.storage.files import StoredFile
from actors.units import Format


def implied_seconds(stored: StoredFile, kind: Format) -> float | None:
    """The seconds of sound in an object by the headers at its beginning, or None if they do not tell.

    At most 2 MB are read. Raises OSError if the storage fails.
    """
    if kind == "tar":
        return tar_seconds(stored)
    return parquet_seconds(stored) if kind == "parquet" else header_seconds(stored)
