"""Log-mel features as NeMo's preprocessor computes them in evaluation, for a packed batch.

Pre-emphasis, frames of n_fft samples centred on every hop with zeros beyond the ends, window, power spectrum, mel
filters, log with a guard, and normalisation of each feature to mean 0 and deviation 1 over the recording's own frames.
Window and filters are those of the checkpoint. Source: NeMo, asr/parts/preprocessing/features.py.

The sound is packed like the features: a row is a hop, so that the frames of all recordings are one view of one array,
in which row r starts at sample r * hop.
"""

from collections.abc import Mapping, Sequence
from typing import Generic

import numpy as np
import torch
from numpy.typing import NDArray

from actors.engine.citrinet.configuration import FeaturesConfig
from actors.engine.citrinet.layers import Form, Layers
from actors.engine.citrinet.packing import Packing, pack
from actors.schema import Samples

Positions = NDArray[np.int64]


class Features(Generic[Form]):
    """Computes normalised features (rows, mels) from the PCM of a batch."""

    def __init__(self, layers: Layers[Form], config: FeaturesConfig, tensors: Mapping[str, torch.Tensor]) -> None:
        self.n_fft, self.hop = config["n_fft"], config["hop"]
        window, filters = tensors["features.window"], tensors["features.filters"]
        margin = self.n_fft - len(window)
        window = torch.nn.functional.pad(window, (margin // 2, margin - margin // 2))
        self.mels = len(filters)
        self._log_mel, self._normalise = layers.log_mel(config, window, filters), layers.normalise
        #: The minimum gap, in rows, at which no frame overlaps two recordings.
        self.gap = -(-(self.n_fft // 2 + self.hop) // self.hop)

    def packing(self, batch: Sequence[Samples], gap: int) -> Packing:
        """The packing of the recordings' features."""
        return pack([len(pcm) // self.hop for pcm in batch], max(gap, self.gap))

    def samples(self, rows: int) -> int:
        """Samples that the frames of that many rows cover."""
        return rows * self.hop + self.n_fft

    def packed(self, batch: Sequence[Samples], packing: Packing) -> tuple[torch.Tensor, torch.Tensor]:
        """Packs a batch into new tensors: its sound, and the end of each recording; see `pack_sound`."""
        sound, ends = np.empty(self.samples(packing.rows), np.int16), np.empty(len(batch), np.int64)
        self.pack_sound(batch, packing, sound, ends)
        return torch.from_numpy(sound), torch.from_numpy(ends)

    def pack_sound(self, batch: Sequence[Samples], packing: Packing, sound: Samples, ends: Positions) -> None:
        """Writes the recordings to `sound`, of `samples(rows)`, with zeros between them, and their ends to `ends`."""
        firsts = packing.starts * self.hop + self.n_fft // 2
        lasts = firsts + np.array([len(pcm) for pcm in batch])
        ends[: len(batch)] = lasts
        end = 0
        for pcm, first, last in zip(batch, firsts.tolist(), lasts.tolist(), strict=True):
            sound[end:first] = 0
            sound[first:last] = pcm
            end = last
        sound[end:] = 0

    def __call__(self, sound: torch.Tensor, ends: torch.Tensor, level: Form) -> torch.Tensor:
        """Features (rows, mels) of packed int16 sound of `samples(rows)`; `level` is the form that the layers take."""
        return self._normalise(self._log_mel(sound, ends, level), level)
