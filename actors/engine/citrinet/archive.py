"""Reads a `.nemo` file as data: its configuration, weights and tokenizer. Nothing that it names is built or run.

The file is a tar, plain or gzipped, of `model_config.yaml`, `model_weights.ckpt` and, for SentencePiece models, a
`.model`. Members are looked up by name and read in memory or through an unnamed temporary file, so no path in it
matters. The sizes of headers and members are bounded, and so is the total of a gzipped file.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from actors.engine.citrinet.finite import find_not_finite
from actors.engine.citrinet.layout import check_checkpoint
from actors.engine.citrinet.mistaken import no_file, what_it_is
from actors.engine.citrinet.records import read_records
from actors.foreign import plain_yaml
from actors.schema import MachineError, UsageError
from actors.storage.cache import sha256_of_open
from actors.storage.range_reader import RangeReader

if TYPE_CHECKING:
    import torch

MAX_CONFIG_BYTES = 4_000_000  # bytes; a vocabulary of 5000 characters makes a config of 200 kB
MAX_TOKENIZER_BYTES = 16_000_000  # bytes; SentencePiece models have a few hundred kB
MAX_CHECKPOINT_BYTES = 8_000_000_000  # bytes; Citrinet-1024 has 0.6 GB
MAX_EXPANSION = 8  # ratio of a gzipped file's content to its size: weights hardly compress
MAX_HEADER_BYTES = 1_000_000  # 512 per member, or 1,536 if its name is long; a checkpoint has three to ten
CONFIG, WEIGHTS = "model_config.yaml", "model_weights.ckpt"
_COPY_BYTES = 1 << 20  # per read when a member is unpacked


class Outline(NamedTuple):
    """What a `.nemo` holds without its weights; `tokenizer` is the file of its SentencePiece model, if it has one."""

    config: dict[str, object]
    tokenizer: bytes | None
    has_weights: bool


@dataclass(frozen=True)
class Archive:
    """The content of a `.nemo` that an engine needs. Tensors are read when they are accessed."""

    config: dict[str, object]
    weights: Mapping[str, torch.Tensor]
    tokenizer: bytes | None


def read_config(path: Path) -> dict[str, object]:
    """Reads the configuration alone. Raises UsageError if the file is not a `.nemo`."""
    return read_outline(path).config


def read_outline(path: Path) -> Outline:
    """Reads all but the weights. Raises UsageError if the file is not a `.nemo`."""
    with _open(path) as file, _translate_errors(file):
        members = _Members(file)
        config = members.config()
        return Outline(config, members.tokenizer(config), WEIGHTS in members)


def check_supported(path: Path) -> None:
    """Raises UsageError if the fused engine cannot run a `.nemo`, as far as its configuration, its tokenizer and its
    weights tell, whose numbers are only looked at."""
    with _open(path) as file, _translate_errors(file):
        members = _Members(file)
        config = members.config()
        tokenizer = members.tokenizer(config)
        with members.open(WEIGHTS) as checkpoint:
            try:
                tensors, starts = read_records(checkpoint)
            except UsageError as problem:
                raise UsageError(f"its weights cannot be read: {problem}") from None
            names = check_checkpoint(config, tensors, tokenizer)
            name = find_not_finite(checkpoint, tensors, starts, names)
    if name is not None:
        raise UsageError(f"its weights have in {name} values that are not finite")


def read_archive(path: Path, sha256: str | None = None) -> Archive:
    """Reads configuration, weights and tokenizer.

    Raises UsageError if the file is not a `.nemo`, its weights are not plain tensors, or its content does not have the
    SHA-256 given.
    """
    with _open(path) as file, _translate_errors(file):
        if sha256 is not None and sha256_of_open(file) != sha256:
            raise UsageError(f"its content is not what the run was planned with; if {path} is a copy, copy it again")
        members = _Members(file)
        config = members.config()
        tokenizer = members.tokenizer(config)
        checkpoint = members.unpack(WEIGHTS)
    return Archive(config, _weights(checkpoint), tokenizer)


@contextlib.contextmanager
def _open(path: Path) -> Iterator[io.BufferedIOBase]:
    """Opens a file. Raises UsageError if that fails, or it is a pipe or a device, which may never end."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UsageError(no_file(path))
        file = path.open("rb")
    except OSError as problem:
        raise MachineError(f"it cannot be read: {problem.strerror}") from None
    with file:
        yield file


@contextlib.contextmanager
def _translate_errors(file: io.BufferedIOBase) -> Iterator[None]:
    """Translates what tarfile and gzip raise for invalid bytes, a dozen kinds, to UsageError."""
    try:
        yield
    except (UsageError, MemoryError):
        raise
    except Exception as problem:  # noqa: BLE001 - tarfile and zlib raise a dozen kinds
        if isinstance(problem, OSError) and problem.errno:  # an error of this machine, such as a full disk
            raise MachineError(f"it cannot be read or unpacked: {problem.strerror}") from None
        raise UsageError(f"it is not a .nemo file: {what_it_is(file, problem)}") from None


def _weights(file: io.BufferedIOBase) -> Mapping[str, torch.Tensor]:
    from actors.engine.citrinet.weights import Weights  # torch imports slowly, and the driver needs no weights

    try:
        return Weights(file)
    except UsageError as problem:
        raise UsageError(f"its weights cannot be read: {problem}") from None


def _tokenizer_name(config: Mapping[str, object]) -> str:
    """The name of the member with the SentencePiece model; "" if none is configured."""
    tokenizer = config.get("tokenizer")
    model_path = tokenizer.get("model_path") if isinstance(tokenizer, dict) else None
    return os.path.basename(model_path.removeprefix("nemo:")) if isinstance(model_path, str) else ""


class _Members:
    """The members of a tar, by their names without folders."""

    def __init__(self, file: io.BufferedIOBase) -> None:
        """Raises UsageError if the members exceed the limits, or two have the same name and either could be read."""
        start = file.read(2)
        self._size = os.fstat(file.fileno()).st_size
        file.seek(0)
        is_gzipped = start == b"\x1f\x8b"  # NeMo before 1.7
        self._stream = gzip.GzipFile(fileobj=file) if is_gzipped else file
        self._max_bytes = (
            min(MAX_CHECKPOINT_BYTES, MAX_EXPANSION * self._size + MAX_CONFIG_BYTES)
            if is_gzipped
            else MAX_CHECKPOINT_BYTES
        )
        self._by_name = dict[str, tarfile.TarInfo]()
        headers = _HeaderStream(self._stream, self._max_bytes)
        with tarfile.open(fileobj=headers, mode="r:", encoding="utf-8") as archive:  # type: ignore[call-overload]  # it has what tarfile calls
            for member in archive:
                name = os.path.basename(member.name)
                # Another reader may take the other one.
                if name in self._by_name and name.endswith((".yaml", ".ckpt", ".model")):
                    raise UsageError(f"it is not a .nemo file: it holds {name[-60:]!r} twice")
                self._by_name.setdefault(name, member)

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def config(self) -> dict[str, object]:
        content = self.content(CONFIG, MAX_CONFIG_BYTES)
        try:
            config = plain_yaml.load(content)
        except UsageError as problem:
            raise UsageError(f"it is not a .nemo file: its {CONFIG}: {problem}") from None
        if not isinstance(config, dict):
            raise UsageError(f"it is not a .nemo file: its {CONFIG} is not a mapping")
        return config

    def content(self, name: str, max_bytes: int) -> bytes:
        """Reads a member into memory."""
        member = self._member(name, max_bytes)
        content = self._stream.read(member.size)
        if len(content) < member.size:
            raise UsageError(f"it is not a .nemo file: it ends early, within {name}; copy or download it again")
        return content

    def tokenizer(self, config: Mapping[str, object]) -> bytes | None:
        """The SentencePiece model; None if none is configured."""
        name = _tokenizer_name(config)
        return self.content(name, MAX_TOKENIZER_BYTES) if name else None

    def open(self, name: str) -> io.BufferedIOBase:
        """A member as a file. That of a gzipped file is unpacked, since seeking in it would take as long."""
        if isinstance(self._stream, gzip.GzipFile):
            return self.unpack(name)
        stream, start = self._stream, self._member(name, self._max_bytes).offset_data
        end = start + self._by_name[name].size

        def read(first: int, last: int) -> bytes:
            stream.seek(first)
            return stream.read(last - first)

        if end > self._size:
            raise UsageError(f"it is not a .nemo file: it ends early, within {name}; copy or download it again")
        return io.BufferedReader(RangeReader(read, end, _COPY_BYTES, start))

    def unpack(self, name: str) -> io.BufferedIOBase:
        """Copies a member to a temporary file, which is deleted when it is closed."""
        remaining = self._member(name, self._max_bytes).size
        folder = tempfile.gettempdir()
        if remaining > shutil.disk_usage(folder).free:
            raise MachineError(
                f"{folder} has no room for the {remaining:,} bytes of its {name}; set TMPDIR to another folder"
            )
        file = cast(io.BufferedIOBase, tempfile.TemporaryFile())  # noqa: SIM115 - closed by the caller
        while remaining:
            chunk = self._stream.read(min(remaining, _COPY_BYTES))
            if not chunk:
                raise UsageError(f"it is not a .nemo file: it ends early, within {name}; copy or download it again")
            file.write(chunk)
            remaining -= len(chunk)
        return file

    def _member(self, name: str, max_bytes: int) -> tarfile.TarInfo:
        """Looks up a member, and moves the stream to the start of its content."""
        member = self._by_name.get(name)
        if member is None or not member.isreg() or member.issparse():
            raise UsageError(f"it is not a .nemo file: it holds no {name[:60]}")
        if not 0 <= member.size <= max_bytes:
            raise UsageError(f"its {name[:60]} has {member.size:,} bytes, more than the limit of {max_bytes:,}")
        self._stream.seek(member.offset_data)
        return member


class _HeaderStream:
    """A stream for reading a tar's headers: forward only, with limits on what is read and what is skipped."""

    def __init__(self, stream: io.BufferedIOBase, max_bytes: int) -> None:
        self._stream, self._max_bytes, self._remaining = stream, max_bytes, MAX_HEADER_BYTES
        self.tell = stream.tell

    def read(self, size: int) -> bytes:
        self._remaining -= size
        if self._remaining < 0:
            raise UsageError(
                f"it is not a .nemo file: its members' headers have more than the limit of {MAX_HEADER_BYTES:,} bytes"
            )
        return self._stream.read(size)

    def seek(self, position: int) -> None:
        if position < self._stream.tell():
            raise UsageError("it is not a .nemo file: a member of it has a negative size")
        if position > self._max_bytes:
            raise UsageError(f"it is not a .nemo file: it holds more than the limit of {self._max_bytes:,} bytes")
        self._stream.seek(position)
