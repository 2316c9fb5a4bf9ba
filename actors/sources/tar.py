"""Reads recordings from tar shards, plain or compressed, in WebDataset's and NeMo's layouts."""

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
    companion_fields,
    shortened_name,
    split_fields,
)
from actors.sources.tar_headers import GuardedFile, member_content, member_key, members, open_tar
from actors.storage.place import Place
from actors.storage.stored_file import StoredFile
from actors.units import SourceObject

READ_AHEAD_BYTES = 8_000_000  # a tar is read sequentially in requests of this size
MAX_TEXTS = 256_000_000  # bytes of texts that are kept until the whole tar is read
MAX_NAMES = 256_000_000  # bytes of the recordings' names; the rows hold them again
TEXT_BYTES = 400  # overhead of a text beside its content
MAX_RECORDINGS = 1_000_000  # of a tar; each is a row of some hundred bytes at least


@dataclass
class Shard:
    """Turns the members of a tar into recordings, one by one, and collects `texts`, which are complete at the end.

    WebDataset's layout: members that share a name up to the first dot of its last part belong together, wherever they
    are. NeMo's: the manifest's lines refer to members by name, perhaps several to one. `sounds` are the keys of the
    recordings.
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
            name = re.sub(r"-sub\d+(?=\.[^.]*$|$)", "", str(fields["audio_filepath"]))
            self._entries.setdefault(name, []).append(fields)

    def recordings_of(
        self, archive: tarfile.TarFile, member: tarfile.TarInfo, with_sound: bool = True
    ) -> Iterator[Recording]:
        """The recordings of a member, whose content is held until the next one is requested. If it is a text, it is
        kept.

        Raises tarfile.ReadError, and RecordingError (too_large) if there are too many recordings.
        """
        key, suffix = member_key(member)
        key = shortened_name(key)
        if suffix in COMPANION_SUFFIXES and self.source.lines is None:
            self._keep_text(key, suffix, archive, member)
        elif suffix in AUDIO_SUFFIXES and with_sound:
            self.sounds.append(key)
            self._names_bytes += len(key) + len(shortened_name(member.name)) + len(self.source.uri)
            if len(self.sounds) > MAX_RECORDINGS or self._names_bytes > MAX_NAMES:
                detail = f"the tar contains more than {len(self.sounds) - 1:,} recordings; the others were not read"
                raise RecordingError(ErrorKind.TOO_LARGE, detail)
            if member.size > self.max_bytes:
                detail = f"{member.size / 1e6:.0f} MB, more than audio.max_megabytes ({self.max_bytes / 1e6:g})"
                yield from self._with_entries(key, member, RecordingError(ErrorKind.TOO_LARGE, detail))
            else:
                with self.budget.hold(member.size):
                    yield from self._with_entries(key, member, member_content(archive, member))

    def missing(self) -> Iterator[Recording]:
        """A recording with an error for each member that the manifest names and the tar does not contain."""
        for name in self._entries if self.source.limit is None else ():
            problem = RecordingError(ErrorKind.MISSING, f"the manifest names {name!r}, which the tar does not contain")
            yield Recording(name, self.source.uri, self.etag, problem, name)

    def _keep_text(self, key: str, suffix: str, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        self._texts_bytes += len(key) + TEXT_BYTES
        if self._texts_bytes > 2 * MAX_TEXTS:  # the notes on texts that were not read are limited as well
            return
        if member.size > MAX_COMPANION_BYTES or self._texts_bytes + member.size > MAX_TEXTS:
            text = json.dumps({"unread_text": f"{member.size} bytes"}).encode()
            self.texts.setdefault(key, []).append((".json", text))
            return
        self._texts_bytes += member.size
        self.texts.setdefault(key, []).append((suffix, member_content(archive, member)))

    def _with_entries(self, key: str, member: tarfile.TarInfo, found: bytes | RecordingError) -> Iterator[Recording]:
        """The recordings that the manifest's lines make of a member; a single one if there are no lines."""
        name = shortened_name(member.name)
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


def merge_texts(texts: list[tuple[str, bytes]]) -> tuple[str | None, dict[str, object]]:
    """The reference and the other fields in the texts of a sample."""
    fields = dict[str, object]()
    for suffix, text in texts:
        fields.update(companion_fields(suffix, text))
    return split_fields(fields)


def read_tar(stored: StoredFile, shard: Shard, share: tuple[int, int] = (0, 1)) -> Iterator[Recording]:
    """Reads the recordings of a tar, plain or compressed, in the order of their audio, in one pass from front to back.

    At most the source's `limit`. `share` is (number, count): the recordings whose headers are read with this one of
    several shares of the tar's stored bytes, or, if its size is unknown, every count-th recording.
    """
    source, recordings = shard.source, 0
    number, count = share
    damage: RecordingError | None = None
    member = None
    with stored.place.open(READ_AHEAD_BYTES) as opened:
        file = GuardedFile(opened)
        try:
            with open_tar(file) as archive:
                for member in members(archive):
                    share_number = recordings % count
                    if stored.size:
                        share_number = min(file.position * count // stored.size, count - 1)
                    has_sound = member_key(member)[1] in AUDIO_SUFFIXES
                    is_selected = has_sound and (source.limit is None or recordings < source.limit)
                    yield from shard.recordings_of(archive, member, is_selected and share_number == number)
                    recordings += has_sound
                    member = None
        except tarfile.TarError as problem:
            damage = RecordingError(
                ErrorKind.TRUNCATED if recordings or member else ErrorKind.UNREADABLE,
                f"the tar is damaged after {recordings} recordings: {problem}",
            )
    yield from shard.missing()
    if damage and number == count - 1:
        damaged_member = shortened_name(member.name) if member else None
        yield Recording(damaged_member or source.name, source.uri, shard.etag, damage, damaged_member)


def count_in_tar(place: Place, enough: int) -> int:
    """The number of recordings in a tar, counted up to `enough`; damage counts as one, for the row with its error."""
    count = 0
    with place.open(READ_AHEAD_BYTES) as file:
        try:
            with open_tar(GuardedFile(file)) as archive:
                for member in members(archive):
                    count += member_key(member)[1] in AUDIO_SUFFIXES
                    if count >= enough:
                        break
        except tarfile.TarError:
            count += 1
    return count
