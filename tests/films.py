"""Films with sentences of the demo at known times: sound that begins late, and a gap in the container's times."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import soxr
from audio_files import RATE, Sound, scaled
from numpy.typing import NDArray

from actors.text.cer import character_errors

LATE_S, GAP_S = 3.0, 20.0  # before the first sound; in the middle, where the container has no packets
PAUSE_S = 1.5  # at least, between sentences
TOLERANCE_S = 0.1  # by which a sentence may be off
CHUNK_S = 10.0  # of sound and of pictures, written in turn
FILM_RATE = 44_100  # Hz; so packets do not last whole milliseconds, which some containers count in
_FASTEST = {"aac": {"aac_coder": "fast"}, "libmp3lame": {"compression_level": "9"}}
MISHEARD = 1  # characters of a sentence that a model may hear otherwise after a codec
FIRST_TOKEN_S = 0.8  # after the onset, at most; a model may tell a character when it has heard all of it
AUDIBLE = 0.02  # of full scale; what is before a sentence is quieter than this, even after a codec


@dataclass(frozen=True)
class Sentence:
    """What is said at `start_s` of the film's own time; `sound` is at 16 kHz."""

    start_s: float
    sound: Sound
    text: str

    @property
    def end_s(self) -> float:
        return self.start_s + len(self.sound) / RATE

    @property
    def onset_s(self) -> float:
        """When its first audible sample is."""
        return self.start_s + onset_of(self.sound) / RATE


def onset_of(sound: Sound) -> int:
    """The first audible sample."""
    loud = np.abs(sound) > AUDIBLE
    return int(np.argmax(loud)) if loud.any() else len(sound)


@dataclass(frozen=True)
class Script:
    """Where a film of a length has its sentences, and its gap: a whole chunk, in which nobody speaks."""

    sentences: tuple[Sentence, ...]
    seconds: float
    gap_s: float
    late_s: float = LATE_S

    @classmethod
    def of(cls, said: list[tuple[Sound, str]], seconds: float, every_s: float = 11.0) -> "Script":
        """One sentence about every `every_s` seconds, at times that are no whole seconds."""
        gap = seconds / 2 // CHUNK_S * CHUNK_S + LATE_S
        sentences, at = list[Sentence](), LATE_S + 0.137
        for number in range(round(seconds / every_s)):
            sound, text = said[number % len(said)]
            length = len(sound) / RATE
            if at < gap + GAP_S and at + length + PAUSE_S > gap:
                at = gap + GAP_S + 0.731
            if at + length + PAUSE_S > seconds:
                break
            sentences.append(Sentence(at, sound, text))
            at = max(at + every_s * (0.8 + 0.4 * (number * 0.618 % 1)), at + length + PAUSE_S)
        return cls(tuple(sentences), seconds, gap)

    def misplaced(self, pcm: NDArray[Any]) -> list[str]:
        """What is elsewhere in decoded samples at 16 kHz, or heard where the film has no sound."""
        sound, faults = scaled(pcm), list[str]()
        for each in self.sentences:
            begin = round((each.start_s - PAUSE_S + TOLERANCE_S) * RATE)
            heard_s = (begin + onset_of(sound[begin : begin + round(2 * PAUSE_S * RATE)])) / RATE
            if abs(heard_s - each.onset_s) > TOLERANCE_S:
                faults.append(f"the sentence at {each.onset_s:.3f} s is heard {heard_s - each.onset_s:+.3f} s later")
        for begin, end in ((0.0, self.late_s), (self.gap_s, self.gap_s + GAP_S)):
            if onset_of(sound[round(begin * RATE) : round(end * RATE)]) < round((end - begin) * RATE):
                faults.append(f"sound between {begin:.1f} and {end:.1f} s")
        return faults

    def chunks(self, rate: int) -> Iterator[tuple[float, Sound]]:
        """The sound from `late_s` on as it is stored, by its time in the film; without the gap."""
        resampled = {id(each.sound): soxr.resample(each.sound, RATE, rate) for each in self.sentences}
        for number in range(int((self.seconds - self.late_s) // CHUNK_S)):
            start = self.late_s + number * CHUNK_S
            if self.gap_s <= start < self.gap_s + GAP_S:
                continue
            chunk = np.zeros(round(CHUNK_S * rate), np.float32)
            for each in self.sentences:
                if each.end_s <= start or each.start_s >= start + CHUNK_S:
                    continue
                sound, offset = resampled[id(each.sound)], round((each.start_s - start) * rate)
                begin, end = max(offset, 0), min(offset + len(sound), len(chunk))
                chunk[begin:end] += sound[begin - offset : end - offset]
            yield start, chunk


def holes(rows: list[dict[str, Any]]) -> list[str]:
    """Where the segments of a recording do not follow each other, from its start to its end."""
    ends = [0.0, *(row["end_s"] for row in rows)]
    starts = [*(row["start_s"] for row in rows), rows[-1]["duration_s"]]
    return [f"{end:.3f} to {start:.3f} s" for end, start in zip(ends, starts, strict=True) if end != start]


def misread(script: Script, rows: list[dict[str, Any]]) -> list[str]:
    """Sentences whose text is not among the tokens of that time, or whose first token is not at their beginning."""
    tokens, faults = [token for row in rows for token in row["tokens"] or ()], list[str]()
    for each in script.sentences:
        heard = [token for token in tokens if each.start_s - 0.5 < token["start_s"] < each.end_s + 0.5]
        text = "".join(token["token"] for token in heard)
        if character_errors([(each.text, text)])[0] > MISHEARD:
            faults.append(f"the sentence at {each.start_s:.3f} s is {text!r} and not {each.text!r}")
        firsts = [token["start_s"] for token in heard if token["token"] == each.text[0]]
        if firsts and not -TOLERANCE_S < firsts[0] - each.onset_s < FIRST_TOKEN_S:
            faults.append(f"the sentence at {each.onset_s:.3f} s begins at {firsts[0]:.3f} s")
    return faults


def write_film(
    path: Path, container: str, codecs: list[str], script: Script, options: dict[str, str] | None = None
) -> None:
    """A film with a small picture and an audio track for each codec, all of one sound."""
    rate = 48_000 if "libopus" in codecs else FILM_RATE  # Opus has no other
    with av.open(str(path), "w", format=container, options=options or {}) as film:
        picture = film.add_stream(
            "flv1" if container == "flv" else "mpeg4", rate=2, width=32, height=32, pix_fmt="yuv420p"
        )
        tracks = []
        for codec in codecs:
            stream = film.add_stream(codec, rate=rate, layout="mono", options=_FASTEST.get(codec, {}))
            context = stream.codec_context
            context.bit_rate = 64_000
            context.open()  # only now is the size of its frames known
            converter = av.AudioResampler(format=context.format, layout="mono", rate=rate)
            tracks.append((stream, converter, _Framer(context.frame_size)))
        shown = 0
        for start, chunk in script.chunks(rate):
            while shown < 2 * (start + CHUNK_S):
                image = av.VideoFrame.from_ndarray(np.full((32, 32, 3), shown % 256, np.uint8), "rgb24")
                image.pts, image.time_base = shown, Fraction(1, 2)
                film.mux(picture.encode(image))
                shown += 1
            for stream, converter, framer in tracks:
                for pts, samples in framer.frames(round(start * rate), chunk):
                    frame = av.AudioFrame.from_ndarray(samples[None], "fltp", "mono")
                    frame.sample_rate, frame.pts, frame.time_base = rate, pts, Fraction(1, rate)
                    film.mux([packet for each in converter.resample(frame) for packet in stream.encode(each)])
        for stream, _, _ in tracks:
            film.mux(stream.encode(None))
        film.mux(picture.encode(None))


class _Framer:
    """Cuts sound into a codec's frames, each with its time. At a jump, what is left is filled up with silence."""

    def __init__(self, size: int) -> None:
        self._size, self._left, self._pts = size, np.zeros(0, np.float32), 0

    def frames(self, pts: int, sound: Sound) -> Iterator[tuple[int, Sound]]:
        if len(self._left) and self._pts + len(self._left) != pts:
            yield self._pts, np.pad(self._left, (0, self._size - len(self._left)))
            self._left = self._left[:0]
        if not len(self._left):
            self._pts = pts
        sound = np.concatenate([self._left, sound])
        whole = len(sound) // self._size * self._size
        for start in range(0, whole, self._size):
            yield self._pts + start, sound[start : start + self._size]
        self._pts, self._left = self._pts + whole, sound[whole:]
