"""Rows to committed parts."""

import json
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actors import VERSION
from actors.outcomes import Counts, Example
from actors.parts.commit import commit_unit
from actors.parts.stored import Commit, part_name
from actors.parts.summary import Tally
from actors.schema import PART_SCHEMA, SCHEMA_VERSION
from actors.storage.place import Place
from actors.units import NO_EMISSIONS, SourceObject, Unit, digest


def part_rows(unit: Unit, run_id: str = "run", error: str | None = None) -> pa.Table:
    """A row for each object of a unit, as the actor would return it."""
    rows = [
        {
            "recording_id": each.name,
            "uri": each.uri,
            "etag": each.etag,
            "segment_index": 0,
            "duration_s": None if error else 2.0,
            "text": None if error else "今天",
            "reference": "明天",
            "error_kind": error,
            "error_detail": error and "why",
            "model": "m",
            "model_sha256": "0",
            "decoding": "greedy",
            "run_id": run_id,
            "unit": unit.id,
            "transcribed_at": datetime.now(UTC),
        }
        for each in unit.objects
    ]
    return pa.Table.from_pylist(rows, schema=PART_SCHEMA)


def tallied(*tables: pa.Table) -> Tally:
    tally = Tally(shown=8)
    for table in tables:
        tally.add(table)
    tally.end()
    return tally


RECIPE = "f" * 8 + NO_EMISSIONS + "f" * 16
UNIT = Unit.of("a1", RECIPE, (SourceObject(f"s3://b/{n}", f"s3://b/{n}", n, "audio", "e", 9) for n in ("x", "y")))


def test_a_part_has_the_schema_to_the_column_type(tmp_path: Path) -> None:
    committed = commit_unit(UNIT, [part_rows(UNIT)], Place.at(str(tmp_path)), shown=8)
    path = tmp_path / part_name("a1")
    assert pq.read_schema(path) == PART_SCHEMA
    (commit,) = (Commit.from_name(each.name) for each in (tmp_path / "_commits").iterdir())
    assert commit == Commit("a1", UNIT.fingerprint, digest([str(path.stat().st_mtime_ns)]), 2, 0)
    assert committed.counts == Counts(2, 2, 4.0, {}, 2, 4)
    assert committed.transcripts == tuple(Example(name, "明天", "今天") for name in ("x", "y"))
    assert not [each for each in tmp_path.iterdir() if each.name.endswith(".tmp")]

    described = duckdb.sql(f"DESCRIBE SELECT * FROM '{tmp_path}/*.parquet'").fetchall()
    types = {row[0]: row[1] for row in described}
    assert list(types) == PART_SCHEMA.names
    assert types["tokens"] == "STRUCT(token VARCHAR, start_s DOUBLE, end_s DOUBLE, confidence FLOAT)[]"
    assert types["transcribed_at"] == "TIMESTAMP WITH TIME ZONE"
    assert types["model"] == types["text"] == "VARCHAR"
    assert (types["segment_index"], types["source_channels"], types["duration_s"]) == ("INTEGER", "SMALLINT", "DOUBLE")
    frame = pd.read_parquet(path)
    assert list(frame.columns) == PART_SCHEMA.names
    assert frame["text"].tolist() == ["今天", "今天"]


def test_committing_again_leaves_one_commit(tmp_path: Path) -> None:
    output = Place.at(str(tmp_path))
    commit_unit(UNIT, [part_rows(UNIT)], output)
    other = Unit.of("a1", RECIPE.replace("f", "e"), UNIT.objects)
    commit_unit(other, [part_rows(UNIT, error="missing")], output)
    commit_unit(
        Unit("a10", UNIT.fingerprint, UNIT.objects), [part_rows(UNIT)], output
    )  # a1 is the beginning of its name
    first, second = sorted((tmp_path / "_commits").iterdir())
    assert first.name.startswith(f"a1.{other.fingerprint}.")
    assert first.name.endswith(".none.2r2e0a")
    assert second.name.startswith(f"a10.{UNIT.fingerprint}.")
    body = {"citrascribe_schema": SCHEMA_VERSION, "citrascribe_version": VERSION, "errors": {"missing": 2}}
    assert json.loads(first.read_text()) == body


def test_a_row_that_is_lost_on_the_way_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="s3://b/y"):
        commit_unit(UNIT, [part_rows(UNIT).slice(0, 1)], Place.at(str(tmp_path)))
    assert not list(tmp_path.iterdir())


def test_a_commits_name_says_what_it_is() -> None:
    for commit in (Commit("a1", "f1", "e0", 120, 7), Commit("a1", "f1", "e0", 120, 7, 1, "d0")):
        assert Commit.from_name(commit.name) == commit
    for name in (
        "a1.f1.e0",
        "a1.f1.e0.xr1e",
        "a1.f1.e0.1r2",
        "plan.arrow",
        "a.b.1r0e",
        "a1.f1.e0.re",
        "a1.f1.e0.1r0e0a",
        "a1.f1.e0.some.1r0e0a",
    ):
        assert Commit.from_name(name) is None


def test_a_summary_counts_errors_by_kind() -> None:
    rows = pa.concat_tables([part_rows(UNIT), part_rows(UNIT, error="missing")])
    tally = tallied(rows)
    assert tally.counts == Counts(4, 4, 4.0, {"missing": 2}, 2 + 4, 4 + 4)  # what has no text is deleted
    assert tally.failures == [Example(name, error_kind="missing", error_detail="why") for name in ("x", "y")]


def test_a_recording_of_several_segments_counts_once() -> None:
    first = part_rows(UNIT).slice(0, 1).to_pylist()[0] | {"reference": "今天 早上", "text": "今天"}
    later = [first | {"segment_index": index, "reference": None} for index in (1, 2)]
    right = [first, later[0] | {"text": "早"}, later[1] | {"text": "上"}]
    wrong = [first | {"text": None, "error_kind": "crashed"}, later[0], later[1] | {"error_kind": "crashed"}]
    counts = tallied(pa.Table.from_pylist(right + wrong, schema=PART_SCHEMA)).counts
    assert (counts.recordings, counts.segments, counts.errors) == (2, 6, {"crashed": 1})
    assert (counts.character_errors, counts.reference_characters) == (2, 8)  # the other says 今天今天
    long = pa.Table.from_pylist([first | {"text": "今" * 1_000}], schema=PART_SCHEMA)
    assert len(tallied(long).transcripts[0].text) < 400
