"""What a person has looked at counts against no budget; what is named is done again, what is excluded can go."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from test_links import as_nobody
from test_parts import part_rows
from test_planning import SETTINGS, Archive, wav

from actors.parts.commit import commit_unit
from actors.parts.stored import COMMITS, open_part, part_name
from actors.units import SourceObject
from jobs.cli.config import ConfigError, Errors
from jobs.planning.accepted import Accepted, read_accepted
from jobs.planning.listing import Listing
from jobs.planning.prepare import Prepared
from jobs.planning.recipe import recipe_digest
from jobs.running import budget
from jobs.running.budget import Account, take_account

NAMES = "abcdef"
KINDS = {"a": "missing", "b": "not_audio", "d": "not_audio"}  # a and b are one unit, c and d, e and f


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    archive = Archive(str(tmp_path / "out"))
    ran(archive, KINDS, *map(wav, NAMES))
    return archive


def ran(archive: Archive, kinds: Mapping[str, str], *objects: SourceObject, **policy: Any) -> Any:
    """A run in which some objects have an error, by name. Returns what is prepared, the run's id and its errors."""
    plan, errors = archive.plan(*objects, **policy), dict[str, int]()
    prepared = Prepared(Listing(list(objects)), archive.state(), plan, None, archive.place)  # type: ignore[arg-type]
    archive.claim(plan)
    run_id = f"run-{archive.runs}"
    for unit in plan.units:
        rows = part_rows(unit, run_id).to_pylist()
        for row in rows:
            if kind := kinds.get(row["recording_id"].removesuffix(".wav")):
                row |= {"error_kind": kind, "error_detail": "why", "text": None}
                errors[kind] = errors.get(kind, 0) + 1
        schema = part_rows(unit).schema
        commit_unit(unit, [pa.Table.from_pylist(rows, schema=schema)], archive.place)
    return prepared, run_id, errors


def account(archive: Archive, accepted: Accepted, *objects: SourceObject, kinds: Mapping[str, str] = KINDS) -> Account:
    """The account of a run that accepts errors."""
    prepared, run_id, errors = ran(archive, kinds, *(objects or map(wav, NAMES)))
    fields = {**vars(prepared), "accepted": accepted}
    return take_account(Prepared(**fields), run_id, errors)


def accepted_in(tmp_path: Path, *lines: str, kinds: tuple[str, ...] = ()) -> Accepted:
    file = tmp_path / "known.txt"
    file.write_text("".join(f"{line}\n" for line in lines))
    return read_accepted(Errors(accept=[*kinds, str(file)]), {}, 1e6, ["s3://archive"])  # type: ignore[list-item]


def test_nothing_is_opened_unless_something_is_accepted(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("read_commit", "open_part"):
        monkeypatch.setattr(budget, name, None)
    assert account(archive, Accepted()) == Account(recordings=6, errors=3)


def test_kinds_are_counted_by_commits_with_errors_alone(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    read = list[str]()
    original = budget.read_commit
    monkeypatch.setattr(budget, "open_part", None)
    monkeypatch.setattr(budget, "read_commit", lambda commit, output: read.append(commit) or original(commit, output))
    assert account(archive, Accepted(frozenset({"not_audio"}))) == Account(recordings=6, errors=3, accepted=2)
    assert len(read) == 2
    assert account(archive, Accepted(frozenset({"not_audio", "missing", "empty"}))) == Account(
        recordings=6, errors=3, accepted=3
    )


@pytest.mark.parametrize("content", [b"{}", b"torn", b'{"errors": [1]}', b'{"errors": {"not_audio": 9}}'])
def test_kinds_of_a_commit_without_counts_are_those_of_its_part(archive: Archive, content: bytes) -> None:
    for commit in (Path(archive.place.path) / COMMITS).iterdir():
        commit.write_bytes(content)
    assert account(archive, Accepted(frozenset({"not_audio"}))) == Account(recordings=6, errors=3, accepted=2)


def test_recordings_are_looked_up_in_their_own_parts(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = list[str]()
    monkeypatch.setattr(budget, "open_part", lambda unit, output: opened.append(unit) or open_part(unit, output))
    accepted = accepted_in(tmp_path, "s3://archive/b.wav", "a.wav", "s3://archive/e.wav", "s3://archive/none.wav")
    assert account(archive, accepted) == Account(recordings=6, errors=3, accepted=2, missing_names=2, accepted_names=4)
    assert len(opened) == 1


def test_kinds_and_recordings_together_count_each_error_once(archive: Archive, tmp_path: Path) -> None:
    accepted = accepted_in(tmp_path, "b.wav", "a.wav", kinds=("not_audio",))
    assert account(archive, accepted) == Account(recordings=6, errors=3, accepted=3, accepted_names=2)


def test_errors_of_this_run_are_told_from_those_that_it_carries(archive: Archive, tmp_path: Path) -> None:
    accepted = accepted_in(tmp_path, "a.wav", "b.wav")
    now = account(archive, accepted, wav("a", etag="2"), *map(wav, "cdef"))  # the row of b is carried over
    assert now == Account(recordings=6, errors=3, accepted=2, own_accepted=1, accepted_names=2)
    by_kind = account(archive, Accepted(frozenset({"missing"})), wav("a", etag="3"), *map(wav, "cdef"))
    assert by_kind == Account(recordings=6, errors=3, accepted=1, own_accepted=1)


def test_a_new_error_of_an_accepted_recording_is_accepted_and_of_another_is_not(
    archive: Archive, tmp_path: Path
) -> None:
    accepted, kinds = accepted_in(tmp_path, *(f"{name}.wav" for name in KINDS)), KINDS | {"a": "empty"}
    changed = (wav("a", etag="2"), *map(wav, "bcdef"))
    assert account(archive, accepted, *changed, kinds=kinds) == Account(
        recordings=6, errors=3, accepted=3, own_accepted=1, accepted_names=3
    )
    new = (*changed, wav("g"))
    assert account(archive, accepted, *new, kinds={"g": "empty"}) == Account(
        recordings=7, errors=4, accepted=3, accepted_names=3
    )


def test_only_units_that_the_listing_touches_count(archive: Archive, tmp_path: Path) -> None:
    accepted = accepted_in(tmp_path, "a.wav", "d.wav")
    assert account(archive, accepted, wav("c"), wav("d")) == Account(
        recordings=2, errors=1, accepted=1, accepted_names=2
    )


@pytest.mark.parametrize("damage", ["torn", "folder", "gone", "link", "pipe"])
def test_a_part_that_cannot_be_read_accepts_nothing_and_is_named(
    archive: Archive, tmp_path: Path, damage: str, capfd: pytest.CaptureFixture[str]
) -> None:
    prepared, run_id, _ = ran(archive, KINDS, *map(wav, NAMES))
    for part in Path(archive.place.path).glob("part-*"):
        part.unlink()
        if damage == "torn":
            part.write_bytes(b"torn")
        elif damage == "folder":
            part.mkdir()
        elif damage == "link":
            part.symlink_to("elsewhere")
        elif damage == "pipe":
            os.mkfifo(part)
    fields = {**vars(prepared), "accepted": accepted_in(tmp_path, "a.wav")}
    nothing = Account(recordings=6, errors=3, missing_names=1, accepted_names=1)
    assert take_account(Prepared(**fields), run_id, {}) == nothing
    assert re.search(r"errors\.accept: part-\S+\.parquet cannot be read", " ".join(capfd.readouterr().err.split()))


def test_a_part_that_may_not_be_read_costs_no_totals() -> None:
    with as_nobody() as folder:
        archive = Archive(str(folder / "out"))
        prepared, run_id, _ = ran(archive, KINDS, *map(wav, NAMES))
        accepted = accepted_in(folder, "a.wav", kinds=("not_audio",))
        fields = {**vars(prepared), "state": archive.state(), "accepted": accepted}
        unit = archive.state().objects[wav("a").key].unit
        (folder / "out" / part_name(unit)).chmod(0)
        for commit in (folder / "out" / COMMITS).iterdir():
            commit.chmod(0)
        found = take_account(Prepared(**fields), run_id, {})
        assert found == Account(
            recordings=6, errors=3, accepted=1, missing_names=1, accepted_names=1
        )  # by the part of d


def test_nothing_is_opened_for_the_account_of_a_run_that_is_not_complete(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared, run_id, errors = ran(archive, KINDS, *map(wav, NAMES))
    fields = {**vars(prepared), "accepted": accepted_in(tmp_path, "a.wav", kinds=("not_audio",))}
    for name in ("read_commit", "open_part"):
        monkeypatch.setattr(budget, name, None)
    assert take_account(Prepared(**fields), run_id, errors, is_complete=False) == Account(recordings=6, errors=3)


def test_kinds_and_files_are_told_apart_and_mistakes_refused(tmp_path: Path) -> None:
    file = tmp_path / "known.csv"
    file.write_text("uri\nfile:///a.wav\n")
    found = read_accepted(Errors(accept=["empty", str(file), "crashed"]), {}, 1e6, ())  # type: ignore[list-item]
    assert found.kinds == {"empty", "crashed"}
    assert found.named.times == {("file:///a.wav", ()): 1}
    for name, why in (
        ("mising", r"errors\.accept: mising is neither a kind of error nor a file that exists; did you mean missing\?"),
        (f"{tmp_path}/none.txt", r"errors\.accept: .*/none\.txt is neither .*; give kinds of error, or a text file"),
        ("nosuch://x/y", r"errors\.accept: .*nosuch"),
        (str(tmp_path), r"errors\.accept: .*is not a file"),
    ):
        with pytest.raises(ConfigError, match=why):
            read_accepted(Errors(accept=[name]), {}, 1e6, ())


def test_accepting_and_redoing_make_no_difference_to_what_is_done(archive: Archive) -> None:
    from test_recipe import CPUS, recipe_of

    plain = recipe_of(CPUS)
    keys = [
        "errors.accept=[empty, x.csv]",
        "errors.max_new_fraction=0.1",
        "input.redo=[*]",
        "output.on_excluded=remove",
    ]
    assert recipe_of(CPUS, *keys).digest == plain.digest == recipe_digest(plain.settings)
    redone = archive.plan(*map(wav, NAMES), redo=frozenset({wav("a").key}))
    (unit,) = redone.redo
    assert unit.fingerprint == archive.state().commit_of(unit.id).fingerprint  # type: ignore[union-attr]
    assert SETTINGS
