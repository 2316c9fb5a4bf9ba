"""A `.nemo` file read as data: its configuration, weights and tokenizer. Nothing that it names is built or run.

The file is a tar, plain or gzipped, of `model_config.yaml`, `model_weights.ckpt` and, for SentencePiece models, a
`.model`. Members are looked up by name and read in memory or through a temporary file of our own naming, so no path in
it matters. What each may grow to is bounded: its headers, its members, and what a gzipped one holds in all.
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
from typing import TYPE_CHECKING, Any, cast

from actors.foreign import plain_yaml
from actors.schema import UsageError
from actors.storage.cache import sha256_of_open

if TYPE_CHECKING:
    import torch

MAX_CONFIG_BYTES = 4_000_000  # bytes; a vocabulary of 5000 characters makes a config of 200 kB
MAX_TOKENIZER_BYTES = 16_000_000  # bytes; SentencePiece models have a few hundred kB
MAX_CHECKPOINT_BYTES = 8_000_000_000  # bytes; Citrinet-1024 has 0.6 GB
MAX_GROWTH = 8  # of what a gzipped file holds, to its own size: weights hardly compress
MAX_HEADERS = 1_000_000  # bytes; a member takes 512, or 1,536 where its name is long, and a checkpoint has three to ten
CONFIG, WEIGHTS = "model_config.yaml", "model_weights.ckpt"
_AT_ONCE = 1 << 20  # bytes


@dataclass(frozen=True)
class Archive:
    """What a `.nemo` holds that an engine needs. Tensors are read when they are asked for."""

    config: dict[str, Any]
    weights: Mapping[str, torch.Tensor]
    tokenizer: bytes | None


def read_config(path: Path) -> dict[str, Any]:
    """The configuration alone, without the weights. Raises UsageError where the file is not a `.nemo`."""
    with _opened(path) as file, _plain_errors():
        return _Members(file).config()


def read_archive(path: Path, sha256: str | None = None) -> Archive:
    """Everything. Raises UsageError where the file is not a `.nemo`, its weights are not plain tensors, or its content
    has another SHA-256 than the one given."""
    with _opened(path) as file, _plain_errors():
        if sha256 is not None and sha256_of_open(file) != sha256:
            raise UsageError(f"its content is not what the run was planned with; if {path} is a copy, make it anew")
        members = _Members(file)
        config = members.config()
        name = _tokenizer_name(config)
        tokenizer = members.content(name, MAX_TOKENIZER_BYTES) if name else None
        checkpoint = members.unpacked(WEIGHTS)
    return Archive(config, _weights(checkpoint), tokenizer)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[io.BufferedIOBase]:
    """The file, opened. Raises UsageError where it cannot be, or is a pipe or a device, which may never end."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UsageError("it is no file")
        file = path.open("rb")
    except OSError as problem:
        raise UsageError(f"it cannot be read: {problem.strerror}") from None
    with file:
        yield file


@contextlib.contextmanager
def _plain_errors() -> Iterator[None]:
    """What tarfile and gzip raise for bytes that are not theirs, a dozen kinds, as UsageError."""
    try:
        yield
    except (UsageError, MemoryError):
        raise
    except Exception as problem:  # noqa: BLE001 - tarfile and zlib raise a dozen kinds
        if isinstance(problem, OSError) and problem.errno:  # of this machine, such as a full disk
            raise UsageError(f"it cannot be read or unpacked: {problem.strerror}") from None
        reason = next(iter(str(problem).splitlines()), "")[:80] or type(problem).__name__
        raise UsageError(f"it is not a .nemo file: {reason}") from None


def _weights(file: io.BufferedIOBase) -> Mapping[str, torch.Tensor]:
    from actors.engine.citrinet.weights import (
        Weights,  # torch takes seconds to import, and the driver reads configurations only
    )

    try:
        return Weights(file)
    except UsageError as problem:
        raise UsageError(f"its weights cannot be read: {problem}") from None


def _tokenizer_name(config: Mapping[str, Any]) -> str:
    """The member that a SentencePiece model is in, "" where none is named."""
    tokenizer = config.get("tokenizer")
    wanted = tokenizer.get("model_path") if isinstance(tokenizer, dict) else None
    return os.path.basename(wanted.removeprefix("nemo:")) if isinstance(wanted, str) else ""


class _Members:
    """The members of a tar by their names without folders, each with where its content starts."""

    def __init__(self, file: io.BufferedIOBase) -> None:
        """Raises UsageError where there are more than can be believed, or two of a name that is read."""
        start = file.read(2)
        self._size = os.fstat(file.fileno()).st_size
        file.seek(0)
        is_gzipped = start == b"\x1f\x8b"  # NeMo's way before 1.7
        self._stream = gzip.GzipFile(fileobj=file) if is_gzipped else file
        self._max_bytes = (
            min(MAX_CHECKPOINT_BYTES, MAX_GROWTH * self._size + MAX_CONFIG_BYTES)
            if is_gzipped
            else MAX_CHECKPOINT_BYTES
        )
        self._found = dict[str, tarfile.TarInfo]()
        with tarfile.open(fileobj=_Headers(self._stream, self._max_bytes), mode="r:") as archive:  # type: ignore[call-overload]
            for member in archive:
                name = os.path.basename(member.name)
                if name in self._found and name.endswith(
                    (".yaml", ".ckpt", ".model")
                ):  # another reader may take the other
                    raise UsageError(f"it is not a .nemo file: it holds {name[-60:]!r} twice")
                self._found.setdefault(name, member)

    def config(self) -> dict[str, Any]:
        content = self.content(CONFIG, MAX_CONFIG_BYTES)
        try:
            config = plain_yaml.load(content)
        except UsageError as problem:
            raise UsageError(f"it is not a .nemo file: its {CONFIG}: {problem}") from None
        if not isinstance(config, dict):
            raise UsageError(f"it is not a .nemo file: its {CONFIG} holds no settings")
        return config

    def content(self, name: str, max_bytes: int) -> bytes:
        """A member in memory."""
        member = self._member(name, max_bytes)
        content = self._stream.read(member.size)
        if len(content) < member.size:
            raise UsageError(f"it is not a .nemo file: it ends within {name}")
        return content

    def unpacked(self, name: str) -> io.BufferedIOBase:
        """A member as a temporary file, which is gone when it is closed."""
        left = self._member(name, self._max_bytes).size
        folder = tempfile.gettempdir()
        if left > shutil.disk_usage(folder).free:
            raise UsageError(f"{folder} has no room for the {left:,} bytes of its {name}; TMPDIR names another folder")
        file = cast(io.BufferedIOBase, tempfile.TemporaryFile())  # noqa: SIM115 - the caller's
        while left:
            some = self._stream.read(min(left, _AT_ONCE))
            if not some:
                raise UsageError(f"it is not a .nemo file: it ends within {name}")
            file.write(some)
            left -= len(some)
        return file

    def _member(self, name: str, max_bytes: int) -> tarfile.TarInfo:
        """A member, with the stream at the start of its content."""
        member = self._found.get(name)
        if member is None or not member.isreg() or member.issparse():
            raise UsageError(f"it is not a .nemo file: it holds no {name[:60]}")
        if not 0 <= member.size <= max_bytes:
            raise UsageError(
                f"its {name[:60]} has {member.size:,} bytes, more than the {max_bytes:,} that are believed"
            )
        self._stream.seek(member.offset_data)
        return member


class _Headers:
    """A tar as it is read for its headers alone: forward, with what it skips and what it reads counted."""

    def __init__(self, stream: io.BufferedIOBase, max_bytes: int) -> None:
        self._stream, self._max_bytes, self._left = stream, max_bytes, MAX_HEADERS
        self.tell = stream.tell

    def read(self, size: int) -> bytes:
        self._left -= size
        if self._left < 0:
            raise UsageError(f"it is not a .nemo file: its members' headers have more than {MAX_HEADERS:,} bytes")
        return self._stream.read(size)

    def seek(self, position: int) -> None:
        if position < self._stream.tell():
            raise UsageError("it is not a .nemo file: a member of it has a negative size")
        if position > self._max_bytes:
            raise UsageError(
                f"it is not a .nemo file: it holds more than the {self._max_bytes:,} bytes that are believed"
            )
        self._stream.seek(position)
