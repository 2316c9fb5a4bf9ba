"""Picks one of the audio tracks of a container that may have several, as films do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from actors.schema import ErrorKind, RecordingError

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer

Track = int | str | None  # its number among the audio tracks, from 0, or its language in ISO 639-2; None: the best

#: The containers that may have several, by FFmpeg's names; of any other there is nothing to choose.
WITH_TRACKS = frozenset(
    {"matroska", "mov", "mpegts", "mpeg", "asf", "avi", "ogg", "nut", "wtv", "mxf", "gxf", "rm", "dv"}
)

#: Languages of which ISO 639-2 has two codes, the bibliographic one and the one of the language's own name.
_TWO_CODES = (
    "alb sqi arm hye baq eus bur mya chi zho cze ces dut nld fre fra geo kat ger deu gre ell ice isl mac mkd mao mri"
    " may msa per fas rum ron slo slk tib bod wel cym".split()
)
#: Codes of ISO 639-1, of languages that are widely spoken, with those of ISO 639-2.
_SHORT_CODES = (
    "ar ara bg bul bn ben ca cat cs ces cy cym da dan de deu el ell en eng es spa et est eu eus fa fas fi fin fr fra"
    " ga gle gl glg he heb hi hin hr hrv hu hun id ind is isl it ita ja jpn ko kor lt lit lv lav ms msa nb nob nl nld"
    " no nor pl pol pt por ro ron ru rus sk slk sl slv sr srp sv swe ta tam te tel th tha tr tur uk ukr ur urd vi vie"
    " zh zho".split()
)
_SAME = dict(zip((_TWO_CODES + _SHORT_CODES)[::2], (_TWO_CODES + _SHORT_CODES)[1::2], strict=True))
_UNSTATED = ("", "und", "mis", "mul", "zxx")


def pick_track(container: InputContainer, name: str, track: Track) -> AudioStream | None:
    """The audio stream to decode, None if there is none. `name` is the container's format.

    Of several in one language the default comes first. A single track that states no language is that of any. Raises
    RecordingError (unreadable), naming the tracks that there are, if none is the one that is asked for: another track
    says something else.
    """
    from av.audio.stream import AudioStream
    from av.stream import Disposition

    streams = list(container.streams.audio)
    if track is None or name not in WITH_TRACKS or not streams:
        best = container.streams.best("audio")
        return best if isinstance(best, AudioStream) else None
    languages = [_language(each.language) for each in streams]
    if isinstance(track, int):
        found = streams[track : track + 1]
    elif len(streams) == 1 and not languages[0]:
        found = streams
    else:
        found = [each for each, language in zip(streams, languages, strict=True) if language == _language(track)]
    if not found:
        known = ", ".join(f"{number} ({each or 'no language'})" for number, each in enumerate(languages[:20]))
        raise RecordingError(ErrorKind.UNREADABLE, f"audio.track is {track}, and the file has the tracks {known}")
    return max(found, key=lambda each: bool(each.disposition & Disposition.default))


def _language(stated: str | None) -> str:
    """A language as one code, "" if it is not stated: `fre` and `fra` are one, and `en-GB` is `en`."""
    match = re.match(r"[a-z]{2,8}(?![a-z])", (stated or "").lower())
    code = match[0] if match else ""
    return "" if code in _UNSTATED else _SAME.get(code, code)
