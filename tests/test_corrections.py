"""Run after run: what a manifest says is corrected, and no recording has two rows."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from conftest import encoded, tone
from transcribing import DIGESTS, commit_piece

from actors.parts.recordings import rows_in
from actors.parts.stored import open_part, remove_unit
from actors.pieces import Cut, cut_unit
from actors.reader import read_piece
from actors.schema import EMISSION_SCHEMA, KEY
from actors.sources.objects import ReadSettings
from actors.storage.place import Place
from jobs.cli.config import Input
from jobs.planning.corrections import object_errors
from jobs.planning.listing import list_input
from jobs.planning.plans import write_plan
from jobs.planning.recipe import recipe_digest
from jobs.planning.state import load_state, made_of, units_with_errors
from jobs.planning.verdicts import Plan, Policy, make_plan

SETTINGS = {"heard": {"precision": "float32"}}
NOTHING = EMISSION_SCHEMA.empty_table()  # is heard of a unit that is only rewritten


def worked(
    folder: Path,
    output: Place,
    on_deleted: str = "keep",
    meanwhile: Callable[[], None] = lambda: None,
    reading: ReadSettings | None = None,
) -> Plan:
    """A run without Ray and without a model, and what others do between its plan and its work."""
    listing, state = list_input(Input(uri=str(folder)), output.uri), load_state(output)
    policy = Policy(
        on_deleted=on_deleted,
        max_removed_fraction=1.0,
        retry=units_with_errors(frozenset(), state, output),
        errors=lambda unit: object_errors(unit, output),
        made=lambda unit: made_of(unit, output),
    )
    plan = make_plan(listing, state, SETTINGS, policy)
    assert write_plan(output, state, plan.objects, (recipe_digest(SETTINGS), SETTINGS), "run")
    meanwhile()
    for unit in plan.remove:
        remove_unit(unit, output)
    for unit in [*plan.rewrite, *plan.units]:
        (piece,) = cut_unit(unit, Cut(1_800.0))
        heard = DIGESTS.hear(read_piece(piece, reading or ReadSettings())) if piece.objects else NOTHING
        commit_piece(piece, heard, output, "one")
    return plan


def rows(output: Place) -> dict[str, tuple[str | None, str | None]]:
    """The error and the reference of each recording, by its id; every key once."""
    units = load_state(output).parts
    found = [row for unit in units for row in rows_in(open_part(unit, output).tables())]
    keys = [tuple(row[name] for name in KEY) for row in found]
    assert len(set(keys)) == len(keys)
    return {row["recording_id"]: (row["error_kind"], row["reference"]) for row in found}


def manifest(folder: Path, *entries: dict[str, Any] | str) -> None:
    lines = [entry if isinstance(entry, str) else json.dumps(entry) for entry in entries]
    (folder / "m.jsonl").write_text("".join(f"{line}\n" for line in lines))


def entry(name: str, text: str = "", **fields: Any) -> dict[str, Any]:
    return {"audio_filepath": name, "text": text} | fields


def audio(folder: Path, count: int) -> None:
    folder.mkdir()
    for number in range(count):
        (folder / f"{number}.wav").write_bytes(encoded(tone(5, hertz=200 + 40 * number)))


def test_a_manifest_that_was_put_right_leaves_no_error(tmp_path: Path) -> None:
    folder, output = tmp_path / "in", Place.at(str(tmp_path / "out"))
    audio(folder, 5)
    good = [entry(f"{number}.wav", "t", duration=4.0) for number in range(5)]
    bad = [entry("3.wav", duration="5.0"), entry("4.WAV", duration=9.0), entry("../x.wav"), "{", '{"x": 1}']
    manifest(folder, *good[:3], *bad)
    worked(folder, output)
    kinds = [kind for kind, _ in rows(output).values() if kind]
    assert sorted(kinds) == ["bad_entry", "bad_entry", "bad_entry", "missing", "outside_input"]
    manifest(folder, *good[:3], bad[3], *good[3:])
    worked(folder, output)
    found = rows(output)
    assert [kind for kind, _ in found.values() if kind] == ["bad_entry"]
    assert len(found) == 6
    manifest(folder, *good)
    worked(folder, output)
    assert {name: kind for name, (kind, _) in rows(output).items()} == {f"{number}.wav": None for number in range(5)}
    again = worked(folder, output)
    assert not again.units
    assert not again.remove


def test_of_two_stretches_with_one_offset_the_one_that_is_edited_is_redone(tmp_path: Path) -> None:
    folder, output = tmp_path / "in", Place.at(str(tmp_path / "out"))
    audio(folder, 1)
    stretches = [
        entry("0.wav", id=name, text=name, offset=0, duration=seconds) for name, seconds in (("a", 2), ("b", 4))
    ]
    manifest(folder, *stretches)
    worked(folder, output)
    assert rows(output) == {"a": (None, "a"), "b": (None, "b")}
    manifest(folder, stretches[1] | {"text": "edited"})
    worked(folder, output)
    assert rows(output) == {"a": (None, "a"), "b": (None, "edited")}  # what has a text stays until on_deleted says so
    worked(folder, output, on_deleted="remove")
    assert rows(output) == {"b": (None, "edited")}


def test_a_file_that_a_manifest_names_later_has_no_second_row(tmp_path: Path) -> None:
    folder, output = tmp_path / "in", Place.at(str(tmp_path / "out"))
    audio(folder, 2)
    worked(folder, output)
    assert rows(output) == {"0.wav": (None, None), "1.wav": (None, None)}
    manifest(folder, entry("0.wav", "zero", id="zero"))
    worked(folder, output)
    assert rows(output) == {"zero": (None, "zero"), "1.wav": (None, None)}
    assert not worked(folder, output).units


def test_what_is_removed_during_a_run_is_read_if_it_comes_back(tmp_path: Path) -> None:
    folder, output, aside = tmp_path / "in", Place.at(str(tmp_path / "out")), tmp_path / "1.wav"
    audio(folder, 2)
    worked(folder, output, meanwhile=lambda: (folder / "1.wav").rename(aside) and None)
    assert rows(output) == {"0.wav": (None, None), "1.wav": ("changed", None)}
    aside.rename(folder / "1.wav")
    assert worked(folder, output).units
    assert rows(output) == {"0.wav": (None, None), "1.wav": (None, None)}
    assert not worked(folder, output).units


def test_what_stays_away_is_not_tried_again_in_every_run(tmp_path: Path) -> None:
    folder, output = tmp_path / "in", Place.at(str(tmp_path / "out"))
    audio(folder, 2)
    worked(folder, output, meanwhile=(folder / "1.wav").unlink)
    assert not worked(folder, output).units
    assert rows(output) == {"0.wav": (None, None), "1.wav": ("changed", None)}


def test_only_what_is_listed_is_tried_again(tmp_path: Path) -> None:
    folder, output, aside = tmp_path / "in", Place.at(str(tmp_path / "out")), tmp_path / "1.wav"
    audio(folder, 3)
    worked(folder, output, meanwhile=lambda: (folder / "1.wav").rename(aside) and None)
    aside.rename(folder / "1.wav")
    listing, state = list_input(Input(uri=str(folder), exclude=["1.wav"]), output.uri), load_state(output)
    retry = units_with_errors(frozenset(), state, output)
    assert list(retry.values()) == [{"changed"}]
    policy = Policy(
        retry=retry, errors=lambda unit: object_errors(unit, output), made=lambda unit: made_of(unit, output)
    )
    assert not make_plan(listing, state, SETTINGS, policy).units
    listing = list_input(Input(uri=str(folder), exclude=["2.wav"]), output.uri)
    assert make_plan(listing, state, SETTINGS, policy).units
    other = {"heard": {"precision": "bfloat16"}}
    assert not make_plan(listing, state, other, replace(policy, on_mismatch="keep")).units
    asked = replace(policy, on_mismatch="keep", asked=frozenset({"changed"}))
    assert make_plan(listing, state, other, asked).units


def test_errors_of_files_that_a_manifest_never_named_stay(tmp_path: Path) -> None:
    folder, output = tmp_path / "in", Place.at(str(tmp_path / "out"))
    audio(folder, 2)
    (folder / "broken.wav").write_bytes(b"not a sound")
    manifest(folder, entry("0.wav"), entry("gone.wav"))
    worked(folder, output)
    assert {name: kind for name, (kind, _) in rows(output).items() if kind} == {
        "broken.wav": "not_audio",
        "gone.wav": "missing",
    }
    (folder / "broken.wav").unlink()
    manifest(folder, entry("0.wav"))
    worked(folder, output)
    assert {name: kind for name, (kind, _) in rows(output).items() if kind} == {"broken.wav": "not_audio"}
