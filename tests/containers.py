"""What the tests of containers share: tars made header by header, and the recordings of an input with its account."""

import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conftest import encoded, tone
from test_pieces import cut, unit_of

from actors.schema import RecordingError
from actors.sources.account import Entries
from actors.sources.memory import MemoryBudget
from actors.sources.objects import Reading, ReadSettings, read_objects
from actors.sources.recordings import Recording
from actors.sources.tar_texts import merge_texts

WAVS = [encoded(tone(0.2 + number / 10)) for number in range(6)]  # of distinct lengths
END = bytes(1024)


def member(name: str, data: bytes = b"", form: int = tarfile.GNU_FORMAT) -> bytes:
    header = tarfile.TarInfo(name)
    header.size = len(data)
    return header.tobuf(form) + data + bytes(-len(data) % 512)


def link(name: str, target: str, kind: bytes = tarfile.LNKTYPE) -> bytes:
    header = tarfile.TarInfo(name)
    header.type, header.linkname = kind, target
    return header.tobuf()


@dataclass
class Found:
    """What was read: the recordings, the texts of a tar by recording_id, and the account of all shares."""

    recordings: list[Recording] = field(default_factory=list)
    texts: dict[str, tuple[str | None, dict[str, object]]] = field(default_factory=dict)
    entries: Entries = field(default_factory=Entries)

    @property
    def names(self) -> dict[str, int | str | None]:
        """By id, the number of the sound in WAVS, or the kind of error."""
        return {each.recording_id: _content(each) for each in self.recordings}

    @property
    def members(self) -> list[str | None]:
        return [each.member for each in self.recordings]

    @property
    def references(self) -> dict[str, str | None]:
        return {name: reference for name, (reference, _) in self.texts.items()}


def _content(recording: Recording) -> int | str | None:
    if isinstance(recording.content, RecordingError):
        return str(recording.content.kind)
    return WAVS.index(recording.content) if recording.content in WAVS else None


def read(path: Path, shares: int = 1, **config: Any) -> Found:
    """Reads an input in so many shares."""
    found = Found()
    for piece in cut(unit_of(path, **config), shares):
        for source in piece.objects:
            reading = Reading(piece, ReadSettings(), MemoryBudget(1 << 30))
            found.recordings += read_objects([source], reading)
            found.entries += reading.entries
            found.texts |= {name: merge_texts(texts) for name, texts in reading.texts.items()}
    return found


def read_tar_of(folder: Path, data: bytes, name: str = "t.tar", shares: int = 1, **config: Any) -> Found:
    (folder / name).write_bytes(data)
    return read(folder / name, shares, **config)
