"""What a machine computes with."""

import ctypes
from pathlib import Path

_BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})  # of CPUs that multiply in bfloat16


def cpu_has_bfloat16() -> bool:
    """Whether this machine's CPU multiplies in bfloat16; False where that cannot be read."""
    try:
        return not _BFLOAT16_FLAGS.isdisjoint(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        return False


def count_gpus() -> int:
    """The number of this machine's NVIDIA GPUs, as their driver tells it, and as Ray counts them: by NVML.

    https://docs.nvidia.com/deploy/nvml-api/group__nvmlDeviceQueries.html
    """
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return 0
    count = ctypes.c_uint(0)
    if nvml.nvmlInit_v2():
        return 0
    failed = nvml.nvmlDeviceGetCount_v2(ctypes.byref(count))
    nvml.nvmlShutdown()
    return 0 if failed else count.value
