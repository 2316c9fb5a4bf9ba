"""Output of a job: progress and tables for people on standard error, one JSON line for programs on standard output.

Nothing else in the project prints. Output contains untrusted file names, keys and texts, so all of it is escaped.
"""

import codecs
import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO, cast

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from actors.foreign.escape import for_terminal, without_credentials
from actors.foreign.plain_json import to_json
from actors.outcomes import Counts, Example
from jobs.cli.streams import StandardError, redirect_to_null

_STDERR = StandardError()
_CONSOLE = Console(file=cast(TextIO, _STDERR), highlight=False, soft_wrap=True)

LINE_EVERY_S = 10.0  # if standard error is a log file, not a terminal that can rewrite its line
MAX_EXAMPLE_CELL = 40  # characters of a transcript in a table
MAX_EXAMPLES = 8  # of transcripts, and of failures, in the closing tables
MAX_SENTENCE, MAX_LINE = 4_000, 100  # characters


class StatusLine:
    """A status line: rewritten in place on a terminal, else written every LINE_EVERY_S and at the end."""

    def __init__(self) -> None:
        self._last_write = time.monotonic()

    def say(self, text: str, is_last: bool = False) -> None:
        now, text = time.monotonic(), for_terminal(text, MAX_LINE)
        if _STDERR.isatty():
            _STDERR.write(f"\r{text}\x1b[K" + ("\n" if is_last else ""))
        elif now - self._last_write >= LINE_EVERY_S or is_last:
            _STDERR.write(text + "\n")
            self._last_write = now
        _STDERR.flush()

    def clear(self) -> None:
        """Erases the line from a terminal, so that other output can follow."""
        if _STDERR.isatty():
            _STDERR.write("\r\x1b[K")


class Progress:
    """Counts units and recordings as they are committed, and prints the progress of the run."""

    def __init__(self, units: int) -> None:
        self.units = units
        self.done = 0
        self.recordings = 0
        self.audio_seconds = 0.0
        self._began = time.monotonic()
        self._line = StatusLine()

    def add(self, counts: Counts, units: int) -> None:
        """Adds what a piece counts, and the units that ended with it."""
        self.done += units
        self.recordings += counts.recordings
        self.audio_seconds += counts.audio_seconds
        elapsed = max(time.monotonic() - self._began, 1e-9)
        self._line.say(
            f"units {self.done}/{self.units} · {self.recordings} recordings · {self.audio_seconds / 3600:.2f} h"
            f" · {self.audio_seconds / elapsed:.1f} x real time",
            is_last=self.done == self.units,
        )


def say(sentence: object, style: str = "") -> None:
    """Prints a sentence on a line of its own, in a style of rich; markup in it has no effect."""
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


def print_json(summary: Mapping[str, object]) -> None:
    """Prints a job's summary as the last line of standard output, in ASCII unless that is UTF-8.

    Raises OSError if it cannot be written.
    """
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print_text(summary_json(summary, is_ascii=codecs.lookup(encoding).name != "utf-8"), "the JSON line")


def print_text(text: str, what: str = "it") -> None:
    """Prints what was asked for, such as a transcript, on standard output: as it is, so nothing in it may be for a
    terminal to obey. Raises OSError if it cannot be written, which names `what`."""
    try:
        print(text, flush=True)
    except OSError as problem:
        redirect_to_null(sys.stdout)
        raise OSError(problem.errno, f"{what} could not be written to standard output: {problem.strerror}") from None


def read_json(output: str) -> dict[str, Any]:
    """The summary in a job's standard output, as `print_json` printed it. Raises ValueError if there is none."""
    *_, line = output.splitlines() or [""]
    summary: dict[str, Any] = json.loads(line)
    return summary


def summary_json(summary: Mapping[str, object], is_ascii: bool = False) -> str:
    """A job's summary as one line of JSON, with credentials removed from URLs."""
    return to_json(summary, without_credentials, is_ascii)


def show_transcripts(examples: Sequence[Example]) -> None:
    if examples:
        columns = ("recording", "reference", "transcript")
        texts = [(each.recording_id, each.reference, each.text) for each in examples[:MAX_EXAMPLES]]
        show_table("Some transcripts", columns, [[_beginning(text) for text in row] for row in texts])


def _beginning(text: str) -> str:
    return text if len(text) <= MAX_EXAMPLE_CELL else f"{text[:MAX_EXAMPLE_CELL]}…"


def show_failures(examples: Sequence[Example], total: int) -> None:
    if examples:
        title = f"{min(len(examples), MAX_EXAMPLES)} of {total} recordings with an error"
        rows = [(each.recording_id, each.error_kind, each.error_detail) for each in examples[:MAX_EXAMPLES]]
        show_table(title, ("recording", "kind", "what is wrong"), rows)
