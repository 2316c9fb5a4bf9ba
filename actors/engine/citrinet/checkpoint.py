"""Converted checkpoints: made from a `.nemo` once per machine, kept in the cache folder by the file's SHA-256.

One safetensors file holds all: weights, tokenizer, and the configuration in its metadata. It is written beside its
place and renamed, by one process of many that start at once; a damaged one is noticed and made anew (`cache`).
"""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from safetensors import safe_open
from safetensors.torch import save_file

from actors.engine.citrinet.archive import read_archive
from actors.engine.citrinet.conversion import convert
from actors.schema import UsageError
from actors.storage.cache import add_to_cache, is_intact

VERSION = 2  # of the converted layout; raised when `conversion` changes what it writes, or believes less


class LazyTensors(Mapping[str, torch.Tensor]):
    """The tensors of a safetensors file, each mapped from it when asked for, and gone when its user lets go of it.

    An engine lays weights out anew one by one, so the file's copy and the engine's are never in memory together.
    """

    def __init__(self, place: Path) -> None:
        self._place = place
        with safe_open(place, framework="pt") as file:
            self._names = frozenset(file.keys())

    def __getitem__(self, name: str) -> torch.Tensor:
        if name not in self._names:
            raise KeyError(name)
        with safe_open(self._place, framework="pt") as file:
            tensor: torch.Tensor = file.get_tensor(name)
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def load(nemo: Path, sha256: str, cache: Path) -> tuple[dict[str, Any], LazyTensors]:
    """The engine's configuration and tensors of a `.nemo` with that SHA-256, which is read, and hashed, only where it
    was not converted before.

    Raises UsageError where it is another file, not a `.nemo`, or not of a kind that the fused engine knows; then with
    advice.
    """
    place = _place(sha256, cache)
    place.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{place}.lock"):
        if not is_intact(place):
            try:
                config, tensors = convert(read_archive(nemo, sha256))
            except UsageError as problem:
                raise UsageError(f"model.name: {nemo.name}: {problem}") from None
            partial = place.with_suffix(".partial")
            save_file(tensors, partial, {"config": json.dumps(config)})
            add_to_cache(place, partial)
    with safe_open(place, framework="pt") as file:
        return json.loads(file.metadata()["config"]), LazyTensors(place)


def is_converted(sha256: str, cache: Path) -> bool:
    """Whether a `.nemo` with that SHA-256 need not be read."""
    return _place(sha256, cache).exists()


def _place(sha256: str, cache: Path) -> Path:
    return cache / "converted" / f"{sha256}-{VERSION}.safetensors"


def stride(config: Mapping[str, Any]) -> int:
    """How many frames of features make an output frame."""
    return math.prod(layer["stride"] for block in config["blocks"] for layer in block["layers"])
