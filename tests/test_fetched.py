"""Files that a configuration names are known by their content, and are what was resolved or refused."""

import os
from pathlib import Path

import pytest
from test_web import SECRET, SIGNED, Server

from actors.schema import UsageError
from actors.storage.cache import cache_folder
from actors.storage.fetched import fetch_file, resolve_file

KEY = "decoding.phrases"


def touched(path: Path, content: bytes, time_ns: int) -> Path:
    path.write_bytes(content)
    os.utime(path, ns=(time_ns, time_ns))
    return path


def test_content_counts_and_times_do_not(tmp_path: Path) -> None:
    path = touched(tmp_path / "a.txt", b"one", 10**18)
    file = resolve_file(str(path), {}, KEY, 10)
    touched(path, b"one", 2 * 10**18)
    assert fetch_file(file) == path
    assert resolve_file(str(path), {}, KEY, 10) == file
    touched(path, b"two", 2 * 10**18)
    assert resolve_file(str(path), {}, KEY, 10) != file
    with pytest.raises(UsageError, match=rf"{KEY}: .*a.txt was changed during the run"):
        fetch_file(file)


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for name in (tmp_path / "fifo", tmp_path, Path("/dev/zero")):
        with pytest.raises(UsageError, match=rf"{KEY}: .*{name.name} is not a file"):
            resolve_file(str(name), {}, KEY, 10)
    with pytest.raises(UsageError, match=rf"{KEY}: there is no file .*nowhere"):
        resolve_file(str(tmp_path / "nowhere"), {}, KEY, 10)
    (tmp_path / "large").write_bytes(bytes(11))
    with pytest.raises(UsageError, match="has 11 bytes, and at most 10 are read"):
        resolve_file(str(tmp_path / "large"), {}, KEY, 10)


@pytest.mark.parametrize("damage", [b"", b"0" * 63, b"\xff" * 64, b"0" * 65], ids=["none", "short", "other", "long"])
def test_a_damaged_note_of_a_digest_is_made_again(damage: bytes) -> None:
    server = Server()
    try:
        server.files["/a.txt"] = b"one"
        file = resolve_file(f"{server.url}/a.txt", {}, KEY, 10)
        (note,) = (cache_folder() / "hashes").glob("*.sha256")
        note.write_bytes(damage)
        assert resolve_file(f"{server.url}/a.txt", {}, KEY, 10) == file
        assert note.read_text() == file.sha256
    finally:
        server.close()


def test_copies_have_no_secret_in_their_names_and_are_fetched_again_if_damaged() -> None:
    server = Server()
    try:
        server.files["/a.txt"] = b"one"
        file = resolve_file(f"{server.url}/a.txt?{SIGNED}{'s' * 300}", {}, KEY, 10)
        assert SECRET not in repr(file)
        copy = fetch_file(file)
        assert not any(SECRET in str(path) for path in cache_folder().rglob("*"))
        copy.write_bytes(b"damaged")
        assert fetch_file(file).read_bytes() == b"one"
        with pytest.raises(UsageError, match="has 3 bytes, and at most 2"):
            resolve_file(f"{server.url}/a.txt", {}, KEY, 2)
        server.files["/a.txt"] = b"two"
        server.headers = {"ETag": '"other"'}
        with pytest.raises(UsageError, match="was changed during the run"):
            fetch_file(file)
    finally:
        server.close()
