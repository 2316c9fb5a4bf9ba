"""Converts Kaldi data folders (wav.scp and the files beside it) to manifest lines.

Format: https://kaldi-asr.org/doc/data_prep.html. In AISHELL-2, `text` is named trans.txt.
"""

import json
import os
from collections.abc import Iterator

from actors.schema import ErrorKind, RecordingError
from actors.storage.place import Place
from jobs.planning.containment import ADVICE, AllowedFolders
from jobs.planning.files import WAV_SCP, File
from jobs.planning.lists import BadEntry, Line, ListReader


def as_manifest(file: File, reader: ListReader, allowed: AllowedFolders) -> Iterator[Line | BadEntry]:
    """Yields a wav.scp and its neighbours as manifest lines, and a BadEntry for what could not be read.

    A line has the utterance's audio, offset, duration, text, speaker and folder.
    """
    folder, relative_folder = file.place.parent, os.path.dirname(file.name)
    tables, bad = dict[str, dict[str, str]](), list[BadEntry]()
    for name in (WAV_SCP, "trans.txt", "text", "utt2spk", "segments"):
        table = _Table(folder / name, os.path.join(relative_folder, name))
        tables[name] = table.read(reader, allowed)
        bad += table.bad
    audio, texts, speakers = tables[WAV_SCP], tables["trans.txt"] or tables["text"], tables["utt2spk"]
    utterances = tables["segments"] or {name: name for name in audio}
    for number, (utterance, entry) in enumerate(utterances.items(), 1):
        recording, *times = entry.split() or [""]
        fields: dict[str, object] = {"audio_filepath": audio.get(recording, ""), "id": utterance}
        if len(times) == 2:
            start, end = map(_number, times)
            fields |= {"offset": start, "duration": max(end - start, 0.0) if end >= 0 else None}
        fields |= {"text": texts[utterance]} if utterance in texts else {}
        fields |= {"speaker": speakers[utterance]} if utterance in speakers else {}
        fields |= {"folder": relative_folder} if relative_folder else {}
        found = Line(f"{file.name}:{number}", json.dumps(fields, ensure_ascii=False))
        if recording in audio:
            yield found
            continue
        detail = f"{utterance} belongs to {recording or 'no recording'}, which {WAV_SCP} does not list"
        yield BadEntry(found.location, RecordingError(ErrorKind.BAD_ENTRY, detail), found.text)
    yield from bad


class _Table:
    """A Kaldi table: lines of a key and its value. Empty if the file does not exist."""

    def __init__(self, place: Place, name: str) -> None:
        self._place, self._name = place, name
        self.bad = list[BadEntry]()

    def read(self, reader: ListReader, allowed: AllowedFolders) -> dict[str, str]:
        table = dict[str, str]()
        try:
            if not allowed.contains(self._place):
                raise reader.refusal(ErrorKind.OUTSIDE_INPUT, f"it is a link to outside the input; {ADVICE}")
            for number, line in enumerate(reader.lines(self._place), 1):
                if isinstance(line, RecordingError):
                    self.bad.append(BadEntry(f"{self._name}:{number}", line))
                elif line.strip():
                    key, *rest = line.split(maxsplit=1)
                    table[key] = rest[0].strip() if rest else ""
        except FileNotFoundError:
            pass
        except RecordingError as problem:
            self.bad.append(BadEntry(self._name, problem))
        return table


def _number(text: str) -> float:
    """Parses seconds; -1, which is invalid as an offset or duration, if the text is no number."""
    try:
        return float(text)
    except ValueError:
        return -1.0
