"""Links and odd files on a local disk: followed below the input, told elsewhere, and never a listing cut short."""

import contextlib
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fsspec.implementations.local import LocalFileSystem
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.schema import UsageError
from actors.storage import listing, local_listing
from actors.storage.place import Place


def found(path: Path, *roots: Path) -> dict[str, str]:
    """The fault, or the size, of every name below a path, by the name."""
    listed = list(listing.find(Place.at(str(path)), [str(root) for root in roots]))
    assert len({each.path for each in listed}) == len(listed)
    return {os.path.relpath(each.path, path): each.fault or str(each.size) for each in listed}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "in" / "b").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    for name in ("in/a.wav", "in/b/c.wav", "out/secret"):
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path / "in"


def test_links_below_the_input_are_followed(tree: Path) -> None:
    (tree / "file").symlink_to("b/c.wav")
    (tree / "folder").symlink_to("b")
    (tree / "b" / "up").symlink_to("../a.wav")
    (tree / "b" / "chain").symlink_to(tree / "file")
    inside = {"c.wav": "10", "up": "8", "chain": "10"}
    below = {f"{folder}/{name}": size for folder in ("b", "folder") for name, size in inside.items()}
    assert found(tree) == {"a.wav": "8", "file": "10"} | below
    entry = next(each for each in listing.find(Place.at(str(tree))) if each.name == "file")
    assert entry.version == Place.at(entry.path).info().version


def test_links_elsewhere_are_outside_unless_they_lead_below_a_root(tree: Path) -> None:
    outside = tree.parent / "out"
    (tree / "file").symlink_to("../out/secret")
    (tree / "folder").symlink_to(outside)
    (tree / "chain").symlink_to("b/file")
    (tree / "b" / "file").symlink_to("../file")
    (tree / "device").symlink_to("/dev/zero")
    (tree / "named-alike").symlink_to(f"{tree}-2/x")  # begins like the input, and is not below it
    Path(f"{tree}-2").mkdir()
    Path(f"{tree}-2/x").write_bytes(b"x")
    names = ["file", "folder", "chain", "b/file", "device", "named-alike"]
    assert found(tree) == {"a.wav": "8", "b/c.wav": "10"} | dict.fromkeys(names, "outside")
    allowed = found(tree, outside)
    assert {name: allowed[name] for name in allowed if allowed[name] == "outside"} == dict.fromkeys(
        names[4:], "outside"
    )
    assert allowed["folder/secret"] == allowed["file"] == allowed["chain"] == "10"
    (tree.parent / "alias").symlink_to(outside)
    assert found(tree, tree.parent / "alias") == allowed  # a root may be a link itself


def test_what_is_no_file_is_told_and_never_opened(tree: Path) -> None:
    os.mkfifo(tree / "pipe")
    (tree / "to-pipe").symlink_to("pipe")
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as bound:
        bound.bind(os.path.relpath(tree / "socket"))  # its path must be short
        (tree / "gone").symlink_to("nowhere")
        (tree / "through-a-file").symlink_to("a.wav/x")
        assert found(tree) == {
            "a.wav": "8",
            "b/c.wav": "10",
            "pipe": "special",
            "to-pipe": "special",
            "socket": "special",
            "gone": "dangling",
            "through-a-file": "dangling",
        }


def test_links_in_circles_are_passed_over(tree: Path) -> None:
    (tree / "self").symlink_to("self")
    (tree / "one").symlink_to("two")
    (tree / "two").symlink_to("one")
    (tree / "here").symlink_to(".")
    (tree / "b" / "up").symlink_to("..")
    (tree / "b" / "root").symlink_to(tree)
    (tree / "d").mkdir()
    (tree / "d" / "to-b").symlink_to("../b")
    (tree / "b" / "to-d").symlink_to("../d")
    real = {"a.wav": "8", "b/c.wav": "10", "d/to-b/c.wav": "10"}
    circles = ["self", "one", "two", "here", "b/up", "b/root", "d/to-b/up", "d/to-b/root", "d/to-b/to-d", "b/to-d/to-b"]
    assert found(tree) == real | dict.fromkeys(circles, "circle")


def test_the_path_that_is_asked_for_may_be_a_link(tree: Path) -> None:
    (tree.parent / "alias").symlink_to("in")
    (tree / "inside").symlink_to("a.wav")
    (tree.parent / "file").symlink_to("in/a.wav")
    (tree.parent / "gone").symlink_to("nowhere")
    assert found(tree.parent / "alias") == found(tree)
    assert found(tree.parent / "file") == {".": "8"}
    assert found(tree.parent / "gone") == {".": "dangling"}
    assert found(tree.parent / "nothing") == found(tree / "a.wav" / "x") == {}
    assert [each.fault for each in listing.find(Place.at("/dev/zero"))] == ["special"]


def test_a_farm_of_links_ends_with_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_listing, "MAX_REPEATS", 10_000)
    for number in range(35):
        (tmp_path / f"{number}").mkdir()
        for name in "xy":
            (tmp_path / f"{number}" / name).symlink_to(f"../{number + 1}")
    with pytest.raises(UsageError, match="links below"):
        list(listing.find(Place.at(str(tmp_path))))
    (tmp_path / "mounts").mkdir()
    (tmp_path / "volume").mkdir()
    for number in range(12_000):  # a folder reached by one link alone makes no name again
        (tmp_path / "volume" / str(number)).touch()
    (tmp_path / "mounts" / "v").symlink_to("../volume")
    assert len(list(listing.find(Place.at(str(tmp_path / "mounts")), [str(tmp_path)]))) == 12_000


@contextlib.contextmanager
def as_nobody() -> Iterator[Path]:
    """A folder, with permissions that hold for whoever runs the tests, be it root."""
    with tempfile.TemporaryDirectory(prefix="citrascribe-links-") as folder:
        is_root = os.geteuid() == 0
        if is_root:
            os.chmod(folder, 0o777)
            os.seteuid(65_534)
        try:
            yield Path(folder)
        finally:
            if is_root:
                os.seteuid(0)


@pytest.mark.parametrize("mode", [0o000, 0o444, 0o111])
def test_a_folder_that_may_not_be_listed_is_no_empty_one(mode: int) -> None:
    with as_nobody() as folder:
        (folder / "open").mkdir()
        (folder / "open" / "a.wav").touch()
        closed = folder / "open" / "closed"
        closed.mkdir()
        (closed / "b.wav").touch()
        closed.chmod(mode)
        try:
            for call in (
                lambda: list(listing.find(Place.at(str(folder)))),
                lambda: list(listing.find(Place.at(str(closed)))),
                lambda: listing.glob(Place.at(f"{folder}/**/*.wav")),
                lambda: list(listing.below(Place.at(str(folder)))),
                lambda: listing.in_folder(Place.at(str(closed))),
            ):
                with pytest.raises(PermissionError, match="closed"):
                    call()
            assert [each.name for each in listing.glob(Place.at(f"{folder}/open/*.wav"))] == ["a.wav"]
        finally:
            closed.chmod(0o755)


def test_folders_that_go_meanwhile_are_no_fault(tree: Path) -> None:
    for number in range(5):
        (tree / f"f{number}").mkdir()
        (tree / f"f{number}" / "x").touch()
    found = listing.find(Place.at(str(tree)))
    next(found)
    for number in range(5):
        (tree / f"f{number}" / "x").unlink()
        (tree / f"f{number}").rmdir()
    assert len(list(found)) <= 2


def test_names_that_are_no_utf_8(tree: Path) -> None:
    name = os.fsdecode(b"b.\xff\xfe.wav")
    (tree / name).touch()
    (tree / "link").symlink_to(name)
    assert found(tree) == {"a.wav": "8", "b/c.wav": "10", name: "0", "link": "0"}


def test_the_state_of_an_output_is_not_listed_through_links(tree: Path) -> None:
    (tree / "link.wav").symlink_to("a.wav")
    (tree / "folder").symlink_to("b")
    (tree.parent / "alias").symlink_to("in")
    assert listing.names(Place.at(str(tree))) == ["a.wav"]
    assert {each.path for each in listing.below(Place.at(str(tree)))} == {f"{tree}/a.wav", f"{tree}/b/c.wav"}
    alias = Place.at(str(tree.parent / "alias"))
    for call in (listing.names, listing.in_folder, listing.below):
        with pytest.raises(UsageError, match="alias is a link, which is not followed"):
            call(alias)
    assert listing.names(alias, may_be_link=True) == ["a.wav"]


_names = st.text("ab[]!^-?*", min_size=1, max_size=3).filter(lambda name: name not in (".", ".."))
_patterns = st.lists(
    st.sampled_from(["*", "**", "?", "a*", "[ab]", "[!a]*", "a", "b", "*b*", "[a", "??"]), min_size=1, max_size=3
)


@settings(max_examples=150, deadline=None)
@given(
    trees=st.sets(st.lists(_names, min_size=1, max_size=3).map("/".join), max_size=12),
    parts=_patterns,
)
def test_globs_match_as_they_did(trees: set[str], parts: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in trees:
            with contextlib.suppress(OSError):  # a file where a folder should be
                Path(folder, name).parent.mkdir(parents=True, exist_ok=True)
                Path(folder, name).touch()
        pattern = "/".join([folder, *parts])
        matches = LocalFileSystem().glob(pattern, detail=True)
        expected = {name for name, each in matches.items() if each["type"] == "file"}
        assert {each.path for each in listing.glob(Place.at(pattern))} == expected


def test_globs_and_links(tree: Path) -> None:
    (tree / "to-b").symlink_to("b")
    (tree / "out.wav").symlink_to("../out/secret")
    (tree / "elsewhere").symlink_to("../out")
    (tree / "gone").symlink_to("nowhere")
    listed = {each.path.removeprefix(f"{tree}/"): each.fault for each in listing.glob(Place.at(f"{tree}/*.wav"))}
    assert listed == {"a.wav": "", "out.wav": "outside"}
    listed = {each.path.removeprefix(f"{tree}/"): each.fault for each in listing.glob(Place.at(f"{tree}/*/*.wav"))}
    assert listed == {"b/c.wav": "", "to-b/c.wav": "", "elsewhere": "outside"}
    with pytest.raises(UsageError, match=r"\*\*"):
        listing.glob(Place.at(f"{tree}/a**b"))


def test_a_glob_does_not_enter_what_cannot_match(tree: Path) -> None:
    began = time.monotonic()
    listing.glob(Place.at("/pro[c]/self/stat[u]s"))
    assert time.monotonic() - began < 1  # seconds; /proc/self holds tens of thousands of names further down
    assert (tree / "a.wav").exists()
