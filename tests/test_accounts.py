"""Every file that is listed is accounted for, and an input that yields nothing is a mistake."""

import json
import os
import sys
import tempfile
import types
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, encoded, tone
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.storage.place import Place
from jobs import plan
from jobs.cli.config import ConfigError, Input
from jobs.planning import listing as listing_module
from jobs.planning.account import Files, Unaccounted
from jobs.planning.listing import Listing, list_input

WAV = encoded(tone(0.2))


def listed(uri: Path | str | list[str], output: Path | str = "/nowhere", **config: Any) -> Listing:
    return list_input(Input(uri=uri if isinstance(uri, list) else str(uri), **config), str(output))


def names(listing: Listing) -> list[str]:
    return [each.name for each in listing.objects]


def make(folder: Path, *paths: str) -> Path:
    """Makes files that are recordings by name, and lists of what the name says."""
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(WAV)
    return folder


@pytest.fixture
def everything(tmp_path: Path) -> Path:
    """A folder with a file of each kind that the account knows."""
    folder = make(tmp_path / "in", "a.wav", "b.FLAC", "named.wav", "x/c.mp3", "out/part-1.parquet", "skip/d.wav")
    make(folder, ".hidden.wav", ".git/config", "x/.trash/y/e.wav", "._a.wav", "._a.txt", "x/__MACOSX/c.mp3")
    make(folder, "a.txt", "a.json", "b.TXT", "named.txt", "alone.txt", "notes.PDF", "README", "k/spk2utt", "far.m4a")
    (folder / "k" / "wav.scp").write_text("u ../far.m4a\n")
    (folder / "k" / "text").write_text("u words\n")
    (folder / "m.jsonl").write_text('{"audio_filepath": "named.wav", "text": "t"}\n')
    (folder / "circle").symlink_to(".")
    (folder / "gone.bin").symlink_to("nowhere")
    (folder / "gone.wav").symlink_to("nowhere")
    (folder / "elsewhere").symlink_to("/")
    os.mkfifo(folder / "pipe")
    os.mkfifo(folder / "pipe.wav")
    return folder


ALL = Files(
    listed=30,
    read=9,  # a, b, c, gone, pipe and elsewhere; m.jsonl, wav.scp and text
    companions=2,
    spoken_of=2,
    skipped=Counter(
        {
            "AppleDouble": 3,
            "hidden": 3,
            "second companion": 1,
            "companion beside a manifest": 1,
            "unknown type .txt": 1,
            "unknown type .pdf": 1,
            "unknown type (none)": 1,
            "Kaldi table without use": 1,
            "below the output": 1,
            "excluded": 1,
            "link in a circle": 1,
            "dangling link": 1,
            "special file": 1,
        }
    ),
)


def test_each_file_is_one_thing(everything: Path) -> None:
    found = listed(everything, everything / "out", exclude=["skip/*"])
    assert found.files == ALL
    assert found.files.counts()["skipped"]["hidden"] == 3
    again = listed([str(everything), f"{everything}/", f"{everything}/x"], everything / "out", exclude=["skip/*"])
    assert again.files == ALL  # a file that two inputs name counts once


def test_an_account_is_told_as_people_count() -> None:
    assert str(Files(listed=1, read=1)) == "1 file: 1 read"
    assert str(Files(listed=2, read=1, companions=1)) == "2 files: 1 read, 1 companion"
    assert str(Files(listed=3, read=1, companions=2)) == "3 files: 1 read, 2 companions"


@pytest.mark.parametrize("limit", [1, 3, 5, 7])
def test_the_sum_holds_with_a_limit(everything: Path, limit: int) -> None:
    found = listed(everything, everything / "out", exclude=["skip/*"], limit=limit)
    assert (len(found.objects), found.files.listed) == (limit, ALL.listed)
    assert found.files.skipped["over input.limit"] > 0
    assert found.files.companions == sum(each.companion is not None for each in found.objects)


@pytest.mark.parametrize(
    "branch",
    [
        "made.skipped[uri] = made._why_not_taken(file)",
        "made.skipped = {uri: reason for uri, (_, reason) in found.passed_over.items()}",
        "made.manifests.append(file)",
        "loose.append((file, kind))",
        "faulty.append(file)",
        "texts[os.path.splitext(uri)[0]].append(file)",
        "self.skipped[file.uri] = account.CIRCLE",
        "self.skipped[file.uri] = account.UNUSED_TABLE",
        "self.objects[file.uri] = _refused_object(file)",
        "self.tables.append(file)",
        "self.skipped |= dict.fromkeys(over, not_standing)",
    ],
)
def test_a_branch_that_is_dropped_breaks_the_sum(
    branch: str, everything: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = (ROOT / "jobs/planning/sorting.py").read_text()
    assert source.count(branch) == 1
    mutant = types.ModuleType("jobs.planning.sorting")
    monkeypatch.setitem(sys.modules, "jobs.planning.sorting", mutant)
    exec(compile(source.replace(branch, "pass"), "sorting.py", "exec"), mutant.__dict__)
    monkeypatch.setattr(listing_module, "Sorted", mutant.Sorted)
    with pytest.raises(Unaccounted, match=r"internal: 30 files were listed and \d+ are accounted for"):
        listed(everything, everything / "out", limit=5)


def test_what_is_hidden_is_read_where_it_is_named(tmp_path: Path) -> None:
    make(tmp_path, ".a.wav", ".b/c.wav", ".b/.d/e.wav", "._f.wav", "__MACOSX/g.wav", "...wav")
    assert names(listed(tmp_path / ".b")) == ["c.wav"]
    assert names(listed(f"{tmp_path}/.b/*.wav")) == ["c.wav"]
    assert names(listed(f"{tmp_path}/.?/*.wav")) == [".b/c.wav"]
    assert names(listed(f"{tmp_path}/.a.*")) == [".a.wav"]
    assert names(listed([f"{tmp_path}/.a.wav", f"{tmp_path}/.b"])) == [".a.wav", "c.wav"]
    assert names(listed(tmp_path / "._f.wav")) == ["._f.wav"]
    for uri in (tmp_path, f"{tmp_path}/*.wav", f"{tmp_path}/**/*.wav"):
        with pytest.raises(ConfigError, match="yields nothing to transcribe"):
            listed(uri)


def test_hidden_files_do_not_count_as_deleted(tmp_path: Path) -> None:
    covers = listed(make(tmp_path, "a.wav"), tmp_path / "out", exclude=["x/*"]).covers
    assert covers(f"file://{tmp_path}/b/gone.wav")
    for name in (".b/c.wav", "x/c.wav", "out/c.wav", "._d.wav"):
        assert not covers(f"file://{tmp_path}/{name}")


def test_a_manifest_may_name_what_is_skipped(tmp_path: Path) -> None:
    make(tmp_path, "a.wav", ".b/c.wav", "x/d.wav", "e.xyz", "out/f.wav")
    named = ["a.wav", ".b/c.wav", "x/d.wav", "e.xyz", "out/f.wav"]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps({"audio_filepath": name}) + "\n" for name in named))
    found = listed(tmp_path, tmp_path / "out", exclude=["x/*"])
    assert found.files == Files(6, read=1, spoken_of=4, skipped=Counter({"below the output": 1}))
    versions = {each.name: each.etag for each in found.objects}
    unknown = dict.fromkeys(("e.xyz", "out/f.wav"))
    assert versions == unknown | {name: str((tmp_path / name).stat().st_mtime_ns) for name in named[:3]}


def test_companions_by_their_stem_with_a_suffix_in_any_case(tmp_path: Path) -> None:
    make(tmp_path, "a.wav", "a.b.wav", "A.wav", "x.y.z.mp3", "both.wav", "both.mp3", "case.wav", "manifest.wav")
    texts = ["a.TXT", "a.b.Txt", "A.json", "x.y.txt", "x.y.z.JSON", "both.txt", "both.json", "case.TXT", "case.txt"]
    found = listed(make(tmp_path, *texts, "manifest.json", "only.json"))
    companions = {each.name: each.companion and each.companion.rpartition("/")[2] for each in found.objects}
    assert companions == {
        "a.wav": "a.TXT",
        "a.b.wav": "a.b.Txt",
        "A.wav": "A.json",
        "x.y.z.mp3": "x.y.z.JSON",
        "both.wav": "both.txt",
        "both.mp3": "both.txt",
        "case.wav": "case.txt",
        "manifest.wav": "manifest.json",
    }
    skipped = Counter({"second companion": 2, "unknown type .txt": 1, "unknown type .json": 1})
    assert found.files == Files(19, read=8, companions=7, skipped=skipped)


def test_a_companion_counts_if_one_of_its_recordings_uses_it(tmp_path: Path) -> None:
    make(tmp_path, "a.wav", "a.mp3", "a.txt", "b.wav", "b.txt")
    (tmp_path / "m.jsonl").write_text('{"audio_filepath": "a.wav"}\n{"audio_filepath": "b.wav"}\n')
    expected = Files(6, read=2, companions=1, spoken_of=2, skipped=Counter({"companion beside a manifest": 1}))
    assert listed(tmp_path).files == expected


def test_what_another_format_takes_is_excluded(tmp_path: Path) -> None:
    make(tmp_path, "a.wav", "a.txt", "b.parquet", "c.bin")
    found = listed(tmp_path, format="parquet").files
    assert found == Files(4, read=2, skipped=Counter({"excluded": 2}))
    (tmp_path / "wav.scp").write_text("u a.wav\n")
    found = listed(tmp_path, format="kaldi").files
    assert found == Files(5, read=1, spoken_of=1, skipped=Counter({"excluded": 2, "unknown type .bin": 1}))
    (tmp_path / "text").write_text("u x\n")
    assert listed(tmp_path, format="audio").files.read == 3  # what has an unknown suffix is audio then


_NAMES = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "x/", "x/y/", ".h/", "out/", "__MACOSX/"]),
    st.sampled_from(["a", "b", ".c", "._a", "manifest", "text"]),
    st.sampled_from([".wav", ".WAV", ".mp3", ".txt", ".json", ".TXT", ".jsonl", ".parquet", ".pdf", ""]),
)


@settings(max_examples=200, deadline=None)
@given(
    paths=st.sets(_NAMES, min_size=1, max_size=12),
    linked=st.lists(st.tuples(_NAMES, _NAMES), max_size=3),
    named=st.lists(_NAMES, max_size=6),
    inputs=st.lists(
        st.sampled_from(["", "/x", "/x/y", "/**/*", "/*/*.wav", "/{x,.h}", "/a.wav"]), min_size=1, max_size=3
    ),
    config=st.fixed_dictionaries(
        {},
        optional={
            "format": st.sampled_from(["audio", "manifest", "kaldi", "parquet"]),
            "limit": st.integers(1, 5),
            "exclude": st.sampled_from([["x/*"], ["*.txt"], ["*.wav"]]),
            "include": st.sampled_from([["x/*"], ["*a.*"]]),
        },
    ),
)
def test_the_sum_holds_for_any_input(
    paths: set[str], linked: list[tuple[str, str]], named: list[str], inputs: list[str], config: dict[str, Any]
) -> None:
    lines = "".join(json.dumps({"audio_filepath": name}) + "\n" for name in named)
    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            make(Path(folder), path).joinpath(path).write_text("u a.wav\n" if path.endswith("text") else lines)
        for link, target in linked:
            if not os.path.lexists(f"{folder}/{link}"):
                make(Path(folder), link).joinpath(link).unlink()
                Path(folder, link).symlink_to(f"{folder}/{target}")
        Path(folder, "x").mkdir(exist_ok=True)
        Path(folder, "x", "wav.scp").write_text("u a.wav\nv ../a.wav\n")
        try:
            found = listed([folder + each for each in inputs], f"{folder}/out", **config)
        except ConfigError:
            return
        assert found.files.listed <= sum(len(names) for _, _, names in os.walk(folder)) + 1  # a name of a pattern
        assert found.files.read + found.files.spoken_of > 0
        assert found.objects


def test_an_object_store_is_accounted_for(s3_options: dict[str, Any], tmp_path: Path) -> None:
    root = Place.at(f"s3://bucket/{tmp_path.name}", s3_options)
    for name in ("a.wav", "a.TXT", ".b.wav", "c/._d.wav", "out/p.parquet", "s_00.tar", "s_01.tar", "e.pdf"):
        (root / name).write(WAV)
    found = listed(root.uri, f"{root.uri}/out", storage_options=s3_options)
    skipped = Counter({"hidden": 1, "AppleDouble": 1, "below the output": 1, "unknown type .pdf": 1})
    assert found.files == Files(8, read=3, companions=1, skipped=skipped)
    shards = listed(f"{root.uri}/s_{{00..02}}.tar", storage_options=s3_options)
    assert [(each.name, each.refusal and each.refusal[0]) for each in shards.objects] == [
        ("s_00.tar", None),
        ("s_01.tar", None),
        ("s_02.tar", "missing"),
    ]
    with pytest.raises(ConfigError, match="is, or contains, the input"):
        listed(root.uri, root.uri, storage_options=s3_options)


def test_a_plan_shows_all_of_it(everything: Path, tmp_path: Path, job: Callable[..., Any]) -> None:
    suffixes = [f"notes.{number}x" for number in range(12)]
    make(everything, *suffixes)
    where = (f"input.uri={everything}", f"output.uri={everything}/out", "input.exclude=[skip/*]")
    status, summary, said = job(*where, main=plan.main)
    assert status == 0
    assert summary["files"] == ALL.counts() | {
        "listed": ALL.listed + 12,
        "skipped": dict(ALL.skipped) | {f"unknown type .{number}x": 1 for number in range(12)},
    }
    assert "unknown_names" not in summary
    assert all(f"skipped: {reason}" in said for reason in summary["files"]["skipped"])
