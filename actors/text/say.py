"""Says what was heard: decodes emissions to texts, token times and confidences."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from actors.engine.vocabulary import TokenDecoder
from actors.schema import KEY, PART_SCHEMA
from actors.text.beam import State
from actors.text.decoding import Decoded, Decoder, GreedyDecoder
from actors.text.emissions import Heard, heard_in

_TOKEN = PART_SCHEMA.field("tokens").type.value_type
_ALTERNATIVES = PART_SCHEMA.field("alternatives").type


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """The text decoded from a segment, its confidence in 0..1, and its tokens: the text that each adds, its begin and
    end in seconds from the recording's start, and its confidence, all (tokens,). `alternatives` are its best texts
    with their scores, as of PART_SCHEMA."""

    text: str
    confidence: float
    tokens: list[str]
    begins: NDArray[np.float64]
    ends: NDArray[np.float64]
    confidences: NDArray[np.float64]
    alternatives: list[dict[str, object]]


def hypothesis_of(heard: Heard, decoded: Decoded, vocabulary: TokenDecoder, with_tokens: bool = True) -> Hypothesis:
    """The text of a segment that was decoded.

    Its confidence is the mean of its tokens', or of its frames' where it has no token.
    """
    tokens = decoded.tokens
    ids = tokens.ids.tolist()
    confidences = tokens.confidences if ids else heard.probability
    return Hypothesis(
        vocabulary.text(ids),
        float(confidences.mean()) if len(confidences) else 0.0,
        vocabulary.token_texts(ids) if with_tokens else [],
        np.maximum(heard.start_s + tokens.begins * heard.frame_s, 0.0),
        np.minimum(heard.start_s + tokens.ends * heard.frame_s, heard.end_s),
        tokens.confidences,
        [each._asdict() for each in decoded.alternatives],
    )


class Speaker:
    """Makes rows of parts from what was heard, with one vocabulary and one decoder, a greedy one if it is not
    given.

    Tables that share a recording come one after the other: its next segment is decoded from where the last one ended.
    """

    def __init__(self, vocabulary: TokenDecoder, with_tokens: bool, decoder: Decoder | None = None) -> None:
        self._vocabulary, self._with_tokens = vocabulary, with_tokens
        self._decoder = decoder or GreedyDecoder(vocabulary.blank)
        self._next: tuple[object, ...] | None = None  # the segment after the one decoded last, as of _segments_of
        self._state: State | None = None  # after that

    def __call__(self, rows: pa.Table, emissions: pa.ChunkedArray) -> pa.Table:
        """Rows of PART_SCHEMA from rows with all of its other columns, and their emissions.

        A segment in which there is no speech has an empty text. Rows with an error, or without a segment, have none.
        Raises InvalidData for emissions that are not of the vocabulary.
        """
        has_text = pc.and_(rows.column("start_s").is_valid(), rows.column("error_kind").is_null()).to_pylist()
        said = [
            self._said(each, segment) if each and is_well else None
            for each, segment, is_well in zip(heard_in(emissions), _segments_of(rows), has_text, strict=True)
        ]
        texts = [(each.text if each else "") if is_well else None for each, is_well in zip(said, has_text, strict=True)]
        decoding = pa.array([0] * rows.num_rows, pa.int32())
        columns = {
            "text": pa.array(texts, pa.string()),
            "written": pa.nulls(rows.num_rows, pa.string()),
            "confidence": pa.array([each and each.confidence for each in said], pa.float32()),
            "tokens": _tokens(said, np.array(has_text, bool) & self._with_tokens),
            "alternatives": pa.array([each and (each.alternatives or None) for each in said], _ALTERNATIVES),
            "decoding": pa.DictionaryArray.from_arrays(decoding, [self._decoder.described]),
        }
        return pa.table(
            [columns[name] if name in columns else rows.column(name) for name in PART_SCHEMA.names], schema=PART_SCHEMA
        )

    def _said(self, heard: Heard, segment: tuple[Any, ...]) -> Hypothesis:
        is_joined = heard.previous is not None and segment == self._next
        decoded = self._decoder(heard, self._state if is_joined else None)
        self._next, self._state = (*segment[:-1], segment[-1] + 1), decoded.state
        return hypothesis_of(heard, decoded, self._vocabulary, self._with_tokens)


def _segments_of(rows: pa.Table) -> Iterator[tuple[Any, ...]]:
    """What identifies each row: its recording, and its number in that."""
    return zip(*(rows.column(name).to_pylist() for name in (*KEY, "segment_index")), strict=True)


def _tokens(said: Sequence[Hypothesis | None], has_tokens: NDArray[np.bool_]) -> pa.Array:
    """The column `tokens`, null where there are none to be; built from whole arrays, for there are four a second."""
    there = [each for each in said if each and each.tokens]
    counts = np.cumsum([0, *(len(each.tokens) if each else 0 for each in said)])
    offsets = pa.array(counts, pa.int32(), mask=np.append(~has_tokens, False))
    texts = pa.array([text for each in there for text in each.tokens], pa.string())
    numbers = (
        np.concatenate([np.empty(0), *(getattr(each, name) for each in there)])
        for name in ("begins", "ends", "confidences")
    )
    fields = list(_TOKEN)
    columns = [texts, *(pa.array(each, type=field.type) for each, field in zip(numbers, fields[1:], strict=True))]
    return pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays(columns, fields=fields))
