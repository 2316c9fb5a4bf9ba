"""Parses the lines of manifests: which file one names, and its fields, by the names of NeMo and of others."""

import json
import os
from collections.abc import Callable
from typing import NamedTuple

from actors.foreign.escape import describe
from actors.foreign.plain_json import InvalidJson, parse_json
from actors.formats import AUDIO_SUFFIXES
from actors.schema import ErrorKind, RecordingError
from actors.sources.recordings import TEXT_FIELDS, stated_id
from actors.storage.urls import without_signatures
from actors.units import Selection
from jobs.planning.lists import NamesNoAudio

MAX_SECONDS = 1e7  # four months; limit of an offset or duration
MAX_PATH_CHARACTERS = 4_096
#: Keys of the file, besides NeMo's: of Hugging Face, WeNet, SpeechBrain, FunASR and others. They count if the value
#: plainly is a file. `file` is not one of them: reports about recordings, and transcripts of other tools, have it.
FILE_KEYS = ("file_name", "audio_path", "wav", "path", "audio", "audio_file", "wav_path", "filename", "source")
_OTHER_TEXT_KEYS = ("txt", "wrd", "words", "target")  # of WeNet, SpeechBrain, FunASR
_OTHER_ID_KEYS = ("key", "utt", "ID")
_START_AND_END = (("start", "end"), ("start_time", "end_time"), ("begin_time", "end_time"))


class ManifestEntry(NamedTuple):
    """An entry: the file that it names, its fields with NeMo's names, these as a line of JSON, and what it selects."""

    filepath: str
    fields: dict[str, object]
    line: str
    selection: Selection


def parse_entry(line: str, uri_column: str | None, is_listed: Callable[[str], bool]) -> ManifestEntry:
    """Parses a line. `uri_column` is the key of the file if it is not NeMo's, `is_listed` tells whether a path is that
    of a file of the input.

    Raises RecordingError (bad_entry) if its fields cannot be used, NamesNoAudio if it names no audio. Neither quotes
    the line: its text may be private, and errors are printed.
    """
    try:
        fields = parse_json(line)
    except InvalidJson as problem:
        raise NamesNoAudio(str(problem)) from None
    if not isinstance(fields, dict):
        raise NamesNoAudio("no audio_filepath: it is not an object with fields")
    if "audio_filepath" not in fields or uri_column in fields:
        fields = _renamed(fields, uri_column, is_listed)
        line = as_line(fields)
    filepath = fields["audio_filepath"]
    if not isinstance(filepath, str) or not filepath:
        raise RecordingError(ErrorKind.BAD_ENTRY, f"audio_filepath must name a file, not be {describe(filepath)}")
    if filepath.rstrip().endswith("|"):
        raise RecordingError(ErrorKind.BAD_ENTRY, f"commands are not run; name a file instead: {filepath[:120]}")
    for name in ("offset", "duration"):
        value = fields.get(name)
        if value is not None and not _is_seconds(value):
            detail = f"{name} must be a number of seconds, not {str(value)[:40]!r}"
            raise RecordingError(ErrorKind.BAD_ENTRY, detail)
    try:
        selection = Selection.of(fields)
    except ValueError as problem:
        raise RecordingError(ErrorKind.BAD_ENTRY, str(problem)) from None
    return ManifestEntry(filepath, fields, line, selection)


def _is_seconds(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < MAX_SECONDS


def as_line(value: object) -> str:
    """A value, such as an entry's fields, as JSON on one line, which can be encoded."""
    line = json.dumps(value, ensure_ascii=False)
    try:
        line.encode()
    except UnicodeEncodeError:  # lone surrogates, from file names and JSON
        return json.dumps(value)
    return line


def entry_name(entry: ManifestEntry) -> str:
    """The id of an entry's recording."""
    return str(stated_id(entry.fields) or without_signatures(entry.filepath))


def _renamed(fields: dict[str, object], uri_column: str | None, is_listed: Callable[[str], bool]) -> dict[str, object]:
    """The fields of a line that is not NeMo's with NeMo's names. Others remain as they are."""
    key = uri_column if uri_column in fields else None
    if key is not None:
        if not isinstance(fields[key], str) or not fields[key]:
            raise RecordingError(ErrorKind.BAD_ENTRY, f"{key} names no file, but is {describe(fields[key])}")
    else:
        key = next((each for each in FILE_KEYS if _is_audio(_path_in(fields.get(each)), is_listed)), None)
    if key is None:
        raise NamesNoAudio(f"no audio_filepath among its fields: {', '.join(fields)[:120] or 'it has none'}")
    renamed = {name: value for name, value in fields.items() if name != key}
    if not any(isinstance(fields.get(each), str) for each in TEXT_FIELDS):
        text_key = next((each for each in _OTHER_TEXT_KEYS if isinstance(renamed.get(each), str)), None)
        renamed |= {"text": renamed.pop(text_key)} if text_key else {}
    if stated_id(fields) is None:
        id_key = next((each for each in _OTHER_ID_KEYS if isinstance(renamed.get(each), str)), None)
        renamed |= {"id": renamed.pop(id_key)} if id_key else {}
    return {"audio_filepath": _path_in(fields[key])} | renamed | _stretch(renamed)


def _path_in(value: object) -> object:
    """The path in Hugging Face's struct of a path and bytes; any other value itself."""
    return value.get("path") if isinstance(value, dict) else value


def _is_audio(value: object, is_listed: Callable[[str], bool]) -> bool:
    """Whether a value plainly is an audio file: by its suffix, or because it is listed."""
    if not isinstance(value, str) or not value or len(value) > MAX_PATH_CHARACTERS:
        return False
    path = value.split("?", 1)[0] if "://" in value else value
    return os.path.splitext(path)[1].lower() in AUDIO_SUFFIXES or is_listed(value)


def _stretch(fields: dict[str, object]) -> dict[str, object]:
    """The offset and duration of an entry, which may be texts, or a start and an end. A duration without an offset only
    describes the file, and may be rounded, so it is left out."""
    if fields.get("offset") is not None:
        return {"offset": _seconds(fields["offset"]), "duration": _seconds(fields.get("duration"))}
    for names in _START_AND_END:
        start, end = (_seconds(fields.get(name)) for name in names)
        if not isinstance(start, int | float) or isinstance(start, bool):
            continue
        if isinstance(end, int | float) and end != -1:
            length = round(end - start, 6)
            if length <= 0:
                raise RecordingError(ErrorKind.BAD_ENTRY, f"{names[1]} ({end}) is not after {names[0]} ({start})")
            return {"offset": start, "duration": length}
        return {"offset": start, "duration": _seconds(fields.get("duration"))}  # to the end, unless it says how long
    return {"duration": None}


def _seconds(value: object) -> object:
    """A number in a text; any other value itself."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value
