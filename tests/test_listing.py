"""What the input holds, by names."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from conftest import encoded, tone
from test_reading import tar_of

from jobs.cli.config import ConfigError, Input
from jobs.planning.account import Files
from jobs.planning.listing import Listing, list_input


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    wav = encoded(tone(0.5))
    for name in ("a.wav", "b/c.FLAC", "b/d.mp3", "b/e.opus"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(wav)
    (tmp_path / "b" / "shard.tar").write_bytes(tar_of([(f"{number}.wav", wav) for number in range(4)]))
    (tmp_path / "notes.docx").write_bytes(b"x")
    (tmp_path / "README").write_bytes(b"x")
    return tmp_path


def listed(uri: Path | str | list[str], output: str = "/nowhere", **config: Any) -> Listing:
    return list_input(Input(uri=str(uri) if isinstance(uri, Path) else uri, **config), output)


def names(listing: Listing) -> list[str]:
    return [each.name for each in listing.objects]


def test_a_tree_a_file_a_glob_a_list(archive: Path) -> None:
    tree = listed(archive)
    assert names(tree) == ["a.wav", "b/c.FLAC", "b/d.mp3", "b/e.opus", "b/shard.tar"]
    assert [each.format for each in tree.objects] == ["audio"] * 4 + ["tar"]
    assert tree.files == Files(7, read=5, skipped=Counter({"unknown type .docx": 1, "unknown type (none)": 1}))
    assert names(listed(archive / "b" / "d.mp3")) == ["d.mp3"]
    assert names(listed(f"{archive}/*/*.[mo]p*")) == ["b/d.mp3", "b/e.opus"]
    assert names(listed([f"{archive}/a.wav", f"{archive}/b", f"{archive}/b/d.mp3"])) == [
        "a.wav",
        "c.FLAC",
        "d.mp3",
        "e.opus",
        "shard.tar",
    ]


def test_include_exclude_and_format(archive: Path) -> None:
    assert names(listed(archive, include=["b/*"], exclude=["*.mp3", "*.tar"])) == ["b/c.FLAC", "b/e.opus"]
    assert names(listed(archive, format="tar", include=["b/*"])) == ["b/shard.tar"]
    assert "notes.docx" in names(listed(archive, format="audio"))  # asked for: the reader checks the content
    assert [each.format for each in listed(archive / "README", format="tar").objects] == ["tar"]


def test_the_first_recordings(archive: Path) -> None:
    assert names(listed(archive, limit=3)) == ["a.wav", "b/c.FLAC", "b/d.mp3"]
    assert [each.limit for each in listed(archive, limit=6).objects] == [None] * 4 + [2]
    assert [each.limit for each in listed(archive, limit=8).objects] == [None] * 5
    assert [each.limit for each in listed(archive, limit=99).objects] == [None] * 5


def test_the_output_is_not_input(archive: Path) -> None:
    (archive / "out").mkdir()
    (archive / "out" / "part-1.parquet").write_bytes(b"x")
    assert "out/part-1.parquet" in names(listed(archive))
    assert "out/part-1.parquet" not in names(listed(archive, output=f"{archive}/out"))


def test_nothing_there(tmp_path: Path) -> None:
    for uri in (f"{tmp_path}/none", f"{tmp_path}/*.wav", str(tmp_path)):
        with pytest.raises(ConfigError, match=r"input\.uri"):
            listed(uri)
    with pytest.raises(ConfigError, match="chained"):
        listed("zip://a.wav::/etc/x.zip")
    with pytest.raises(ConfigError, match="nosuch"):
        listed("nosuch://bucket/x")


def test_a_manifest_claims_its_audio_and_says_nothing_twice(archive: Path) -> None:
    lines = [{"audio_filepath": "a.wav"}, {"audio_filepath": "a.wav", "text": "again"}, {"audio_filepath": "b/d.mp3"}]
    (archive / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    listing = listed(archive)
    formats = {each.name: each.format for each in listing.objects}
    assert len(listing.objects) == len(formats) == 5
    assert [name for name, kind in formats.items() if kind == "manifest"] == ["a.wav", "b/d.mp3"]
    assert [name for name, kind in formats.items() if kind == "audio"] == ["b/c.FLAC", "b/e.opus"]
    assert listing.repeated == 1
    etags = {each.name: each.etag for each in listing.objects}
    assert etags["a.wav"] == str((archive / "a.wav").stat().st_mtime_ns)


def test_a_text_beside_the_audio_is_part_of_its_version(archive: Path) -> None:
    before = listed(archive / "b").objects[0]
    (archive / "b" / "c.txt").write_text("words")
    after = listed(archive / "b").objects[0]
    assert (before.companion, before.key) == (None, after.key)
    assert after.companion == f"file://{archive}/b/c.txt"
    assert before.version != after.version
