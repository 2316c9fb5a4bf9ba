"""What a person sees on a terminal of some width, and the recorded screens in tests/screens/ that it is compared with.

`SCREENS=write pytest …` writes them anew; look at each before it is committed.
"""

import fcntl
import os
import pty
import re
import struct
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from rich.cells import cell_len

RECORDED = Path(__file__).parent / "screens"
ROWS = 50

_TOKEN = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|.", re.DOTALL)


def screen(columns: int, show: Callable[[], None]) -> str:
    """What a terminal of `columns` shows in the end of what `show` writes to standard error, without colours.

    The terminal is a real one, as the kernel makes it, and has its width while `show` runs; COLUMNS is not set.
    """
    with terminal(columns) as written:
        show()
    return shown(written(), columns)


@contextmanager
def terminal(columns: int) -> Iterator[Callable[[], str]]:
    """A terminal of `columns` as standard error. Yields what gives, once the block is left, all that was written."""
    ours, theirs = pty.openpty()
    resize(theirs, columns)
    found = list[bytes]()
    reader = threading.Thread(target=_read, args=(ours, found))
    reader.start()
    environment = {key: text for key, text in os.environ.items() if key not in ("COLUMNS", "LINES", "NO_COLOR")}
    try:
        with (
            open(theirs, "w", encoding="utf-8") as stderr,
            patch.object(sys, "stderr", stderr),
            patch.dict(os.environ, environment | {"TERM": "xterm-256color"}, clear=True),
        ):
            yield lambda: b"".join(found).decode("utf-8").replace("\r\n", "\n")
    finally:
        reader.join()
        os.close(ours)


def resize(terminal: int, columns: int) -> None:
    """Gives a terminal, by its file descriptor, another width, as a person does with the mouse."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))


def _read(ours: int, found: list[bytes]) -> None:
    while True:
        try:
            found.append(os.read(ours, 65_536))
        except OSError:  # on Linux, when the other side is closed
            return
        if not found[-1]:
            return


def shown(written: str, columns: int) -> str:
    r"""What a terminal of `columns` shows after a text with `\r`, `\n`, `\x1b[K` and colours: long lines go on in the
    next one, and characters of double width take two columns. No other sequence may come."""
    rows, at = [[""] * columns], 0
    for token in _TOKEN.findall(written):
        if token == "\n":
            rows.append([""] * columns)
            at = 0
        elif token == "\r":
            at = 0
        elif token.startswith("\x1b"):
            if token[-1] != "m":
                assert token == "\x1b[K", repr(token)
                rows[-1][at:] = [""] * (columns - at)
        elif width := cell_len(token):
            if at + width > columns:
                rows.append([""] * columns)
                at = 0
            rows[-1][at : at + width] = [token, *["\0"] * (width - 1)]
            at += width
        elif at:
            rows[-1][at - 1] += token
    lines = ["".join(cell or " " for cell in row).replace("\0", "").rstrip() for row in rows]
    return "\n".join(lines).rstrip("\n") + "\n"


def check_golden(name: str, columns: int, text: str) -> None:
    """Compares a screen with the recorded one, tests/screens/<name>-<columns>.txt, or records it."""
    path = RECORDED / f"{name}-{columns}.txt"
    assert max(map(cell_len, text.splitlines()), default=0) <= columns
    if os.environ.get("SCREENS") == "write":
        RECORDED.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.exists(), f"{path} is missing: run this test with SCREENS=write, and look at it"
    assert text == path.read_text(encoding="utf-8"), f"{path.name} differs: run this test with SCREENS=write, and look"
