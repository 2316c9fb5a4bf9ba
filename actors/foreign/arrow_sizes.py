"""The size an Arrow file would expand to, computed from its metadata before anything is decompressed.

Each buffer of a record batch may be compressed, and then begins with its uncompressed length, which Arrow allocates at
once. Footer and messages are flatbuffers, of which only the few fields that lead to the buffers are read here. An
offset outside the file raises IndexError.

Formats: https://arrow.apache.org/docs/format/Columnar.html#ipc-file-format, the schemas File.fbs, Message.fbs there,
and https://flatbuffers.dev/internals/.
"""

from collections.abc import Iterator

_FOOTER_BLOCKS = (2, 3)  # of a Footer: the dictionary batches and the record batches
_MESSAGE_HEADER, _DICTIONARY_DATA = 2, 1
_BATCH_BUFFERS, _BATCH_COMPRESSION = 2, 3
_IS_DICTIONARY, _IS_BATCH = 2, 3  # types of a Message's header
_BLOCK_BYTES, _BUFFER_BYTES = 24, 16
_OVERHEAD = 1_024  # bytes added for every batch and buffer, so that very many of them exceed the limit as well


def expanded_bytes(data: bytes, footer: bytes, max_bytes: int) -> int:
    """Total bytes of an Arrow file's buffers, decompressed; the sum stops once it exceeds `max_bytes`."""
    total = 0
    for size, _ in _buffers(data, footer):
        total += size + _OVERHEAD
        if total > max_bytes:
            break
    return total


def largest_batch_bytes(data: bytes, footer: bytes, max_bytes: int) -> int:
    """The most bytes that one batch of an Arrow file has, decompressed; one that exceeds `max_bytes` is the last."""
    largest = held = 0
    for size, begins in _buffers(data, footer):
        held = _OVERHEAD if begins else held + size + _OVERHEAD
        largest = max(largest, held)
        if largest > max_bytes:
            break
    return largest


def _buffers(data: bytes, footer: bytes) -> Iterator[tuple[int, bool]]:
    """The decompressed size of each buffer, and a 0 for each batch, which begins one."""
    root = _target(footer, 0)
    for number in _FOOTER_BLOCKS:
        blocks = _field(footer, root, number)
        for block in _vector(footer, blocks, _BLOCK_BYTES):
            yield 0, True
            offset = _number(footer, block, 8)
            body = offset + _number(footer, block + 8, 4)
            if _number(data, offset, 4) != -1:
                raise IndexError("a message does not begin with 0xFFFFFFFF")
            yield from ((size, False) for size in _batch(data[offset + 8 : body], data, body))


def _batch(message: bytes, data: bytes, body: int) -> Iterator[int]:
    root = _target(message, 0)
    kind = _number(message, _field(message, root, _MESSAGE_HEADER - 1), 1)
    batch = _target(message, _field(message, root, _MESSAGE_HEADER))
    if kind == _IS_DICTIONARY:
        batch = _target(message, _field(message, batch, _DICTIONARY_DATA))
    elif kind != _IS_BATCH:
        raise IndexError("a block is neither a dictionary nor a record batch")
    is_compressed = bool(_field(message, batch, _BATCH_COMPRESSION))
    for buffer in _vector(message, _field(message, batch, _BATCH_BUFFERS), _BUFFER_BYTES):
        length = _number(message, buffer + 8, 8)
        if is_compressed and length:
            claimed = _number(data, body + _number(message, buffer, 8), 8)
            yield length if claimed == -1 else max(claimed, 0)  # -1: not compressed; Arrow refuses other negatives
        else:
            yield max(length, 0)


def _number(data: bytes, at: int, size: int) -> int:
    """A signed little-endian integer of `size` bytes."""
    if not 0 <= at <= len(data) - size:
        raise IndexError("an offset outside the file")
    return int.from_bytes(data[at : at + size], "little", signed=True)


def _target(data: bytes, at: int) -> int:
    """The offset that the pointer at `at` refers to."""
    return at + (_number(data, at, 4) & 0xFFFFFFFF)


def _field(data: bytes, table: int, number: int) -> int:
    """The offset of a table's field, 0 if the field is absent."""
    fields = table - _number(data, table, 4)
    place = 4 + 2 * number
    if place + 2 > _number(data, fields, 2) & 0xFFFF:
        return 0
    offset = _number(data, fields + place, 2) & 0xFFFF
    return table + offset if offset else 0


def _vector(data: bytes, at: int, size: int) -> range:
    """The offsets of a vector's elements; `at` is that of the field that points to it, 0 if absent."""
    if not at:
        return range(0)
    first = _target(data, at)
    return range(first + 4, first + 4 + size * (_number(data, first, 4) & 0xFFFFFFFF), size)
