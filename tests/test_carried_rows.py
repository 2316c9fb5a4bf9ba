"""Rows that are carried over are what hearing all again would make, and a rewrite that is struck goes on as one."""

import hashlib
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from conftest import encoded, tone
from fsspec.implementations.memory import MemoryFileSystem
from test_channels import stereo
from test_pieces import tar_of
from transcribing import HEXADECIMAL, MODEL, decode, emitted

from actors.foreign.errors import InvalidData
from actors.outcomes import Committed
from actors.parts import made as made_with
from actors.parts.carry import Outdated
from actors.parts.emissions import EMISSIONS, EmissionFile
from actors.parts.made import Made
from actors.parts.part import PartWriter
from actors.parts.recordings import rows_in
from actors.parts.stored import COMMITS, Commit, open_part, part_name, read_commit
from actors.pieces import Cut, cut_unit
from actors.reader import read_piece
from actors.schema import EMISSION_SCHEMA, KEY
from actors.sources.objects import ReadSettings
from actors.storage import listing
from actors.storage.place import Place
from actors.text.emissions import heard_in
from actors.units import NO_EMISSIONS, Carried, SourceObject, Unit, digest
from actors.writer import Writer, WriteSettings
from jobs.cli.config import Input
from jobs.planning.changes import planned_object
from jobs.planning.listing import list_input
from jobs.planning.reuse import Reuse, has_emissions, reuse_of

READING = ReadSettings(channel="each")
HEARD, KEPT, WRITTEN = "a" * 8, "b" * 8, "e" * 8
SAID = {True: "c" * 8, False: "d" * 8}  # with tokens and without
NOTHING = EMISSION_SCHEMA.empty_table()
OWN = ("run_id", "transcribed_at")  # of a run


def recipe(tokens: bool = True, keeps: bool = True, heard: str = HEARD) -> str:
    return heard + (KEPT if keeps else NO_EMISSIONS) + SAID[tokens] + WRITTEN


def sounds_heard(speech: pa.Table) -> pa.Table:
    """Hears a digest of each sound; one of them is silent."""
    columns = zip(speech.column("pcm").to_pylist(), speech.column("uri").to_pylist(), strict=True)
    contents = [hashlib.md5(pcm).digest() if pcm and "silent" not in uri else None for pcm, uri in columns]
    return emitted(speech, contents)


def hears_nothing(speech: pa.Table) -> pa.Table:
    raise AssertionError("nothing is to be heard")


Hears = Callable[[pa.Table], pa.Table]


def commit(unit: Unit, output: Place, run_id: str, tokens: bool = True, hears: Hears = sounds_heard) -> Committed:
    """The last two stages of the graph for a unit in one piece."""
    (piece,) = cut_unit(unit, Cut(1_800.0))
    emissions = hears(read_piece(piece, READING)) if piece.objects else NOTHING
    told = Writer(WriteSettings(MODEL, HEXADECIMAL, run_id, READING, tokens), output, run_id)(piece, emissions)
    assert isinstance(told, Committed)
    return told


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Recordings in several rows, in channels, silent, broken, in lines of a manifest; companions of most."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.wav").write_bytes(encoded(tone(50, 8_000, hertz=300), 8_000))
    (folder / "a.txt").write_text("spoken")
    (folder / "call.wav").write_bytes(stereo(tone(3, hertz=300), tone(3, hertz=900)))
    (folder / "call.json").write_text('{"text": "both", "speaker": "x"}')
    (folder / "silent.wav").write_bytes(encoded(tone(1)))
    (folder / "broken.wav").write_bytes(b"not a sound")
    (folder / "broken.txt").write_text("of it")
    (folder / "b.wav").write_bytes(encoded(tone(4, hertz=500)))
    lines(folder, line(text="one", id="first"), line(offset=2, text="two", place="hall"))
    return folder


def line(**fields: Any) -> dict[str, Any]:
    return {"audio_filepath": "b.wav", "offset": 0, "duration": 2.0} | fields


def lines(folder: Path, *entries: dict[str, Any]) -> None:
    (folder / "m.jsonl").write_text("".join(json.dumps(each) + "\n" for each in entries))


def listed(folder: Path) -> list[SourceObject]:
    return list_input(Input(uri=str(folder)), "/nowhere/out").objects


def made_in(output: Place) -> Made:
    return Made.from_metadata(open_part("0a", output).metadata())


def stored(output: Place, name: str) -> list[str]:
    return [each.name for each in listing.in_folder(output / name)]


def planned(
    output: Place,
    wanted: str,
    sources: list[SourceObject],
    before: list[SourceObject] | None = None,
    keeps_mismatched: bool = False,
) -> Reuse:
    """What a run would plan for the unit, of which `before` were planned."""
    present = {each.key: planned_object(each, "0a") for each in [*(before or ()), *sources]}
    made, names = made_in(output), set(stored(output, EMISSIONS))
    known = {each.key: each for each in sources}
    return reuse_of(present, known, made, wanted, has_emissions("0a", made, names), frozenset(), keeps_mismatched)


def rows_of(output: Place) -> list[dict[str, Any]]:
    rows = list(rows_in(open_part("0a", output).tables()))
    return sorted(rows, key=lambda row: [str(row[name]) for name in (*KEY, "segment_index")])


def without_run(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name not in OWN} for row in rows]


def emissions_in(output: Place) -> dict[Any, Any]:
    """The kept emissions, by the keys of their rows."""
    name, rows = made_in(output).emissions, list(rows_in(open_part("0a", output).tables()))
    if not name:
        return {}
    file = EmissionFile(name, output)
    assert file.rows == len(rows)
    keys = [tuple(row[name] for name in (*KEY, "segment_index")) for row in rows]
    return dict(zip(keys, file.take(file.rows).to_pylist(), strict=True))


def assert_said(output: Place) -> None:
    """Each row with an emission has its text."""
    rows, decoder = list(rows_in(open_part("0a", output).tables())), HEXADECIMAL.decoder()
    said = heard_in(EmissionFile(made_in(output).emissions, output).take(len(rows)))
    found = [(row["text"], decode(each, decoder).text) for row, each in zip(rows, said, strict=True) if each]
    assert found
    assert all(text == decoded for text, decoded in found)


def commit_in(output: Place) -> Commit:
    (name,) = stored(output, COMMITS)
    found = Commit.from_name(name)
    assert found
    return found


def assert_same(output: Place, fresh: Place) -> None:
    """Two outputs have the same of a unit, but for the run, the order of rows, and what depends on it."""
    assert without_run(rows_of(output)) == without_run(rows_of(fresh))
    assert emissions_in(output) == emissions_in(fresh)
    assert made_in(output).objects == made_in(fresh).objects
    ours, theirs = commit_in(output), commit_in(fresh)
    assert replace(ours, part="0", emissions="0") == replace(theirs, part="0", emissions="0")
    assert bool(ours.emissions) == bool(theirs.emissions)
    assert made_in(output).emissions.count(ours.emissions)


def edit(folder: Path) -> None:
    (folder / "a.txt").write_text("edited")


def take_away(folder: Path) -> None:
    for name in ("a.txt", "call.json", "broken.txt"):
        (folder / name).unlink()


def add(folder: Path) -> None:
    (folder / "silent.txt").write_text("nothing")


def change_kind(folder: Path) -> None:
    (folder / "a.txt").rename(folder / "a.json")
    (folder / "call.json").write_text('{"text": "others", "speaker": "y"}')
    (folder / "broken.txt").write_text("of it, edited")


def edit_lines(folder: Path) -> None:
    lines(folder, line(text="1", id="renamed", more=[1, {"x": None}]), line(offset=2, extra="\udc80 \u0007"))


CHANGES = [edit, take_away, add, change_kind, edit_lines, lambda _: None]


@pytest.mark.parametrize("change", CHANGES, ids=lambda each: each.__name__)
@pytest.mark.parametrize(("was", "wanted"), [(True, True), (True, False), (False, True)])
def test_a_rewrite_is_what_hearing_again_would_be(
    archive: Path, tmp_path: Path, change: Callable[[Path], None], was: bool, wanted: bool
) -> None:
    output, fresh = Place.at(str(tmp_path / "out")), Place.at(str(tmp_path / "fresh"))
    commit(Unit.of("0a", recipe(was), listed(archive)), output, "first", was)
    before = rows_of(output)
    assert {row["error_kind"] for row in before} == {None, "not_audio"}
    assert max(row["segment_index"] for row in before) > 1
    change(archive)
    sources = listed(archive)
    reuse = planned(output, recipe(wanted), sources)
    assert not reuse.hear
    assert all(each.is_as_wanted for each in reuse.carried)
    commit(reuse.unit("0a", recipe(wanted)), output, "later", wanted, hears_nothing)
    commit(Unit.of("0a", recipe(wanted), sources), fresh, "first", wanted)
    assert_same(output, fresh)
    assert_said(output)
    after = rows_of(output)
    assert {row["run_id"] for row in after} == {"first" if was == wanted else "later"}
    if was == wanted:
        assert [row["transcribed_at"] for row in after] == [row["transcribed_at"] for row in before]


@pytest.mark.parametrize("keeps", [True, False])
def test_only_what_changed_is_heard(archive: Path, tmp_path: Path, keeps: bool) -> None:
    output, fresh = Place.at(str(tmp_path / "out")), Place.at(str(tmp_path / "fresh"))
    commit(Unit.of("0a", recipe(keeps=keeps), listed(archive)), output, "first")
    before = listed(archive)
    (archive / "call.wav").write_bytes(stereo(tone(2, hertz=500), tone(2, hertz=600)))
    (archive / "broken.wav").unlink()
    (archive / "broken.txt").unlink()
    edit(archive)
    sources, heard = listed(archive), list[str]()
    reuse = planned(output, recipe(keeps=keeps), sources)
    assert [each.name for each in reuse.hear] == ["call.wav"]

    def hears(speech: pa.Table) -> pa.Table:
        heard.extend(speech.column("uri").to_pylist())
        return sounds_heard(speech)

    kept = planned(output, recipe(keeps=keeps), sources, before)  # what is deleted keeps its rows
    assert [each.key for each in kept.carried if each.source is None] == [
        each.key for each in before if each.name == "broken.wav"
    ]
    told = commit(kept.unit("0a", recipe(keeps=keeps)), output, "later", hears=hears)
    assert told.counts.recordings == 2
    assert {uri.rpartition("/")[2] for uri in heard} == {"call.wav"}
    assert commit_in(output).recordings == len([row for row in rows_of(output) if row["segment_index"] == 0])
    assert "broken.wav" in {row["recording_id"] for row in rows_of(output)}
    removed = planned(output, recipe(keeps=keeps), sources)
    assert not removed.hear
    commit(removed.unit("0a", recipe(keeps=keeps)), output, "last", hears=hears_nothing)
    commit(Unit.of("0a", recipe(keeps=keeps), sources), fresh, "first")
    assert_same(output, fresh)


def test_emissions_stay_when_none_are_asked_for(archive: Path, tmp_path: Path) -> None:
    """And can be decoded then; what is heard meanwhile has none, and is heard again for that."""
    output = Place.at(str(tmp_path / "out"))
    commit(Unit.of("0a", recipe(), listed(archive)), output, "first")
    before = emissions_in(output)
    (archive / "a.wav").write_bytes(encoded(tone(2, hertz=700)))
    wanted = recipe(keeps=False)
    reuse = planned(output, wanted, listed(archive))
    assert [each.name for each in reuse.hear] == ["a.wav"]
    commit(reuse.unit("0a", wanted), output, "second")
    after = emissions_in(output)
    assert {key: value for key, value in after.items() if not key[0].endswith("a.wav")} == {
        key: value for key, value in before.items() if not key[0].endswith("a.wav")
    }
    assert not any(value for key, value in after.items() if key[0].endswith("a.wav"))
    assert commit_in(output).emissions
    wanted = recipe(False, keeps=False)
    reuse = planned(output, wanted, listed(archive))
    assert [each.name for each in reuse.hear] == ["a.wav"]
    commit(reuse.unit("0a", wanted), output, "third", False)
    commit(Unit.of("0a", wanted, listed(archive)), fresh := Place.at(str(tmp_path / "fresh")), "first", False)
    assert without_run(rows_of(output)) == without_run(rows_of(fresh))


def test_more_emissions_than_are_read_again_are_not_kept(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.parts.commit.MAX_FILE_BYTES", 100)
    output = Place.at(str(tmp_path / "out"))
    commit(Unit.of("0a", recipe(), listed(archive)), output, "first")
    assert (stored(output, EMISSIONS), commit_in(output).emissions, made_in(output).emissions) == ([], "", "")
    assert not any(each.has_emissions for each in made_in(output).objects.values())
    assert planned(output, recipe(False), listed(archive)).lacks_emissions
    assert not planned(output, recipe(), listed(archive)).hear


def spoil(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-30])


def link(file: Path) -> None:
    os.rename(file, file.with_name("elsewhere"))
    file.symlink_to(file.with_name("elsewhere"))


def make_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


DAMAGES: list[Callable[[Path], Any]] = [spoil, link, make_folder, Path.unlink, lambda file: os.truncate(file, 0)]


@pytest.mark.parametrize("damage", DAMAGES, ids=["cut off", "link", "folder", "gone", "empty"])
def test_damaged_emissions(archive: Path, tmp_path: Path, damage: Callable[[Path], Any]) -> None:
    """They are lost without harm where they are not needed; else their recordings are heard by the next run."""
    output, sources = Place.at(str(tmp_path / "out")), listed(archive)
    commit(Unit.of("0a", recipe(), sources), output, "first")
    (file,) = (tmp_path / "out" / EMISSIONS).iterdir()
    needed, not_needed = planned(output, recipe(False), sources), planned(output, recipe(), sources)
    damage(file)
    before = {each: each.read_bytes() for each in (tmp_path / "out").rglob("*") if each.is_file() and each != file}
    with pytest.raises(Outdated, match="the next run hears its recordings again"):
        commit(needed.unit("0a", recipe(False)), output, "second", False, hears_nothing)
    after = {each: each.read_bytes() for each in (tmp_path / "out").rglob("*") if each.is_file() and each != file}
    assert after == before
    again = planned(output, recipe(False), sources)
    assert again.hear == sorted(sources, key=lambda each: (each.uri, each.key))
    edit(archive)
    sources = listed(archive)
    not_needed = planned(output, recipe(), sources)
    assert not not_needed.hear
    commit(not_needed.unit("0a", recipe()), output, "third", hears=hears_nothing)
    assert (commit_in(output).emissions, made_in(output).emissions) == ("", "")
    assert {each.emissions for each in made_in(output).objects.values()} == {NO_EMISSIONS}
    assert commit_in(output).fingerprint[8:16] == NO_EMISSIONS


def test_where_some_emissions_were_lost_the_others_are_decoded(archive: Path, tmp_path: Path) -> None:
    output, sources = Place.at(str(tmp_path / "out")), listed(archive)
    commit(Unit.of("0a", recipe(), sources), output, "first")
    (file,) = (tmp_path / "out" / EMISSIONS).iterdir()
    (archive / "call.wav").write_bytes(stereo(tone(2, hertz=500), tone(2, hertz=600)))
    sources = listed(archive)
    reuse = planned(output, recipe(), sources)
    file.unlink()
    commit(reuse.unit("0a", recipe()), output, "second")
    left = planned(output, recipe(False), sources, keeps_mismatched=True)
    assert not left.hear
    assert {each.source.name for each in left.carried if each.source and not each.is_left} == {"call.wav"}
    commit(left.unit("0a", recipe(False)), output, "left", False, hears_nothing)
    assert_said(output)
    assert {(row["uri"].endswith("call.wav"), row["run_id"] == "left") for row in rows_of(output)} == {
        (True, True),
        (False, False),
    }
    later = planned(output, recipe(False), sources)
    assert "call.wav" in {each.source.name for each in later.carried if each.source}
    assert "call.wav" not in {each.name for each in later.hear}
    commit(later.unit("0a", recipe(False)), output, "third", False)
    commit(Unit.of("0a", recipe(False), sources), fresh := Place.at(str(tmp_path / "fresh")), "first", False)
    assert_same(output, fresh)


def test_emissions_of_another_unit_are_nobodys(archive: Path, tmp_path: Path) -> None:
    """Nor are they deleted where they do not fit."""
    output, sources = Place.at(str(tmp_path / "out")), listed(archive)
    commit(Unit.of("0b", recipe(), sources[:1]), output, "first")
    (other,) = (tmp_path / "out" / EMISSIONS).iterdir()
    commit(Unit.of("0a", recipe(), sources), output, "first")
    part = open_part("0a", output)
    forged, made = PartWriter(), Made.from_metadata(part.metadata())
    for table in part.tables():
        forged.add(table)
    (output / part_name("0a")).write(forged.finish(replace(made, emissions=other.name).to_metadata()))
    assert planned(output, recipe(False), sources).hear
    carried = planned(output, recipe(), sources).carried
    with pytest.raises(Outdated):
        commit(Unit.of("0a", recipe(False), (), carried), output, "second", False)
    assert other.exists()


@pytest.mark.parametrize("other", [recipe(heard="0" * 8), recipe(False, keeps=False), recipe(keeps=False)])
def test_a_part_that_another_run_replaced_is_left_to_the_next(archive: Path, tmp_path: Path, other: str) -> None:
    output, sources = Place.at(str(tmp_path / "out")), listed(archive)
    commit(Unit.of("0a", recipe(), sources), output, "first")
    reuse = planned(output, recipe(False), sources)
    commit(Unit.of("0a", other, sources), output, "meanwhile")
    before = stored(output, COMMITS), rows_of(output)
    if other == recipe(False, keeps=False):  # it made what is wanted
        commit(reuse.unit("0a", recipe(False)), output, "second", False, hears_nothing)
        return
    with pytest.raises(Outdated, match="committed by another run"):
        commit(reuse.unit("0a", recipe(False)), output, "second", False, hears_nothing)
    assert (stored(output, COMMITS), rows_of(output)) == before


def test_a_part_of_other_sound_is_left_to_the_next(archive: Path, tmp_path: Path) -> None:
    output, sources = Place.at(str(tmp_path / "out")), listed(archive)
    commit(Unit.of("0a", recipe(), sources), output, "first")
    reuse = planned(output, recipe(False), sources)
    (archive / "a.wav").write_bytes(encoded(tone(2, hertz=700)))
    commit(Unit.of("0a", recipe(), listed(archive)), output, "meanwhile")
    with pytest.raises(Outdated, match="committed by another run"):
        commit(reuse.unit("0a", recipe(False)), output, "second", False, hears_nothing)


@pytest.mark.parametrize("damage", [*DAMAGES[:2], DAMAGES[3], DAMAGES[4]], ids=["cut off", "link", "gone", "empty"])
def test_a_damaged_part_is_made_by_the_next_run(archive: Path, tmp_path: Path, damage: Callable[[Path], Any]) -> None:
    output, sources = Place.at(str(tmp_path / "out")), listed(archive)
    commit(Unit.of("0a", recipe(), sources), output, "first")
    reuse = planned(output, recipe(False), sources)
    damage(tmp_path / "out" / part_name("0a"))
    with pytest.raises(Outdated, match="the next run"):
        commit(reuse.unit("0a", recipe(False)), output, "second", False, hears_nothing)
    assert not (tmp_path / "out" / part_name("0a")).exists()
    assert not stored(output, COMMITS) or damage is Path.unlink


class Crash(BaseException):
    """Ends a run."""


class Struck(MemoryFileSystem):
    """A store like S3, with ETags of the content; ends a run before an operation, or after it."""

    cachable = False

    def __init__(self) -> None:
        super().__init__()
        self.store: dict[str, Any] = {}
        self.pseudo_dirs = [""]
        self.done, self.ends_at, self.is_after = list[tuple[str, str]](), -1, False

    def _at(self, operation: str, path: str, work: Callable[[], Any]) -> Any:
        self.done.append((operation, path.rpartition("/out/")[2]))
        is_struck = len(self.done) - 1 == self.ends_at
        if is_struck and not self.is_after:
            raise Crash
        result = work()
        if is_struck:
            raise Crash
        return result

    def _etag(self, entry: dict[str, Any]) -> dict[str, Any]:
        if entry["type"] == "file":
            content = self.store[self._strip_protocol(entry["name"])].getvalue()
            entry["ETag"] = hashlib.md5(content).hexdigest()
        return entry

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        return self._etag(dict(super().info(path, **kwargs)))

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> Any:
        found = [self._etag(each) for each in super().ls(path, detail=True, **kwargs)]
        return found if detail else [each["name"] for each in found]

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        self._at("write", path, lambda: super(Struck, self).pipe_file(path, value, mode=mode, **kwargs))

    def rm_file(self, path: str) -> None:
        if self._strip_protocol(path) not in self.store:
            raise FileNotFoundError(path)
        self._at("delete", path, lambda: super(Struck, self).rm_file(path))

    def files(self) -> dict[str, bytes]:
        return {path: file.getvalue() for path, file in self.store.items()}


def strikes(before: dict[str, bytes], operations: int) -> Iterator[tuple[Struck, Place]]:
    """The storage as it was, to be struck before and after each of its changes."""
    for at in range(operations):
        for is_after in (False, True):
            storage = Struck()
            for path, content in before.items():
                storage.pipe_file(path, content)
            storage.done, storage.ends_at, storage.is_after = [], at, is_after
            yield storage, Place(storage, "/out")


@pytest.mark.parametrize("hears_one", [True, False])
def test_a_rewrite_that_is_struck_goes_on_as_one(archive: Path, hears_one: bool) -> None:
    storage = Struck()
    output = Place(storage, "/out")
    commit(Unit.of("0a", recipe(), listed(archive)), output, "first")
    before, old = storage.files(), (without_run(rows_of(output)), emissions_in(output))
    edit(archive)
    if hears_one:
        (archive / "call.wav").write_bytes(stereo(tone(2, hertz=500), tone(2, hertz=600)))
    sources = listed(archive)
    unit = planned(output, recipe(False), sources).unit("0a", recipe(False))
    assert bool(unit.objects) == hears_one
    storage.done = []
    commit(unit, output, "later", False)
    new = without_run(rows_of(output)), emissions_in(output)
    kinds = [(operation, path.partition("/")[0].partition("-")[0]) for operation, path in storage.done]
    assert kinds == [("write", EMISSIONS), ("delete", COMMITS), ("write", "part"), ("write", COMMITS)]
    for struck, place in strikes(before, len(kinds)):
        with pytest.raises(Crash):
            commit(unit, place, "later", False)
        found = without_run(rows_of(place)), emissions_in(place)
        assert found in (old, new)
        is_done = commits_of_the_part(place)
        struck.ends_at = -1
        left = planned(place, recipe(False), sources)
        assert bool(left.hear) == (hears_one and found == old)
        if found == new:
            assert not left.updates
        if not is_done or found == old:
            commit(left.unit("0a", recipe(False)), place, "again", False)
        assert (without_run(rows_of(place)), emissions_in(place)) == new
        assert commits_of_the_part(place) == [commit_in(place)]
        assert replace(commit_in(place), part="", emissions="") == replace(commit_in(output), part="", emissions="")


def commits_of_the_part(output: Place) -> list[Commit]:
    """The commits of the part that there is; each names its emissions."""
    version = digest([output.filesystem.info(f"/out/{part_name('0a')}")["ETag"]])
    found = [each for name in stored(output, COMMITS) if (each := Commit.from_name(name)) and each.part == version]
    for each in found:
        assert made_in(output).emissions.endswith(f".{each.emissions}.arrow")
    return found


def test_hashes_of_silence_are_none(archive: Path) -> None:
    speech = read_piece(cut_unit(Unit.of("0a", recipe(), listed(archive)), Cut(1_800.0))[0], READING)
    heard = sounds_heard(speech).column("best").to_pylist()
    assert 0 < len([each for each in heard if each is None]) < len(heard)
    assert np.frombuffer(next(each for each in heard if each), "<u2").max() == 256
    with pytest.raises(InvalidData):
        EmissionFile("x", Place.at("/nowhere"))


def test_lines_of_a_shard_are_read_again_alone(tmp_path: Path) -> None:
    """Texts in a tar are its content; those in the lines of a manifest are not."""
    folder, output = tmp_path / "nemo", Place.at(str(tmp_path / "out"))
    folder.mkdir()
    sounds = [(f"{name}.wav", encoded(tone(2, hertz=hertz))) for name, hertz in (("x", 300), ("y", 500), ("z", 700))]
    (folder / "audio_0.tar").write_bytes(tar_of([*sounds, ("bad.wav", b"not a sound")]))

    def write(*entries: dict[str, Any]) -> list[SourceObject]:
        stated = [{"duration": 2.0, "shard_id": 0} | each for each in entries]
        (folder / "manifest.jsonl").write_text("".join(json.dumps(each) + "\n" for each in stated))
        return listed(folder)

    names = ("x.wav", "y.wav", "bad.wav", "gone.wav")
    sources = write(*({"audio_filepath": name, "text": f"of {name}"} for name in names))
    commit(Unit.of("0a", recipe(), sources), output, "first")
    assert [row["error_kind"] for row in rows_of(output)] == ["not_audio", "missing", None, None, None]
    for number, changed in enumerate(
        [
            [{"audio_filepath": name, "text": f"{name}, edited", "id": f"n{name}"} for name in names],
            [{"audio_filepath": name, "speaker": [1]} for name in names],
            [{"audio_filepath": name, "text": "all"} for name in reversed(names)],
        ]
    ):
        sources = write(*changed)
        reuse = planned(output, recipe(number == 0), sources)
        assert not reuse.hear
        commit(reuse.unit("0a", recipe(number == 0)), output, "later", number == 0, hears_nothing)
        fresh = Place.at(str(tmp_path / f"fresh{number}"))
        commit(Unit.of("0a", recipe(number == 0), sources), fresh, "first", number == 0)
        assert_same(output, fresh)
    sources = write({"audio_filepath": "x.wav", "offset": 0.5, "duration": 1.0})
    assert planned(output, recipe(False), sources).hear


@pytest.mark.parametrize(
    ("members", "names"),
    [
        (("x.wav", "x-sub1.wav"), ("x-sub1.wav",)),
        (("x-sub1.wav", "x.wav"), ("x.wav", "x-sub1.wav")),
        (("x.wav",), ("x.wav", "x-sub1.wav")),
        (("a/x.wav", "b/x.wav"), ("x.wav",)),
        (("b/x.wav", "x.wav"), ("x.wav",)),
        (("./x.wav", "y.wav"), ("x.wav", "y.wav")),
        (("x.wav", "x.wav"), ("x.wav",)),
        (("d" * 4_200 + ".wav", "y.wav"), ("d" * 4_200 + ".wav", "y.wav")),
        (("surrogate\udce9.wav",), ("surrogate\udce9.wav",)),
    ],
    ids=str,
)
def test_lines_of_a_shard_find_the_members_that_reading_finds(
    tmp_path: Path, members: tuple[str, ...], names: tuple[str, ...]
) -> None:
    folder, output, fresh = tmp_path / "nemo", Place.at(str(tmp_path / "out")), Place.at(str(tmp_path / "fresh"))
    folder.mkdir()
    sounds = [encoded(tone(2, hertz=300 + 100 * number)) for number in range(len(members))]
    (folder / "audio_0.tar").write_bytes(tar_of(zip(members, sounds, strict=True), format=tarfile.GNU_FORMAT))

    def write(text: str) -> list[SourceObject]:
        stated = [
            {"audio_filepath": name, "duration": 2.0, "shard_id": 0, "text": f"{text} {name[:9]}"} for name in names
        ]
        (folder / "manifest.jsonl").write_text("".join(json.dumps(each) + "\n" for each in stated))
        return listed(folder)

    commit(Unit.of("0a", recipe(), write("old")), output, "first")
    reuse = planned(output, recipe(), sources := write("new"))
    commit(reuse.unit("0a", recipe()), output, "later")
    commit(Unit.of("0a", recipe(), sources), fresh, "first")
    assert without_run(rows_of(output)) == without_run(rows_of(fresh))


def test_what_was_found_in_containers_stays_known(tmp_path: Path) -> None:
    folder, output = tmp_path / "in", Place.at(str(tmp_path / "out"))
    folder.mkdir()
    (folder / "a.tar").write_bytes(tar_of([("x.wav", encoded(tone(1))), ("y.wav", encoded(tone(2)))]))
    (folder / "b.wav").write_bytes(encoded(tone(1)))
    commit(Unit.of("0a", recipe(), listed(folder)), output, "first")
    before = read_commit(commit_in(output), output)["entries"]
    (folder / "b.txt").write_text("of b")
    commit(planned(output, recipe(), listed(folder)).unit("0a", recipe()), output, "later", hears=hears_nothing)
    assert read_commit(commit_in(output), output)["entries"] == before
    assert before == {"found": 2, "recordings": 2, "companions": 0, "skipped": {}}


def test_rows_are_taken_of_a_part_that_does_not_say_what_it_was_made_with(archive: Path, tmp_path: Path) -> None:
    """As they are, if they are not listed; listed ones are left to the next run, which hears them."""
    output = Place.at(str(tmp_path / "out"))
    commit(Unit.of("0a", recipe(), sources := listed(archive)), output, "first")
    before = rows_of(output)
    rows = pa.concat_tables(open_part("0a", output).tables())
    writer = PartWriter()
    writer.add(rows)
    (output / part_name("0a")).put(writer.finish({made_with.KEY: "damaged"}))
    heard = [each for each in sources if each.name == "a.wav"]
    others = [each for each in sources if each.name != "a.wav"]
    taken = [Carried(each.key, each.version, each.uri, each.selection) for each in others]
    with pytest.raises(Outdated):
        commit(Unit.of("0a", recipe(), heard, [each._replace(source=heard[0]) for each in taken]), output, "later")
    commit(Unit.of("0a", recipe(), heard, taken), output, "later")
    assert without_run(rows_of(output)) == without_run(before)


def test_a_part_that_is_replaced_while_it_is_read_stays(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = Place.at(str(tmp_path / "out"))
    commit(Unit.of("0a", recipe(), listed(archive)), output, "first")
    unit = planned(output, recipe(False), listed(archive)).unit("0a", recipe(False))

    def opened(unit_id: str, place: Place) -> None:
        commit(Unit.of(unit_id, recipe(), listed(archive)), place, "another")
        raise InvalidData("half of it is another part's")

    with monkeypatch.context() as patch:
        patch.setattr("actors.parts.carry.open_part", opened)
        with pytest.raises(Outdated):
            commit(unit, output, "later", False)
    assert {row["run_id"] for row in rows_of(output)} == {"another"}
    assert commit_in(output)


def test_one_channel_of_what_is_read_with_all_of_them_is_heard_with_that(tmp_path: Path) -> None:
    """Two of its rows have the same key, and one is not told from the other."""
    folder, output, fresh = tmp_path / "in", Place.at(str(tmp_path / "out")), Place.at(str(tmp_path / "fresh"))
    folder.mkdir()
    (folder / "b.wav").write_bytes(stereo(tone(3, hertz=300), tone(3, hertz=900)))
    lines(folder, line(id="all"), line(channel_selector=1, id="right"), line(offset=1, channel_selector=1))
    commit(Unit.of("0a", recipe(), listed(folder)), output, "first")
    lines(folder, line(id="all", text="new"), line(channel_selector=1, id="right"), line(offset=1, channel_selector=1))
    reuse = planned(output, recipe(), sources := listed(folder))
    assert [each.selection.offset_s for each in reuse.hear] == [0.0, 0.0]
    commit(reuse.unit("0a", recipe()), output, "later")
    commit(Unit.of("0a", recipe(), sources), fresh, "first")
    assert without_run(rows_of(output)) == without_run(rows_of(fresh))
