"""Greedy CTC, character errors, blocks, storage: small functions with answers that are known."""

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from conftest import ROOT, piece_of
from hypothesis import given
from hypothesis import strategies as st

from actors.blocks import advance, outcome_of, start
from actors.outcomes import Failed, Kept, Outcome, Recut
from actors.pieces import Cut, NeedsRecut, Piece
from actors.storage.place import Place
from actors.text.cer import character_errors, normalise
from actors.text.greedy import collapse


@given(st.lists(st.integers(0, 3), max_size=40))
def test_greedy_is_what_a_loop_would_say(best: list[int]) -> None:
    said, last = [], None
    for token in best:
        if token != last and token != 3:
            said.append(token)
        last = token
    assert collapse(np.array(best, dtype=np.int64), blank=3).tolist() == said


def test_what_compares_is_not_loaded_for_units_without_references() -> None:
    program = (
        "import sys; from actors.text.cer import character_errors\n"
        "assert character_errors([(None, 'x'), ('', 'y')]) == (0, 0)\n"
        "assert 'rapidfuzz' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def test_character_errors_by_hand() -> None:
    pairs = [("今天天气", "今天气"), ("ＡＢＣ，d", "abcd!"), (None, "x"), ("", "y"), ("。", "z"), ("你好", "")]
    assert character_errors(pairs) == (1 + 0 + 1 + 2, 4 + 4 + 0 + 2)
    assert normalise(" Ａ b，。\n") == "ab"
    assert character_errors([]) == (0, 0)


def test_a_block_is_one_row_and_loses_nothing() -> None:
    piece = piece_of(())
    rows = pa.table({"pcm": pa.array([b"abc", None, b""], pa.large_binary())})
    block = advance(pa.table({"piece": [start(piece)["piece"]]}), lambda _, __: rows)
    assert block.num_rows == 1
    seen = []
    advance(block, lambda same, table: seen.append((same, table)) or table)
    assert seen == [(piece, rows)]
    nothing = advance(block, lambda _, __: rows.slice(0, 0))
    assert (nothing.num_rows, nothing.column("outcome")[0].as_py()) == (1, None)


def test_an_outcome_goes_through_untouched() -> None:
    block = pa.table({"piece": [start(piece_of(()))["piece"]]})

    def fail(piece: Piece, rows: pa.Table) -> pa.Table:
        raise PermissionError("no access to s3://x\udc80")

    failed = advance(block, fail)
    match outcome_of(failed):
        case Failed("0a", reason):
            assert reason.startswith("PermissionError: no access to s3://x\udc80 (fail, line ")
        case other:
            pytest.fail(f"{other}")
    assert advance(failed, fail) is failed

    def stumble(piece: Piece, rows: pa.Table) -> pa.Table:
        raise ValueError("invalid literal for int() with base 10: '今天'")  # of a text, which a log is not to have

    match outcome_of(advance(block, stumble)):
        case Failed("0a", reason):
            assert reason.startswith("ValueError: invalid literal for int() with base 10: … (stumble, line ")
        case other:
            pytest.fail(f"{other}")

    def refuse(piece: Piece, rows: pa.Table) -> pa.Table:
        raise NeedsRecut(Cut(60, 4, 2, is_streamed=True))

    def keep(piece: Piece, rows: pa.Table) -> Outcome:
        return Kept(piece.unit, 1.5)

    assert outcome_of(advance(block, refuse)) == Recut("0a", Cut(60, 4, 2, is_streamed=True))
    assert outcome_of(advance(block, keep)) == Kept("0a", 1.5)


def test_storage_writes_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place.at(str(tmp_path / "deep" / "file"))
    place.write(b"old")

    def full_disk(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match=r"No space .*deep/file"):
        place.write(b"new")
    assert place.read() == b"old"
    assert os.listdir(tmp_path / "deep") == ["file"]


def test_storage_creates_once(tmp_path: Path, conditional_s3_options: dict[str, Any]) -> None:
    for uri, options in ((str(tmp_path / "x"), {}), ("s3://bucket/x", conditional_s3_options)):
        place = Place.at(uri, options)
        assert place.create(b"mine")
        assert place.create(b"mine")  # its own answer was lost, and it asks again
        assert not place.create(b"yours")
        assert place.read() == b"mine"
        place.delete()
        place.delete()
        with pytest.raises(FileNotFoundError):
            place.read()


def test_uris_are_canonical(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for uri in ("a/../b", "./b", f"{tmp_path}/b", f"file://{tmp_path}/b"):
        assert Place.at(uri).uri == f"file://{tmp_path}/b"
    assert Place.at("s3a://bucket/key/", {"anon": True}).uri == "s3://bucket/key"


def test_a_place_travels_and_is_a_key(s3_options: dict[str, Any]) -> None:
    for place in (Place.at("/out"), Place.at("s3://bucket/out", s3_options)):
        sent = pickle.loads(pickle.dumps(place / "_runs" / "000001"))
        assert {sent: 1}[place / "_runs/000001"] == 1
        assert (sent.name, sent.parent.parent, sent.parent.uri) == ("000001", place, f"{place.uri}/_runs")
        assert place.with_uri(sent.uri) == sent != place
    assert (Place.at("/") / "out").path == "/out"
