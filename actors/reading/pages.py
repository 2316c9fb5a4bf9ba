"""How this process gets memory for sound."""

from numpy._core import multiarray


def decline_huge_pages() -> None:
    """Lets numpy take pages of ordinary size from now on.

    It asks the kernel for huge ones for arrays of 4 MB and more. Where memory is fragmented, as by files that the
    kernel keeps there, it moves other pages out of the way for each: that took up to 1.2 s of a CPU for an hour of
    decoded sound, and 0.1 s without. Numpy has a variable of the environment for it, NUMPY_MADVISE_HUGEPAGE, which it
    reads before a worker runs anything of ours, and this function, which is private (its version is pinned).
    """
    multiarray._set_madvise_hugepage(False)  # type: ignore[attr-defined]  # noqa: SLF001 - see above
