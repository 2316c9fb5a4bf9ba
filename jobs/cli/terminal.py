"""What a job says: to people, on standard error, progress and tables; to programs, on standard output, one JSON line.

Nothing else in the project prints. What is said names files, keys and texts of others, so all of it is made harmless.
"""

import codecs
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any, TextIO, cast

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from actors.foreign.escape import for_terminal, without_credentials
from actors.foreign.plain_json import to_json
from jobs.cli.streams import StandardError, to_nowhere

_ERROR = StandardError()
_CONSOLE = Console(file=cast(TextIO, _ERROR), highlight=False, soft_wrap=True)

LINE_EVERY_S = 10.0  # where standard error is a log file, and not a terminal that can rewrite its line
SHOWN = 8  # transcripts, and failures, in the closing tables
MAX_SENTENCE, MAX_LINE = 4_000, 100  # characters


class Line:
    """A line that is said again and again: rewritten on a terminal, elsewhere written now and then, and at the end."""

    def __init__(self) -> None:
        self._said = time.monotonic()

    def say(self, text: str, is_last: bool = False) -> None:
        now, text = time.monotonic(), for_terminal(text, MAX_LINE)
        if _ERROR.isatty():
            _ERROR.write(f"\r{text}\x1b[K" + ("\n" if is_last else ""))
        elif now - self._said >= LINE_EVERY_S or is_last:
            _ERROR.write(text + "\n")
            self._said = now
        _ERROR.flush()

    def clear(self) -> None:
        """Takes it off a terminal, for other lines to follow."""
        if _ERROR.isatty():
            _ERROR.write("\r\x1b[K")


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


def say(sentence: object, style: str = "") -> None:
    """A sentence on a line of its own, in a style of rich's; nothing in it is markup."""
    _print(Text(for_terminal(sentence, MAX_SENTENCE), style))


def show_table(title: str, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    table = Table(
        title=Text(for_terminal(title), "table.title"),
        title_justify="left",
        header_style="bold",
        box=None,
        pad_edge=False,
    )
    for column in columns:
        table.add_column(Text(for_terminal(column)))
    for row in rows:
        table.add_row(*(Text(for_terminal(cell), overflow="fold") for cell in row))
    _print(table)


def _print(what: RenderableType) -> None:
    _CONSOLE.print(what)


def print_json(summary: Mapping[str, Any]) -> None:
    """What came of a job, as the last line of standard output. Where that is not UTF-8, the line is ASCII. Raises
    OSError where it takes none."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    line = summary_json(summary, is_ascii=codecs.lookup(encoding).name != "utf-8")
    try:
        print(line, flush=True)
    except OSError as problem:
        to_nowhere(sys.stdout)
        raise OSError(problem.errno, f"standard output took no JSON line: {problem.strerror}") from None


def summary_json(summary: Mapping[str, Any], is_ascii: bool = False) -> str:
    """What came of a job, as one line of JSON; URLs in it are without credentials."""
    return to_json(summary, without_credentials, is_ascii)


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
