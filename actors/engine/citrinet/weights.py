"""The weights of a checkpoint: torch's file format read as data. Nothing is unpickled.

The file is a zip with a pickle, `data.pkl`, that says of each tensor its type, shape and strides, and which record,
`data/KEY`, holds its numbers. Even torch's `weights_only=True` calls what such a pickle names, with arguments that it
chooses, and takes its word for sizes. Here its few instructions are followed by hand: to names and descriptions, which
are checked against the records before a number is read. Formats: torch/serialization.py, pickletools.
"""

import io
import math
import pickletools
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from actors.schema import UsageError

MAX_WEIGHTS_BYTES = 1_200_000_000  # bytes of all tensors together, as float32 at least; Citrinet-1024 has 560 million
MAX_PICKLE_BYTES = 1_000_000  # bytes; 200 a tensor, of which Citrinet-1024 has 900
MAX_DIRECTORY_BYTES = 4_000_000  # bytes of the zip's list of records; about 80 a record
MAX_DIMENSIONS, MAX_NUMBER = 8, 1 << 48  # of a tensor, and what a size, a stride or a count may be

_TYPES = {
    "torch.FloatStorage": torch.float32,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.DoubleStorage": torch.float64,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16,
    "torch.CharStorage": torch.int8,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
}
_MARK = object()


@dataclass(frozen=True)
class Named:
    """What a pickle names, such as a function; it is never looked up."""

    name: str


@dataclass(frozen=True)
class Record:
    """A record of the zip, as the pickle speaks of it: so many numbers of a type."""

    key: str
    dtype: torch.dtype
    count: int


@dataclass(frozen=True)
class Described:
    """A dense tensor that lies in a record: from which number on, its shape, and the strides of its dimensions."""

    record: Record
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def numbers(self) -> int:
        return math.prod(self.shape)

    @property
    def end(self) -> int:
        """Where in the record its last number ends."""
        steps = zip(self.shape, self.strides, strict=True)
        return self.offset + 1 + sum((size - 1) * stride for size, stride in steps) if self.numbers else self.offset


class Weights(Mapping[str, torch.Tensor]):
    """The tensors of a file by name, each read when it is asked for."""

    def __init__(self, file: io.BufferedIOBase) -> None:
        """Raises UsageError where the file is other than a flat mapping of names to dense tensors."""
        self._file = file
        try:
            with zipfile.ZipFile(_Directory(file)) as archive:
                self._tensors, self._starts = _read(archive, file)
        except (UsageError, MemoryError):
            raise
        except Exception as problem:  # noqa: BLE001 - zipfile and pickletools raise a dozen kinds for damage
            reason = next(iter(str(problem).splitlines()), "")[:80]
            raise UsageError(f"they are not in torch's format: {type(problem).__name__}: {reason}") from None

    def __getitem__(self, name: str) -> torch.Tensor:
        tensor = self._tensors[name]
        dtype = tensor.record.dtype
        if not tensor.numbers:
            return torch.empty(tensor.shape, dtype=dtype)
        data = bytearray((tensor.end - tensor.offset) * dtype.itemsize)
        self._file.seek(self._starts[tensor.record.key] + tensor.offset * dtype.itemsize)
        self._file.readinto(data)
        return torch.frombuffer(data, dtype=dtype).as_strided(tensor.shape, tensor.strides)

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


class _Directory:
    """A file that is never read more at once than a zip's list of records may have bytes."""

    def __init__(self, file: io.BufferedIOBase) -> None:
        self.seek, self.tell, self.seekable, self._read = file.seek, file.tell, file.seekable, file.read

    def read(self, size: int = -1) -> bytes:
        if size > MAX_DIRECTORY_BYTES:
            raise UsageError(
                f"their list of records has {size:,} bytes, more than the {MAX_DIRECTORY_BYTES:,} believed"
            )
        return self._read(size if size >= 0 else MAX_DIRECTORY_BYTES)


def _read(archive: zipfile.ZipFile, file: io.BufferedIOBase) -> tuple[dict[str, Described], dict[str, int]]:
    """The tensors by name, and where in the file the record of each key starts."""
    records = {each.filename: each for each in archive.infolist()}
    pickles = [name for name in records if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise UsageError("they are not in torch's format: a zip with one data.pkl is")
    folder = pickles[0].removesuffix("data.pkl")
    order = records.get(f"{folder}byteorder")
    if order and _content(archive, order, 10) != b"little":
        raise UsageError("they are of a machine with another order of bytes")
    tensors = _described(_content(archive, records[pickles[0]], MAX_PICKLE_BYTES))
    if sum(each.numbers * max(each.record.dtype.itemsize, 4) for each in tensors.values()) > MAX_WEIGHTS_BYTES:
        raise UsageError(f"they are more than {MAX_WEIGHTS_BYTES:,} bytes; Citrinet-1024 has 560 million")
    starts = dict[str, int]()
    for name, tensor in tensors.items():
        record = tensor.record
        stored = records.get(f"{folder}data/{record.key}")
        if stored is None or not _is_plain(stored) or stored.file_size != record.count * record.dtype.itemsize:
            raise UsageError(f"{name[:60]!r} has no record of {record.count} numbers")
        if record.key not in starts:
            starts[record.key] = _start(file, stored)
    return tensors, starts


def _is_plain(record: zipfile.ZipInfo) -> bool:
    """Whether a record is as it is: neither compressed nor encrypted."""
    return (
        record.compress_type == zipfile.ZIP_STORED
        and record.compress_size == record.file_size
        and not (record.flag_bits & 1)
    )


def _content(archive: zipfile.ZipFile, record: zipfile.ZipInfo, max_bytes: int) -> bytes:
    if not _is_plain(record) or record.file_size > max_bytes:
        raise UsageError(f"{record.filename[:60]!r} is compressed, or has more than {max_bytes:,} bytes")
    return archive.read(record)


def _start(file: io.BufferedIOBase, record: zipfile.ZipInfo) -> int:
    """Where a record's content starts. Raises UsageError where the file does not have all of it."""
    file.seek(record.header_offset)
    header = file.read(30)
    start = (
        record.header_offset + 30 + int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
    )
    size = file.seek(0, 2)
    if header[:4] != b"PK\x03\x04" or start + record.file_size > size:
        raise UsageError(f"{record.filename[:60]!r} lies beyond their end")
    return start


def _described(pickled: bytes) -> dict[str, Described]:
    """The tensors that a pickle describes, by name. Raises UsageError where it describes anything else."""
    told = _follow(pickled)
    if not isinstance(told, dict) or not told:
        raise UsageError("they are no mapping of names to tensors")
    for name, value in told.items():
        if not isinstance(value, Described):
            raise UsageError(f"they are other than names and dense tensors: {name[:60]!r} is {type(value).__name__}")
    return told


_LITERALS = frozenset({"BINUNICODE", "SHORT_BINUNICODE", "BINFLOAT", "BININT", "BININT1", "BININT2", "LONG1"})
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "MARK": _MARK, "EMPTY_TUPLE": ()}


def _follow(pickled: bytes) -> Any:
    """What the instructions of a pickle leave on their stack. Those that are needed for names and tensors are known."""
    stack, memo = list[Any](), dict[int, Any]()

    def since_mark() -> list[Any]:
        place = next(place for place in reversed(range(len(stack))) if stack[place] is _MARK)
        values = stack[place + 1 :]
        del stack[place:]
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
                stack.append(Named(argument.replace(" ", ".")))
            case "STACK_GLOBAL":
                name, module = stack.pop(), stack.pop()
                stack.append(Named(f"{module:.100}.{name:.100}"))
            case "BINPUT" | "LONG_BINPUT" | "MEMOIZE":
                memo[len(memo) if code.name == "MEMOIZE" else argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(code.name[-1])
                stack[-count:] = [tuple(stack[-count:])]
            case "TUPLE":
                stack.append(tuple(since_mark()))
            case "EMPTY_DICT":
                stack.append({})
            case "SETITEM" | "SETITEMS":
                values = since_mark() if code.name == "SETITEMS" else [stack.pop(), stack.pop()][::-1]
                if not all(isinstance(name, str) for name in values[::2]):  # the hash of others may take for ever
                    raise UsageError("they are other than names and dense tensors: a name is no text")
                stack[-1].update(zip(values[::2], values[1::2], strict=True))
            case "BINPERSID":
                stack.append(_record(stack.pop()))
            case "REDUCE":
                arguments, function = stack.pop(), stack.pop()
                stack.append(_made(function, arguments))
            case "BUILD":  # of a mapping: versions of the modules that the tensors are of
                stack.pop()
                if not isinstance(stack[-1], dict):
                    raise UsageError("they are other than names and dense tensors")
            case "STOP":
                return stack.pop()
            case other:
                raise UsageError(f"they are other than names and dense tensors: the pickle has {other}")
    raise UsageError("they end too early")


def _record(told: Any) -> Record:
    match told:
        case ("storage", Named(name), str(key), str(), int(count)) if name in _TYPES and 0 <= count < MAX_NUMBER:
            return Record(key, _TYPES[name], count)
    raise UsageError("they have a record of unknown type")


def _made(function: Any, arguments: Any) -> Any:
    """What a call would make that the pickle asks for: an empty mapping or a tensor, and nothing else."""
    match function, arguments:
        case Named("collections.OrderedDict"), ():
            return {}
        case Named("torch._utils._rebuild_tensor_v2"), (
            Record() as record,
            int(offset),
            tuple(shape),
            tuple(strides),
            *_,
        ):
            return _checked(Described(record, offset, shape, strides))
        case Named("torch._utils._rebuild_parameter"), (Described() as tensor, *_):
            return tensor
    named = function.name if isinstance(function, Named) else type(function).__name__
    raise UsageError(f"they are other than names and dense tensors: the pickle names {named[:60]!r}")


def _checked(tensor: Described) -> Described:
    """Raises UsageError where a tensor is not within its record, or has more numbers than are there."""
    if (
        len(tensor.shape) != len(tensor.strides)
        or len(tensor.shape) > MAX_DIMENSIONS
        or any(
            type(each) is not int or not 0 <= each < MAX_NUMBER
            for each in (tensor.offset, *tensor.shape, *tensor.strides)
        )
        or max(tensor.numbers, tensor.end) > tensor.record.count
    ):
        raise UsageError(f"a tensor does not fit its record of {tensor.record.count} numbers")
    return tensor
