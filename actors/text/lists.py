"""Reads text files that people write, with an item on each line."""

from collections.abc import Iterator

from actors.foreign.errors import InvalidData
from actors.foreign.text import decode_text
from actors.schema import UsageError

MAX_BYTES = 32 << 20  # of a file
_COMMENT = "#"
_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip"}
_MAX_SHOWN = 40  # characters of an item in a sentence


def items_in(data: bytes, holds: str) -> Iterator[tuple[str, int]]:
    """Yields the lines of a file that hold something, with their numbers; empty ones and comments (#) do not.

    `holds` says in a sentence what such a file holds. Raises UsageError, which names the line, but not the file.
    """
    if len(data) > MAX_BYTES:
        raise UsageError(f"it has more than {MAX_BYTES >> 20} MiB; {holds}")
    if packer := next((name for magic, name in _PACKED.items() if data.startswith(magic)), None):
        raise UsageError(f"it is packed by {packer}; unpack it first: {holds}")
    try:
        text = decode_text(data)
    except InvalidData as problem:
        raise UsageError(f"line {_line_of_fault(data)}: {problem}; save it as UTF-8") from None
    for number, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), 1):
        content = line.strip()
        if content and not content.startswith(_COMMENT):
            yield line, number


def shown(text: str) -> str:
    """An item as it is quoted in a sentence."""
    return repr(text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…")


def _line_of_fault(data: bytes) -> int:
    """The line in which data stops being UTF-8; the first if it is of another encoding."""
    try:
        data.decode()
    except UnicodeDecodeError as problem:
        return 1 + data.count(b"\n", 0, problem.start)
    return 1
