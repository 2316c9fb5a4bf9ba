"""Tar shards, plain or compressed, of WebDataset's and of NeMo's kind, as recordings one by one."""

import json
import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from actors.schema import ErrorKind, RecordingError
from actors.sources.memory import MemoryBudget
from actors.sources.recordings import (
    AUDIO_SUFFIXES,
    COMPANION_SUFFIXES,
    MAX_COMPANION_BYTES,
    Recording,
    believable,
    companion_fields,
    split_fields,
)
from actors.sources.tar_headers import Counted, content, member_key, members, open_tar
from actors.storage import files as storage
from actors.units import SourceObject

READ_AHEAD_BYTES = 8_000_000  # a tar is read in requests of this size, one after the other
MAX_TEXTS = 256_000_000  # bytes of texts that are kept until all of a tar is read
MAX_NAMES = 256_000_000  # bytes of the recordings' names; the rows hold them again
TEXT_BYTES = 400  # that a text costs beside what it says
MAX_RECORDINGS = 1_000_000  # of a tar; each is a row, of some hundred bytes at least


@dataclass
class Shard:
    """What is read of a tar, member by member: recordings as they come, and `texts` for when all are known.

    WebDataset style: members that share a name up to the first dot of its last part belong together, wherever they
    lie. NeMo tarred: the manifest's lines speak of members by name, several perhaps of one. `sounds` are the keys of
    the recordings.
    """

    source: SourceObject
    etag: str
    max_bytes: int
    budget: MemoryBudget
    texts: dict[str, list[tuple[str, bytes]]] = field(default_factory=dict)
    sounds: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._texts_bytes = self._names_bytes = 0
        self._entries = dict[str, list[dict[str, Any]]]()
        for line in (self.source.lines or "").split("\n") if self.source.lines is not None else ():
            fields = json.loads(line)
            # NeMo names the second and later stretches of one member "name-sub1.wav", "name-sub2.wav", …
            named = re.sub(r"-sub\d+(?=\.[^.]*$|$)", "", str(fields["audio_filepath"]))
            self._entries.setdefault(named, []).append(fields)

    def take(self, archive: tarfile.TarFile, member: tarfile.TarInfo, with_sound: bool = True) -> Iterator[Recording]:
        """The recordings of a member, whose content is held until the next one is asked for; or its text, kept.

        Raises tarfile.ReadError, and RecordingError (too_large) where there are too many of them.
        """
        key, suffix = member_key(member)
        key = believable(key)
        if suffix in COMPANION_SUFFIXES and self.source.lines is None:
            self._keep_text(key, suffix, archive, member)
        elif suffix in AUDIO_SUFFIXES and with_sound:
            self.sounds.append(key)
            self._names_bytes += len(key) + len(believable(member.name)) + len(self.source.uri)
            if len(self.sounds) > MAX_RECORDINGS or self._names_bytes > MAX_NAMES:
                detail = f"the tar holds more than {len(self.sounds) - 1:,} recordings; those after them were not read"
                raise RecordingError(ErrorKind.TOO_LARGE, detail)
            if member.size > self.max_bytes:
                detail = f"{member.size / 1e6:.0f} MB, more than audio.max_megabytes ({self.max_bytes / 1e6:g})"
                yield from self._spoken_of(key, member, RecordingError(ErrorKind.TOO_LARGE, detail))
            else:
                with self.budget.hold(member.size):
                    yield from self._spoken_of(key, member, content(archive, member))

    def rest(self) -> Iterator[Recording]:
        """A row for each member that lines of a manifest name, and that the tar does not hold."""
        for named in self._entries if self.source.limit is None else ():
            problem = RecordingError(ErrorKind.MISSING, f"the manifest names {named!r}, which the tar does not hold")
            yield Recording(named, self.source.uri, self.etag, problem, named)

    def _keep_text(self, key: str, suffix: str, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        self._texts_bytes += len(key) + TEXT_BYTES
        if self._texts_bytes > 2 * MAX_TEXTS:  # nor are there notes without end that one was not read
            return
        if member.size > MAX_COMPANION_BYTES or self._texts_bytes + member.size > MAX_TEXTS:
            text = json.dumps({"unread_text": f"{member.size} bytes"}).encode()
            self.texts.setdefault(key, []).append((".json", text))
            return
        self._texts_bytes += member.size
        self.texts.setdefault(key, []).append((suffix, content(archive, member)))

    def _spoken_of(self, key: str, member: tarfile.TarInfo, found: bytes | RecordingError) -> Iterator[Recording]:
        """A member as the recordings that the manifest's lines make of it; one, where there are none."""
        name = believable(member.name)
        recording = Recording(key, self.source.uri, self.etag, found, name)
        matching = self._entries.pop(name, None) or self._entries.pop(os.path.basename(name), None)
        for fields in matching or [{}]:
            reference, extra = split_fields(fields)
            offset, duration = fields.get("offset"), fields.get("duration")
            yield replace(
                recording,
                recording_id=str(fields.get("audio_filepath", recording.recording_id)),
                offset_s=None if offset is None else float(offset),
                duration_s=None if offset is None or duration is None else float(duration),
                reference=reference,
                extra=extra,
            )


def told_by(texts: list[tuple[str, bytes]]) -> tuple[str | None, dict[str, Any]]:
    """The reference and the other fields that the texts of a sample tell."""
    fields = dict[str, Any]()
    for suffix, text in texts:
        fields.update(companion_fields(suffix, text))
    return split_fields(fields)


def read_tar(stored: storage.StoredFile, shard: Shard, share: tuple[int, int] = (0, 1)) -> Iterator[Recording]:
    """The recordings of a tar, plain or compressed, in the order of their audio; read once from front to back.

    At most `limit` of its source. `share` is (number, count): of several shares of the tar's stored bytes, those
    recordings whose headers are read with that one.
    """
    source, counted = shard.source, 0
    number, count = share
    damage: RecordingError | None = None
    member = None
    with stored.filesystem.open(stored.path, "rb", block_size=READ_AHEAD_BYTES) as opened:
        file = Counted(opened)
        try:
            with open_tar(file) as archive:
                for member in members(archive):
                    share_of = min(file.position * count // max(stored.size, 1), count - 1) if count > 1 else 0
                    has_sound = member_key(member)[1] in AUDIO_SUFFIXES
                    is_wanted = has_sound and (source.limit is None or counted < source.limit)
                    yield from shard.take(archive, member, is_wanted and share_of == number)
                    counted += has_sound
                    member = None
        except tarfile.TarError as problem:
            damage = RecordingError(
                ErrorKind.TRUNCATED if counted or member else ErrorKind.UNREADABLE,
                f"the tar breaks off after {counted} recordings: {problem}",
            )
    yield from shard.rest()
    if damage and number == count - 1:
        torn = believable(member.name) if member else None
        yield Recording(torn or source.name, source.uri, shard.etag, damage, torn)


def count_in_tar(filesystem: storage.Filesystem, path: str, enough: int) -> int:
    """How many recordings a tar holds, counted up to `enough`; damage counts as one, for its row."""
    count = 0
    with filesystem.open(path, "rb", block_size=READ_AHEAD_BYTES) as file:
        try:
            with open_tar(Counted(file)) as archive:
                for member in members(archive):
                    count += member_key(member)[1] in AUDIO_SUFFIXES
                    if count >= enough:
                        break
        except tarfile.TarError:
            count += 1
    return count
