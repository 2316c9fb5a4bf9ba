"""Groups objects into units and cuts units into pieces, by estimated seconds of audio."""

import json
import math
from collections.abc import Iterable

from actors.units import Piece, SourceObject, Unit

#: Seconds of audio per byte, by suffix: of PCM at 16 kHz, mono, 16 bit, or at the usual bit rates for speech.
_SECONDS_PER_BYTE = {
    **dict.fromkeys((".wav", ".wave", ".w64", ".aif", ".aiff", ".au", ".snd", ".caf", ".sph"), 1 / 32_000),
    **dict.fromkeys((".mp3", ".m4a", ".mp4", ".aac", ".wma", ".ogg", ".webm"), 1 / 8_000),
    **dict.fromkeys((".opus", ".amr"), 1 / 3_000),
}
_DEFAULT_SECONDS_PER_BYTE = 1 / 16_000  # of FLAC, and of shards, which mostly hold FLAC

CUT_ABOVE_TARGETS = 1.5  # an object with more than this many targets of audio is cut into pieces
MAX_CLAIMED_SECONDS = 4 * 3_600.0  # limit of a manifest entry's duration if the size of its file is unknown
BYTES_PER_SECOND = 500  # minimum of audio, limits a manifest's duration by the file's size; AMR has 600
MAX_PLANNED_PIECES = 10_000  # of a unit when planned; a sparse file can have any size


def group_by_size(objects: Iterable[SourceObject], target_seconds: float) -> list[list[SourceObject]]:
    """Groups objects, in order, into units of about `target_seconds`. A larger object has a unit of its own."""
    groups, filled = list[list[SourceObject]](), 0.0
    for each in objects:
        seconds = estimated_seconds(each)
        if not groups or filled + seconds > target_seconds:
            groups.append([])
            filled = 0.0
        groups[-1].append(each)
        filled += seconds
    return groups


def estimated_seconds(source: SourceObject) -> float:
    """Estimates an object's seconds of audio from its manifest's duration, or from its size and suffix; 0 if refused.

    A manifest's duration is capped at what its file can hold.
    """
    if source.refusal:
        return 0.0
    if source.format == "manifest":
        duration = json.loads(source.lines or "{}").get("duration")
        if duration is not None:
            return min(float(duration), source.size / BYTES_PER_SECOND if source.size else MAX_CLAIMED_SECONDS)
    suffix = "." + source.uri.rsplit(".", 1)[-1].lower()
    return source.size * _SECONDS_PER_BYTE.get(suffix, _DEFAULT_SECONDS_PER_BYTE)


def pieces_of(unit: Unit, seconds: float, min_stretch_s: float = 0.0) -> list[Piece]:
    """Cuts a unit into pieces: one, unless its object is much larger than the target.

    Stretches of recordings are at least `min_stretch_s` long. If the estimate is too low, the reader requests a recut
    (`units.Recut`).
    """
    expected = sum(map(estimated_seconds, unit.objects))
    if len(unit.objects) != 1 or unit.objects[0].limit or expected <= CUT_ABOVE_TARGETS * seconds:
        return [Piece(unit, seconds)]
    if unit.objects[0].format in ("tar", "parquet"):
        return Piece(unit, seconds, ranges=min(math.ceil(expected / seconds), MAX_PLANNED_PIECES)).all()
    stretches = min(math.ceil(expected / max(seconds, min_stretch_s)), MAX_PLANNED_PIECES)
    return Piece(unit, seconds, stretches=stretches).all()
