"""NeMo's own forward pass behind the engine's interface: the reference, and the only engine that imports NeMo."""

import contextlib
import logging
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from actors.audio.pcm import as_float
from actors.engine.citrinet.candidates import list_candidates
from actors.engine.interface import Capacity, Emission
from actors.foreign.errors import one_line
from actors.schema import SAMPLE_RATE, Floats, UsageError, Waveform


class NemoEngine:
    """A CTC model in evaluation mode on one device. Importing NeMo takes about 20 s, so it is imported on demand."""

    busy_seconds: float | None = None  # not measured
    capacity: Capacity | None = None  # shows by trying

    def __init__(self, checkpoint: Path, device: str, precision: str, candidates: int = 0) -> None:
        """Raises UsageError if the checkpoint cannot be loaded, or is not a CTC model for 16 kHz audio."""
        warnings.filterwarnings("ignore")
        from nemo.collections.asr.models import ASRModel, EncDecCTCModel
        from nemo.utils import logging as nemo_logging

        nemo_logging.setLevel(logging.ERROR)
        os.environ.pop("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", None)  # with it, torch would unpickle code
        try:
            model = ASRModel.restore_from(str(checkpoint), map_location=torch.device(device))
        except Exception as problem:  # noqa: BLE001 - a bad checkpoint may make NeMo raise anything
            reason = f"{type(problem).__name__}: {one_line(problem, 200)}"
            raise UsageError(f"{checkpoint.name} cannot be loaded: {reason}") from None
        if not isinstance(model, EncDecCTCModel):
            raise UsageError(f"{checkpoint.name} is a {type(model).__name__}, not a CTC model")
        rate = model.cfg.preprocessor.sample_rate
        if rate != SAMPLE_RATE:
            raise UsageError(f"{checkpoint.name} expects audio at {rate} Hz, but this job produces {SAMPLE_RATE} Hz")
        model.eval()
        # As in transcribe(): no random noise in the features, and no padding frames.
        model.preprocessor.featurizer.dither = 0.0
        model.preprocessor.featurizer.pad_to = 0
        self._model = model
        self._device = torch.device(device)
        self._bfloat16 = precision == "bfloat16"
        self._candidates = candidates
        self.blank = int(model.decoding.blank_id)
        # Measured, since every kind of encoder configures it differently.
        hop = round(model.cfg.preprocessor.window_stride * rate)
        (silence,) = self.transcribe([np.zeros(1_024 * hop, np.int16)])
        self.frame_samples = hop * round(1_024 / len(silence.best))

    def transcribe(self, batch: Sequence[Waveform]) -> list[Emission]:
        """Runs the model on a batch of waveforms, of any lengths.

        The features of each are computed alone. Where one hardly varies, as the high ones do in quiet telephone audio,
        normalisation amplifies the rounding of its mean, which depends on the width that NeMo sums over.
        """
        lower = torch.autocast(self._device.type, torch.bfloat16) if self._bfloat16 else contextlib.nullcontext()
        with torch.inference_mode(), lower:
            alone = [self._features(pcm) for pcm in batch]
            features = pad_sequence([each[0].T for each, _ in alone], batch_first=True).mT
            lengths = torch.cat([length for _, length in alone])
            log_probs, frames, best = self._model.forward(processed_signal=features, processed_signal_length=lengths)
            probability = log_probs.amax(dim=2).float().exp()
        rows = zip(log_probs.float(), best, probability.cpu().numpy(), frames.tolist(), strict=True)
        return [self._emission(scores[:count], ids[:count], likely[:count]) for scores, ids, likely, count in rows]

    def _emission(self, log_probs: torch.Tensor, best: torch.Tensor, likely: Floats) -> Emission:
        candidates = None
        if self._candidates:
            nothing = torch.zeros(len(log_probs), device=log_probs.device)
            candidates = list_candidates(log_probs, nothing, best, self._candidates)
        return Emission(best.cpu().numpy(), likely, candidates)

    def _features(self, pcm: Waveform) -> tuple[torch.Tensor, torch.Tensor]:
        """Features (1, mels, frames) of a recording, and how many of the frames count, (1,)."""
        signal = torch.tensor(as_float(pcm), device=self._device)[None]
        length = torch.tensor([len(pcm)], device=self._device)
        features, frames = self._model.preprocessor(input_signal=signal, length=length)
        return features, frames
