"""A recording as stored, and the fields that come with it."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from actors.foreign.errors import InvalidData
from actors.foreign.escape import escape_surrogates
from actors.foreign.plain_json import InvalidJson, parse_json, to_json
from actors.foreign.text import decode_text
from actors.schema import RecordingError
from actors.storage.stored_file import StoredFile
from actors.units import digest

COMPANION_SUFFIXES = (".txt", ".json")  # a recording's text, or fields with its text
MAX_COMPANION_BYTES = 12_000_000  # as a row may hold; words with their times are a megabyte an hour
MAX_FIELDS_BYTES = 4_000_000  # of JSON of which all fields are kept: parsed, it takes 20 times as much
MAX_UNREADABLE_SHOWN = 200  # characters of invalid JSON, to identify it
MAX_NAME_BYTES = 4_096  # of a name in a container; no filesystem allows a longer path

UNREAD_TEXT = "unread_text"  # the field that says why a text or a column was not read

_PARSING = threading.Lock()  # of one large companion at a time
TEXT_FIELDS = ("text", "sentence", "transcript", "transcription", "reference")
ID_FIELDS = ("id", "utt_id", "recording_id")  # of a manifest's line
_STRUCTURAL_FIELDS = ("audio_filepath", "offset", "duration", "channel_selector", "shard_id")


@dataclass(frozen=True)
class Recording:
    """A recording as stored. `content` is its encoded bytes, their file if they are many, or the recording's error;
    None for a share of a container that contains no recording.

    `offset_s`, `duration_s` and `channel` select a part of the content, None for all of it.
    """

    recording_id: str
    uri: str
    etag: str
    content: bytes | StoredFile | RecordingError | None
    member: str | None = None
    offset_s: float | None = None
    duration_s: float | None = None
    channel: int | None = None
    reference: str | None = None
    extra: Mapping[str, object] | None = None


def shortened_name(name: str) -> str:
    """A recording's name; one that is too long for a file is shortened, with a digest of all of it."""
    if len(name) <= MAX_NAME_BYTES // 4 or len(name.encode("utf-8", "surrogatepass")) <= MAX_NAME_BYTES:
        return name
    return f"{name[: MAX_NAME_BYTES // 8]}…{digest([name])}"


def companion_fields(suffix: str, data: bytes) -> dict[str, object]:
    """The fields of a .txt or .json beside a recording; the text of a .txt is the field "text". Why a text cannot be
    read is the field "unread_text"."""
    try:
        text = decode_text(data)
    except InvalidData as problem:
        return {UNREAD_TEXT: str(problem)}
    if "\0" in text:
        return {UNREAD_TEXT: "it has zero bytes, as binary files do"}
    if suffix.lower() != ".json":
        return {"text": text.strip()}
    if len(data) <= MAX_FIELDS_BYTES:
        return fields_of(text)
    with _PARSING:
        reference, _ = split_fields(fields_of(text))
    note: dict[str, object] = {UNREAD_TEXT: f"{len(data)} bytes of JSON, of which only the text is kept"}
    return note if reference is None else note | {"text": reference}


def fields_of(text: str) -> dict[str, object]:
    """The fields of a JSON text: those of an object; a string as the field "text", another value as "json", and the
    beginning of invalid JSON as "unreadable_json"."""
    try:
        fields = parse_json(text)
    except InvalidJson:
        return {"unreadable_json": text[:MAX_UNREADABLE_SHOWN]}
    return fields if isinstance(fields, dict) else {"text": fields} if isinstance(fields, str) else {"json": fields}


def stated_id(fields: Mapping[str, object]) -> object | None:
    """The id of a recording that the fields of a manifest's line state, if they do."""
    return next((fields[key] for key in ID_FIELDS if fields.get(key)), None)


def is_apple_double(path: str) -> bool:
    """Whether macOS keeps attributes of another file in the one at a path: as ._name, or in a folder __MACOSX."""
    if "._" not in path and "__MACOSX/" not in path:
        return False
    *folders, name = path.split("/")
    return name.startswith("._") or "__MACOSX" in folders


def split_fields(fields: Mapping[str, object]) -> tuple[str | None, dict[str, object]]:
    """Splits a recording's fields into its reference text and all others."""
    text_field = next((name for name in TEXT_FIELDS if isinstance(fields.get(name), str)), None)
    extra = {name: value for name, value in fields.items() if name != text_field and name not in _STRUCTURAL_FIELDS}
    return (str(fields[text_field]) if text_field else None), extra


def companions(reference: str | None, extra: Mapping[str, object] | None) -> dict[str, str | None]:
    """The columns `reference` and `extra` of a recording's first row."""
    return {
        "reference": None if reference is None else escape_surrogates(reference),
        "extra": to_json(extra) if extra else None,
    }
