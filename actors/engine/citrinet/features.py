"""Log-mel features as NeMo's preprocessor computes them in evaluation, for a packed batch.

Pre-emphasis, frames of n_fft samples centred on every hop with zeros beyond the ends, window, power spectrum, mel
filters, log with a guard, and normalisation of each feature to mean 0 and deviation 1 over the recording's own frames.
Window and filters are those of the checkpoint. Source: NeMo, asr/parts/preprocessing/features.py.

The sound is packed like the features: a row is a hop, so that the frames of all recordings are one view of one array,
in which row r starts at sample r * hop. It is int16 if all recordings of the batch are, else float32. A sample stands
for the same value in both, so features do not depend on what a recording is packed with.
"""

from collections.abc import Mapping, Sequence
from typing import Generic

import numpy as np
import torch

from actors.audio.pcm import as_float
from actors.engine.citrinet.configuration import FeaturesConfig
from actors.engine.citrinet.layers import Form, Layers
from actors.engine.citrinet.packing import Packing, pack
from actors.schema import Waveform


def sample_type(batch: Sequence[Waveform]) -> torch.dtype:
    """The type in which a batch is packed."""
    return torch.int16 if all(pcm.dtype == np.int16 for pcm in batch) else torch.float32


class _Writable:
    """An array as if it were writable: torch warns of one that is not, as those over Ray's store are not."""

    def __init__(self, array: Waveform) -> None:
        interface = array.__array_interface__
        self.__array_interface__ = interface | {"data": (interface["data"][0], False)}
        self._array = array  # for as long as its memory is in use


def _tensor(array: Waveform) -> torch.Tensor:
    """An array's memory as a tensor, to be read."""
    return torch.from_numpy(array if array.flags.writeable else np.asarray(_Writable(array)))


class Features(Generic[Form]):
    """Computes normalised features (rows, mels) of a batch of waveforms."""

    def __init__(self, layers: Layers[Form], config: FeaturesConfig, tensors: Mapping[str, torch.Tensor]) -> None:
        self.n_fft, self.hop = config["n_fft"], config["hop"]
        window, filters = tensors["features.window"], tensors["features.filters"]
        margin = self.n_fft - len(window)
        window = torch.nn.functional.pad(window, (margin // 2, margin - margin // 2))
        self.mels = len(filters)
        self._log_mel, self._normalise = layers.log_mel(config, window, filters), layers.normalise
        #: The minimum gap, in rows, at which no frame overlaps two recordings.
        self.gap = -(-(self.n_fft // 2 + self.hop) // self.hop)

    def packing(self, batch: Sequence[Waveform], gap: int) -> Packing:
        """The packing of the recordings' features."""
        return pack([len(pcm) // self.hop for pcm in batch], max(gap, self.gap))

    def samples(self, rows: int) -> int:
        """Samples that the frames of that many rows cover."""
        return rows * self.hop + self.n_fft

    def packed(self, batch: Sequence[Waveform], packing: Packing) -> tuple[torch.Tensor, torch.Tensor]:
        """Packs a batch into new tensors: its sound, and the end of each recording; see `pack_sound`."""
        sound = torch.empty(self.samples(packing.rows), dtype=sample_type(batch))
        ends = torch.empty(len(batch), dtype=torch.int64)
        self.pack_sound(batch, packing, sound, ends)
        return sound, ends

    def pack_sound(self, batch: Sequence[Waveform], packing: Packing, sound: torch.Tensor, ends: torch.Tensor) -> None:
        """Writes the recordings to `sound`, of `samples(rows)` and the type `sample_type`, with zeros between them, and
        their ends to `ends`. Torch copies them all in one call, without the GIL."""
        firsts = packing.starts * self.hop + self.n_fft // 2
        lasts = firsts + np.array([len(pcm) for pcm in batch])
        ends.numpy()[: len(batch)] = lasts
        gaps = np.append(firsts, len(sound)) - np.append(0, lasts)  # before each recording, and after the last
        silence = torch.zeros(int(gaps.max()), dtype=sound.dtype)
        before, *others = (silence[:gap] for gap in gaps.tolist())
        parts = [before]
        for pcm, after in zip(batch, others, strict=True):
            parts += _tensor(pcm if sound.dtype == torch.int16 else as_float(pcm)), after
        torch.cat(parts, out=sound)

    def __call__(self, sound: torch.Tensor, ends: torch.Tensor, level: Form) -> torch.Tensor:
        """Features (rows, mels) of packed sound of `samples(rows)`; `level` is the form that the layers take."""
        return self._normalise(self._log_mel(sound, ends, level), level)
