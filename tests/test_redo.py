"""What a person names is done again, and rows of what the configuration excludes can go; both only as asked."""

import json
from pathlib import Path

import pytest
from test_accounts import make
from test_corrections import entry, manifest
from test_planning import SETTINGS, Archive, heard, wav
from test_verdicts import verdict

from actors.schema import UsageError
from actors.units import SourceObject
from jobs.cli.config import ConfigError, Input
from jobs.planning.listing import Listing, list_input
from jobs.planning.policy import Policy
from jobs.planning.reasons import EMPTY, EXCLUDED
from jobs.planning.redo import objects_to_redo
from jobs.planning.state import made_of
from jobs.planning.verdicts import Plan, make_plan


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(str(tmp_path / "out"))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = make(tmp_path / "in", "a.wav", "x/b.wav", "x/y/c.wav", "[d].wav", "s.tar", "far/e.wav")
    manifest(folder, entry("far/e.wav", id="one", offset=0, duration=2.0), entry("far/e.wav", id="two", offset=2.0))
    return folder


def asked(tree: Path, *redo: str, **config: object) -> list[str]:
    """The names of the objects that input.redo names, in short."""
    options = Input.model_validate({"uri": str(tree), "redo": list(redo)} | config)
    found = objects_to_redo(options, list_input(options, "/nowhere"))
    return sorted(key.removeprefix(f"file://{tree}/") for key in found)


@pytest.mark.parametrize(
    ("names", "keys"),
    [
        (["a.wav"], ["a.wav"]),
        (["{uri}/x/b.wav"], ["x/b.wav"]),
        (["{tree}/x/b.wav", "s.tar"], ["s.tar", "x/b.wav"]),
        (["x/*"], ["x/b.wav", "x/y/c.wav"]),
        (["{uri}/x/y/*.wav"], ["x/y/c.wav"]),
        (["[d].wav"], ["[d].wav"]),
        (["x/"], ["x/b.wav", "x/y/c.wav"]),
        (["x"], ["x/b.wav", "x/y/c.wav"]),
        (["./x/y/"], ["x/y/c.wav"]),
        (["./a.wav", "x/./b.wav"], ["a.wav", "x/b.wav"]),
        (["{uri}/x/y"], ["x/y/c.wav"]),
        (["{tree}/x/"], ["x/b.wav", "x/y/c.wav"]),
        (["?/y/"], ["x/y/c.wav"]),
        (["f*.wav"], ["far/e.wav#0.0+2.0", "far/e.wav#2.0+None"]),  # not what has a URI that begins with file:
        (["{tree}/x/y/*"], ["x/y/c.wav"]),
        (["f*r"], ["far/e.wav#0.0+2.0", "far/e.wav#2.0+None"]),
        (["two"], ["far/e.wav#2.0+None"]),
        (["far/e.wav"], ["far/e.wav#0.0+2.0", "far/e.wav#2.0+None"]),
        (["far/e.wav#2.0+None"], []),
        (["{uri}/far/e.wav#2.0+None"], ["far/e.wav#2.0+None"]),
    ],
)
def test_names_are_uris_paths_and_globs(tree: Path, names: list[str], keys: list[str]) -> None:
    names = [each.format(tree=tree, uri=f"file://{tree}") for each in names]
    if keys:
        assert asked(tree, *names) == keys
    else:
        with pytest.raises(ConfigError, match="nothing that is listed"):
            asked(tree, *names)


def test_a_path_may_be_relative(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree.parent)
    assert asked(tree, "in/x/b.wav") == ["x/b.wav"]


def test_names_of_nothing_are_refused_each_by_name(tree: Path) -> None:
    with pytest.raises(ConfigError) as told:
        asked(tree, "a.wav", "none.wav", "z/*", "none.csv", "y/", "b.wav", "")
    assert [each.split(" is nothing")[0] for each in told.value.args] == [
        "input.redo: none.wav",
        "input.redo: z/*",
        "input.redo: none.csv",
        "input.redo: y/",
        "input.redo: b.wav",
        "input.redo: an empty name",
    ]
    with pytest.raises(ConfigError, match=r"input\.redo: a\.wav is nothing that is listed"):
        asked(tree, "a.wav", exclude=["a.wav"])


def test_files_of_names_and_those_of_them_that_are_nothing(tree: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tree.parent / "again.csv"
    uri = f"file://{tree}"
    file.write_text(
        f"uri,member,offset_s\n{uri}/s.tar,7.wav,\n{uri}/far/e.wav,,2.0\n{uri}/far/e.wav,,9.0\n/none.wav,,\n"
    )
    assert asked(tree, str(file), "a.wav") == ["a.wav", "far/e.wav#2.0+None", "s.tar"]
    assert "input.redo: 2 of 4 names in files are nothing that is listed" in capfd.readouterr().err
    (tree.parent / "again").write_text("x/b.wav\n")
    assert asked(tree, str(tree.parent / "again")) == ["x/b.wav"]
    assert "input.redo" not in capfd.readouterr().err
    (tree.parent / "bad.csv").write_text("path\na.wav\n")
    with pytest.raises(ConfigError, match=r"input\.redo: .*/bad\.csv is no list of recordings"):
        asked(tree, str(tree.parent / "bad.csv"))


def redo(*names: str) -> frozenset[str]:
    return frozenset(wav(name).key for name in names)


def test_units_of_what_is_named_are_done_again_each_time(archive: Archive) -> None:
    archive.run(*map(wav, "abcd"))
    for number in (2, 3):
        plan = archive.run(*map(wav, "abcd"), redo=redo("b"))
        assert (len(plan.redo), len(plan.done), plan.asked, plan.asked_recordings) == (1, 1, [plan.redo[0].id], 2)
        assert plan.verdicts[plan.redo[0].id].reason == "input.redo names some of it"
        assert archive.rows() == {"a": f"run-{number}", "b": f"run-{number}", "c": "run-1", "d": "run-1"}
    assert not archive.plan(*map(wav, "abcd")).units


def test_what_is_named_has_the_new_settings_and_what_is_not_listed_keeps_its_rows(archive: Archive) -> None:
    archive.run(*map(wav, "abcd"))
    other = heard(precision="bfloat16")
    with pytest.raises(UsageError, match="on_mismatch"):
        archive.plan(*map(wav, "acd"), settings=other, redo=redo("a"))
    archive.run(*map(wav, "acd"), settings=other, on_mismatch="keep", redo=redo("a"))
    assert archive.rows() == {"a": "run-2", "b": "run-1", "c": "run-1", "d": "run-1"}
    assert not archive.plan(*map(wav, "acd"), settings=other, on_mismatch="keep").units


def test_an_object_that_changed_or_is_new_is_done_once(archive: Archive) -> None:
    archive.run(wav("a"))
    plan = archive.plan(wav("a", etag="2"), wav("n"), redo=redo("a", "n"))
    assert (len(plan.redo), len(plan.new)) == (1, 1)
    assert plan.verdicts[plan.redo[0].id].reason == "1 object changed, input.redo names some of it"


def planned(archive: Archive, listing: Listing, **policy: object) -> Plan:
    fields = {"target_seconds": 120, "on_excluded": "remove", "max_removed_fraction": 1.0} | policy
    fields["made"] = lambda unit: made_of(unit, archive.place)
    return make_plan(listing, archive.state(), SETTINGS, Policy(**fields))  # type: ignore[arg-type]


def excluding(*excluded: str, left: str = "abcd") -> Listing:
    objects: list[SourceObject] = [wav(name) for name in left if name not in excluded]
    return Listing(objects, excluded=frozenset(wav(name).uri for name in excluded))


def test_rows_of_what_is_excluded_go_where_asked_and_come_back(archive: Archive) -> None:
    archive.run(*map(wav, "abcd"))
    assert not planned(archive, excluding("a"), on_excluded="keep").redo
    plan = planned(archive, excluding("a", "c", "d"))
    assert (plan.excluded, plan.deleted) == (3, 0)
    assert sorted(plan.verdicts.values()) == [("redo", "1 object excluded"), EXCLUDED]
    archive.run(*map(wav, "b"), on_excluded="remove")  # neither listed nor excluded: kept
    assert archive.rows().keys() == set("abcd")
    archive.claim(plan)
    after = planned(archive, excluding("a", "c", "d"))
    assert EMPTY in after.verdicts.values()  # the removal was interrupted
    archive.run(wav("b"))
    assert archive.rows().keys() == {"b"}
    archive.run(*map(wav, "abcd"))
    assert archive.rows().keys() == set("abcd")


def test_what_is_excluded_counts_towards_what_may_be_removed(archive: Archive) -> None:
    archive.run(*map(wav, "abcd"))
    with pytest.raises(UsageError, match=r"output\.on_excluded: 1 of 4 objects .* are excluded .*max_removed_fraction"):
        planned(archive, excluding("a"), max_removed_fraction=0.1)
    listing = excluding("a", left="abc")
    listing.covers = lambda uri: uri.endswith("d.wav")
    both = {"max_removed_fraction": 0.4, "on_deleted": "remove"}
    with pytest.raises(UsageError, match=r"2 of 4 .*, 1 that are no longer listed and 1 that the configuration exclud"):
        planned(archive, listing, **both)
    plan = planned(archive, listing, **both | {"max_removed_fraction": 0.5})
    assert (plan.deleted, plan.excluded) == (1, 1)


def excluded(tree: Path, **config: object) -> set[str]:
    options = Input.model_validate({"uri": str(tree)} | config)
    return {each.removeprefix(f"file://{tree}/") for each in list_input(options, f"{tree}/out").excluded}


def test_only_what_include_exclude_and_format_leave_out_is_excluded(tree: Path) -> None:
    make(tree, "out/part-1.parquet", ".hidden.wav", "notes.pdf", "p.parquet")
    (tree / "gone.bin").symlink_to("nowhere")
    assert excluded(tree) == set()
    assert excluded(tree, limit=1) == set()
    assert excluded(tree, exclude=["x/*"]) == {"x/b.wav", "x/y/c.wav"}
    assert excluded(tree, exclude=["x/*", "far/*"]) == {"x/b.wav", "x/y/c.wav"}  # a manifest names what is in far
    assert excluded(tree, include=["*.wav", "*.tar", "m.jsonl"]) == {"gone.bin", "notes.pdf", "p.parquet"}
    assert excluded(tree, format="audio") >= {"s.tar", "p.parquet"}
    assert excluded(tree / "x", exclude=["b.wav"]) == {"b.wav"}
    assert excluded(tree, exclude=["x/*"], max_list_megabytes=1e-9) == set()  # nobody knows what the manifest names


def test_entries_of_a_manifest_that_is_excluded_are_excluded(tree: Path, archive: Archive) -> None:
    config = {"uri": str(tree), "include": ["m.jsonl", "far/*"]}
    before = list_input(Input.model_validate(config), "/nowhere")
    archive.run(*before.objects)
    after = list_input(Input.model_validate(config | {"exclude": ["m.jsonl"]}), "/nowhere")
    plan = planned(archive, after)
    assert plan.excluded == 2
    assert [each.name for unit in plan.new for each in unit.objects] == ["far/e.wav"]
    assert verdict(planned(archive, before)).kind == "done"


def test_all_that_is_listed_is_below_the_input_itself(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = asked(tree, "*")
    monkeypatch.chdir(tree)
    assert whole == asked(tree, str(tree)) == asked(tree, f"file://{tree}/") == asked(tree, ".") == asked(tree, "./")


def test_a_literal_folder_comes_before_a_pattern(tree: Path) -> None:
    make(tree, "[x]/z.wav")
    assert asked(tree, "[x]") == ["[x]/z.wav"]
    assert asked(tree, "[x]/b.wav") == ["x/b.wav"]


def test_names_of_stretches_in_a_file_are_looked_up_in_one_step_each(tree: Path) -> None:
    count, uri = 30_000, f"file://{tree}/far/e.wav"  # of one recording; pairs of them would take minutes

    def stretch(number: int) -> SourceObject:
        return SourceObject(str(number), uri, "e", "manifest", "1", 1, lines=json.dumps({"offset": number}))

    listing = Listing([*map(stretch, range(count))], roots=(f"file://{tree}",))
    file = tree.parent / "again.csv"
    file.write_text("uri,member,offset_s\n" + "".join(f"./far/e.wav,{number},{number}\n" for number in range(count)))
    assert len(objects_to_redo(Input.model_validate({"uri": str(tree), "redo": [str(file)]}), listing)) == count


def test_an_entry_for_all_channels_is_named_by_any_of_them(tree: Path, capfd: pytest.CaptureFixture[str]) -> None:
    manifest(tree, entry("a.wav", id="all"), entry("x/b.wav", id="second", channel_selector=1))
    file = tree.parent / "again.csv"
    for name, channel, keys in (
        ("a.wav", 3, ["a.wav#0.0+None"]),
        ("x/b.wav", 1, ["x/b.wav#0.0+None@1"]),
        ("x/b.wav", 0, []),
    ):
        file.write_text(f"uri,channel\n{name},{channel}\n")
        assert [each.partition("#")[0] for each in asked(tree, str(file))] == [each.partition("#")[0] for each in keys]
        assert ("1 of 1 names" in capfd.readouterr().err) == (not keys)
