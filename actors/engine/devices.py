"""What a machine computes with."""

import ctypes
from pathlib import Path

_CPU_INFO = Path("/proc/cpuinfo")
_BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})  # of CPUs that multiply in bfloat16
_INT8_FLAGS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})  # of those that multiply 8-bit integers exactly
INT8_NEEDS = (
    "model.precision: int8 needs CPUs with VNNI or AMX (avx512_vnni, avx_vnni or amx_int8 among the flags in"
    " /proc/cpuinfo)"
)
NO_INT8 = f"{INT8_NEEDS}, and this machine's has none; use bfloat16 or float32"


def cpu_has_bfloat16() -> bool:
    """Whether this machine's CPU multiplies in bfloat16; False where that cannot be read."""
    return _cpu_has_any(_BFLOAT16_FLAGS)


def cpu_has_int8() -> bool:
    """Whether this machine's CPU multiplies 8-bit integers and adds in 32 bits; False where that cannot be read.

    Older ones add pairs of products in 16 bits, which they may exceed.
    """
    return _cpu_has_any(_INT8_FLAGS)


def _cpu_has_any(flags: frozenset[str]) -> bool:
    try:
        return not flags.isdisjoint(_CPU_INFO.read_text(encoding="utf-8").split())
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
