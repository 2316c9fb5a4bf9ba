"""The process's standard streams, which may be closed, or have no reader any more."""

import io
import os
import sys
from typing import TextIO


class StandardError:
    """Standard error as a writable file. If it fails, output is lost and the job continues."""

    @property
    def encoding(self) -> str:
        return sys.stderr.encoding if sys.stderr else "utf-8"

    def isatty(self) -> bool:
        return bool(sys.stderr) and sys.stderr.isatty()

    def write(self, text: str) -> int:
        try:
            return sys.stderr.write(text)
        except OSError:
            redirect_to_null(sys.stderr)
            return len(text)

    def flush(self) -> None:
        try:
            sys.stderr.flush()
        except OSError:
            redirect_to_null(sys.stderr)


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
