"""Transcripts in their written form, with the times of what was said."""

from collections.abc import Sequence
from itertools import accumulate, chain, groupby
from typing import NamedTuple

from actors.parts.recordings import Row
from actors.text.normalise import join_texts
from actors.text.written.spans import units_of
from jobs.transcripts.read import Transcript
from jobs.transcripts.words import spread_evenly


class _Character(NamedTuple):
    """A character that was said, and the number of its token."""

    start: float
    end: float
    token: int


def as_written(transcript: Transcript, with_times: bool = False) -> Transcript:
    """A recording with the written form of each segment in place of its text, and with units of that as its tokens; a
    segment without a written form stays as it is. `with_times` gives tokens to a segment that has none, by spreading
    what was said evenly over it."""
    rows = [_as_written(row, with_times) for row in transcript.rows]
    return Transcript(rows, transcript.is_dialogue, transcript.fault)


def written_text(transcript: Transcript) -> str | None:
    """The written form of a recording, with the text of segments that have none; None if no segment has one."""
    if all(row.get("written") is None for row in transcript.rows):
        return None
    return join_texts(_written(row) for row in transcript.rows)


def _written(row: Row) -> str | None:
    text: str | None = row["text"]
    return text if text is None or row.get("written") is None else str(row["written"])


def _as_written(row: Row, with_times: bool) -> Row:
    text, written = row["text"], _written(row)
    if text is None or written is None or written == text:
        return row
    tokens = [token for token in row["tokens"] or () if token["token"]]
    if text and not tokens and with_times:
        spread = spread_evenly(text, row["start_s"], row["end_s"])
        tokens = [
            {"token": each.text, "start_s": each.start, "end_s": each.end, "confidence": row["confidence"]}
            for each in spread
        ]
    return row | {"text": written, "tokens": _units(tokens, written) if tokens else row["tokens"]}


def _units(tokens: Sequence[Row], written: str) -> list[Row]:
    """The units of a written form as tokens. Each has the time of the characters that it stands for, which share that
    of their token evenly. Several that stand for the same, as 12.5 and 元 do for 十二块五, share their time by their
    lengths."""
    said = "".join(token["token"] for token in tokens)
    characters = list(chain.from_iterable(_characters(token, number) for number, token in enumerate(tokens)))
    found = list[Row]()
    for (begin, end), units in groupby(units_of(said, written), key=lambda unit: unit[1:]):
        pieces = [unit.written for unit in units]
        start, stop = characters[begin].start, characters[end - 1].end
        own = tokens[characters[begin].token : characters[end - 1].token + 1]
        confidence = sum(token["confidence"] for token in own) / len(own)
        lengths = [0, *accumulate(map(len, pieces))]
        times = [start + (stop - start) * length / lengths[-1] for length in lengths[:-1]] + [stop]
        found += [
            {"token": piece, "start_s": times[place], "end_s": times[place + 1], "confidence": confidence}
            for place, piece in enumerate(pieces)
        ]
    return found


def _characters(token: Row, number: int) -> list[_Character]:
    """The characters of a token, with its begin and its end exactly."""
    start, count = token["start_s"], len(token["token"])
    step = (token["end_s"] - start) / count
    edges = [*(start + step * place for place in range(count)), token["end_s"]]
    return [_Character(edges[place], edges[place + 1], number) for place in range(count)]
