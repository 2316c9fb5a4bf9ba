"""Reads what a checkpoint's weights are, without their numbers: torch's file format as data. Nothing is unpickled.

The file is a zip with a pickle, `data.pkl`, that states the type, shape and strides of each tensor, and the record,
`data/KEY`, with its numbers. Even torch's `weights_only=True` calls functions that such a pickle names, with arguments
that it chooses, and trusts its sizes. Here its few instructions are interpreted by hand, to names and descriptions that
are checked against the records before any number is read. Formats: torch/serialization.py, pickletools.
"""

import io
import math
import pickletools
import zipfile
from dataclasses import dataclass
from typing import Any, NamedTuple

from actors.foreign.errors import one_line
from actors.schema import UsageError

MAX_WEIGHTS_BYTES = 1_200_000_000  # of all tensors, counted as float32 or wider; Citrinet-1024 has 560 million
MAX_PICKLE_BYTES = 1_000_000  # 200 per tensor; Citrinet-1024 has 900 tensors
MAX_DIRECTORY_BYTES = 4_000_000  # of the zip's central directory; about 80 per record
MAX_DIMENSIONS, MAX_INTEGER = 8, 1 << 48  # of a tensor; of a size, a stride or a count


class NumberType(NamedTuple):
    """A type of numbers: its name in torch, and bytes of each."""

    name: str
    itemsize: int


_TYPES = {
    "torch.FloatStorage": NumberType("float32", 4),
    "torch.HalfStorage": NumberType("float16", 2),
    "torch.BFloat16Storage": NumberType("bfloat16", 2),
    "torch.DoubleStorage": NumberType("float64", 8),
    "torch.LongStorage": NumberType("int64", 8),
    "torch.IntStorage": NumberType("int32", 4),
    "torch.ShortStorage": NumberType("int16", 2),
    "torch.CharStorage": NumberType("int8", 1),
    "torch.ByteStorage": NumberType("uint8", 1),
    "torch.BoolStorage": NumberType("bool", 1),
}
_MARK = object()


@dataclass(frozen=True)
class GlobalName:
    """A global that a pickle names, such as a function; it is never looked up."""

    name: str


@dataclass(frozen=True)
class Record:
    """A record of the zip as the pickle states it: `count` numbers of a type."""

    key: str
    dtype: NumberType
    count: int


@dataclass(frozen=True)
class TensorSpec:
    """A dense tensor in a record: offset, shape and strides, counted in numbers."""

    record: Record
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def dtype(self) -> str:
        """The type as torch names it."""
        return f"torch.{self.record.dtype.name}"

    def is_floating_point(self) -> bool:
        return "float" in self.record.dtype.name

    @property
    def numel(self) -> int:
        return math.prod(self.shape)

    @property
    def end(self) -> int:
        """The end of its last number within the record."""
        steps = zip(self.shape, self.strides, strict=True)
        return self.offset + 1 + sum((size - 1) * stride for size, stride in steps) if self.numel else self.offset


class _BoundedReader:
    """A file whose single reads are limited to the maximum size of a zip's central directory."""

    def __init__(self, file: io.BufferedIOBase) -> None:
        self.seek, self.tell, self.seekable, self._read = file.seek, file.tell, file.seekable, file.read

    def read(self, size: int = -1) -> bytes:
        if size > MAX_DIRECTORY_BYTES:
            raise UsageError(
                f"their list of records has {size:,} bytes, more than the limit of {MAX_DIRECTORY_BYTES:,}"
            )
        return self._read(size if size >= 0 else MAX_DIRECTORY_BYTES)


def read_records(file: io.BufferedIOBase) -> tuple[dict[str, TensorSpec], dict[str, int]]:
    """The tensors of a file by name, and the position in the file of the record of each key.

    Raises UsageError if the file is anything but a flat mapping of names to dense tensors.
    """
    try:
        with zipfile.ZipFile(_BoundedReader(file)) as archive:
            return _read(archive, file)
    except (UsageError, MemoryError):
        raise
    except Exception as problem:  # noqa: BLE001 - zipfile and pickletools raise a dozen kinds for damage
        reason = f"{type(problem).__name__}: {one_line(problem, 80)}"
        raise UsageError(f"they are not in torch's format: {reason}") from None


def _read(archive: zipfile.ZipFile, file: io.BufferedIOBase) -> tuple[dict[str, TensorSpec], dict[str, int]]:
    records = {each.filename: each for each in archive.infolist()}
    pickles = [name for name in records if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise UsageError("they are not in torch's format: that is a zip with one data.pkl")
    folder = pickles[0].removesuffix("data.pkl")
    order = records.get(f"{folder}byteorder")
    if order and _content(archive, order, 10) != b"little":
        raise UsageError("their byte order is not little-endian")
    tensors = _tensor_specs(_content(archive, records[pickles[0]], MAX_PICKLE_BYTES))
    if sum(each.numel * max(each.record.dtype.itemsize, 4) for each in tensors.values()) > MAX_WEIGHTS_BYTES:
        raise UsageError(f"they have more than the limit of {MAX_WEIGHTS_BYTES:,} bytes; Citrinet-1024 has 560 million")
    starts = dict[str, int]()
    for name, tensor in tensors.items():
        record = tensor.record
        stored = records.get(f"{folder}data/{record.key}")
        if stored is None or not _is_plain(stored) or stored.file_size != record.count * record.dtype.itemsize:
            raise UsageError(f"{name[:60]!r} has no record of {record.count} numbers")
        if record.key not in starts:
            starts[record.key] = _content_start(file, stored)
    return tensors, starts


def _is_plain(record: zipfile.ZipInfo) -> bool:
    """Whether a record is stored as is: neither compressed nor encrypted."""
    return (
        record.compress_type == zipfile.ZIP_STORED
        and record.compress_size == record.file_size
        and not (record.flag_bits & 1)
    )


def _content(archive: zipfile.ZipFile, record: zipfile.ZipInfo, max_bytes: int) -> bytes:
    if not _is_plain(record) or record.file_size > max_bytes:
        raise UsageError(f"{record.filename[:60]!r} is compressed, or has more than {max_bytes:,} bytes")
    return archive.read(record)


def _content_start(file: io.BufferedIOBase, record: zipfile.ZipInfo) -> int:
    """The position of a record's content. Raises UsageError if the file does not contain all of it."""
    file.seek(record.header_offset)
    header = file.read(30)
    start = (
        record.header_offset + 30 + int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
    )
    size = file.seek(0, 2)
    if header[:4] != b"PK\x03\x04" or start + record.file_size > size:
        raise UsageError(f"{record.filename[:60]!r} extends beyond the end of the file")
    return start


def _tensor_specs(pickled: bytes) -> dict[str, TensorSpec]:
    """The tensors that a pickle describes, by name. Raises UsageError if it describes anything else."""
    result = _interpret(pickled)
    if not isinstance(result, dict) or not result:
        raise UsageError("they are not a mapping of names to tensors")
    for name, value in result.items():
        if not isinstance(value, TensorSpec):
            raise UsageError(f"they contain more than names and dense tensors: {name[:60]!r} is {type(value).__name__}")
    return result


_LITERALS = frozenset({"BINUNICODE", "SHORT_BINUNICODE", "BINFLOAT", "BININT", "BININT1", "BININT2", "LONG1"})
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "MARK": _MARK, "EMPTY_TUPLE": ()}


def _interpret(pickled: bytes) -> object:
    """Interprets a pickle; only the instructions for names and tensors are supported. Returns the top of its stack."""
    stack, memo = list[Any](), dict[int, Any]()

    def pop_to_mark() -> list[object]:
        index = next(index for index in reversed(range(len(stack))) if stack[index] is _MARK)
        values = stack[index + 1 :]
        del stack[index:]
        return values

    argument: Any
    for code, argument, _ in pickletools.genops(pickled):
        if code.name in _LITERALS:
            stack.append(argument)
            continue
        if code.name in _CONSTANTS:
            stack.append(_CONSTANTS[code.name])
            continue
        match code.name:
            case "PROTO" | "FRAME":
                pass
            case "GLOBAL":
                stack.append(GlobalName(argument.replace(" ", ".")))
            case "STACK_GLOBAL":
                name, module = stack.pop(), stack.pop()
                stack.append(GlobalName(f"{module:.100}.{name:.100}"))
            case "BINPUT" | "LONG_BINPUT" | "MEMOIZE":
                memo[len(memo) if code.name == "MEMOIZE" else argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(code.name[-1])
                stack[-count:] = [tuple(stack[-count:])]
            case "TUPLE":
                stack.append(tuple(pop_to_mark()))
            case "EMPTY_DICT":
                stack.append({})
            case "SETITEM" | "SETITEMS":
                values = pop_to_mark() if code.name == "SETITEMS" else [stack.pop(), stack.pop()][::-1]
                if not all(isinstance(name, str) for name in values[::2]):  # hashing other keys may never end
                    raise UsageError("they contain more than names and dense tensors: a name is not a string")
                stack[-1].update(zip(values[::2], values[1::2], strict=True))
            case "BINPERSID":
                stack.append(_record(stack.pop()))
            case "REDUCE":
                arguments, function = stack.pop(), stack.pop()
                stack.append(_result_of_call(function, arguments))
            case "BUILD":  # the state of a mapping: module versions, which are dropped
                stack.pop()
                if not isinstance(stack[-1], dict):
                    raise UsageError("they contain more than names and dense tensors")
            case "STOP":
                return stack.pop()
            case other:
                raise UsageError(
                    f"they contain more than names and dense tensors: the pickle has the instruction {other}"
                )
    raise UsageError("their pickle ends too early")


def _record(result: object) -> Record:
    match result:
        case ("storage", GlobalName(name), str(key), str(), int(count)) if name in _TYPES and 0 <= count < MAX_INTEGER:
            return Record(key, _TYPES[name], count)
    raise UsageError("they have a record of unknown type")


def _result_of_call(function: object, arguments: object) -> dict[str, object] | TensorSpec:
    """The result of a call in a pickle: an empty mapping or a tensor; other calls are refused."""
    match function, arguments:
        case GlobalName("collections.OrderedDict"), ():
            return {}
        case GlobalName("torch._utils._rebuild_tensor_v2"), (
            Record() as record,
            int(offset),
            tuple(shape),
            tuple(strides),
            *_,
        ):
            return _checked(TensorSpec(record, offset, shape, strides))
        case GlobalName("torch._utils._rebuild_parameter"), (TensorSpec() as tensor, *_):
            return tensor
    name = function.name if isinstance(function, GlobalName) else type(function).__name__
    raise UsageError(f"they contain more than names and dense tensors: the pickle names {name[:60]!r}")


def _checked(tensor: TensorSpec) -> TensorSpec:
    """Returns the tensor. Raises UsageError if it is not within its record, or has more numbers than that."""
    if (
        len(tensor.shape) != len(tensor.strides)
        or len(tensor.shape) > MAX_DIMENSIONS
        or any(
            type(each) is not int or not 0 <= each < MAX_INTEGER
            for each in (tensor.offset, *tensor.shape, *tensor.strides)
        )
        or max(tensor.numel, tensor.end) > tensor.record.count
    ):
        raise UsageError(f"a tensor does not fit its record of {tensor.record.count} numbers")
    return tensor
