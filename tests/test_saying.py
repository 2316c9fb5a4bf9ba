"""What is said of an emission is what a loop over its frames would say; emissions of strangers are refused."""

from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from hostile_emissions import GOOD, HOSTILE, Fields, as_column
from hypothesis import given, settings
from hypothesis import strategies as st
from transcribing import decode

from actors.engine.interface import Candidates, Emission
from actors.engine.vocabulary import Vocabulary
from actors.foreign.errors import InvalidData
from actors.schema import EMISSION, EMISSION_SCHEMA, HEARD_SCHEMA, PART_SCHEMA, ErrorKind
from actors.text.emissions import TYPES, Heard, check_emissions, heard_in, to_columns
from actors.text.join import join_segments
from actors.text.say import Speaker

LABELS = ("a", " b", "。", " 。", "c")  # with a mark before which no space stays
VOCABULARY = Vocabulary(LABELS).decoder()
BLANK = len(LABELS)


class Said(NamedTuple):
    text: str
    confidence: float
    tokens: list[dict[str, Any]]


def as_a_loop_says(heard: Heard) -> Said:
    """Frame by frame, in plain Python."""
    runs, last = list[tuple[int, int, list[float]]](), heard.previous
    is_counted, sums = False, [0.0]
    for at, (token, likely) in enumerate(zip(heard.best.tolist(), heard.probability.tolist(), strict=True)):
        sums.append(sums[-1] + likely)
        if token != last:
            is_counted = token != BLANK
            runs += [(token, at, [])] * is_counted
        if is_counted:
            runs[-1] = (*runs[-1][:2], [*runs[-1][2], likely])
        last = token
    tokens, confidences = list[dict[str, Any]](), list[float]()
    for token, begin, each in runs:
        end = begin + len(each)
        confidences.append((sums[end] - sums[begin]) / len(each))
        tokens.append(
            {
                "token": {" 。": "。"}.get(LABELS[token], LABELS[token]),
                "start_s": max(heard.start_s + begin * heard.frame_s, 0.0),
                "end_s": min(heard.start_s + end * heard.frame_s, heard.end_s),
                "confidence": float(np.float32(confidences[-1])),
            }
        )
    of_all = np.array(confidences) if runs else heard.probability
    text = "".join(LABELS[token] for token, _, _ in runs).replace(" 。", "。")
    return Said(text, float(of_all.mean()) if len(of_all) else 0.0, tokens)


@st.composite
def heards(draw: st.DrawFn) -> Heard:
    best = draw(st.lists(st.sampled_from([0, 1, 2, 3, 4, BLANK, BLANK]), max_size=30))
    likely = draw(st.lists(st.floats(0, 1, width=32), min_size=len(best), max_size=len(best)))
    start_s, frame_s = draw(st.sampled_from([-0.04, 0.0, 7.3, 3_599.96])), draw(st.sampled_from([0.01, 0.08]))
    end_s = max(start_s + frame_s * (len(best) + draw(st.sampled_from([-0.5, 0.0, 0.25]))), 0.0)
    previous = draw(st.sampled_from([None, *range(BLANK + 1), *best[:1]]))
    return Heard(start_s, end_s, frame_s, previous, np.array(best, np.uint16), np.array(likely, np.float32))


def as_fields(heard: Heard) -> Fields:
    return heard._asdict() | {"best": heard.best.tobytes(), "probability": heard.probability.tobytes()}


@settings(max_examples=400, deadline=None)
@given(heards())
def test_a_segment_is_said_as_a_loop_says_it(heard: Heard) -> None:
    expected, told = as_a_loop_says(heard), decode(heard, VOCABULARY)
    assert (told.text, told.confidence, told.tokens) == (*expected[:2], [each["token"] for each in expected.tokens])
    assert told.begins.tolist() == [each["start_s"] for each in expected.tokens]
    assert told.ends.tolist() == [each["end_s"] for each in expected.tokens]
    without = decode(heard, VOCABULARY, with_tokens=False)
    assert (without.text, without.confidence, without.tokens) == (*expected[:2], [])


ROW = dict.fromkeys(("recording_id", "uri", "etag", "model", "model_sha256", "run_id", "unit"), "x") | {
    "start_s": 1.0,
    "end_s": 2.0,
    "transcribed_at": datetime(2026, 1, 1, tzinfo=UTC),
}
#: Rows without a text of their own: silence, an error with a segment and without one, a range without a recording.
OTHERS: list[dict[str, Any]] = [
    {},
    {"error_kind": ErrorKind.OUT_OF_MEMORY},
    {"start_s": None, "error_kind": ErrorKind.NOT_AUDIO},
    {"start_s": None},
]


@settings(max_examples=100, deadline=None)
@given(rows=st.lists(st.one_of(heards(), st.sampled_from(OTHERS)), max_size=8), tokens=st.booleans())
def test_rows_are_said_as_a_loop_says_them(rows: list[Heard | dict[str, Any]], tokens: bool) -> None:
    fields: list[dict[str, Any]] = [
        ROW | {"segment_index": at} | ({"emission": as_fields(each)} if isinstance(each, Heard) else each)
        for at, each in enumerate(rows)
    ]
    table = pa.Table.from_pylist(fields, schema=HEARD_SCHEMA)
    split = pa.concat_tables([table.slice(0, 3), table.slice(3)])  # of two chunks, the second with an offset
    said = Speaker(VOCABULARY, tokens)(split, split.column("emission"))
    said.validate(full=True)
    assert said.schema == PART_SCHEMA
    for row, each, given_row in zip(said.to_pylist(), rows, fields, strict=True):
        if isinstance(each, Heard):
            expected = as_a_loop_says(each)
            assert row["text"] == expected.text
            assert row["confidence"] == float(np.float32(expected.confidence))
            assert row["tokens"] == (expected.tokens if tokens else None)
        else:
            is_silence = not each
            assert (row["text"], row["confidence"]) == ("" if is_silence else None, None)
            assert row["tokens"] == ([] if is_silence and tokens else None)
        assert (row["decoding"], row["written"]) == ("greedy", None)
        rest = row.keys() - {"text", "written", "confidence", "tokens", "decoding"}
        assert {name: row[name] for name in rest} == {name: given_row.get(name) for name in rest}


def test_an_emission_beside_an_error_is_not_said() -> None:
    row = ROW | {"segment_index": 0, "error_kind": "out_of_memory", "emission": GOOD}
    table = pa.Table.from_pylist([row], schema=HEARD_SCHEMA)
    (said,) = Speaker(VOCABULARY, True)(table, table.column("emission")).to_pylist()
    assert (said["text"], said["tokens"], said["confidence"]) == (None, None, None)


@pytest.mark.parametrize("best", [[BLANK + 1], [0, 65_535], [BLANK] * 9 + [BLANK + 1]])
def test_classes_that_the_vocabulary_has_not_are_refused(best: list[int]) -> None:
    heard = Heard(0.0, 1.0, 0.08, None, np.array(best, np.uint16), np.ones(len(best), np.float32))
    with pytest.raises(InvalidData, match="more than the 6 classes"):
        decode(heard, VOCABULARY)


@st.composite
def emissions(draw: st.DrawFn) -> Emission:
    frames = draw(st.integers(0, 20))
    random = np.random.default_rng(draw(st.integers(0, 1_000)))
    best, likely = random.integers(0, 65_536, frames, np.uint16), random.random(frames, np.float32)
    if draw(st.booleans()):
        return Emission(best.astype(np.int64), likely)
    counts = random.integers(0, 4, frames, np.uint8)
    of_all = counts.sum(dtype=int)
    ids, log_probs = (random.integers(0, 65_536, of_all, np.uint16) for _ in range(2))
    return Emission(best, likely, Candidates(counts, ids, log_probs, random.integers(0, 65_536, frames, np.uint16)))


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), emissions()), max_size=6))
def test_emissions_come_through_columns_as_they_are(heard: list[Emission | None]) -> None:
    columns = to_columns(heard)
    rows = len(heard)
    others = {
        "segment_index": pa.array(range(rows), pa.int32()),
        "start_s": pa.array([20.0 * at for at in range(rows)]),
        "samples": pa.array([0 if each is None else 320_000 for each in heard], pa.int32()),
        "before": pa.array([0] * rows, pa.int32()),
        "after": pa.array([0] * rows, pa.int32()),
    }
    columns = {each.name: pa.nulls(rows, each.type) for each in EMISSION_SCHEMA} | columns | others
    table = pa.table(columns)
    joined = pa.chunked_array([join_segments(table, 1_280, BLANK)], EMISSION)
    check_emissions(joined)
    for at, (before, after, fields) in enumerate(zip(heard, heard_in(joined), joined.to_pylist(), strict=True)):
        assert (before is None) == (after is None)
        if not (before and after):
            continue
        assert (after.start_s, after.end_s, after.frame_s) == (20.0 * at - 0.04, 20.0 * at + 20, 0.08)
        assert np.array_equal(after.best, before.best)
        assert np.array_equal(after.probability, before.probability)
        candidates = {} if before.candidates is None else before.candidates._asdict()
        for name in ("counts", "ids", "log_probs", "blank"):
            stored = fields[name]
            assert (stored is None) == (before.candidates is None)
            assert stored is None or np.array_equal(np.frombuffer(stored, TYPES[name]), candidates[name])


@pytest.mark.parametrize("name", HOSTILE)
def test_emissions_that_no_run_wrote_are_refused(name: str) -> None:
    check_emissions(as_column(GOOD, None, GOOD))
    with pytest.raises(InvalidData):
        check_emissions(as_column(GOOD, None, HOSTILE[name]))


NUMBERS = st.one_of(st.none(), st.floats(), st.sampled_from([0.0, 0.08, -0.04, 20.0]))


@settings(max_examples=500, deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(("start_s", "end_s", "frame_s"), NUMBERS)
        | {"previous": st.one_of(st.none(), st.integers(-(2**31), 2**31 - 1))}
        | {name: st.one_of(st.none(), st.binary(max_size=40), st.just(GOOD[name] * 2)) for name in TYPES},
    )
)
def test_whatever_an_emission_holds_it_is_said_or_refused(change: Fields) -> None:
    column = as_column(GOOD, GOOD | change)
    try:
        check_emissions(column)
    except InvalidData:
        return
    (first, second) = heard_in(column)
    assert first
    assert second
    for heard in (first, second):
        try:
            told = decode(heard, Vocabulary(tuple("x" * 256)).decoder())
        except InvalidData:
            continue
        assert np.isfinite([told.confidence, *told.begins, *told.ends]).all()
        assert 0 <= told.confidence <= 1
