"""Counts recordings, table by table: a unit may have a million rows, and none of them is kept."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite

import pyarrow as pa

from actors.outcomes import Counts, Example
from actors.parts.recordings import Grouping, Row, as_dialogue, have_one_reference
from actors.schema import KEY
from actors.text.cer import character_errors
from actors.text.normalise import join_texts

EXAMPLES = 8  # transcripts per unit and per run, for display at its end, where they may be shown
MAX_NAMED = 100  # recordings with an error that are named, per unit and per run; failed units, too
MAX_EXAMPLE = 300  # characters

_COLUMNS = ["recording_id", "segment_index", "duration_s", "reference", "text", "error_kind", "error_detail"]
_OF_CHANNELS = [*KEY, "start_s"]  # of them if there are any


@dataclass
class Tally:
    """Totals over recordings, whose rows come in order, and a few of them as examples.

    Of the transcripts, so many are kept to be `shown`. Each channel that is a recording of its own counts as one.
    Channels with the same reference, that of all they say, are compared with it together.
    """

    shown: int = 0
    recordings: int = 0
    segments: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    audio_seconds: float = 0.0
    character_errors: int = 0
    reference_characters: int = 0
    transcripts: list[Example] = field(default_factory=list)
    failures: list[Example] = field(default_factory=list)
    _grouping: Grouping = field(default_factory=Grouping)
    _channels: list[Sequence[Row]] = field(default_factory=list)  # of one sound, not compared yet

    def add(self, table: pa.Table) -> None:
        """Adds rows of PART_SCHEMA; the last recording may continue in the next table."""
        self.segments += table.num_rows
        has_channels = table.column("channel").null_count < table.num_rows
        for recording in self._grouping.add(table.select([*_COLUMNS, *(_OF_CHANNELS if has_channels else ())])):
            self._count(recording)

    def end(self) -> None:
        """Counts the last recording."""
        for recording in self._grouping.end():
            self._count(recording)
        self._compare()

    @property
    def counts(self) -> Counts:
        """The totals so far."""
        return Counts(
            self.recordings,
            self.segments,
            self.audio_seconds,
            dict(self.errors),
            self.character_errors,
            self.reference_characters,
        )

    def _count(self, recording: Sequence[Row]) -> None:
        first = recording[0]
        self.recordings += 1
        seconds = first["duration_s"] or 0.0
        self.audio_seconds += seconds if isfinite(seconds) else 0.0  # no outcome of a unit has a NaN
        failed = next((row for row in recording if row["error_kind"]), None)
        if failed:
            self.errors[failed["error_kind"]] += 1
            if len(self.failures) < MAX_NAMED:
                kind, detail = failed["error_kind"], _shortened(failed["error_detail"])
                self.failures.append(Example(_shortened(first["recording_id"]), error_kind=kind, error_detail=detail))
            return
        text = join_texts(row["text"] for row in recording) if len(recording) > 1 else first["text"] or ""
        if self._channels and not have_one_reference(self._channels[0][0], first):
            self._compare()
        self._channels.append(recording)
        if len(self.transcripts) < self.shown:
            texts = (first["recording_id"], first["reference"], text)
            self.transcripts.append(Example(*map(_shortened, texts)))

    def _compare(self) -> None:
        """Compares the waiting channels of a sound, or a recording, with the reference."""
        if self._channels:
            text = join_texts(row["text"] for row in as_dialogue(self._channels))
            edits, characters = character_errors([(self._channels[0][0]["reference"], text)])
            self.character_errors += edits
            self.reference_characters += characters
            self._channels = []


def _shortened(text: str | None) -> str:
    """Truncates a text for display, since hours of text would go through the driver otherwise."""
    text = text or ""
    return text if len(text) <= MAX_EXAMPLE else f"{text[:MAX_EXAMPLE]} …"
