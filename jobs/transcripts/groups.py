"""Groups of recordings: by folder, by a column of their rows, or by a field that came with the audio."""

import difflib
import os

import pyarrow as pa

from actors.foreign.escape import escape_surrogates, without_credentials
from actors.foreign.plain_json import to_json
from actors.schema import PART_SCHEMA
from jobs.cli.config import ConfigError
from jobs.transcripts.read import Transcript

GROUP = "evaluate.group"
NO_VALUE = "(none)"  # the group of recordings without the field
MAX_FIELDS = 1_000  # of which the names are kept
MAX_NAMED = 20  # fields in a message

#: The columns that make groups; those of lists of structures do not.
COLUMNS = tuple(
    each.name for each in PART_SCHEMA if not (pa.types.is_list(each.type) and pa.types.is_struct(each.type.value_type))
)
OF_TEXT = frozenset({"text", "written", "reference", "extra"})  # of them: what is said, and what came with it


class Groups:
    """Names the group of each recording. Notes which fields there are, so that a name that there is not is told from
    a field that some recordings lack."""

    def __init__(self, by: str, may_show: bool = True) -> None:
        """Raises ConfigError for columns of texts, which would be printed as names of groups, unless they may be."""
        if by in OF_TEXT and not may_show:
            raise ConfigError(f"{GROUP}: {by} would print what was said; output.show=true allows it")
        self._by = by
        self._is_known = by in ("folder", "none", *COLUMNS)
        self._fields = set[str]()

    @property
    def columns(self) -> tuple[str, ...]:
        """What of the rows it needs."""
        return (self._by,) if self._by in COLUMNS else ()

    def __call__(self, transcript: Transcript) -> str:
        if self._by == "none":
            return "all"
        first, fields = transcript.first, transcript.fields
        self._note(fields)
        if self._by == "folder" and "folder" not in fields:
            return _printable(os.path.basename(os.path.dirname(str(first["uri"]))))
        if self._by in fields:
            return _named(fields[self._by])
        if self._by not in COLUMNS or (self._by == "channel" and transcript.is_dialogue):
            return NO_VALUE
        return _named(first[self._by])

    def _note(self, fields: dict[str, object]) -> None:
        self._is_known = self._is_known or self._by in fields
        if len(self._fields) < MAX_FIELDS:
            self._fields.update(fields)

    def check(self) -> None:
        """Raises ConfigError if no recording had the field, and no column is called so."""
        if self._is_known:
            return
        by_lower = {each.lower(): each for each in ("folder", "none", *COLUMNS, *sorted(self._fields))}
        near = [by_lower[each] for each in difflib.get_close_matches(self._by.lower(), by_lower, cutoff=0.6)]
        meant = f"; did you mean {' or '.join(near)}?" if near else ";"
        fields = sorted(map(_printable, self._fields))
        more = f" and {len(fields) - MAX_NAMED:,} more" if len(fields) > MAX_NAMED else ""
        came = (
            f"these came with the audio: {', '.join(fields[:MAX_NAMED])}{more}" if fields else "no field came with it"
        )
        raise ConfigError(
            f'{GROUP}: no recording with a reference has a field "{self._by}", nor is a column called so{meant} {came};'
            f" the columns are {', '.join(COLUMNS)}; folder and none can be taken, too"
        )


def _named(value: object) -> str:
    if value is None:
        return NO_VALUE
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return _printable(", ".join(value)) or NO_VALUE
    return _printable(to_json(value) if isinstance(value, bool | list | dict) else str(value))


def _printable(name: str) -> str:
    """A name that can be printed, and be a key of the JSON."""
    return escape_surrogates(without_credentials(name))
