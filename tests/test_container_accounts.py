"""Every entry of a container is accounted for, by exactly one share, and a reader that forgets one is noticed."""

import gzip
import io
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import encoded, tone
from containers import END, WAVS, link, member, read, read_tar_of
from hypothesis import given, settings
from hypothesis import strategies as st
from test_pieces import cut, unit_of

from actors.sources import account, parquet, tar
from actors.sources.account import Entries
from actors.sources.memory import MemoryBudget
from actors.sources.objects import Reading, ReadSettings, read_objects
from actors.sources.parquet_groups import GroupReader
from actors.sources.tar import Shard

FOLDER, FIFO = tarfile.TarInfo("folder"), tarfile.TarInfo("pipe.wav")
FOLDER.type, FIFO.type = tarfile.DIRTYPE, tarfile.FIFOTYPE
ODD = tarfile.TarInfo("volume.wav")
ODD.type = b"V"
ALL = b"".join(
    [
        *(member("a.wav", WAVS[0]), member("a.txt", b"a"), member("a.JSON", b"{}"), member("b.wav", b"")),
        *(member("x.txt", b""), member("r.PDF"), member("README"), member("._a.wav"), FOLDER.tobuf(), FIFO.tobuf()),
        *(link("c.wav", "a.wav"), link("d.wav", "/etc/passwd", tarfile.SYMTYPE), link("d.txt", "a.txt"), ODD.tobuf()),
    ]
)
REASONS = {
    "text without a recording": 1,
    "unknown type .pdf": 1,
    "unknown type (none)": 1,
    "AppleDouble": 1,
    "folder": 1,
    "device or pipe": 1,
    "symbolic link": 1,
    "unknown kind of tar member": 1,
    "bytes after the end of the tar": 1,
}


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_members_of_a_tar_are_accounted_for_in_any_shares(tmp_path: Path, pack: Any) -> None:
    data = pack(ALL + END + b"junk" * 200)
    for shares in (1, 2, 5):
        entries = streamed(tmp_path, data, shares)
        assert entries == Entries(15, 3, 3, entries.skipped)
        assert entries.skipped == REASONS
        assert entries.unaccounted == 0


def streamed(folder: Path, data: bytes, shares: int) -> Entries:
    """The account of a tar that is read from its start by each share, as one with links is."""
    (folder / "t.tar").write_bytes(data)
    total = Entries()
    for piece in cut(unit_of(folder / "t.tar"), shares):
        reading = Reading(piece, ReadSettings(), MemoryBudget(1 << 30))
        shard = Shard(piece.objects[0], "", 1 << 30, reading.budget, entries=reading.entries)
        stored = tar.StoredFile(tar.Place.at(str(folder / "t.tar")), len(data))
        assert list(tar.read_tar(stored, shard, (piece.range, piece.ranges))) or piece.ranges > 1
        total += reading.entries
    return total


_names = st.sampled_from(
    "a.wav a.txt a.json a.b.wav a.c.wav a.b.txt a.c.txt b.wav b.txt ./b.wav c.pdf ._a.wav d/e.f.wav d/e.txt".split()
)


@settings(max_examples=60, deadline=None)
@given(names=st.lists(_names, max_size=14), shares=st.integers(2, 5), lost=st.sampled_from([0, 0, 700]))
def test_any_members_have_distinct_names_and_are_accounted_for(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], shares: int, lost: int
) -> None:
    folder = tmp_path_factory.mktemp("tar")
    data = b"".join(member(name, b"%d" % number) for number, name in enumerate(names)) + END
    whole = read_tar_of(folder, data[: len(data) - len(END) - lost] if lost else data)
    for values in zip(*((each.recording_id, each.member) for each in whole.recordings), strict=True):
        assert len(set(values)) == len(values)
    assert whole.entries.unaccounted == 0
    assert streamed(folder, (folder / "t.tar").read_bytes(), shares) == whole.entries


def test_a_branch_that_is_dropped_leaves_the_sum_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "t.tar").write_bytes(ALL + END)
    (tmp_path / "p").mkdir()
    pq.write_table(pa.table({"audio": WAVS}), tmp_path / "p" / "t.parquet")
    for owner, name, dropped, missed in (
        (Shard, "_keep_text", lambda self, member: iter(()), 4),
        (Shard, "_read_later", lambda self, walk: iter(()), 2),
        (Shard, "_recordings_of", lambda self, member, content, has_siblings: iter(()), 4),
        (tar.KeptTexts, "match", lambda self: {}, 4),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, dropped)
            assert read(tmp_path / "t.tar").entries.unaccounted == missed, name
    assert read(tmp_path / "t.tar").entries.unaccounted == 0
    monkeypatch.setattr(GroupReader, "rows", lambda self, group, first, last: iter(()))
    assert read(tmp_path / "p").entries.unaccounted == len(WAVS)


def test_limits_are_reasons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{number}.wav" for number in range(5)]
    (tmp_path / "t.tar").write_bytes(b"".join(member(name, WAVS[0]) for name in names) + END)
    limited = read(tmp_path / "t.tar", limit=2).entries
    assert limited == Entries(5, 2, 0, limited.skipped)
    assert limited.skipped == {"over input.limit": 3}
    monkeypatch.setattr(tar, "MAX_RECORDINGS", 3)
    found = read(tmp_path / "t.tar")
    assert list(found.names.values()) == [0, 0, 0, "too_large"]
    assert (found.entries.skipped, found.entries.unaccounted) == ({"over the limit of recordings": 1}, 0)
    pq.write_table(pa.table({"audio": WAVS}), tmp_path / "t.parquet", row_group_size=2)
    limited = read(tmp_path / "t.parquet", limit=3).entries
    assert (limited.found, limited.recordings, limited.skipped) == (6, 3, {"over input.limit": 3})
    monkeypatch.setattr(parquet, "MAX_ROWS", 4)
    found = read(tmp_path / "t.parquet")
    assert list(found.names.values()) == [0, 1, 2, 3, "too_large"]
    assert (found.entries.skipped, found.entries.unaccounted) == ({"over the limit of rows": 2}, 0)


def test_texts_of_a_shard_with_a_manifest_are_accounted_for(tmp_path: Path) -> None:
    (tmp_path / "audio_0.tar").write_bytes(member("a.wav", WAVS[0]) + member("a.txt", b"a") + END)
    lines = (
        '{"audio_filepath": "a.wav", "shard_id": 0}\n{"audio_filepath": "a-sub1.wav", "offset": 0.1, "shard_id": 0}\n'
    )
    (tmp_path / "manifest.jsonl").write_text(lines + '{"audio_filepath": "gone.wav", "shard_id": 0}')
    found = read(tmp_path)
    assert found.names == {"a.wav": 0, "a-sub1.wav": 0, "gone.wav": "missing"}
    assert found.entries == Entries(2, 1, 0, found.entries.skipped)
    assert found.entries.skipped == {"text that a manifest replaces": 1}


def test_a_torn_member_is_a_recording_with_that_error(tmp_path: Path) -> None:
    sound = member("a.wav", WAVS[0]) + member("a.txt", b"a")
    for data, names in (
        (sound + member("b.wav", WAVS[1])[:-2_000], {"a": 0, "b": "truncated"}),
        (sound + member("b.txt", bytes(900))[:-600], {"a": 0, "b.txt": "truncated"}),
        (sound + b"\xaa" * 512 + member("b.wav", WAVS[1]), {"a": 0, "t.tar": "truncated"}),
        (sound + bytes(512) + b"\xaa" * 512 + END, {"a": 0, "t.tar": "truncated"}),
    ):
        found = read_tar_of(tmp_path, data)
        assert found.names == names
        assert found.references == {"a": "a"}
        assert found.entries.unaccounted == 0
        for shares in (2, 3):
            assert streamed(tmp_path, data, shares) == found.entries


def test_stretches_of_recordings_account_once(tmp_path: Path) -> None:
    (tmp_path / "t.tar").write_bytes(member("a.wav", encoded(tone(3))) + END)
    found = Entries()
    for piece in cut(unit_of(tmp_path / "t.tar"), 1, stretches=3):
        reading = Reading(piece, ReadSettings(), MemoryBudget(1 << 30))
        assert list(read_objects(list(piece.objects), reading))
        found += reading.entries
    assert found == Entries(1, 1)


def test_reasons_are_bounded() -> None:
    entries = Entries()
    for number in range(1_000):
        entries.skip(f"unknown type .{number}")
    assert len(entries.skipped) == account.MAX_REASONS + 1
    assert entries.skipped.total() == 1_000
    assert entries.skipped[account.OTHERS] == 1_000 - account.MAX_REASONS


def test_rows_of_a_parquet_file_are_accounted_for_in_any_shares(tmp_path: Path) -> None:
    pq.write_table(pa.table({"audio": [*WAVS, None]}), tmp_path / "t.parquet", row_group_size=2)
    for shares in (1, 2, 4, 7):
        assert read(tmp_path / "t.parquet", shares).entries == Entries(7, 7)
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": ["a", "b"]}), sink)
    (tmp_path / "t.parquet").write_bytes(sink.getvalue())
    found = read(tmp_path / "t.parquet")
    assert found.names == {"t.parquet": "unreadable"}
    assert (found.entries.skipped, found.entries.unaccounted) == ({"unreadable": 2}, 0)
