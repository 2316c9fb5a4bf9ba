"""Tells a device that failed from a batch that did, and runs batches as far as the device's memory goes."""

from actors.engine.interface import Emission, Engine, is_out_of_memory
from actors.schema import ErrorKind, RecordingError, Waveform


class DeviceFault(Exception):
    """The device failed: its context is lost to this process, which has to end. Nothing is known of any recording."""


def hear_within_memory(engine: Engine, batch: list[Waveform]) -> list[Emission | RecordingError]:
    """Runs an engine on a batch; one that does not fit the device's memory is split in halves. Raises DeviceFault."""
    import torch

    try:
        return list(engine.transcribe(batch))
    except torch.OutOfMemoryError:
        pass  # outside the handler, so that the traceback no longer holds the tensors of the failed pass
    except RuntimeError as problem:
        if not is_out_of_memory(problem):
            if has_failed(problem):
                raise DeviceFault(f"{type(problem).__name__}: {problem}") from problem
            raise
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if len(batch) == 1:
        detail = "the device's memory does not hold this segment even alone; lower segmentation.max_seconds"
        return [RecordingError(ErrorKind.OUT_OF_MEMORY, detail)]
    middle = len(batch) // 2
    return hear_within_memory(engine, batch[:middle]) + hear_within_memory(engine, batch[middle:])


def has_failed(problem: RuntimeError) -> bool:
    """Whether an exception is the device's. Those of Triton and of libraries are plain RuntimeErrors; but after most
    errors of CUDA the context is of no more use, which shows in whatever is tried next
    (https://docs.nvidia.com/cuda/cuda-runtime-api/group__CUDART__TYPES.html)."""
    import torch

    if isinstance(problem, torch.AcceleratorError):
        return True
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # torch has no types here
        return False
    try:
        torch.ones(1, device="cuda").item()
        torch.cuda.synchronize()
    except torch.OutOfMemoryError:
        return False
    except RuntimeError:
        return True
    return False
