"""What a machine computes with."""

from pathlib import Path

_BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})  # of CPUs that multiply in bfloat16


def cpu_has_bfloat16() -> bool:
    """Whether this machine's CPU multiplies in bfloat16; False where that cannot be read."""
    try:
        return not _BFLOAT16_FLAGS.isdisjoint(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return False
