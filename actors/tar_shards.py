"""Tar shards, plain or compressed, of WebDataset's and of NeMo's kind.

Archives are hostile: nothing is extracted to disk, links and devices are passed over, sizes are checked before they are
believed, and a damaged archive ends in a row that says so.
"""

import json
import os
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from actors import storage
from actors.recordings import (
    AUDIO_SUFFIXES,
    COMPANION_SUFFIXES,
    MAX_COMPANION_BYTES,
    Recording,
    companion_fields,
    split_fields,
)
from actors.schema import ErrorKind, RecordingError
from actors.units import SourceObject

READ_AHEAD_BYTES = 8_000_000  # a tar is read in requests of this size, one after the other


class Samples:
    """What a tar's members hold, taken one by one.

    WebDataset style: members that share a name up to the first dot of its last part belong together, wherever they
    lie. NeMo tarred: the manifest's lines speak of members by name, several perhaps of one.
    """

    def __init__(self, source: SourceObject, etag: str, max_bytes: int) -> None:
        self._source, self._etag, self._max_bytes = source, etag, max_bytes
        self.recordings = list[Recording]()
        self.companions = dict[str, dict[str, Any]]()

    def take(self, archive: tarfile.TarFile, member: tarfile.TarInfo, with_sound: bool = True) -> None:
        key, suffix = member_key(member)
        if suffix in COMPANION_SUFFIXES and member.size <= MAX_COMPANION_BYTES:
            self.companions.setdefault(key, {}).update(companion_fields(suffix, _content(archive, member)))
        elif suffix in AUDIO_SUFFIXES and with_sound:
            content: bytes | RecordingError
            if member.size > self._max_bytes:
                detail = f"{member.size / 1e6:.0f} MB, more than audio.max_megabytes ({self._max_bytes / 1e6:g})"
                content = RecordingError(ErrorKind.TOO_LARGE, detail)
            else:
                content = _content(archive, member)
            self.recordings.append(Recording(key, self._source.uri, self._etag, content, member.name))

    def joined(self) -> Iterator[Recording]:
        """The recordings with the members or the manifest lines that speak of them."""
        return _with_texts(self.recordings, self.companions, self._source, self._etag)


def read_tar(
    stored: storage.Stored, source: SourceObject, etag: str, max_bytes: int, share: tuple[int, int] = (0, 1)
) -> Iterator[Recording]:
    """The recordings of a tar, plain or compressed, in the order of their audio; read once from front to back.

    At most `source.limit`. `share` is (number, count): of several shares of the tar's stored bytes, those recordings
    whose headers are read with that one.
    """
    samples, counted = Samples(source, etag, max_bytes), 0
    number, count = share
    damage: RecordingError | None = None
    member = None
    with stored.filesystem.open(stored.path, "rb", block_size=READ_AHEAD_BYTES) as opened:
        file = _Counted(opened)
        try:
            with _open(file) as archive:
                for member in archive:
                    share_of = min(file.position * count // max(stored.size, 1), count - 1) if count > 1 else 0
                    has_sound = member_key(member)[1] in AUDIO_SUFFIXES
                    is_wanted = has_sound and (source.limit is None or counted < source.limit)
                    samples.take(archive, member, is_wanted and share_of == number)
                    counted += has_sound
                    member = None
        except (tarfile.TarError, EOFError, zlib.error, ValueError) as problem:
            damage = RecordingError(
                ErrorKind.TRUNCATED if counted or member else ErrorKind.UNREADABLE,
                f"the tar breaks off after {counted} recordings: {problem}",
            )
    yield from samples.joined()
    if damage and number == count - 1:
        torn = member.name if member else None
        yield Recording(torn or source.name, source.uri, etag, damage, torn)


def is_plain_tar(head: bytes) -> bool:
    """Whether the first 512 bytes of a file are a tar's, and not those of one that is compressed."""
    return head[257:262] == b"ustar"


def member_key(member: tarfile.TarInfo) -> tuple[str, str]:
    """The key and suffix of a member; none of links and devices."""
    return split_key(member.name) if member.isreg() else ("", "")


def split_key(name: str) -> tuple[str, str]:
    """A member's key, up to the first dot of its last part, and its last suffix in lower case.

    WebDataset's rule: https://github.com/webdataset/webdataset, `base_plus_ext`.
    """
    folder, _, base = name.rpartition("/")
    stem = base.split(".", 1)[0] or base
    return (f"{folder}/{stem}" if folder else stem), os.path.splitext(base)[1].lower()


def _with_texts(
    recordings: list[Recording], companions: Mapping[str, Mapping[str, Any]], source: SourceObject, etag: str
) -> Iterator[Recording]:
    """Recordings joined with the members or the manifest lines that speak of them."""
    if source.lines is None:
        for recording in recordings:
            reference, extra = split_fields(companions.get(recording.recording_id, {}))
            yield replace(recording, reference=reference, extra=extra)
        return
    entries = dict[str, list[dict[str, Any]]]()
    for line in source.lines.splitlines():
        fields = json.loads(line)
        # NeMo names the second and later stretches of one member "name-sub1.wav", "name-sub2.wav", …
        named = re.sub(r"-sub\d+(?=\.[^.]*$|$)", "", str(fields["audio_filepath"]))
        entries.setdefault(named, []).append(fields)
    for recording in recordings:
        matching = entries.pop(recording.member or "", None) or entries.pop(
            os.path.basename(recording.member or ""), None
        )
        for fields in matching or [{}]:
            reference, extra = split_fields(fields)
            stretch = {name: float(fields[name]) for name in ("offset", "duration") if fields.get("offset") is not None}
            yield replace(
                recording,
                recording_id=str(fields.get("audio_filepath", recording.recording_id)),
                offset_s=stretch.get("offset"),
                duration_s=stretch.get("duration"),
                reference=reference,
                extra=extra,
            )
    for named in entries if source.limit is None else ():
        problem = RecordingError(ErrorKind.MISSING, f"the manifest names {named!r}, which the tar does not hold")
        yield Recording(named, source.uri, etag, problem, named)


def count_in_tar(filesystem: storage.Filesystem, path: str, enough: int) -> int:
    """How many recordings a tar holds, counted up to `enough`; damage counts as one, for its row."""
    count = 0
    with filesystem.open(path, "rb", block_size=READ_AHEAD_BYTES) as file:
        try:
            with _open(_Counted(file)) as archive:
                for member in archive:
                    count += member_key(member)[1] in AUDIO_SUFFIXES
                    if count >= enough:
                        break
        except (tarfile.TarError, EOFError, zlib.error):
            count += 1
    return count


def _open(file: "_Counted") -> tarfile.TarFile:
    stream: Any = file
    return tarfile.open(fileobj=stream, mode="r|*", tarinfo=CheckedHeader)


class _Counted:
    """A file that counts what was read of it, and says so when it is read again and again after its end: tarfile skips
    what a header claims, up to 8 EB, by reading on in blocks of 10 kB, whether any come or not."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._reads_after_end = 0
        self.position = 0

    def read(self, size: int) -> bytes:
        data = bytes(self._file.read(size))
        self.position += len(data)
        self._reads_after_end += not data
        if self._reads_after_end > 100:
            raise EOFError("it ends before what its headers claim")
        return data


class CheckedHeader(tarfile.TarInfo):
    """A header whose damage is an error; tarfile itself takes a bad one after the first for the archive's end."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "CheckedHeader":
        try:
            header = super().frombuf(buf, encoding, errors)
        except (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError) as problem:  # type: ignore[attr-defined]
            raise tarfile.ReadError(f"damaged header: {problem}") from None
        describes_next = header.type in (
            tarfile.XHDTYPE,
            tarfile.XGLTYPE,
            tarfile.GNUTYPE_LONGNAME,
            tarfile.GNUTYPE_LONGLINK,
        )
        if header.size < 0 or (describes_next and header.size > MAX_COMPANION_BYTES):
            raise tarfile.ReadError(f"a header claims {header.size} bytes")
        return header


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    return file.read() if file else b""
