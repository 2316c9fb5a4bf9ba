"""Output of a job: progress and tables for people on standard error, one JSON line for programs on standard output.

Nothing else in the project prints. Output contains untrusted file names, keys and texts, so all of it is escaped.
"""

import codecs
import json
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import Any, TextIO, cast

from rich.console import Console
from rich.text import Text

from actors.foreign.escape import for_terminal, without_credentials
from actors.foreign.plain_json import to_json
from jobs.cli.streams import StandardError, redirect_to_null
from jobs.cli.tables import cut, facts, table, without_spare, wrapped

SOON_S, LOG_EVERY_S = 5.0, 60.0  # until the first line of progress in a log, and between two
TICK_S = 1.0  # between two of them on a terminal, if nothing else has it rewritten
MAX_EXAMPLES = 8  # of what failed, in a job's tables
MAX_SENTENCE = 4_000  # characters
_IN_ASCII = str.maketrans(
    {"…": "...", "·": "|", "–": "-", "×": "x"}
)  # where the encoding lacks what jobs themselves say


class _Screen:
    """Standard error: lines that stay and, on a terminal, a status line below them."""

    def __init__(self) -> None:
        self.is_quiet = False
        self.stderr = StandardError()
        self.lock, self._status = threading.RLock(), ""

    def print(self, lines: Iterable[Text]) -> None:
        with self.lock:
            status = self._status
            self.rewrite("")
            # Made anew, for these surroundings; of any width, since rich prints nothing where COLUMNS is 0.
            console = Console(file=cast(TextIO, self.stderr), highlight=False, soft_wrap=True, width=80, height=25)
            for line in lines:
                console.print(line)
            self.rewrite(status)

    def rewrite(self, status: str) -> None:
        """Rewrites the status line; an empty one leaves none."""
        with self.lock:
            if self.stderr.is_live() and (status or self._status):
                # One column stays free: in the last one, a terminal would erase what it has just written there.
                self.stderr.write(f"\r{cut(status, self.stderr.columns() - 1, self.ellipsis)}\x1b[K")
                self.stderr.flush()
            self._status = status

    def safe(self, text: object, max_characters: int = MAX_SENTENCE) -> str:
        """A text as it can be printed here: without control characters, and in the encoding."""
        shown, encoding = for_terminal(text, max_characters), self.stderr.encoding
        try:
            shown.encode(encoding)
        except UnicodeEncodeError:
            return shown.translate(_IN_ASCII).encode(encoding, "backslashreplace").decode(encoding)
        return shown

    @property
    def ellipsis(self) -> str:
        return self.safe("…")


_SCREEN = _Screen()


class StatusLine:
    """A status line: rewritten in place on a terminal, else a line with the time, soon and then every minute."""

    def __init__(self) -> None:
        self._due = time.monotonic() + SOON_S

    def say(self, text: str, is_last: bool = False) -> None:
        if _SCREEN.is_quiet:
            return
        if _SCREEN.stderr.is_live():
            if is_last:
                self.clear()
                _SCREEN.print([Text(cut(_SCREEN.safe(text), _SCREEN.stderr.columns(), _SCREEN.ellipsis))])
            else:
                _SCREEN.rewrite(_SCREEN.safe(text))
        elif is_last or time.monotonic() >= self._due:
            _SCREEN.print([Text(f"{_now()} {_SCREEN.safe(text)}")])
            self._due = time.monotonic() + LOG_EVERY_S

    def clear(self) -> None:
        """Erases the line from a terminal."""
        _SCREEN.rewrite("")


@contextmanager
def shown_live(line: Callable[[int], str]) -> Iterator[None]:
    """Shows a status line until the block is left, and then for the last time: what `line` returns for a width, anew
    every second."""
    status, is_left = StatusLine(), threading.Event()

    def show(is_last: bool = False) -> None:
        before = 1 if _SCREEN.stderr.is_live() else len(_now()) + 1
        status.say(line(_SCREEN.stderr.columns() - before), is_last)

    def keep_current() -> None:
        while not is_left.wait(TICK_S):
            show()

    thread = threading.Thread(target=keep_current, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_left.set()
        thread.join()
        show(is_last=True)


def others_silenced() -> AbstractContextManager[None]:
    """Until the block is left, what others print to standard error is lost, and what this module prints is not."""
    return _SCREEN.stderr.others_silenced(_SCREEN.lock)


def be_quiet(is_quiet: bool) -> None:
    """Whether only warnings, errors and the JSON line are printed from now on."""
    _SCREEN.is_quiet = is_quiet


def say(sentence: object, style: str = "") -> None:
    """Prints a sentence on lines of its own, in a style of rich; markup in it has no effect. One with a style is a
    warning, or an error, which the quiet see too."""
    if style or not _SCREEN.is_quiet:
        _print_wrapped(sentence, style)


def show_table(
    title: str,
    columns: Iterable[str],
    rows: Iterable[Iterable[object]],
    below: str = "",
    spare: Sequence[str] = (),
    style: str = "",
) -> None:
    """Prints a table, a line for each row, cut to the width. If all columns are without a name, the rows are facts, or
    names and values, of which nothing is cut. `below` tells how to see more than is there. Where there is no room,
    columns in `spare` are left out, the first ones first. A title with a `style` is that of errors, which the quiet
    see too."""
    if _SCREEN.is_quiet and not style:
        return
    header = [_SCREEN.safe(column) for column in columns]
    cells = [[_SCREEN.safe(cell) for cell in row] for row in rows]
    stderr = _SCREEN.stderr
    width = stderr.columns()
    _print_wrapped(title, style or "italic")
    if any(header):
        header, cells, left_out = without_spare(header, cells, width, spare)
        first, *lines = table(header, cells, width, _SCREEN.ellipsis)
        _SCREEN.print([Text(first, "bold"), *map(Text, lines)])
        if left_out:
            _print_wrapped(f"for want of room without: {', '.join(left_out)}")
    else:
        _SCREEN.print(map(Text, facts(cells, width if stderr.isatty() else sys.maxsize)))
    if below:
        _SCREEN.print([Text(_SCREEN.safe(below))])  # in one piece, for it may be a command to copy


def _print_wrapped(sentence: object, style: str = "") -> None:
    """Prints a sentence, on a terminal broken between words."""
    safe, stderr = _SCREEN.safe(sentence), _SCREEN.stderr
    lines = wrapped(safe, stderr.columns()) if stderr.isatty() else [safe]
    _SCREEN.print(Text(line, style) for line in lines)


def end_line() -> None:
    """Leaves no status line behind, however a job ended."""
    _SCREEN.rewrite("")


def _now() -> str:
    """The time in UTC: `2026-11-26T08:14:45Z`."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


def print_json(summary: Mapping[str, object], is_asked: bool = False) -> None:
    """Prints a job's summary as the last line of standard output, in ASCII unless that is UTF-8. On a terminal it would
    bury the tables that say the same, so there only the quiet see it, unless it `is_asked` for.

    Raises OSError if it cannot be written.
    """
    if sys.stdout.isatty() and not (is_asked or _SCREEN.is_quiet):
        return
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
