"""A `.nemo` file read as data: its configuration, weights and tokenizer. Nothing that it names is built or run.

The file is a tar of `model_config.yaml`, `model_weights.ckpt` and, for SentencePiece models, a `.model`. Members are
looked up by name and read in memory or through a temporary file of our own naming, so no path in it matters; weights
are read with `weights_only=True`, which builds tensors and nothing else.
"""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from actors.schema import UsageError

if TYPE_CHECKING:
    import torch

MAX_CONFIG_BYTES = 16_000_000  # a vocabulary of 5000 characters makes a config of 200 kB
MAX_TOKENIZER_BYTES = 64_000_000  # SentencePiece models have a few hundred kB


@dataclass(frozen=True)
class Archive:
    """What a `.nemo` holds that an engine needs."""

    config: dict[str, Any]
    weights: dict[str, torch.Tensor]
    tokenizer: bytes | None


def read_config(path: Path) -> dict[str, Any]:
    """The configuration alone, without the weights. Raises UsageError where the file is not a `.nemo`."""
    try:
        with tarfile.open(path) as archive:
            return _config(archive)
    except (tarfile.TarError, EOFError, yaml.YAMLError) as problem:
        raise UsageError(f"it is not a .nemo file: {problem}") from None


def read_archive(path: Path) -> Archive:
    """Everything. Raises UsageError where the file is not a `.nemo`, or its weights are not plain tensors."""
    import torch  # seconds to import, and the driver reads configurations only

    try:
        with tarfile.open(path) as archive, tempfile.TemporaryFile() as file:
            config = _config(archive)
            tokenizer = config.get("tokenizer")
            wanted = str((tokenizer or {}).get("model_path") or "").removeprefix("nemo:")
            pieces = _content(archive, os.path.basename(wanted), MAX_TOKENIZER_BYTES) if wanted else None
            checkpoint = archive.extractfile(_member(archive, "model_weights.ckpt"))
            assert checkpoint is not None  # _member found a regular file
            shutil.copyfileobj(checkpoint, file, 1 << 24)
            file.seek(0)
            weights = torch.load(file, map_location="cpu", weights_only=True)
    except (tarfile.TarError, EOFError, yaml.YAMLError) as problem:
        raise UsageError(f"it is not a .nemo file: {problem}") from None
    except Exception as problem:  # torch.load raises a dozen kinds, all of which mean the same here
        reason = next(iter(str(problem).splitlines()), "")
        raise UsageError(f"its weights cannot be read: {type(problem).__name__}: {reason}") from None
    return Archive(config, weights, pieces)


def _config(archive: tarfile.TarFile) -> dict[str, Any]:
    content = _content(archive, "model_config.yaml", MAX_CONFIG_BYTES)
    config = yaml.load(content, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    if not isinstance(config, dict):
        raise tarfile.ReadError("its model_config.yaml holds no settings")
    return config


def _member(archive: tarfile.TarFile, name: str) -> tarfile.TarInfo:
    for member in archive:
        if os.path.basename(member.name) == name and member.isreg():
            return member
    raise tarfile.ReadError(f"it holds no {name}")


def _content(archive: tarfile.TarFile, name: str, limit: int) -> bytes:
    member = _member(archive, name)
    if member.size > limit:
        raise tarfile.ReadError(f"its {name} has {member.size} bytes, more than the {limit} that are believed")
    file = archive.extractfile(member)
    return file.read() if file else b""
