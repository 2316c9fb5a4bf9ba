"""What input.uri may be: patterns of shards, links, folders that may not be listed; and one that yields nothing is a
mistake."""

import bz2
import gzip
import json
import lzma
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import encoded, piece_of, tone
from test_accounts import listed, make, names
from test_links import as_nobody
from test_reading import tar_of

from actors.reader import read_piece
from actors.sources.objects import ReadSettings
from actors.storage import listing
from actors.storage.place import Place
from jobs import plan, transcribe
from jobs.cli.config import ConfigError
from jobs.planning.listing import Listing
from jobs.planning.patterns import MAX_NAMES, expand

WAV = encoded(tone(0.2))


def refusals(found: Listing) -> dict[str, str | None]:
    return {each.name: each.refusal and each.refusal[0] for each in found.objects}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("audio__OP_000..002_CL_.tar", ["audio_000.tar", "audio_001.tar", "audio_002.tar"]),
        ("audio__OP_0..2_CL_.tar", ["audio_0.tar", "audio_1.tar", "audio_2.tar"]),
        ("{08..10}", ["08", "09", "10"]),
        ("{8..10}", ["8", "9", "10"]),
        ("{0..6..3}.{a,b}", ["0.a", "0.b", "3.a", "3.b", "6.a", "6.b"]),
        ("{2..0}", ["2", "1", "0"]),
        ("_OP_1,4_CL_", ["1", "4"]),
        ("{a,{b,c}x,a}/_OP_0..1_CL_", ["a/0", "a/1", "bx/0", "bx/1", "cx/0", "cx/1"]),
        ("{a}", ["{a}"]),
        ("{1..2", ["{1..2"]),
        ("a,b", ["a,b"]),
    ],
)
def test_what_a_pattern_stands_for(pattern: str, expected: list[str]) -> None:
    assert expand(pattern) == expected


def test_a_pattern_has_an_end() -> None:
    for pattern in ("{0..99999999999}", "{0..9999}{0..9999}"):
        with pytest.raises(ConfigError, match=f"more than {MAX_NAMES:,} names"):
            expand(pattern)


def test_a_pattern_of_shards(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"audio_{number:03d}.tar").write_bytes(tar_of([(f"{number}.wav", WAV)]))
    every = {"audio_000.tar": None, "audio_001.tar": None}
    for pattern in ("audio__OP_000..001_CL_.tar", "audio_{000..001}.tar", "audio_{000,001}.tar", "audio_{000,001}.t*"):
        found = listed(f"{tmp_path}/{pattern}")
        assert refusals(found) == every
        assert {each.format for each in found.objects} == {"tar"}
    found = listed(f"{tmp_path}/audio_{{002..004}}.tar", exclude=["*4.tar"])
    assert refusals(found) == {"audio_002.tar": None, "audio_003.tar": "missing"}
    assert (found.files.listed, found.files.read, found.files.skipped) == (3, 2, {"excluded": 1})
    rows = read_piece(piece_of(found.objects), ReadSettings()).to_pylist()
    assert sorted((row["recording_id"], row["error_kind"]) for row in rows) == [
        ("2", None),
        ("audio_003.tar", "missing"),
    ]
    for pattern in ("audio__OP_7..9_CL_.tar", "audio_{7,8}.tar", "audio__OP_0..2_CL_.tar", "audio_{000,7*}.tar"):
        with pytest.raises(ConfigError, match=r"none of the names that it stands for exists|matches no file"):
            listed(f"{tmp_path}/{pattern}")


def test_a_name_that_looks_like_a_pattern_is_a_name(tmp_path: Path) -> None:
    make(tmp_path, "{a,b}.wav", "{1..2}/c.wav", "[x].wav", "a.wav")
    assert names(listed(tmp_path / "{a,b}.wav")) == ["{a,b}.wav"]
    assert names(listed(tmp_path / "{1..2}")) == ["c.wav"]
    assert names(listed(tmp_path / "[x].wav")) == ["[x].wav"]


def test_short_suffixes_of_tars(tmp_path: Path) -> None:
    for suffix, kind in {"tbz2": bz2, "tbz": bz2, "txz": lzma, "tgz": gzip}.items():
        (tmp_path / f"t.{suffix}").write_bytes(kind.compress(tar_of([(f"{suffix}.wav", WAV)])))
    rows = read_piece(piece_of(listed(tmp_path).objects), ReadSettings()).to_pylist()
    assert sorted((row["recording_id"], row["error_kind"]) for row in rows) == [
        (suffix, None) for suffix in ("tbz", "tbz2", "tgz", "txz")
    ]


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"uri": []}, "the list is empty"),
        ({"uri": ["", "IN"]}, "a name is empty"),
        ({"uri": "IN/empty"}, "holds no file, or does not exist"),
        ({"uri": "IN/texts"}, r"1 unknown type \.(txt|pdf), 1 unknown type \.(pdf|txt); known"),
        ({"uri": "IN/a.tar.zst"}, r"1 unknown type \.zst; known are audio \(.*\.tbz2 .*input\.format can force"),
        ({"uri": "IN/m.jsonl.gz"}, r"1 unknown type \.gz; known"),
        ({"uri": "IN", "include": ["*.ogg"]}, "excluded"),
        ({"uri": "IN", "exclude": ["*"]}, "excluded"),
        ({"uri": "IN/texts", "format": "kaldi"}, "1 excluded"),
        ({"uri": "IN/empty.jsonl"}, "1 list that names nothing"),
        ({"uri": "IN/kaldi"}, "yields nothing"),
        ({"uri": ["IN/a.wav", "IN/texts"]}, "IN/texts yields nothing"),
        ({"uri": ["IN/a.wav", "IN/empty.jsonl"]}, "IN/empty.jsonl yields nothing"),
        ({"uri": "IN/loop"}, "1 link in a circle"),
    ],
)
def test_what_yields_nothing_is_a_mistake(tmp_path: Path, config: dict[str, Any], why: str) -> None:
    make(tmp_path, "a.wav", "texts/a.txt", "texts/b.pdf", "a.tar.zst", "m.jsonl.gz")
    make(tmp_path / "kaldi", "wav.scp").joinpath("text").write_text("u words\n")
    (tmp_path / "kaldi" / "wav.scp").write_text("\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "loop").symlink_to("loop")
    config = json.loads(json.dumps(config).replace("IN", str(tmp_path)))
    with pytest.raises(ConfigError, match=why.replace("IN", str(tmp_path))):
        listed(**config)


def test_each_uri_that_yields_nothing_is_named(tmp_path: Path) -> None:
    make(tmp_path, "a.wav", "b.pdf", "c/d.txt")
    uris = [f"{tmp_path}/{name}" for name in ("a.wav", "b.pdf", "none", "c", "*.ogg")]
    with pytest.raises(ConfigError) as caught:
        listed(uris)
    assert [sum(uri in sentence for sentence in caught.value.args) for uri in uris] == [0, 1, 1, 1, 1]
    assert names(listed([f"{tmp_path}/a.wav", f"{make(tmp_path, 'a.txt')}/a.txt"])) == [
        "a.wav"
    ]  # a companion is of use


def test_a_job_says_what_yields_nothing_with_status_2(tmp_path: Path, job: Callable[..., Any]) -> None:
    make(tmp_path, "in/a.pdf", "in/b.bin")
    (tmp_path / "empty").mkdir()
    uris = f"[{tmp_path}/in,{tmp_path}/empty]"
    for main in (plan.main, transcribe.main):
        status, summary, said = job(f"input.uri={uris}", f"output.uri={tmp_path}/out", main=main)
        assert (status, summary["status"]) == (2, 2)
        assert f"configuration: input.uri: {tmp_path}/in yields nothing to transcribe: 1 unknown type ." in said
        assert f"configuration: input.uri: {tmp_path}/empty holds no file" in said
    assert not (tmp_path / "out").exists()
    assert job("input.uri=[]", f"output.uri={tmp_path}/out")[0] == 2


def test_an_output_above_its_input_is_refused(tmp_path: Path) -> None:
    make(tmp_path / "in", "a.wav", "x/b.wav", "out/part.parquet")
    (tmp_path / "alias").symlink_to("in")
    inside, alias = tmp_path / "in", tmp_path / "alias"
    for uri, output in (
        (inside, inside),
        (inside, f"{inside}/"),
        (inside, tmp_path),
        (inside / "a.wav", inside),
        (f"{inside}/*.wav", inside),
        (f"{inside}/*/*.wav", tmp_path),
        (alias, inside),
        (inside, alias),
    ):
        with pytest.raises(ConfigError, match=r"output\.uri: it is, or contains, the input"):
            listed(uri, output)
    for root in (inside, alias):
        for output in (inside / "out", alias / "out"):
            found = listed(root, output)
            assert (names(found), found.files.skipped) == (["a.wav", "x/b.wav"], {"below the output": 1})


@pytest.fixture
def linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with links to a file and a folder that lie outside of it."""
    make(tmp_path, "in/plain.wav", "blobs/aaaa", "real/x.wav", "real/y/x.wav")
    (tmp_path / "in" / "linked.wav").symlink_to("../blobs/aaaa")
    (tmp_path / "in" / "folder").symlink_to("../real")
    (tmp_path / "real" / "back").symlink_to("../in")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


PATTERNS = {
    "in": {"plain.wav", "linked.wav", "folder/x.wav", "folder/y/x.wav"},
    "in/*.wav": {"plain.wav", "linked.wav"},
    "in/**/*.wav": {"plain.wav", "linked.wav", "folder/x.wav", "folder/y/x.wav"},
    "in/*/x.wav": {"folder/x.wav"},
    "~/in": {"plain.wav", "linked.wav", "folder/x.wav", "folder/y/x.wav"},
}


@pytest.mark.parametrize("uri", PATTERNS)
def test_links_are_followed_below_allowed_roots_and_rows_elsewhere(linked: Path, uri: str) -> None:
    for roots in (
        [str(linked)],
        ["."],
        ["blobs", "./real/"],
        [f"{linked}/blobs//", "~/real"],
        ["~"],
        ["in/../real", "blobs"],
    ):
        found = listed(uri, allowed_roots=roots)
        assert refusals(found) == dict.fromkeys(PATTERNS[uri]), roots
        assert found.files.skipped == ({} if uri in ("in/*.wav", "in/*/x.wav") else {"link in a circle": 1})
    outside = {each.name: each.refusal for each in listed(uri).objects if each.refusal}
    expected = {name.split("/")[0] for name in PATTERNS[uri]} - {"plain.wav"}
    assert outside.keys() == expected
    assert all(kind == "outside_input" and "input.allowed_roots" in detail for kind, detail in outside.values())


def test_a_link_that_input_uri_names_is_followed(linked: Path) -> None:
    assert refusals(listed("in/linked.wav")) == {"linked.wav": None}
    assert refusals(listed("in/folder")) == {"x.wav": None, "y/x.wav": None, "back": "outside_input"}
    assert refusals(listed("in/folder/*.wav")) == {"x.wav": None}
    assert refusals(listed("in/folder/{x,y/x}.wav")) == {"x.wav": None}  # both are called so


@pytest.mark.parametrize("mode", [0o000, 0o444, 0o111])
def test_a_folder_that_may_not_be_listed_stops_the_run_by_name(mode: int) -> None:
    with as_nobody() as folder:
        make(folder, "in/a.wav", "in/closed/b.wav", "in/closed/c/d.wav", "other/closed/e.wav")
        (folder / "in" / "link").symlink_to("closed/c")
        (folder / "in" / "to-closed").symlink_to("../other/closed")
        closed = [folder / "in" / "closed", folder / "other" / "closed"]
        for each in closed:
            each.chmod(mode)
        try:
            for uri in (
                "in",
                "in/closed",
                "in/**/*.wav",
                "in/*/*.wav",
                "in/closed/*.wav",
                "in/to-closed",
                "in/{closed,x}",
            ):
                with pytest.raises(PermissionError, match="closed"):
                    listed(f"{folder}/{uri}", allowed_roots=[str(folder)])
            if mode == 0o111:  # what it holds may be read by those who know the names
                return
            for uri in ("in/closed/b.wav", "in/closed/{b,x}.wav", "in/link", "in/closed/c"):
                with pytest.raises(PermissionError, match=r"closed|link"):
                    listed(f"{folder}/{uri}")
            (folder / "in" / "link").unlink()
            assert names(listed(f"{folder}/in/*.wav")) == ["a.wav"]
        finally:
            for each in closed:
                each.chmod(0o755)


def test_a_link_outside_that_may_not_be_looked_at_may_hide_a_match() -> None:
    with as_nobody() as folder:
        make(folder, "in/a/x.wav", "closed/b/x.wav")
        (folder / "in" / "link").symlink_to("../closed/b")
        (folder / "closed").chmod(0)
        try:
            found = {each.name: each.fault for each in listing.glob(Place.at(f"{folder}/in/*/x.wav"))}
        finally:
            (folder / "closed").chmod(0o755)
        assert found == {"x.wav": "", "link": "outside"}


def test_a_limit_counts_what_cannot_be_read_as_a_row(tmp_path: Path) -> None:
    make(tmp_path, "b.wav")
    (tmp_path / "a.tar").symlink_to("gone.tar")
    assert refusals(listed(tmp_path, limit=1)) == {"a.tar": "missing"}
    with as_nobody() as folder:
        make(folder, "a.tar", "b.parquet", "c.wav", "d.wav")
        for name in ("a.tar", "b.parquet"):
            (folder / name).chmod(0)
        assert names(listed(folder, limit=3)) == ["a.tar", "b.parquet", "c.wav"]
        assert os.geteuid() != 0
