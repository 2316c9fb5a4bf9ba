"""The seconds of sound in stored objects by headers at their beginning, of containers by their first recordings."""

import io
import tarfile
import threading
from contextlib import suppress
from dataclasses import replace
from typing import Any

from actors.audio.headers import stated_seconds
from actors.foreign.arrow import open_parquet
from actors.sources.memory import MemoryBudget
from actors.sources.parquet import read_parquet
from actors.sources.tar_headers import is_plain_tar, open_tar
from actors.sources.tar_names import members_of
from actors.sources.tar_streams import GuardedFile
from actors.storage.stored_file import StoredFile
from actors.units import BYTES_PER_SECOND, Format, SourceObject

RANGE_BYTES = 1 << 16  # per request for an audio file's header
TAR_BYTES = 4_000_000  # read of a tar
UNPACKED_BYTES = 16_000_000  # decompressed of a compressed tar
PARQUET_BYTES = 8_000_000  # read of a Parquet file; one of which more is needed does not tell
MAX_RECORDINGS = 200  # of a container
_STEP_BYTES = 1 << 16  # read of a tar's member at once; where the tar is cut off, a step is lost

_UNPACKING = threading.Semaphore(4)  # containers at once: a hostile one may take some hundred MB


def implied_seconds(stored: StoredFile, kind: Format, of_each_channel: bool = False) -> float | None:
    """The seconds of sound in an object by a few of its headers, of each channel if so, or None if they do not tell.
    Raises OSError if the storage fails, and RecordingError or InvalidData if a container is damaged."""
    if kind == "tar":
        with _UNPACKING:
            return _seconds_in_tar(stored, of_each_channel)
    if kind == "parquet":
        with _UNPACKING:
            return _seconds_in_parquet(stored, of_each_channel)
    return stated_seconds(replace(stored, range_bytes=RANGE_BYTES), None, of_each_channel)


def _seconds_in_tar(stored: StoredFile, of_each_channel: bool) -> float | None:
    """The seconds in a tar, plain or compressed, if all of it is like its beginning."""
    head = stored.place.read_range(0, min(TAR_BYTES, stored.size))
    file, is_plain = GuardedFile(io.BytesIO(head)), is_plain_tar(head[:512])
    seconds, stored_bytes, recordings = 0.0, 0.0, 0
    with suppress(tarfile.TarError), open_tar(file) as archive:  # it is cut off
        for found in members_of(archive):
            member = found.header
            end, beginning = member.offset_data + member.size, b""
            if found.is_sound and member.isreg():
                beginning = _beginning(archive, member)
                told = stated_seconds(beginning, member.size, of_each_channel)
                if told is None and len(beginning) < member.size:
                    break
                seconds += told or 0.0
                recordings += 1
            unpacked = member.offset_data + len(beginning)
            stored_bytes = end if is_plain else end * file.position / unpacked
            if recordings == MAX_RECORDINGS or end > UNPACKED_BYTES:
                break
    return min(seconds / stored_bytes, 1 / BYTES_PER_SECOND) * stored.size if seconds else None


def _beginning(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """The first bytes of a member, as many as were read of the tar."""
    sink = io.BytesIO()
    with suppress(tarfile.TarError, OSError, ValueError):  # no storage is read here
        content: Any = archive.extractfile(member)
        while content and sink.tell() < UNPACKED_BYTES and (data := content.read(_STEP_BYTES)):
            sink.write(data)
    return sink.getvalue()


def _seconds_in_parquet(stored: StoredFile, of_each_channel: bool) -> float | None:
    """The seconds in a Parquet file if all of it is like its first row group."""
    with replace(stored, range_bytes=RANGE_BYTES).open() as file:
        group = next(iter(open_parquet(file, PARQUET_BYTES)[1]), None)
    if group is None or not group.rows:
        return None
    group_bytes = max(each.end for each in group.chunks) - min(each.start for each in group.chunks)
    if min(stored.size, group_bytes) > PARQUET_BYTES:
        return None
    rows = min(group.rows, MAX_RECORDINGS)
    source = SourceObject("", "", "", "parquet", None, stored.size, limit=rows)
    found = read_parquet(stored, source, "", PARQUET_BYTES, MemoryBudget(PARQUET_BYTES), held_bytes=PARQUET_BYTES)
    sounds = (each.content for each in found if isinstance(each.content, bytes))
    seconds = sum(stated_seconds(each, None, of_each_channel) or 0.0 for each in sounds)
    return min(seconds * group.rows / rows / group_bytes, 1 / BYTES_PER_SECOND) * stored.size or None
