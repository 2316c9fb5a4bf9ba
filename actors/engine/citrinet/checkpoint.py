"""Converted checkpoints: made from a `.nemo` once per machine, and cached by the file's SHA-256.

One safetensors file holds the weights, and in its metadata the configuration. It is written beside its
final path and renamed, by one of the processes that start at once; a damaged one is detected and replaced (`cache`).
"""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from filelock import FileLock
from safetensors import safe_open
from safetensors.torch import save_file

from actors.engine.citrinet.archive import read_archive
from actors.engine.citrinet.configuration import Configuration
from actors.engine.citrinet.conversion import convert
from actors.schema import UsageError
from actors.storage.cache import is_intact, new_file

VERSION = 3  # of the converted layout; incremented when `conversion` changes what it writes, or its checks


class LazyTensors(Mapping[str, torch.Tensor]):
    """The tensors of a safetensors file, each mapped when it is accessed, and freed when it is no longer used.

    An engine copies the weights to its own layout one by one, so there are never two copies of all in memory.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with safe_open(path, framework="pt") as file:
            self._names = frozenset(file.keys())

    def __getitem__(self, name: str) -> torch.Tensor:
        if name not in self._names:
            raise KeyError(name)
        with safe_open(self._path, framework="pt") as file:
            tensor: torch.Tensor = file.get_tensor(name)
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def load(nemo: Path, sha256: str, cache: Path) -> tuple[Configuration, LazyTensors]:
    """Loads the engine's configuration and tensors of a `.nemo` with that SHA-256.

    The file is only read, and hashed, if it was not converted before.

    Raises UsageError if it is another file, not a `.nemo`, or not of a kind that the fused engine supports; the latter
    with advice.
    """
    path = _path(sha256, cache)
    path.parent.mkdir(parents=True, exist_ok=True)  # for the lock
    with FileLock(f"{path}.lock"):
        if not is_intact(path):
            try:
                config, tensors = convert(read_archive(nemo, sha256))
            except UsageError as problem:
                raise UsageError(f"model.name: {nemo.name}: {problem}") from None
            with new_file(path, with_digest=True) as partial:
                save_file(tensors, partial, {"config": json.dumps(config)})
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()["config"]), LazyTensors(path)


def is_converted(sha256: str, cache: Path) -> bool:
    """Whether a `.nemo` with that SHA-256 was converted, and need not be read."""
    return _path(sha256, cache).exists()


def _path(sha256: str, cache: Path) -> Path:
    return cache / "converted" / f"{sha256}-{VERSION}.safetensors"


def stride(config: Configuration) -> int:
    """Frames of features per output frame."""
    return math.prod(layer["stride"] for block in config["blocks"] for layer in block["layers"])
