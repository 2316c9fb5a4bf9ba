"""What readers of an output see, by its files alone: whether it is right, and what of it is to be heard again."""

import io
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from histories import BYTES, SEGMENTS, Archive, Job
from transcribing import HEXADECIMAL

from actors.foreign.errors import InvalidData
from actors.parts.emissions import EMISSIONS, EmissionFile, parse_emissions_name
from actors.parts.kept import PIECES
from actors.parts.made import Made, object_id
from actors.parts.stored import COMMITS, Commit, unit_of_part
from actors.schema import PART_SCHEMA, PASSING
from actors.storage.place import Place
from actors.units import NO_EMISSIONS, Fingerprint, Version, digest
from jobs.planning.recipe import recipe_digest
from jobs.planning.state import load_state

#: The columns in which all runs agree: all but those that name the run and its unit.
COMPARED = [name for name in PART_SCHEMA.names if name not in ("run_id", "unit", "transcribed_at")]

Row = dict[str, Any]


class Segment(NamedTuple):
    """A row, and how many candidates of each frame are kept with it; None if its emission is not there."""

    row: Row
    candidates: int | None


@dataclass
class SeenPart:
    """A part: its segments by object, and what it says that they were made with. It has none if it is damaged."""

    objects: dict[str, list[Segment]] = field(default_factory=lambda: defaultdict(list))
    made: Made = field(default_factory=Made)
    has_emissions: bool = False


def settings_of(**changes: Any) -> str:
    return recipe_digest(Job(**changes).settings)


def precision_of(row: Row) -> str:
    """What a recording was heard with, as `histories.heard` states it."""
    return str(row["error_detail"] or row["source_codec"])


class Seen:
    """An output, whose files are read once in each content."""

    def __init__(self, archive: Archive, root: str = "/out") -> None:
        self._archive, self._bucket, self._root = archive, archive.bucket, root
        self._output, self._read_before = Place(archive.bucket, root), dict[str, tuple[pa.Table, Made]]()
        self._known = dict[tuple[str, str | None], SeenPart]()

    def parts(self) -> dict[str, SeenPart]:
        """The parts by unit."""
        paths = {path.removeprefix(f"{self._root}/"): file for path, file in list(self._bucket.store.items())}
        return {unit: self._part(file) for path, file in paths.items() if (unit := unit_of_part(path))}

    def objects(self) -> dict[str, list[Segment]]:
        """The segments of each object. Checks that none is in two parts, or in half."""
        found = dict[str, list[Segment]]()
        for part in self.parts().values():
            assert found.keys().isdisjoint(part.objects)
            found |= part.objects
        return found

    def rows(self) -> dict[str, list[Row]]:
        """The rows of each object, as an undisturbed run makes them, too."""
        return {
            uri: [{name: row[name] for name in COMPARED} for row, _ in segments]
            for uri, segments in self.objects().items()
        }

    def check(self) -> None:
        """Checks that readers see each object once and whole, and that commits are of parts that were so made."""
        self.objects()
        parts = self.parts()
        for commit in self._valid_commits(parts):
            made = parts[commit.unit].made
            assert commit.emissions == (parse_emissions_name(made.emissions) or ("", ""))[1]
            versions = self._versions(parts[commit.unit])
            if commit.fingerprint == Fingerprint.of(Fingerprint.recipe(commit.fingerprint), versions):
                recipes = {(each.heard, each.said, each.written) for each in made.objects.values()}
                of = commit.fingerprint
                assert recipes == {(Fingerprint.heard(of), Fingerprint.said(of), Fingerprint.written(of))}

    def _part(self, file: Any) -> SeenPart:
        table, made = self._read(file)
        stored = self._bucket.store.get(f"{self._root}/{EMISSIONS}/{made.emissions}")
        key = file.etag, stored and stored.etag
        if key not in self._known:
            emissions: list[Any] = [None] * table.num_rows
            part = SeenPart(made=made)
            if stored:
                try:
                    emissions = EmissionFile(made.emissions, self._output).take(table.num_rows).to_pylist()
                    part.has_emissions = True
                except InvalidData:
                    pass
            for row, emission in zip(table.to_pylist(), emissions, strict=True):
                part.objects[row["uri"]].append(Segment(row, _checked(row, emission)))
            for uri, segments in part.objects.items():
                _check_object(segments, part, uri)
            assert part.made.objects.keys() == set(map(object_id, part.objects))
            self._known[key] = part
        return self._known[key]

    def _read(self, file: Any) -> tuple[pa.Table, Made]:
        if file.etag not in self._read_before:
            try:
                opened = pq.ParquetFile(io.BytesIO(file.getvalue()))
                found = opened.read(use_threads=False).cast(PART_SCHEMA), Made.from_metadata(opened.metadata.metadata)
            except (OSError, pa.ArrowException):
                found = PART_SCHEMA.empty_table(), Made()
            self._read_before[file.etag] = found
        return self._read_before[file.etag]

    def _versions(self, part: SeenPart) -> dict[str, Version]:
        companions = {digest([each]): each for each in ("", *self._archive.texts)}
        return {
            uri: Version(_version(segments[0].row), companions[part.made.objects[object_id(uri)].companions])
            for uri, segments in part.objects.items()
        }

    def _valid_commits(self, parts: dict[str, SeenPart]) -> list[Commit]:
        """The commits of units with just one, which is of their part."""
        found, folder = defaultdict[str, list[Commit]](list), f"{self._root}/{COMMITS}/"
        for path in list(self._bucket.store):
            if path.startswith(folder) and (commit := Commit.from_name(path.removeprefix(folder))):
                found[commit.unit].append(commit)
        files = {unit: self._bucket.store[f"{self._root}/part-{unit}.parquet"] for unit in parts}
        single = (commits[0] for commits in found.values() if len(commits) == 1)
        return [each for each in single if each.unit in files and each.part == digest([files[each.unit].etag])]

    def kept(self) -> dict[str, set[str]]:
        """The names of the files of kept pieces, by the names of the recordings in them."""
        found, folder = defaultdict[str, set[str]](set), f"{self._root}/{PIECES}/"
        for path, file in list(self._bucket.store.items()):
            if path.startswith(folder) and path.endswith(".arrow"):
                rows = pa.ipc.open_file(io.BytesIO(file.getvalue())).read_all()
                for name in rows.column("recording_id").to_pylist():
                    found[name].add(path.removeprefix(folder))
        return found

    def removed(self) -> set[str]:
        """The objects that are not to have rows any more."""
        return {key for key, known in load_state(self._output).objects.items() if known.removed}

    def to_hear(self, job: Job) -> tuple[set[str], set[str]]:
        """The names of the recordings that a run has to hear, and of those that it may: those without a text, whose
        settings cannot all be seen, and those whose emissions were kept and are lost."""
        must, may, parts = set[str](), set[str](), self.parts()
        found = {uri: (part, segments) for part in parts.values() for uri, segments in part.objects.items()}
        units = {key: known.unit for key, known in load_state(self._output).objects.items()}
        redone = {units.get(f"bucket://archive/{name}", name) for name in job.redo & self._archive.sounds.keys()}
        for name, sound in self._archive.sounds.items():
            uri = f"bucket://archive/{name}"
            part, segments = found.get(uri, (None, []))
            rows = [row for row, _ in segments]
            if not part or rows[0]["etag"] != str(sound.version) or units.get(uri, name) in redone:
                must.add(name)
            elif rows[0]["error_kind"] in PASSING:
                (must if job.on_mismatch != "keep" else may).add(name)
            elif job.on_mismatch != "keep":
                others = {each for _, each in segments if each is not None} - {job.candidates}
                is_lost = any(row["text"] and kept is None for row, kept in segments)
                was_kept = part.made.objects[object_id(uri)].emissions != NO_EMISSIONS
                is_said = all(row["text"] is None or (row["tokens"] is not None) == job.tokens for row in rows)
                if precision_of(rows[0]) != job.precision or (job.candidates and others) or (is_lost and not is_said):
                    must.add(name)
                elif not any(row["text"] for row in rows) or (is_lost and was_kept):
                    may.add(name)
        return must, may

    def is_mixed(self, job: Job) -> bool:
        """Whether something that is listed was, or may have been, heard with other settings."""
        listed = [self.objects().get(f"bucket://archive/{name}", []) for name in self._archive.sounds]
        return any(
            precision_of(row) != job.precision or (job.candidates and kept != job.candidates)
            for segments in listed
            for row, kept in segments
        )


def _version(row: Row) -> str:
    return f"{row['etag']}/{BYTES}/None/"


def _checked(row: Row, emission: dict[str, Any] | None) -> int | None:
    """The candidates of an emission, which says what its row says."""
    if emission is None:
        return None
    best = np.frombuffer(emission["best"], "<u2")
    assert row["text"] == HEXADECIMAL.decoder().text([token for token in best.tolist() if token != 256])
    counts = set(np.frombuffer(emission["counts"] or b"\0", np.uint8).tolist())
    assert len(counts) == 1
    return counts.pop()


def _check_object(segments: list[Segment], part: SeenPart, uri: str) -> None:
    """Checks that an object is whole, and as its part says that it was made."""
    rows, made = [row for row, _ in segments], part.made.objects[object_id(uri)]
    first = rows[0]
    assert [row["segment_index"] for row in rows] == list(range(1 if first["error_kind"] else SEGMENTS))
    assert len({(row["etag"], precision_of(row), row["tokens"] is None) for row in rows}) == 1
    assert made.version == digest([_version(first)])
    assert made.heard == Fingerprint.heard(settings_of(precision=precision_of(first)))
    if first["text"] is not None:
        assert made.said == Fingerprint.said(settings_of(tokens=first["tokens"] is not None))
        assert made.written == Fingerprint.written(settings_of(itn="none" if first["written"] is None else "zh"))
    for row, kept in segments:
        assert row["written"] == (None if first["written"] is None else row["text"])
        texts = "".join(token["token"] for token in row["tokens"] or ())
        assert texts == row["text"] or not row["tokens"]
        if kept is not None:
            assert made.emissions == Fingerprint.emissions(settings_of(candidates=kept))
        elif row["text"] and part.has_emissions:
            assert made.emissions == NO_EMISSIONS
