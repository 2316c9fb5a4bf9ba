"""Log-mel features as NeMo's preprocessor makes them in evaluation, for a packed batch.

Pre-emphasis, frames of n_fft samples centred on every hop with zeros beyond the ends, window, power spectrum, mel
filters, log with a guard, and normalisation of each feature to mean 0 and deviation 1 over the recording's own frames.
Window and filters are those of the checkpoint. Source: NeMo, asr/parts/preprocessing/features.py.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from actors.citrinet.layers import Pointwise
from actors.citrinet.packing import Packing
from actors.schema import Samples

STD_GUARD = 1e-5  # NeMo adds it to every deviation


class Features:
    """PCM of a batch to normalised features (rows, mels) in a packing with room for the first convolutions."""

    def __init__(self, config: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], device: torch.device) -> None:
        self._n_fft, self._hop = int(config["n_fft"]), int(config["hop"])
        self._preemphasis, self._power = config["preemphasis"], float(config["power"])
        self._guard, self._clamps = float(config["guard"]), config["guard_type"] == "clamp"
        window = tensors["features.window"]
        margin = self._n_fft - len(window)
        self._window = torch.nn.functional.pad(window, (margin // 2, margin - margin // 2)).to(device)
        filters = tensors["features.filters"]
        self._mel = Pointwise(filters, torch.zeros(len(filters)), device, torch.float32)
        self._device = device

    def frames(self, samples: int) -> int:
        return samples // self._hop

    def __call__(self, batch: Sequence[Samples], gap: int) -> tuple[torch.Tensor, Packing]:
        packing = Packing(tuple(self.frames(len(pcm)) for pcm in batch), gap)
        frames = torch.cat([self._frames_of(pcm) for pcm in batch])
        spectrum = torch.fft.rfft(frames * self._window)
        power = spectrum.real.square() + spectrum.imag.square()
        if self._power != 2.0:
            power = power.pow(self._power / 2)
        mel = self._mel(power)
        log = torch.log(mel.clamp(min=self._guard) if self._clamps else mel + self._guard)
        features = torch.zeros(packing.rows, log.shape[1], device=self._device)
        for rows, part in zip(packing.slices, torch.split(log, list(packing.lengths)), strict=True):
            features[rows] = _normalised(part)
        return features, packing

    def _frames_of(self, pcm: Samples) -> torch.Tensor:
        """Overlapping frames of one recording, shape (frames, n_fft); a view of its padded samples."""
        sound = torch.from_numpy(pcm).to(self._device).float() / 32_768
        padded = torch.zeros(len(sound) + self._n_fft, device=self._device)
        inside = padded[self._n_fft // 2 : self._n_fft // 2 + len(sound)]
        inside.copy_(sound)
        if self._preemphasis is not None:
            inside[1:] -= self._preemphasis * sound[:-1]
        return padded.unfold(0, self._n_fft, self._hop)[: self.frames(len(pcm))]


def _normalised(log: torch.Tensor) -> torch.Tensor:
    """Features (frames, mels) of one recording with mean 0 and deviation 1 each.

    The sums run as NeMo's do for the recording alone: along time, with one masked frame at the end. In digital silence
    all frames are equal, what is left after the mean is its rounding, and STD_GUARD blows that up: only the same sums
    in the same order give NeMo's text there.
    """
    frames = len(log)
    wide = torch.nn.functional.pad(log.T, (0, 1)).contiguous()
    mean = wide.sum(dim=1, keepdim=True) / frames
    centred = wide - mean
    centred[:, frames] = 0
    deviation = (centred.square().sum(dim=1, keepdim=True) / (frames - 1)).sqrt()
    return (centred[:, :frames] / (deviation + STD_GUARD)).T
