"""Kaldi's data folders, AISHELL-2's among them, as manifest lines: wav.scp with the files beside it.

Format: https://kaldi-asr.org/doc/data_prep.html. AISHELL-2 calls its `text` trans.txt.
"""

import json
import os
from collections.abc import Iterator

from actors.schema import ErrorKind, RecordingError
from jobs.planning.containment import ADVICE, Inside
from jobs.planning.files import WAV_SCP, File
from jobs.planning.lists import Bad, Line, Lists


def as_manifest(file: File, lists: Lists, inside: Inside) -> Iterator[Line | Bad]:
    """The lines of a manifest that says what a wav.scp and its neighbours say: of each utterance the audio, the stretch
    of it, the text, the speaker, and the folder that it is listed in; and what of them could not be read."""
    folder, here = os.path.dirname(file.path), os.path.dirname(file.name)
    tables, bad = dict[str, dict[str, str]](), list[Bad]()
    for name in (WAV_SCP, "trans.txt", "text", "utt2spk", "segments"):
        table = _Table(file, f"{folder}/{name}", os.path.join(here, name))
        tables[name] = table.read(lists, inside)
        bad += table.bad
    audio, texts, speakers = tables[WAV_SCP], tables["trans.txt"] or tables["text"], tables["utt2spk"]
    utterances = tables["segments"] or {name: name for name in audio}
    for number, (utterance, place) in enumerate(utterances.items(), 1):
        recording, *times = place.split() or [""]
        fields: dict[str, object] = {"audio_filepath": audio.get(recording, ""), "id": utterance}
        if len(times) == 2:
            start, end = map(_number, times)
            fields |= {"offset": start, "duration": max(end - start, 0.0) if end >= 0 else None}
        fields |= {"text": texts[utterance]} if utterance in texts else {}
        fields |= {"speaker": speakers[utterance]} if utterance in speakers else {}
        fields |= {"folder": here} if here else {}
        found = Line(f"{file.name}:{number}", json.dumps(fields, ensure_ascii=False))
        if recording in audio:
            yield found
            continue
        detail = f"{utterance} is of {recording or 'no recording'}, which {WAV_SCP} does not list"
        yield Bad(found.here, RecordingError(ErrorKind.BAD_ENTRY, detail), found.text)
    yield from bad


class _Table:
    """A file of Kaldi's: a key, then what is said of it. Empty where there is no such file."""

    def __init__(self, listed: File, path: str, name: str) -> None:
        self._filesystem, self._path, self._name = listed.filesystem, path, name
        self.bad = list[Bad]()

    def read(self, lists: Lists, inside: Inside) -> dict[str, str]:
        table = dict[str, str]()
        try:
            if not inside.holds(self._filesystem, self._path):
                raise lists.refused(ErrorKind.OUTSIDE_INPUT, f"it is a link that leads out of the input; {ADVICE}")
            for number, line in enumerate(lists.lines(self._filesystem, self._path), 1):
                if isinstance(line, RecordingError):
                    self.bad.append(Bad(f"{self._name}:{number}", line))
                elif line.strip():
                    key, *rest = line.split(maxsplit=1)
                    table[key] = rest[0].strip() if rest else ""
        except FileNotFoundError:
            pass
        except RecordingError as problem:
            self.bad.append(Bad(self._name, problem))
        return table


def _number(text: str) -> float:
    """Seconds; -1, which is no offset and no duration, where that is no number."""
    try:
        return float(text)
    except ValueError:
        return -1.0
