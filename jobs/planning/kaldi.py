"""Converts Kaldi data folders (wav.scp and the files beside it) to manifest lines.

Format: https://kaldi-asr.org/doc/data_prep.html. In AISHELL-2, `text` is named trans.txt.
"""

import os
import re
from collections.abc import Iterator

from actors.schema import ErrorKind, RecordingError
from actors.storage.place import Place
from actors.units import MAX_CHANNELS
from jobs.planning.containment import ADVICE, AllowedFolders
from jobs.planning.entries import as_line
from jobs.planning.files import WAV_SCP, File
from jobs.planning.lists import BadEntry, Line, ListReader

_BLANKS = " \t"  # all that separates Kaldi's columns: other white space may be in a text
_BETWEEN = re.compile(f"[{_BLANKS}]+")
_CHANNELS = {"A": "0", "B": "1"}  # as in Kaldi's ctm files
_COLUMNS = "utterance, recording, start, end and perhaps channel"


def as_manifest(file: File, reader: ListReader, allowed: AllowedFolders) -> Iterator[Line | BadEntry]:
    """Yields a wav.scp and its neighbours as manifest lines, and a BadEntry for what could not be read.

    A line has the utterance's audio, offset, duration, text, speaker and folder. A recording that no valid line of
    `segments` belongs to is read whole. Where an id is taken twice, all its recordings are read, without the text and
    speaker that may be another's.
    """
    folder, relative_folder = file.place.parent, os.path.dirname(file.name)
    tables = dict[str, _Table]()
    for name in (WAV_SCP, "trans.txt", "text", "utt2spk", "segments"):
        tables[name] = _Table(folder / name, os.path.join(relative_folder, name), reader, allowed)
    audio, segments, speakers = tables[WAV_SCP], tables["segments"], tables["utt2spk"]
    texts = tables["trans.txt"], tables["text"]  # in AISHELL-2 the former; if both, each for its own

    def line(location: str, utterance: str, path: str, stretch: dict[str, object], is_unique: bool) -> Line:
        fields: dict[str, object] = {"audio_filepath": path, "id": utterance} | stretch
        if is_unique:
            text = next((each.only(utterance) for each in texts if utterance in each.rows), None)
            fields |= {"text": text} if text is not None else {}
            fields |= {"speaker": speaker} if (speaker := speakers.only(utterance)) is not None else {}
        return Line(location, as_line(fields | ({"folder": relative_folder} if relative_folder else {})))

    used = set[str]()  # recordings with a segment
    for utterance, entries in segments.rows.items():
        for number, entry in entries:
            location = f"{segments.name}:{number}"
            try:
                recording, stretch = _parse_segment(utterance, entry)
                if (path := audio.only(recording)) is None:
                    listed = "lists more than once" if recording in audio.rows else "does not list"
                    detail = f"{utterance} belongs to {recording or 'no recording'}, which {WAV_SCP} {listed}"
                    raise RecordingError(ErrorKind.BAD_ENTRY, detail)
            except RecordingError as problem:
                yield BadEntry(location, problem, f"{utterance} {entry}")
                continue
            used.add(recording)
            yield line(location, utterance, path, stretch, len(entries) == 1)
    for recording, entries in audio.rows.items():
        is_unique = len(entries) == 1 and recording not in segments.rows
        for number, path in entries if recording not in used else ():
            yield line(f"{audio.name}:{number}", recording, path, {}, is_unique)
    for table in tables.values():
        yield from table.bad
        yield from table.repeated()


def _parse_segment(utterance: str, entry: str) -> tuple[str, dict[str, object]]:
    """The recording of a line of `segments`, and the fields of its stretch. An end of -1 is the recording's, a channel
    of -1 all of them. Raises RecordingError (bad_entry)."""
    recording, *columns = _BETWEEN.split(entry)
    try:
        if len(columns) not in (2, 3):
            raise ValueError
        start, end = map(float, columns[:2])
        channel = int(_CHANNELS.get(columns[2], columns[2])) if len(columns) == 3 else -1
        if not (start >= 0 and (end == -1 or start <= end) and -1 <= channel < MAX_CHANNELS):  # nor nan
            raise ValueError
    except ValueError:
        detail = f"segments has {_COLUMNS} in a line, not: {utterance} {entry[:120]}"
        raise RecordingError(ErrorKind.BAD_ENTRY, detail) from None
    stretch: dict[str, object] = {"offset": start, "duration": None if end == -1 else end - start}
    return recording, stretch | ({"channel_selector": channel} if channel >= 0 else {})


class _Table:
    """A Kaldi table: lines of a key and its value. Empty if the file does not exist.

    `rows` are the different values of each key with the numbers of their lines. `bad` is what could not be read.
    """

    def __init__(self, place: Place, name: str, reader: ListReader, allowed: AllowedFolders) -> None:
        self.name = name
        self.rows, self.bad = dict[str, list[tuple[int, str]]](), list[BadEntry]()
        try:
            if not allowed.contains(place):
                raise reader.refusal(ErrorKind.OUTSIDE_INPUT, f"it is a link to outside the input; {ADVICE}")
            for number, line in enumerate(reader.lines(reader.open_text(place)), 1):
                if isinstance(line, RecordingError):
                    self.bad.append(BadEntry(f"{name}:{number}", line))
                elif line := line.strip(_BLANKS):
                    key, *rest = _BETWEEN.split(line, maxsplit=1)
                    self._add(key, number, rest[0] if rest else "")
        except FileNotFoundError:
            pass
        except RecordingError as problem:
            self.bad.append(BadEntry(name, problem))

    def _add(self, key: str, number: int, value: str) -> None:
        found = self.rows.setdefault(key, [])
        if all(value != other for _, other in found):
            found.append((number, value))

    def only(self, key: str) -> str | None:
        """The value of a key that has one value."""
        found = self.rows.get(key, [])
        return found[0][1] if len(found) == 1 else None

    def repeated(self) -> Iterator[BadEntry]:
        """Yields a BadEntry for each further value of a key."""
        for key, (first, *others) in self.rows.items():
            for number, value in others:
                detail = f"{key} is taken: line {first[0]} of {self.name} has another value for it"
                problem = RecordingError(ErrorKind.BAD_ENTRY, detail)
                yield BadEntry(f"{self.name}:{number}", problem, f"{key} {value}")
