"""The kinds of file that mutants are made of: a good one, and the job's own code that reads it.

A kind is a function of an empty folder. What it returns reads a mutant and says how it ended: as "rows", as a
"sentence", or "passed over". Whatever else is raised is a fault.
"""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import list_kinds
import pyarrow as pa
from transcribing import commit_piece, emitted, heard, said, updating

from actors.foreign.errors import InvalidData
from actors.outcomes import Committed
from actors.parts import kept
from actors.parts.carry import Outdated
from actors.parts.commit import commit_unit
from actors.parts.emissions import EMISSIONS, digest_of, emissions_name
from actors.parts.made import Made
from actors.parts.part import PartWriter
from actors.parts.recordings import rows_in
from actors.parts.stored import COMMITS, Commit, open_part, part_name, read_made
from actors.pieces import Cut, cut_unit
from actors.schema import PART_SCHEMA, UsageError
from actors.storage.place import Place
from actors.units import NO_EMISSIONS, Carried, SourceObject, Unit
from jobs.planning.listing import Listing
from jobs.planning.plans import write_plan
from jobs.planning.recipe import recipe_digest
from jobs.planning.state import load_state, units_with_errors
from jobs.planning.verdicts import Policy, make_plan
from jobs.running.lease import active_run

Kind = Callable[[Path], tuple[bytes, Callable[[bytes], str]]]
SETTINGS = {"heard": {"model_sha256": "a" * 64}}
RECIPE = "f" * 8 + NO_EMISSIONS + "f" * 16
SECONDS = 120


def rows_of(unit: Unit, segments: int = 3) -> pa.Table:
    """Rows as a part has them."""
    tokens = [{"token": char, "start_s": 0.1, "end_s": 0.2, "confidence": 0.9} for char in "今天天气"]
    rows = [
        {
            "recording_id": each.name,
            "uri": each.uri,
            "etag": each.etag,
            "segment_index": at,
            "start_s": 20.0 * at,
            "end_s": 20.0 * at + 20,
            "duration_s": 20.0 * segments,
            "text": f"今天天气 {each.name} {at}",
            "confidence": 0.9,
            "tokens": tokens,
            "reference": "今天" if at == 0 else None,
            "extra": '{"speaker": "x"}' if at == 0 else None,
            **dict.fromkeys(("model", "model_sha256", "decoding", "run_id", "unit"), "m"),
            "transcribed_at": datetime(2026, 1, 1, tzinfo=UTC),
        }
        for each in unit.objects
        for at in range(segments)
    ]
    return pa.Table.from_pylist(rows, schema=PART_SCHEMA)


def emissions_of(unit: Unit, segments: int = 3) -> pa.Table:
    """What an actor returns of the recordings of `rows_of`; what is heard is the bytes of their texts."""
    rows = rows_of(unit, segments)
    own = rows.append_column("own", pa.array([True] * rows.num_rows))
    return emitted(own, [text.encode() for text in rows.column("text").to_pylist()])


def heard_of(unit: Unit, segments: int = 3) -> pa.Table:
    """What is kept of a piece with these objects, of HEARD_SCHEMA."""
    return heard(unit.id, emissions_of(unit, segments))


def said_of(unit: Unit, segments: int = 3) -> pa.Table:
    """What is committed of a unit: rows of PART_SCHEMA with their emissions."""
    return said(unit.id, emissions_of(unit, segments))


def objects(count: int) -> list[SourceObject]:
    uris = [f"s3://archive/{number:03d}.wav" for number in range(count)]
    return [SourceObject(uri, uri, uri[-7:], "audio", "1", SECONDS * 32_000) for uri in uris]


def plan(folder: Path) -> tuple[bytes, Callable[[bytes], str]]:
    output = Place.at(str(folder))
    listing = Listing(objects(60))

    def planned() -> Path:
        state = load_state(output)
        made = make_plan(listing, state, SETTINGS, Policy(target_seconds=600))
        run = write_plan(output, state, made.objects, (recipe_digest(SETTINGS), SETTINGS), "run")
        return Path(run.path if run else "")

    path = planned() / "plan.arrow"

    def read(mutant: bytes) -> str:
        path.write_bytes(mutant)
        try:
            made = planned()
        except UsageError as problem:
            return "sentence" if "000001/plan.arrow" in str(problem) else f"a sentence without a name: {problem}"
        (made / "plan.arrow").unlink()
        made.rmdir()
        return "rows"

    return path.read_bytes(), read


def piece(folder: Path) -> tuple[bytes, Callable[[bytes], str]]:
    output = Place.at(str(folder))
    unit = Unit.of("0a", "f" * 32, objects(1))
    first, second = cut_unit(unit, Cut(60, stretches=2))
    rows = emissions_of(unit)
    commit_piece(first, rows, output, "one")
    (path,) = (folder / kept.PIECES).iterdir()
    good = path.read_bytes()

    def read(mutant: bytes) -> str:
        for each in path.parent.iterdir():
            each.unlink()
        path.write_bytes(mutant)
        made = first if not kept.is_kept(first, output) else None
        if made:
            commit_piece(first, rows, output, "two")
        end = "passed over" if made else "rows"
        try:
            told = commit_piece(second, rows, output, "three")
        except InvalidData:  # only whoever commits it knows the vocabulary
            assert not list((folder / kept.PIECES).iterdir())
            commit_piece(first, rows, output, "four")
            told, end = commit_piece(second, rows, output, "four"), "sentence"
        assert isinstance(told, Committed)
        assert told.counts.recordings == 1
        assert not list((folder / kept.PIECES).iterdir())
        return end

    return good, read


def part(folder: Path) -> tuple[bytes, Callable[[bytes], str]]:
    """A part of which rows are carried over, and whose recordings are read by other jobs."""
    output = Place.at(str(folder))
    unit = Unit.of("0a", RECIPE, objects(6))
    commit_unit(unit, [rows_of(unit)], output)
    path = folder / part_name(unit.id)
    good = path.read_bytes()
    gone = [Carried(each.key, each.version, each.uri) for each in unit.objects[2:]]
    redo = Unit.of("0a", RECIPE, unit.objects[:2], gone)
    listed = [each._replace(source=source) for each, source in zip(gone, unit.objects[2:], strict=True)]
    rewritten = Unit.of("0a", RECIPE, unit.objects[:2], listed)

    def read(mutant: bytes) -> str:
        path.write_bytes(mutant)
        try:
            opened = open_part(unit.id, output)
            rows = list(rows_in(opened.tables()))
            end = "rows" if len(rows) <= 1_000 else f"{len(rows)} rows"
            with suppress(InvalidData):  # rows are carried over also where it is unknown what they were made with
                Made.from_metadata(opened.metadata())
        except InvalidData:
            end = "sentence"
        commit_unit(redo, [rows_of(redo)], output)
        (commit,) = (Commit.from_name(each.name) for each in (folder / COMMITS).iterdir())
        assert commit
        assert end == "rows" or commit.fingerprint == RECIPE + "incomplete"
        assert open_part(unit.id, output)
        path.write_bytes(mutant)
        try:
            commit_unit(rewritten, [rows_of(redo)], output)
        except Outdated:
            assert path.exists() == (end == "rows")
        return end

    return good, read


def emissions(folder: Path) -> tuple[bytes, Callable[[bytes], str]]:
    """Kept emissions, which a rewrite decodes anew."""
    output = Place.at(str(folder))
    unit = Unit.of("0a", "f" * 32, objects(6))
    commit_unit(unit, [said_of(unit)], output)
    (path,) = (folder / EMISSIONS).iterdir()
    good, made = path.read_bytes(), read_made(unit.id, output)
    carried = [Carried(each.key, each.version, each.uri, source=each) for each in unit.objects]
    rewritten = Unit.of("0a", "f" * 16 + "e" * 8 + "f" * 8, (), carried)

    def read(mutant: bytes) -> str:
        for each in path.parent.iterdir():
            each.unlink()
        name = emissions_name(unit.id, unit.fingerprint, digest_of(mutant))
        (path.parent / name).write_bytes(mutant)
        part = PartWriter()
        part.add(rows_of(unit))
        (folder / part_name(unit.id)).write_bytes(part.finish(replace(made, emissions=name).to_metadata()))
        try:
            commit_unit(rewritten, (), output, updating=updating())
        except Outdated:
            assert not (path.parent / name).exists()
            return "sentence"
        texts = open_part(unit.id, output).rows
        return "rows" if texts == 18 else f"{texts} rows"

    return good, read


def commit(folder: Path) -> tuple[bytes, Callable[[bytes], str]]:
    """The body of a commit, and now and then its name."""
    output = Place.at(str(folder))
    name = f"0a.{'f' * 64}.{'0' * 16}.none.2r1e0a"
    good = f"{name}\n{json.dumps({'errors': {'missing': 1}})}".encode()
    (folder / COMMITS).mkdir()

    def read(mutant: bytes) -> str:
        for each in (folder / COMMITS).iterdir():
            each.unlink()
        told, _, body = mutant.partition(b"\n")
        told = told.replace(b"/", b"_").replace(b"\0", b"_")[:255]
        path = os.fsencode(folder / COMMITS) + b"/" + (told if told not in (b"", b".", b"..") else b"x")
        Path(os.fsdecode(path)).write_bytes(body)
        state = load_state(output)
        retried = units_with_errors(frozenset({"missing"}), state, output)
        return "rows" if retried else "passed over"

    return good, read


def heartbeat(folder: Path) -> tuple[bytes, Callable[[bytes], str]]:
    output = Place.at(str(folder))
    own, path = folder / "_runs" / "000002", folder / "_runs" / "000001" / "heartbeat"
    good = json.dumps({"run_id": "r", "machine": "another", "process": 12, "began": "1"}).encode()
    for each in (own, path.parent):
        each.mkdir(parents=True)
    (own / "heartbeat").write_bytes(good)

    def read(mutant: bytes) -> str:
        path.write_bytes(mutant)
        os.utime(own / "heartbeat")
        return "rows" if active_run(output, output / "_runs/000002", 60) else "passed over"

    return good, read


KINDS: dict[str, Kind] = {
    "plan": plan,
    "piece": piece,
    "part": part,
    "emissions": emissions,
    "commit": commit,
    "heartbeat": heartbeat,
    "manifest": list_kinds.manifest,
    "kaldi": list_kinds.kaldi,
    "shard": list_kinds.shard,
    "tar": list_kinds.tar,
}
