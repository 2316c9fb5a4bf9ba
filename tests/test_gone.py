"""What a plan says of objects that are no longer listed, and of those that seem renamed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import DEMO_MODEL
from test_planning import Archive, wav

from actors.units import Selection, SourceObject, Version
from jobs import plan as plan_job
from jobs.planning.gone import count_gone, gone_sentence
from jobs.planning.plans import PlannedObject
from jobs.planning.renamed import renamed

ROOTS = ("s3://archive",)


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(str(tmp_path / "out"))


def sentence(archive: Archive, *objects: SourceObject, **policy: Any) -> str:
    return gone_sentence(count_gone(archive.plan(*objects, **policy).changes, ROOTS))


def test_objects_that_are_gone_are_told(archive: Archive) -> None:
    a, b, c, d = (wav(name, etag=name) for name in "abcd")
    archive.run(a, b, c, d, minutes=1)
    assert sentence(archive, a, b, c, d) == ""
    assert sentence(archive, a, b, c) == "1 object is no longer listed; its rows are kept (output.on_deleted)"
    removed = {"on_deleted": "remove", "max_removed_fraction": 1.0}
    said = "2 objects are no longer listed; their rows are removed (output.on_deleted)"
    assert sentence(archive, a, b, **removed) == said
    archive.run(a, b, minutes=1, **removed)
    assert sentence(archive, a, b) == ""  # told once


def test_renamed_objects_are_named(archive: Archive) -> None:
    archive.run(*(wav(name, etag=name) for name in "abcdef"))
    objects = [wav(f"x/{name}", etag=name) for name in "abcd"]
    gone = count_gone(archive.plan(*objects, wav("e", etag="e")).changes, ROOTS)
    assert (gone["kept"], gone["renamed"]) == (5, 4)
    assert gone["examples"] == [{"was": f"{name}.wav", "now": f"x/{name}.wav"} for name in "abcd"]
    assert gone_sentence(gone) == (
        "5 objects are no longer listed; their rows are kept (output.on_deleted). 4 of them seem renamed: a.wav is now"
        " x/a.wav, b.wav is now x/b.wav, c.wav is now x/c.wav, …; under their new names, they are transcribed again"
    )
    one = sentence(archive, *(wav(name, etag=name) for name in "abcde"), wav("new", etag="f"))
    assert one == (
        "1 object is no longer listed; its rows are kept (output.on_deleted). It seems renamed: f.wav is now new.wav;"
        " under its new name, it is transcribed again"
    )


def test_an_interrupted_run_does_not_make_a_new_name_known(archive: Archive) -> None:
    archive.run(wav("a", etag="a"))
    new = wav("b", etag="a")
    said = sentence(archive, new)
    assert "a.wav is now b.wav" in said
    archive.claim(archive.plan(new))  # a run that was killed
    assert sentence(archive, new) == said
    archive.run(new)
    assert "renamed" not in sentence(archive, new)


def test_what_has_no_rows_keeps_none(archive: Archive) -> None:
    archive.claim(archive.plan(wav("a", etag="a")))  # a run that was killed
    assert sentence(archive, wav("b", etag="b")) == ""


def pairs(gone: dict[str, str], new: dict[str, str]) -> dict[str, str]:
    """What seems renamed, given the versions of what is gone and of what is new by name."""
    known = {
        name: PlannedObject("0", f"s3://archive/{name}", Selection(), None, Version(f"{version}/10/None/"))
        for name, version in gone.items()
    }
    sources = [SourceObject(name, f"s3://archive/{name}", name, "audio", etag, 10) for name, etag in new.items()]
    return renamed(known, known, sources)


def test_only_one_content_makes_a_rename() -> None:
    assert pairs({"a": "e1"}, {"b": "e2"}) == {}
    assert pairs({"a": "e1", "b": "e1"}, {"x/b": "e1", "y/c": "e1"}) == {"b": "x/b", "a": "y/c"}
    assert pairs({"a": "e1"}, {"b": "e1", "x/a": "e1"}) == {"a": "x/a"}
    assert pairs({"a": "size-10"}, {"b": "size-10"}) == {}
    seconds = "1700000000000000000"
    assert pairs({"a": seconds}, {"b": seconds}) == {"a": "b"}
    assert pairs({"a": seconds, "b": seconds}, {"c": seconds, "d": seconds}) == {}  # as a tar restores them
    precise = "1700000000123456789"
    assert pairs({"a": precise, "b": precise}, {"c": precise, "d": precise}) == {"a": "c", "b": "d"}


@pytest.mark.usefixtures("ray_two_cpus")
def test_a_plan_and_a_run_tell_it(job: Callable[..., Any], demo_copy: Path, tmp_path: Path) -> None:
    folder = demo_copy / "loose"
    where = (f"input.uri={folder}", f"output.uri={tmp_path}/out", f"model.name={DEMO_MODEL}", "errors.max_fraction=1")
    assert job(*where)[0] == 0
    (folder / "00.wav").rename(folder / "é\nnew.wav")
    (folder / "01.wav").unlink()
    said = "2 objects are no longer listed; their rows are kept (output.on_deleted). 1 of them seems renamed: 00.wav"
    said += " is now é\\nnew.wav; under its new name, it is transcribed again"
    _, summary, seen = job(*where, main=plan_job.main)
    assert said in seen
    assert summary["no_longer_listed"] == {
        "kept": 2,
        "removed": 0,
        "renamed": 1,
        "examples": [{"was": "00.wav", "now": "é\nnew.wav"}],
    }
    for partial in ("input.sample=3", "input.limit=3", "input.format=audio", f"input.uri={folder}/*.wav"):
        _, summary, seen = job(*where, partial, main=plan_job.main)
        assert summary["no_longer_listed"]["kept"] == 0
        assert "no longer listed; " not in seen
    _, summary, seen = job(*where)
    assert said in seen
    assert summary["recordings"] == 1
