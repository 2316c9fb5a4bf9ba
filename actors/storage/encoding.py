"""Whether this process reads file names as UTF-8.

Names on a disk are bytes, and Python decodes them by the locale. A key is such a name as UTF-8 shows it; bytes that are
not UTF-8 are surrogates in it (PEP 383). In another locale the same file would have another key, and be transcribed
again; and a key that was made elsewhere would name no file.
"""

import codecs
import platform
import sys

from actors.schema import UsageError


def names_are_utf8() -> bool:
    return codecs.lookup(sys.getfilesystemencoding()).name == "utf-8"


def check_names() -> None:
    """Raises UsageError if this process decodes file names as anything but UTF-8."""
    if not names_are_utf8():
        raise UsageError(
            f"Python on {platform.node()} reads file names as {sys.getfilesystemencoding()}, not as UTF-8: they would"
            " name other files; set PYTHONUTF8=1 in the environment, of `ray start` too, or a locale of UTF-8"
        )
