"""Measures the sound of a piece while it is decoded, and so how a piece that has too much of it is to be cut."""

import math
import threading
from dataclasses import replace
from typing import Any

from actors.audio.decode import SoundLimitExceeded
from actors.audio.mix import MAX_CHANNELS, MINUTE
from actors.audio.segments import SegmentationSettings
from actors.pieces import MAX_PIECES, Cut, Piece
from actors.schema import SAMPLE_RATE
from actors.sources.recordings import Recording
from actors.units import SourceObject, nominal_seconds

MIN_SOUND_LIMIT_S = 7_200.0  # of sound that a piece may hold, however little was expected


def max_seconds(piece: Piece, segmentation: SegmentationSettings) -> float:
    """The seconds of sound that a piece may hold, of all channels together: at least the shortest stretch of as many as
    there may be."""
    shortest_s = segmentation.shortest_stretch_s + 2 * MINUTE  # decoding begins at a whole minute, and may end at one
    return max(2 * piece.cut.seconds, MIN_SOUND_LIMIT_S, MAX_CHANNELS * shortest_s)


class Heard:
    """Measures the sound of a piece while it is decoded, and so how a piece that has too much of it is to be cut."""

    def __init__(self, piece: Piece, segmentation: SegmentationSettings) -> None:
        self._piece, self._segmentation, self._lock = piece, segmentation, threading.Lock()
        self._held_samples = 0  # context of segments included
        self._seconds = self._nominal_s = 0.0  # of the recordings decoded so far
        self._recordings = 0

    def add(self, source: SourceObject, recording: Recording, rows: list[dict[str, Any]]) -> None:
        """Counts a recording and its rows. Raises SoundLimitExceeded if there is more than a piece may hold."""
        nominal_s = nominal_seconds(source) / self._piece.stretches
        if source.is_container:
            nominal_s *= (len(recording.content) if isinstance(recording.content, bytes) else 0) / max(source.size, 1)
        samples = sum(len(row["pcm"]) // (4 if row["is_float"] else 2) for row in rows if "pcm" in row)
        limit = max_seconds(self._piece, self._segmentation) * SAMPLE_RATE
        with self._lock:
            self._held_samples += samples
            self._seconds += sum(row["end_s"] - row["start_s"] for row in rows if "pcm" in row and row["own"])
            self._nominal_s += nominal_s
            self._recordings += 1
            if self._held_samples > limit:  # with its context, a recording may be too long that was not by itself
                channels = len({row["channel"] for row in rows})
                raise SoundLimitExceeded(rows[-1]["end_s"] if samples > limit else None, channels)

    def finer_cut(self, exceeded: SoundLimitExceeded) -> Cut:
        """The cut with which pieces hold about the seconds intended: with stretches if a recording is too long by
        itself, and shorter ones if each of its channels is one."""
        piece, cut = self._piece, self._piece.cut
        if exceeded.recording_s is not None:
            if exceeded.channels > 1:
                cut = replace(cut, seconds=min(cut.seconds, MIN_SOUND_LIMIT_S / 2 / exceeded.channels))
            stretch_s = (self._segmentation.stretch(cut.seconds, 0, 2).end or 0) / SAMPLE_RATE
            stretches = math.ceil(exceeded.recording_s / stretch_s * cut.stretches / piece.stretches)
            return replace(cut, stretches=max(stretches, cut.stretches + 1))
        shares = max(math.ceil(cut.shares * self._expected_seconds() / cut.seconds), 2 * cut.shares)
        most = MAX_PIECES // cut.stretches
        return replace(cut, shares=min(shares, most) if most > cut.shares else shares)

    def _expected_seconds(self) -> float:
        """The seconds of audio that the whole piece probably has; 0 if unknown."""
        piece, nominal_s = self._piece, [nominal_seconds(each) for each in self._piece.objects]
        if all(nominal_s) and self._nominal_s:
            return self._seconds / self._nominal_s * sum(nominal_s) / piece.ranges / piece.stretches
        is_countable = self._recordings and not any(each.is_container for each in piece.objects)
        return self._seconds / self._recordings * len(piece.objects) if is_countable else 0.0
