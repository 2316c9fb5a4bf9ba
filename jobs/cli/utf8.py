"""Starts a job anew in Python's UTF-8 mode where the locale has another encoding, such as GBK.

Format: https://docs.python.org/3/using/cmdline.html#envvar-PYTHONUTF8.
"""

import locale
import os
import sys
from pathlib import Path

from actors.storage.encoding import check_names, names_are_utf8

_MODE, _STREAMS = "PYTHONUTF8", "PYTHONIOENCODING"


def ensure_utf8(is_command: bool) -> None:
    """Makes sure that file names are read as UTF-8, by this process and those that it starts. What is printed remains
    in the locale's encoding.

    If `is_command`, the process runs the command line that it was started with, and can run it again: then this does
    not return, and the process keeps its number. Raises UsageError if names cannot be read so.
    """
    if names_are_utf8():
        return
    if not is_command or os.environ.get(_MODE) == "1" or not sys.executable:
        check_names()
    environment = {_STREAMS: locale.getencoding()} | dict(os.environ) | {_MODE: "1"}
    os.execve(sys.executable, [os.fsencode(sys.executable), *_arguments()], environment)


def _arguments() -> list[bytes]:
    """The command line after the interpreter, in the bytes that it was given in: not every encoding returns them."""
    try:
        return Path("/proc/self/cmdline").read_bytes().split(b"\0")[1:-1]
    except OSError:  # not Linux
        return [os.fsencode(each) for each in sys.orig_argv[1:]]
