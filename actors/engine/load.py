"""Loads the engine that the settings name."""

from actors.engine.devices import NO_INT8, cpu_has_int8
from actors.engine.interface import Engine, EngineSettings
from actors.engine.models import ModelFile, fetch, locate
from actors.schema import UsageError
from actors.storage.cache import cache_folder


def check_device(device: str) -> None:
    """Raises UsageError if the device is not available."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            "model.device: cuda is asked for, and torch finds no GPU that it can use on this machine; set"
            " model.device=cpu"
        )


def load_engine(model: ModelFile, settings: EngineSettings) -> Engine:
    """Loads the engine that the settings name. Its imports take seconds (NeMo's twenty), so only actors call this.

    Raises UsageError if the weights are not the planned ones, the engine cannot use them, or the device is not
    available.
    """
    import torch

    check_device(settings.device)
    if settings.device == "cuda" and settings.precision == "bfloat16" and not torch.cuda.is_bf16_supported(False):
        raise UsageError("model.precision: this machine's GPU does not support bfloat16; use float32")
    if settings.precision == "int8":
        _check_int8(settings)
    if settings.engine == "nemo":
        from actors.engine.nemo import NemoEngine

        return NemoEngine(fetch(model), settings.device, settings.precision, settings.candidates)
    from actors.engine.citrinet.checkpoint import is_converted

    cache = cache_folder()
    nemo = locate(model) if is_converted(model.sha256, cache) else fetch(model)
    if settings.device == "cuda":
        from actors.engine.citrinet.gpu_engine import MIN_SECONDS, GpuEngine

        seconds = max(settings.max_padded_seconds, MIN_SECONDS)
        return GpuEngine(nemo, model.sha256, cache, "cuda", settings.precision, seconds, settings.candidates)
    from actors.engine.citrinet.engine import CitrinetEngine

    return CitrinetEngine(nemo, model.sha256, cache, settings.precision, settings.candidates)


def _check_int8(settings: EngineSettings) -> None:
    """Raises UsageError if the settings or this machine do not allow int8."""
    if settings.engine != "fused" or settings.device != "cpu":
        raise UsageError("model.precision: int8 is only for the fused engine on CPUs")
    if not cpu_has_int8():
        raise UsageError(NO_INT8)
