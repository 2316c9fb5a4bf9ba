"""The seconds of sound in a tar, plain or compressed, by the headers of the recordings at its beginning."""

import io
import tarfile
from typing import Any

from actors.audio.headers.seconds import MIN_BYTES_PER_SECOND, header_seconds
from actors.sources.recordings import AUDIO_SUFFIXES
from actors.sources.tar_headers import GuardedFile, is_plain_tar, member_key, members, open_tar
from actors.storage import files as storage
from actors.storage.files import StoredFile

READ_BYTES = 1 << 20  # of the tar
MAX_UNPACKED = 1 << 24  # bytes of a compressed tar that are decompressed
MAX_MEMBERS = 500
HEAD_BYTES = 1 << 17  # of a recording
_STEP_BYTES = 1 << 12  # what is read of a recording at once; at the end of what was read, a step is lost


def tar_seconds(stored: StoredFile) -> float | None:
    """The seconds of sound in a tar if all of it is like its beginning; None if that holds no recording that tells.

    Raises OSError if the storage fails.
    """
    head = storage.read_range(stored.filesystem, stored.path, 0, min(READ_BYTES, stored.size))
    seconds, unpacked, unpacked_per_byte = 0.0, 0, 1.0
    file, is_plain = GuardedFile(io.BytesIO(head)), is_plain_tar(head[:512])
    try:
        with open_tar(file) as archive:
            for number, member in enumerate(members(archive)):
                if number == MAX_MEMBERS:
                    break
                beginning = b""
                if member_key(member)[1] in AUDIO_SUFFIXES:
                    beginning = _beginning(archive, member)
                    told = header_seconds(beginning, member.size)
                    if told is None and len(beginning) < min(member.size, HEAD_BYTES):
                        break  # its header is cut off
                    seconds += told or 0.0
                unpacked = member.offset_data + member.size
                if not is_plain:
                    unpacked_per_byte = (member.offset_data + len(beginning)) / file.position
                if unpacked > MAX_UNPACKED:
                    break
    except (tarfile.TarError, OSError):  # it is cut off: no storage is read here
        pass
    if not seconds:
        return None
    return min(seconds / unpacked * unpacked_per_byte, 1 / MIN_BYTES_PER_SECOND) * stored.size


def _beginning(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """The first bytes of a member, as many as were read."""
    sink = io.BytesIO()
    try:
        content: Any = archive.extractfile(member)
        while content and sink.tell() < HEAD_BYTES and (data := content.read(_STEP_BYTES)):
            sink.write(data)
    except (tarfile.TarError, OSError, ValueError):
        pass
    return sink.getvalue()
