"""The process's own streams, which whoever started it may have closed, or may no longer read."""

import os
import sys
from typing import TextIO


class StandardError:
    """Standard error as a file to write to. Where it takes no more, what is said is lost, and the work goes on."""

    @property
    def encoding(self) -> str:
        return sys.stderr.encoding if sys.stderr else "utf-8"

    def isatty(self) -> bool:
        return bool(sys.stderr) and sys.stderr.isatty()

    def write(self, text: str) -> int:
        try:
            return sys.stderr.write(text)
        except OSError:
            to_nowhere(sys.stderr)
            return len(text)

    def flush(self) -> None:
        try:
            sys.stderr.flush()
        except OSError:
            to_nowhere(sys.stderr)


def to_nowhere(stream: TextIO) -> None:
    """Lets go of what a stream holds and could not write, or it would be tried again when the process ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def open_streams() -> None:
    """Opens those that were closed when the process began: else the next file to be opened, a part for instance, would
    be standard error to libraries, and get what they say."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            try:
                os.fstat(number)
            except OSError:
                nowhere = os.open(os.devnull, os.O_RDWR)
                if nowhere != number:
                    os.dup2(nowhere, number)
                    os.close(nowhere)
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w", encoding="utf-8"))  # noqa: SIM115
