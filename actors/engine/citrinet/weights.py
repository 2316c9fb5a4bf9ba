"""The weights of a checkpoint, read tensor by tensor from torch's file format."""

import io
from collections.abc import Iterator, Mapping

import torch

from actors.engine.citrinet.records import read_records


class Weights(Mapping[str, torch.Tensor]):
    """The tensors of a file by name, each read when it is accessed."""

    def __init__(self, file: io.BufferedIOBase) -> None:
        """Raises UsageError if the file is anything but a flat mapping of names to dense tensors."""
        self._file = file
        self._tensors, self._starts = read_records(file)

    def __getitem__(self, name: str) -> torch.Tensor:
        tensor = self._tensors[name]
        record = tensor.record
        dtype: torch.dtype = getattr(torch, record.dtype.name)
        if not tensor.numel:
            return torch.empty(tensor.shape, dtype=dtype)
        data = bytearray((tensor.end - tensor.offset) * record.dtype.itemsize)
        self._file.seek(self._starts[record.key] + tensor.offset * record.dtype.itemsize)
        self._file.readinto(data)
        return torch.frombuffer(data, dtype=dtype).as_strided(tensor.shape, tensor.strides)

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)
