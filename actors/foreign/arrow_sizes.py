"""What an Arrow file would expand to, told from its own words before anything is expanded.

Each buffer of a record batch may be compressed, and then begins with the length that it is to have; Arrow takes memory
for that at once. Footer and messages are flatbuffers, of which only the few fields on the way to the buffers are read
here. Whatever does not fit into the file raises IndexError.

Formats: https://arrow.apache.org/docs/format/Columnar.html#ipc-file-format, the schemas File.fbs, Message.fbs there,
and https://flatbuffers.dev/internals/.
"""

from collections.abc import Iterator

_FOOTER_BLOCKS = (2, 3)  # of a Footer: where the batches of dictionaries, and those of rows, lie
_MESSAGE_HEADER, _DICTIONARY_DATA = 2, 1
_BATCH_BUFFERS, _BATCH_COMPRESSION = 2, 3
_IS_DICTIONARY, _IS_BATCH = 2, 3  # what a Message's header may be
_BLOCK_BYTES, _BUFFER_BYTES = 24, 16
_OVERHEAD = 1_024  # bytes that every batch and buffer is taken to cost, so that very many end the count as well


def expanded_bytes(data: bytes, footer: bytes, max_bytes: int) -> int:
    """The bytes that all buffers of an Arrow file want, at least; the count ends where it is above `max_bytes`."""
    total = 0
    for each in _buffers(data, footer):
        total += each + _OVERHEAD
        if total > max_bytes:
            break
    return total


def _buffers(data: bytes, footer: bytes) -> Iterator[int]:
    """The bytes that each buffer wants; 0 for each batch."""
    root = _target(footer, 0)
    for number in _FOOTER_BLOCKS:
        blocks = _field(footer, root, number)
        for block in _vector(footer, blocks, _BLOCK_BYTES):
            yield 0
            offset = _number(footer, block, 8)
            body = offset + _number(footer, block + 8, 4)
            if _number(data, offset, 4) != -1:
                raise IndexError("a message begins with 0xFFFFFFFF")
            yield from _batch(data[offset + 8 : body], data, body)


def _batch(message: bytes, data: bytes, body: int) -> Iterator[int]:
    root = _target(message, 0)
    kind = _number(message, _field(message, root, _MESSAGE_HEADER - 1), 1)
    batch = _target(message, _field(message, root, _MESSAGE_HEADER))
    if kind == _IS_DICTIONARY:
        batch = _target(message, _field(message, batch, _DICTIONARY_DATA))
    elif kind != _IS_BATCH:
        raise IndexError("no batch where one should be")
    is_compressed = bool(_field(message, batch, _BATCH_COMPRESSION))
    for buffer in _vector(message, _field(message, batch, _BATCH_BUFFERS), _BUFFER_BYTES):
        length = _number(message, buffer + 8, 8)
        if is_compressed and length:
            told = _number(data, body + _number(message, buffer, 8), 8)
            yield length if told == -1 else max(told, 0)  # Arrow refuses others below 0
        else:
            yield max(length, 0)


def _number(data: bytes, at: int, size: int) -> int:
    """A signed number of some bytes, lowest first."""
    if not 0 <= at <= len(data) - size:
        raise IndexError("a place that is not in the file")
    return int.from_bytes(data[at : at + size], "little", signed=True)


def _target(data: bytes, at: int) -> int:
    """Where what is at a place points to."""
    return at + (_number(data, at, 4) & 0xFFFFFFFF)


def _field(data: bytes, table: int, number: int) -> int:
    """Where a field of a table lies, 0 where it is left out."""
    fields = table - _number(data, table, 4)
    place = 4 + 2 * number
    if place + 2 > _number(data, fields, 2) & 0xFFFF:
        return 0
    offset = _number(data, fields + place, 2) & 0xFFFF
    return table + offset if offset else 0


def _vector(data: bytes, at: int, size: int) -> range:
    """Where the elements of a vector lie that a field at a place points to; none without the field."""
    if not at:
        return range(0)
    first = _target(data, at)
    return range(first + 4, first + 4 + size * (_number(data, first, 4) & 0xFFFFFFFF), size)
