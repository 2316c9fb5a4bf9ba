"""What reading a piece costs: seconds of CPU and of audio, by kind of file, for forecasts of later runs."""

import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any

from actors.formats import SECONDS_PER_BYTE
from actors.outcomes import Read
from actors.units import SourceObject

OTHER = "other"  # names that tell nothing; nobody's text becomes a key
COLD_SECONDS = 10.0  # of CPU: a process's first piece is not timed if it took less, since decoders are loaded with it
_is_cold = True  # this process has read no piece yet


def file_kind(source: SourceObject) -> str:
    """What decides how long a file takes to decode, as far as its name tells: `tar`, `parquet`, or a known suffix."""
    if source.is_container:
        return source.format
    suffix = source.uri.rpartition(".")[2].lower()
    return suffix if suffix in SECONDS_PER_BYTE else OTHER


class Costs:
    """Measures a piece that this process reads, in several threads.

    A thread's clock tells which file took how much; the process's clock tells how much it was in all, with what
    decoders do in threads of their own.
    """

    def __init__(self) -> None:
        global _is_cold  # of the process, as decoders are loaded
        self._is_cold, _is_cold = _is_cold, False
        self._began, self._lock = time.process_time(), threading.Lock()
        self._cpu, self._audio = defaultdict[str, float](float), defaultdict[str, float](float)

    @contextmanager
    def of(self, source: SourceObject) -> Iterator[None]:
        """Counts what this thread does within the block as the cost of a file."""
        began = time.thread_time()
        try:
            yield
        finally:
            took = time.thread_time() - began
            with self._lock:
                self._cpu[file_kind(source)] += took

    def decoded(self, source: SourceObject, rows: Sequence[dict[str, Any]]) -> None:
        """Counts the audio of a recording's rows, silence that was dropped within it included."""
        own = [row for row in rows if row["own"] and row.get("end_s") is not None]
        seconds = 0.0
        for _, channel in groupby(own, key=lambda row: row["channel"]):
            times = [(row["start_s"], row["end_s"]) for row in channel]
            seconds += max(end for _, end in times) - min(start for start, _ in times)
        with self._lock:
            self._audio[file_kind(source)] += seconds

    def reads(self) -> dict[str, Read]:
        """What was read until now, by kind of file."""
        in_files, whole = sum(self._cpu.values()), time.process_time() - self._began
        scale = max(whole / in_files, 1.0) if in_files else 1.0
        is_timed = not self._is_cold or whole >= COLD_SECONDS
        return {
            kind: Read(self._audio[kind], self._audio[kind] * is_timed, cpu * scale * is_timed)
            for kind, cpu in self._cpu.items()
        }
