"""Says what was heard: decodes emissions to texts, token times and confidences, by the greedy path."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from actors.engine.vocabulary import TokenDecoder
from actors.foreign.errors import InvalidData
from actors.schema import PART_SCHEMA
from actors.text.emissions import Heard, heard_in
from actors.text.greedy import align

_TOKEN = PART_SCHEMA.field("tokens").type.value_type


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """The text decoded from a segment, its confidence in 0..1, and its tokens: the text that each adds, its begin and
    end in seconds from the recording's start, and its confidence, all (tokens,)."""

    text: str
    confidence: float
    tokens: list[str]
    begins: NDArray[np.float64]
    ends: NDArray[np.float64]
    confidences: NDArray[np.float64]


def decode(heard: Heard, vocabulary: TokenDecoder, with_tokens: bool = True) -> Hypothesis:
    """Decodes a segment by its greedy path.

    Its confidence is the mean of its tokens', or of its frames' where it has no token. Raises InvalidData if it has a
    class that the vocabulary has not.
    """
    if heard.best.max(initial=0) > vocabulary.blank:
        raise InvalidData(f"it has emissions of more than the {vocabulary.blank + 1} classes of the model")
    aligned = align(heard.best, heard.probability, vocabulary.blank, heard.previous)
    ids = aligned.ids.tolist()
    confidences = aligned.confidences if ids else heard.probability
    return Hypothesis(
        vocabulary.text(ids),
        float(confidences.mean()) if len(confidences) else 0.0,
        vocabulary.token_texts(ids) if with_tokens else [],
        np.maximum(heard.start_s + aligned.begins * heard.frame_s, 0.0),
        np.minimum(heard.start_s + aligned.ends * heard.frame_s, heard.end_s),
        aligned.confidences,
    )


class Speaker:
    """Makes rows of parts from what was heard, with one vocabulary. Thread-safe."""

    def __init__(self, vocabulary: TokenDecoder, with_tokens: bool) -> None:
        self._vocabulary, self._with_tokens = vocabulary, with_tokens

    def __call__(self, rows: pa.Table, emissions: pa.ChunkedArray) -> pa.Table:
        """Rows of PART_SCHEMA from rows with all of its other columns, and their emissions.

        A segment in which there is no speech has an empty text. Rows with an error, or without a segment, have none.
        Raises InvalidData for emissions that are not of the vocabulary.
        """
        has_text = pc.and_(rows.column("start_s").is_valid(), rows.column("error_kind").is_null()).to_pylist()
        said = [
            decode(each, self._vocabulary, self._with_tokens) if each and is_well else None
            for each, is_well in zip(heard_in(emissions), has_text, strict=True)
        ]
        texts = [(each.text if each else "") if is_well else None for each, is_well in zip(said, has_text, strict=True)]
        columns = {
            "text": pa.array(texts, pa.string()),
            "written": pa.nulls(rows.num_rows, pa.string()),
            "confidence": pa.array([each and each.confidence for each in said], pa.float32()),
            "tokens": _tokens(said, np.array(has_text, bool) & self._with_tokens),
            "decoding": pa.DictionaryArray.from_arrays(pa.array([0] * rows.num_rows, pa.int32()), ["greedy"]),
        }
        return pa.table(
            [columns[name] if name in columns else rows.column(name) for name in PART_SCHEMA.names], schema=PART_SCHEMA
        )


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
