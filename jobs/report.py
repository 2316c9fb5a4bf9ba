"""What a person sees: progress while a run is at work, and its closing tables. All of it goes to standard error."""

import sys
import time
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

console = Console(stderr=True, highlight=False, soft_wrap=True)

LINE_EVERY_S = 10.0  # where standard error is a log file, and not a terminal that can rewrite its line
SHOWN = 8  # transcripts, and failures, in the closing tables


class Line:
    """A line that is said again and again: rewritten on a terminal, elsewhere written now and then, and at the end."""

    def __init__(self) -> None:
        self._said = time.monotonic()

    def say(self, text: str, is_last: bool = False) -> None:
        now = time.monotonic()
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{text}\x1b[K" + ("\n" if is_last else ""))
        elif now - self._said >= LINE_EVERY_S or is_last:
            sys.stderr.write(text + "\n")
            self._said = now
        sys.stderr.flush()

    def clear(self) -> None:
        """Takes it off a terminal, for other lines to follow."""
        if sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K")


class Progress:
    """Counts summaries of units as they come, and says how far the run is."""

    def __init__(self, units: int) -> None:
        self.units = units
        self.done = 0
        self.recordings = 0
        self.audio_seconds = 0.0
        self._began = time.monotonic()
        self._line = Line()

    def add(self, summary: Mapping[str, Any]) -> None:
        self.done += not summary.get("is_partial")
        self.recordings += summary.get("recordings", 0)
        self.audio_seconds += summary.get("audio_seconds", 0.0)
        elapsed = max(time.monotonic() - self._began, 1e-9)
        self._line.say(
            f"units {self.done}/{self.units} · {self.recordings} recordings · {self.audio_seconds / 3600:.2f} h"
            f" · {self.audio_seconds / elapsed:.1f} x real time",
            is_last=self.done == self.units,
        )


def harmless(text: object) -> Text:
    """A text from an archive as it may go to a terminal: control characters, which could steer it, are left out."""
    return Text("".join(char for char in str(text) if unicodedata.category(char)[0] != "C"), overflow="fold")


def show_table(title: str, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    table = Table(*columns, title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for row in rows:
        table.add_row(*map(harmless, row))
    console.print(table)


def show_transcripts(rows: list[Mapping[str, Any]]) -> None:
    if rows:
        columns = ("recording", "reference", "transcript")
        shown = [(row["recording_id"], row["reference"] or "", row["text"]) for row in rows[:SHOWN]]
        show_table("Some transcripts", columns, shown)


def show_failures(rows: list[Mapping[str, Any]], total: int) -> None:
    if rows:
        columns = ("recording", "kind", "what is wrong")
        title = f"{min(len(rows), SHOWN)} of {total} recordings with an error"
        show_table(
            title, columns, [(row["recording_id"], row["error_kind"], row["error_detail"]) for row in rows[:SHOWN]]
        )
