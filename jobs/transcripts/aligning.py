"""Aligns the references of a part to what was heard, writes them, and sums them up."""

import heapq
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, islice, pairwise

import numpy as np
import pyarrow as pa

from actors.engine.vocabulary import Vocabulary
from actors.parts.part import PartWriter
from actors.parts.recordings import have_one_reference
from actors.parts.stored import Commit
from actors.storage.place import Place
from actors.text.forced import Aligner, ForcedAlignment, Unaligned
from jobs.transcripts.aligned import ALIGNED_SCHEMA, aligned_name, rows_of
from jobs.transcripts.failures import Failures
from jobs.transcripts.heard import HeardRecording, Kept, heard_in_parts
from jobs.transcripts.out_files import write_below

QUANTILES = (0.001, 0.01, 0.05, 0.25, 0.5)
MAX_SHOWN_TEXT = 300  # characters
ROWS_AT_ONCE = 1_000


@dataclass(frozen=True, order=True)
class Low:
    """A segment with a low score; those with the lowest are the greatest."""

    lowness: float
    recording_id: str
    segment_index: int
    reference: str
    transcript: str


@dataclass
class Aligned:
    """What was aligned: counts, the scores of segments, and the `shown` with the lowest."""

    shown: int
    min_score: float
    counts: Counter[str] = field(default_factory=Counter)
    scores: "array[float]" = field(default_factory=lambda: array("f"))
    lowest: list[Low] = field(default_factory=list)  # a heap
    failed: Failures = field(default_factory=Failures)
    problems: list[str] = field(default_factory=list)
    kept: Kept = field(default_factory=Kept)
    files: dict[str, str] = field(default_factory=dict)  # that were written, by unit

    def add(self, recording: HeardRecording, aligned: ForcedAlignment) -> None:
        """Adds a recording."""
        self.counts[aligned.unaligned or "aligned"] += 1
        self.counts["with_left_out"] += aligned.left_out > 0
        self.counts["left_out"] += aligned.left_out
        for row, segment in zip(recording.rows, aligned.segments, strict=True):
            if segment.score is not None:
                self.scores.append(segment.score)
                self.counts["suspicious"] += segment.score < self.min_score
                texts = (each[:MAX_SHOWN_TEXT] for each in (segment.reference, row["text"] or ""))
                self._show(Low(-segment.score, row["recording_id"], row["segment_index"], *texts))

    def __iadd__(self, other: "Aligned") -> "Aligned":
        self.counts += other.counts
        self.scores += other.scores
        for each in other.lowest:
            self._show(each)
        self.failed.merge(other.failed)
        self.problems += other.problems
        self.kept = Kept(self.kept.recordings + other.kept.recordings, self.kept.lacking + other.kept.lacking)
        self.files |= other.files
        return self

    def _show(self, low: Low) -> None:
        if len(self.lowest) < self.shown:
            heapq.heappush(self.lowest, low)
        elif self.shown:
            heapq.heappushpop(self.lowest, low)

    def quantiles(self) -> dict[str, float]:
        """Scores by the share of segments that have a lower one."""
        if not self.scores:
            return {}
        found = np.quantile(np.frombuffer(self.scores, np.float32), QUANTILES)
        return {f"{share:g}": round(float(score), 3) for share, score in zip(QUANTILES, found, strict=True)}


@dataclass
class PartAligner:
    """Aligns the references of parts of an output to what the model of a SHA-256 heard, and writes them below a
    folder. Made to be sent to other processes."""

    vocabulary: Vocabulary = field(repr=False)
    sha256: str
    output: Place
    folder: Place
    shown: int
    min_score: float

    @cached_property
    def _aligner(self) -> Aligner:
        return Aligner(self.vocabulary)

    def __call__(self, commit: Commit) -> Aligned:
        """Aligns the references of a part. What is wrong with it, or with one of its recordings, is in the result.
        Raises OSError if the storage fails."""
        done, writer = Aligned(self.shown, self.min_score), PartWriter(ALIGNED_SCHEMA)
        found = heard_in_parts(self.output, [commit], done.problems, done.kept)
        rows = chain.from_iterable(rows_of(each.rows, aligned) for each, aligned in self._aligned(found, done))
        while batch := list(islice(rows, ROWS_AT_ONCE)):
            writer.add(pa.Table.from_pylist(batch, schema=ALIGNED_SCHEMA))
            done.files[commit.unit] = aligned_name(commit)
        if commit.unit in done.files:
            write_below(self.folder, done.files[commit.unit], writer.finish())
        return done

    def _aligned(
        self, recordings: Iterable[HeardRecording], done: Aligned
    ) -> Iterator[tuple[HeardRecording, ForcedAlignment]]:
        """Those recordings that have a reference, with it aligned."""
        was_shared = False
        for each, following in pairwise(chain(recordings, [None])):
            assert each
            is_shared = following is not None and have_one_reference(each.first, following.first)
            if self._is_to_align(each, done.counts):
                try:
                    aligned = self._align(each, is_shared or was_shared)
                except Exception as problem:  # noqa: BLE001 - of this recording: nothing is stored here
                    done.failed.add(each.first["recording_id"], problem)
                else:
                    done.add(each, aligned)
                    yield each, aligned
            was_shared = is_shared

    def _is_to_align(self, recording: HeardRecording, counts: Counter[str]) -> bool:
        """Whether a recording has a reference, and was heard by this model."""
        if not recording.has_reference:
            counts["without_reference"] += 1
            return False
        if recording.first["model_sha256"] != self.sha256:
            counts["of_other_model"] += 1
            return False
        return True

    def _align(self, recording: HeardRecording, is_shared: bool) -> ForcedAlignment:
        """`is_shared` tells whether the recording is one of several channels with one reference."""
        rows, reference = recording.rows, recording.first["reference"]
        if is_shared:
            return self._aligner.unaligned(reference, len(rows), Unaligned.OF_ALL_CHANNELS)
        unheard = [
            (row["start_s"], row["end_s"]) if row["error_kind"] and row["end_s"] is not None else None for row in rows
        ]
        return self._aligner(reference, recording.heard, unheard)
