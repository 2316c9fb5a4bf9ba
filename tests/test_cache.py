"""The cache folder is the user's own, and what is in it is believed by its content."""

import contextlib
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import s3fs
from conftest import DEMO_MODEL

from actors.engine.citrinet import checkpoint
from actors.engine.interface import EngineSettings
from actors.engine.load import load_engine
from actors.engine.models import ModelFile, fetch, is_hub_name, locate, resolve
from actors.schema import UsageError
from actors.storage.cache import cache_folder, is_intact, new_file, sha256_of
from actors.storage.place import Place

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a folder to another user")


def mode_of(folder: Path) -> int:
    return stat.S_IMODE(folder.stat().st_mode)


def test_it_is_made_for_its_user_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITRASCRIBE_CACHE", str(tmp_path / "a" / "b" / "cache"))
    assert cache_folder() == tmp_path / "a" / "b" / "cache"
    assert mode_of(cache_folder()) == 0o700
    assert mode_of(tmp_path / "a" / "b") & 0o055  # folders above are as usual


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o711, 0o701, 0o1755])
def test_what_others_may_read_is_closed_to_them(mode: int, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(mode)
    assert mode_of(cache_folder()) == 0o700


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770, 0o720, 0o702, 0o2775])
def test_what_others_may_write_to_is_refused(mode: int, tmp_path: Path, job: Callable[..., Any]) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(mode)
    with pytest.raises(UsageError, match=r"is writable by other users .*chmod 700 .*CITRASCRIBE_CACHE"):
        cache_folder()
    assert mode_of(tmp_path / "cache") == mode  # it is not for us to close
    with pytest.raises(UsageError, match="is writable by other users"):  # an actor, which the driver did not look for
        load_engine(
            ModelFile(str(DEMO_MODEL), "0" * 64, place=Place.at(str(DEMO_MODEL))),
            EngineSettings("fused", "cpu", "float32", 1, 30),
        )
    if mode == 0o777:
        status, _, seen = job(f"output.uri={tmp_path}/out")
        assert (status, f"configuration: the cache folder {tmp_path}/cache" in seen.replace("\n", "")) == (2, True)
        assert not list((tmp_path / "cache").iterdir())


@AS_ROOT
def test_what_belongs_to_another_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other, own = tmp_path / "other", tmp_path / "own"
    for folder in (other, own):
        folder.mkdir(mode=0o755)
    os.chown(other, 12_345, 12_345)
    (tmp_path / "link").symlink_to(own)
    os.lchown(tmp_path / "link", 12_345, 12_345)
    (tmp_path / "my link").symlink_to(other)
    for name in ("other", "link", "my link"):
        monkeypatch.setenv("CITRASCRIBE_CACHE", str(tmp_path / name))
        with pytest.raises(UsageError, match=r"belongs to another user.*; set CITRASCRIBE_CACHE"):
            cache_folder()
    assert mode_of(own) == 0o755  # another's link does not make us change our own


def test_own_links_are_followed_and_files_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "cache").symlink_to(tmp_path / "disk")
    assert mode_of(cache_folder()) == 0o700
    (tmp_path / "file").write_text("")
    for name in ("file", "file/below"):
        monkeypatch.setenv("CITRASCRIBE_CACHE", str(tmp_path / name))
        with pytest.raises(UsageError, match=r"cannot be used .*CITRASCRIBE_CACHE"):
            cache_folder()


def test_files_are_vouched_for_by_content(tmp_path: Path) -> None:
    place = tmp_path / "x.bin"
    assert not is_intact(place)
    place.write_bytes(b"planted")
    assert not is_intact(place)
    with new_file(place, with_digest=True) as partial:
        partial.write_bytes(b"made")
        assert place.read_bytes() == b"planted"
    assert is_intact(place)
    place.write_bytes(b"nade")
    assert not is_intact(place)


def test_a_file_that_could_not_be_made_leaves_nothing(tmp_path: Path) -> None:
    place = tmp_path / "folder" / "x.bin"
    with pytest.raises(FileNotFoundError), new_file(place):
        pass  # nothing was written
    with contextlib.suppress(RuntimeError), new_file(place) as partial:
        partial.write_bytes(b"half")
        raise RuntimeError
    assert list(place.parent.iterdir()) == []


@pytest.mark.parametrize(
    "note",
    ["", "{", '{"sha256": "', "[]", "null", "7", '"x"', "[" * 900, "{}", '{"sha256": 7, "checks": 3}', "\xff",
     '{"sha256": "../x", "checks": 3}', json.dumps({"sha256": "0" * 64}), json.dumps({"sha256": ["0" * 64]}),
     json.dumps({"sha256": "0" * 64, "checks": 2}), json.dumps({"sha256": "0" * 64, "checks": 3, "unsupported": 7})],
)  # fmt: skip
def test_a_remembered_hash_of_no_sense_is_worked_out_anew(note: str, tmp_path: Path) -> None:
    model = resolve(str(DEMO_MODEL), None, {})
    (noted,) = (tmp_path / "cache" / "hashes").glob("*.json")
    whole = noted.read_bytes()
    noted.write_bytes(note.encode("latin-1"))
    assert resolve(str(DEMO_MODEL), None, {}) == model
    assert noted.read_bytes() == whole


def test_a_remembered_hash_does_not_vouch_for_other_bytes(tmp_path: Path) -> None:
    path = tmp_path / "m.nemo"
    path.write_bytes(DEMO_MODEL.read_bytes())
    before, model = path.stat(), resolve(str(path), None, {})
    path.write_bytes(DEMO_MODEL.read_bytes()[:-1] + b"x")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert resolve(str(path), None, {}).sha256 == model.sha256  # nothing is hashed where nothing may be to do
    with pytest.raises(UsageError, match="not those that the run was planned with"):
        fetch(model)
    with pytest.raises(UsageError, match="not what the run was planned with"):
        checkpoint.load(locate(model), model.sha256, tmp_path / "cache")
    for engine in ("fused", "nemo"):
        with pytest.raises(UsageError, match="not those that the run was planned with"):
            load_engine(model, EngineSettings(engine, "cpu", "float32", 1, 30))


@pytest.fixture
def remote(s3_options: dict[str, Any]) -> ModelFile:
    s3fs.S3FileSystem(**s3_options).put_file(str(DEMO_MODEL), "bucket/models/m.nemo")
    return resolve("s3://bucket/models/m.nemo", None, s3_options)


def test_a_damaged_copy_is_fetched_anew(remote: ModelFile) -> None:
    path = fetch(remote)
    for damaged in (b"", path.read_bytes()[:-1], bytes(path.stat().st_size)):
        path.write_bytes(damaged)
        assert sha256_of(fetch(remote)) == remote.sha256
    path.write_bytes(b"")
    load_engine(remote, EngineSettings("fused", "cpu", "float32", 1, 30))
    assert sha256_of(path) == remote.sha256
    path.write_bytes(b"")  # what was converted is there, so nothing else is read
    load_engine(remote, EngineSettings("fused", "cpu", "float32", 1, 30))
    assert path.stat().st_size == 0


def test_a_planted_copy_names_no_model(remote: ModelFile, s3_options: dict[str, Any], tmp_path: Path) -> None:
    path = fetch(remote)
    path.write_bytes(DEMO_MODEL.read_bytes() + bytes(10_240))  # another model, of the same name
    for noted in (tmp_path / "cache" / "hashes").glob("*.json"):
        noted.unlink()
    assert resolve(remote.name, None, s3_options).sha256 == remote.sha256


def test_nothing_to_do_fetches_and_hashes_nothing(remote: ModelFile, s3_options: dict[str, Any]) -> None:
    path = locate(remote)
    path.unlink()
    assert resolve(remote.name, None, s3_options) == remote
    assert not path.exists()


@pytest.mark.parametrize(
    "name",
    ["../x", "a/../b", "-a/b", "a/-b", ".a/b", "a/.b", "a/b..c", "a--b/c", "ü/x", "a/b\n", "a/" + "b" * 97, "a b/c"],
)  # fmt: skip
def test_names_that_the_hub_does_not_know_are_paths(name: str) -> None:
    assert not is_hub_name(name)
    with pytest.raises(UsageError, match=r"model\.name: there is no file"):
        resolve(name, None, {})


@pytest.mark.parametrize("revision", ["../../x", "-x", ".x", "", "a b", "x" * 300])
def test_revisions_are_no_paths(revision: str) -> None:
    with pytest.raises(UsageError, match=r"model\.revision: .* is not a branch"):
        resolve("nvidia/stt_zh_citrinet_1024_gamma_0_25", revision, {})
