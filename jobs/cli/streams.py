"""The process's standard streams, which may be closed, or have no reader any more."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import TextIO

LOG_COLUMNS, TERMINAL_COLUMNS = 160, 80  # where the width is not known
MIN_COLUMNS, MAX_COLUMNS = 20, 10_000  # a terminal may say 0 or 1, and COLUMNS anything


def page_width(stream: TextIO) -> int:
    """The columns that a page of help may take: those of a terminal, else any number."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # it may be replaced by what has no number
        if stream.isatty() and (columns := os.get_terminal_size(stream.fileno()).columns):
            return max(columns, MIN_COLUMNS)
    return sys.maxsize


class StandardError:
    """Standard error as a writable file. If it fails, output is lost and the job continues."""

    def __init__(self) -> None:
        self._aside: TextIO | None = None

    @property
    def _file(self) -> TextIO:
        return self._aside or sys.stderr

    @property
    def encoding(self) -> str:
        return getattr(sys.stderr, "encoding", None) or "utf-8"  # what replaces it may have none

    def isatty(self) -> bool:
        return bool(self._file) and self._file.isatty()

    def is_live(self) -> bool:
        """Whether it is a terminal that can rewrite a line."""
        return self.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")

    def columns(self) -> int:
        """The width to write in: the terminal's as it is now, else that of COLUMNS, else one for a log."""
        with contextlib.suppress(OSError, ValueError, AttributeError):  # it may be replaced by what has no number
            if self.isatty() and (columns := os.get_terminal_size(self._file.fileno()).columns):
                return max(columns, MIN_COLUMNS)
        stated = os.environ.get("COLUMNS", "")
        if stated.isdecimal() and len(stated) < len(str(MAX_COLUMNS)):
            return max(int(stated), MIN_COLUMNS)
        return TERMINAL_COLUMNS if self.isatty() else LOG_COLUMNS

    def write(self, text: str) -> int:
        try:
            return self._file.write(text)
        except OSError:
            redirect_to_null(self._file)
            return len(text)

    def flush(self) -> None:
        try:
            self._file.flush()
        except OSError:
            redirect_to_null(self._file)

    @contextlib.contextmanager
    def others_silenced(self, lock: contextlib.AbstractContextManager[object]) -> Iterator[None]:
        """Until the block is left, what others write to the process's standard error goes nowhere; what is written to
        this does not. `lock` is held while it changes."""
        with lock:
            self.flush()
            kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
            if _number_of(sys.stderr) == 2:
                self._aside = open(kept, "w", encoding=self.encoding, errors="backslashreplace", closefd=False)  # noqa: SIM115
            os.dup2(nowhere, 2)
            os.close(nowhere)
        try:
            yield
        finally:
            with lock:
                self.flush()
                self._aside = None
                os.dup2(kept, 2)
                os.close(kept)


def _number_of(stream: TextIO | None) -> int | None:
    """A stream's file descriptor; None if it has none."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return stream.fileno() if stream else None
    return None


def redirect_to_null(stream: TextIO) -> None:
    """Redirects a failed stream to the null device, or its buffer would be flushed, and fail again, at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def open_streams() -> None:
    """Opens standard streams that were closed when the process started, and lets standard output write characters that
    its encoding lacks as escapes, as standard error does.

    Were one left closed, the next file opened, such as a part, would get the number of standard error, and what
    libraries print there.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            try:
                os.fstat(number)
            except OSError:
                null = os.open(os.devnull, os.O_RDWR)
                if null != number:
                    os.dup2(null, number)
                    os.close(null)
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w", encoding="utf-8"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
