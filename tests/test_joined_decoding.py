"""A beam goes on over joins, in whatever tables rows come; emissions of strangers are said or refused."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hostile_emissions import HOSTILE, Fields, as_column, fields_of
from hypothesis import given, settings
from hypothesis import strategies as st
from test_decoding import write_arpa
from test_saying import ROW

from actors.engine.interface import Candidates, log_prob_codes
from actors.engine.vocabulary import Vocabulary
from actors.foreign.errors import InvalidData
from actors.schema import EMISSION, HEARD_SCHEMA
from actors.storage.fetched import resolve_file
from actors.text.decoding import Decoder, DecodingSettings, load_decoder
from actors.text.emissions import TYPES, Heard, check_emissions, heard_in
from actors.text.say import Speaker
from actors.units import NO_EMISSIONS, Unit

LETTERS = "abcde"
VOCABULARY = Vocabulary(tuple(LETTERS))
BLANK = len(LETTERS)
HEX = Vocabulary(tuple(f"{number:02x}" for number in range(256)))


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Decoder:
    folder = tmp_path_factory.mktemp("files")
    arpa = write_arpa(folder / "lm.arpa", ["abcabc", "abab", "cde", "bcd", "aabbcc", "edcba"])
    (folder / "phrases.txt").write_text("abc\ncd\t3\nee\n", encoding="utf-8")
    files = [resolve_file(str(path), {}, "decoding.x", 10**6) for path in (arpa, folder / "phrases.txt")]
    chosen = DecodingSettings(beam=8, lm=files[0], lm_weight=1.0, phrases=files[1], alternatives=2)
    return load_decoder(chosen, VOCABULARY).decoder


@st.composite
def emissions(draw: st.DrawFn) -> Fields:
    """An emission of a few frames, as unsure as noisy speech."""
    frames, seed = draw(st.integers(0, 12)), draw(st.integers(0, 2**32 - 1))
    log_probs = np.log(np.random.default_rng(seed).dirichlet(np.full(BLANK + 1, 0.4), frames) + 1e-6)
    best = log_probs.argmax(axis=1).astype(np.uint16)
    order = np.argsort(-log_probs[:, :BLANK], axis=1, kind="stable")[:, :4]
    codes = log_prob_codes(np.take_along_axis(log_probs, order, 1).astype(np.float32))
    listed = Candidates(
        np.full(frames, order.shape[1], np.uint8),
        order.astype(np.uint16).ravel(),
        codes.ravel(),
        log_prob_codes(log_probs[:, BLANK].astype(np.float32)),
    )
    arrays = {name: value.tobytes() for name, value in listed._asdict().items()}
    previous, is_followed = draw(st.sampled_from([None, *range(BLANK + 1)])), draw(st.booleans())
    known = {"start_s": 0.0, "end_s": 0.08 * frames, "frame_s": 0.08, "previous": previous, "is_followed": is_followed}
    return known | {"best": best.tobytes(), "probability": np.exp(log_probs.max(1)).astype("<f4").tobytes()} | arrays


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.one_of(st.none(), emissions()), min_size=1, max_size=7),
    of=st.lists(st.sampled_from("xxxy"), min_size=7, max_size=7),
    cuts=st.sets(st.integers(1, 6)),
)
def test_rows_are_the_same_in_whatever_tables_they_come(
    decoder: Decoder, rows: list[Fields | None], of: list[str], cuts: set[int]
) -> None:
    fields, counts = list[dict[str, Any]](), dict[str, int]()
    for emission, uri in zip(rows, sorted(of), strict=False):
        counts[uri] = counts.get(uri, -1) + 1
        fields.append(ROW | {"uri": uri, "segment_index": counts[uri], "emission": emission})
    table = pa.Table.from_pylist(fields, schema=HEARD_SCHEMA)
    whole = Speaker(VOCABULARY.decoder(), True, decoder)(table, table.column("emission"))
    speaker, bounds = Speaker(VOCABULARY.decoder(), True, decoder), [0, *sorted(cuts), 99]
    parts = [table.slice(first, end - first) for first, end in pairwise(bounds)]
    said = pa.concat_tables([speaker(part, part.column("emission")) for part in parts])
    assert said.to_pylist() == whole.to_pylist()


def heard_of(*fields: Fields) -> list[Heard | None]:
    return [*heard_in(as_column(*fields))]


def test_a_join_is_no_end_of_a_sentence(decoder: Decoder) -> None:
    """The second half of a phrase earns it where the first was before the join, and only there."""
    left, right = fields_of(b"\0\1"), fields_of(b"\2")
    for each in (left, right):  # of the five letters
        each["best"] = np.where(
            np.frombuffer(each["best"], np.uint16) == 256, BLANK, np.frombuffer(each["best"], np.uint16)
        )
        each["best"] = each["best"].astype("<u2").tobytes()
    first, second = heard_of(left | {"is_followed": True}, right | {"previous": BLANK})
    assert first
    assert second
    state = decoder(first, None).state
    assert state is not None
    joined, alone = decoder(second, state), decoder(second, None)
    assert joined.tokens.ids.tolist() == alone.tokens.ids.tolist() == [2]
    assert joined.alternatives[0].score > alone.alternatives[0].score + 1


@pytest.mark.parametrize("name", HOSTILE)
def test_a_beam_says_or_refuses_what_strangers_wrote(name: str) -> None:
    said_or_refused(HOSTILE[name])


@settings(max_examples=200, deadline=None)
@given(arrays=st.dictionaries(st.sampled_from(["counts", "ids", "log_probs", "blank", "best"]), st.binary(max_size=40)))
def test_whatever_candidates_there_are_they_are_said_or_refused(arrays: dict[str, bytes]) -> None:
    said_or_refused(fields_of(b"today") | arrays)


def said_or_refused(fields: Fields) -> None:
    try:
        column = as_column(fields)
        check_emissions(column)
        decoder = load_decoder(DecodingSettings(beam=4, alternatives=2), HEX).decoder
        for heard in heard_in(column):
            if heard:
                decoder(heard, None)
    except InvalidData:
        pass


def test_emissions_without_candidates_are_refused(decoder: Decoder) -> None:
    none = dict.fromkeys(("counts", "ids", "log_probs", "blank"))
    (heard,) = heard_of(fields_of(b"\0\1") | none)
    assert heard
    with pytest.raises(InvalidData, match="without candidates"):
        decoder(heard, None)


def test_alternatives_are_distinct_texts_and_confidences_are_shares() -> None:
    labels = Vocabulary(("a", "b", "ab"))
    likely = {"counts": [3, 3], "ids": [0, 2, 1, 1, 2, 0], "log_probs": [0, 1, 9, 0, 1, 9], "blank": [9, 9]}
    arrays = {name: np.array(values, TYPES[name]).tobytes() for name, values in likely.items()}
    best = {"best": np.array([0, 1], "<u2").tobytes(), "probability": np.ones(2, "<f4").tobytes()}
    (heard,) = heard_of(fields_of(b"x") | best | arrays)
    assert heard
    decoded = load_decoder(DecodingSettings(beam=16, alternatives=8), labels).decoder(heard, None)
    texts = [each.text for each in decoded.alternatives]
    assert texts[0] == "ab"
    assert len(texts) == len(set(texts)) == 8
    assert decoded.tokens.confidences.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("kept", [NO_EMISSIONS, "0" * 8])
def test_pieces_are_kept_for_those_who_ask_for_the_same_candidates(kept: str) -> None:
    """Without kept emissions, how they are decoded decides which candidates there are."""
    hearings = {Unit.of("0a", "1" * 8 + kept + said * 8 + "2" * 8, ()).hearing for said in "34"}
    assert len(hearings) == (2 if kept == NO_EMISSIONS else 1)


def test_files_are_those_that_were_planned(tmp_path: Path) -> None:
    file = write_arpa(tmp_path / "lm.arpa", ["abc"])
    resolved = resolve_file(str(file), {}, "decoding.lm", 10**6)
    write_arpa(tmp_path / "lm.arpa", ["abcabc"])
    with pytest.raises(Exception, match=r"decoding.lm: .*lm.arpa was changed during the run"):
        load_decoder(DecodingSettings(beam=4, lm=resolved), VOCABULARY)
    assert EMISSION.get_field_index("is_followed") > 0
