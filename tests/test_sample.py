"""input.sample: so many recordings, spread over the archive, for a first try."""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from conftest import ROOT, encoded, tone
from hypothesis import given, settings
from hypothesis import strategies as st
from made_parts import commit_made
from test_planning import Archive, part_rows
from test_reading import tar_of

from actors.parts.stored import part_name
from actors.units import SourceObject
from jobs import plan as plan_job
from jobs.cli.config import Input
from jobs.planning.limits import as_many_as_before
from jobs.planning.listing import Listing, list_input
from jobs.planning.sampled import spread, take_sample
from jobs.planning.verdicts import Plan

WAV = encoded(tone(0.2))


def source(uri: str, kind: str = "audio") -> SourceObject:
    return SourceObject(uri, uri, uri, kind, "1", 100)  # type: ignore[arg-type]


def sampled(size: int, recordings: dict[str, int]) -> dict[str, int]:
    """How many recordings of each object a sample has; one is a container if it holds another number than one."""
    objects = [source(uri, "audio" if count == 1 else "tar") for uri, count in sorted(recordings.items())]
    found = take_sample(size, objects, lambda each, enough: min(recordings[each.uri], enough))
    assert [each.uri for each in found] == sorted(each.uri for each in found)
    assert all(each.is_sampled == (each.limit is not None) for each in found)
    return {each.uri: recordings[each.uri] if each.limit is None else each.limit for each in found}


_ARCHIVES = st.dictionaries(
    st.builds(
        "{}/{}".format, st.sampled_from(["s3://a", "s3://a/b", "s3://a/b/c", "s3://d"]), st.text("xyz", max_size=5)
    ),
    st.sampled_from([0, 1, 1, 1, 2, 3, 50]),
    min_size=1,
    max_size=20,
)


@settings(max_examples=300, deadline=None)
@given(_ARCHIVES, st.integers(1, 80), st.integers(1, 40))
def test_a_larger_sample_holds_the_smaller_one(recordings: dict[str, int], size: int, more: int) -> None:
    small, large = sampled(size, recordings), sampled(size + more, recordings)
    assert sum(small.values()) == min(size, sum(recordings.values()))
    assert all(small[uri] <= large[uri] <= recordings[uri] for uri in small)
    assert sampled(size, dict(reversed(recordings.items()))) == small  # however they are listed


@settings(max_examples=100, deadline=None)
@given(_ARCHIVES, st.integers(1, 40))
def test_no_container_gives_a_second_recording_while_an_object_has_given_none(
    recordings: dict[str, int], size: int
) -> None:
    found = sampled(size, recordings)
    if any(count > 1 for count in found.values()):
        assert found.keys() == recordings.keys()
        shared = [count for uri, count in found.items() if count < recordings[uri]]
        assert not shared or max(found.values()) - min(shared) <= 1


def test_each_folder_of_a_fixed_archive_is_there() -> None:
    uris = [f"s3://archive/speaker{folder:02}/{number:04}.wav" for folder in range(40) for number in range(50)]
    objects = [source(uri) for uri in uris]
    found = Counter(each.uri.split("/")[3] for each in take_sample(80, objects, lambda each, enough: 1))
    assert found == {f"speaker{folder:02}": 2 for folder in range(40)}
    ten = [int(each.uri[-8:-4]) for each in take_sample(10, objects, lambda each, enough: 1)]
    assert len({number // 10 for number in ten}) >= 4  # within the folders, too
    few = [source(f"s3://archive/{number:06}.wav") for number in range(10_000)]
    tenths = Counter(number // 1_000 for number in spread(few)[:200])
    assert len(tenths) == 10
    assert max(tenths.values()) < 40


def test_another_object_moves_few_of_a_sample() -> None:
    objects = [source(f"s3://archive/{number // 100}/{number:06}.wav") for number in range(5_000)]
    before = {each.uri for each in take_sample(100, objects, lambda each, enough: 1)}
    added = [*objects, source("s3://archive/7/new.wav"), source("s3://archive/new/a.wav")]
    after = {each.uri for each in take_sample(100, sorted(added, key=lambda each: each.uri), lambda each, enough: 1)}
    assert len(before & after) >= 97


def listed(uri: Path, **config: Any) -> Listing:
    return list_input(Input(uri=str(uri), **config), "/nowhere")


@pytest.fixture
def containers(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(12):
        (folder / f"{number:02}.tar").write_bytes(tar_of([(f"{each}.wav", WAV) for each in range(5)]))
    (folder / "empty.tar").write_bytes(tar_of([]))
    shutil.copy(ROOT / "demo/audio/parquet/speech.parquet", folder / "speech.parquet")
    return folder


def test_containers_give_one_recording_each(containers: Path) -> None:
    few = [each for each in listed(containers, sample=6).objects if each.name != "empty.tar"]
    assert [each.limit for each in few] == [1] * 6
    rows = pq.ParquetFile(containers / "speech.parquet").metadata.num_rows
    whole = listed(containers, sample=60 + rows)
    assert len(whole.objects) == 14
    assert all(each.limit is None for each in whole.objects)
    most = {each.name: each.limit for each in listed(containers, sample=60 + rows - 1).objects}
    assert Counter(most.values()) == {None: 13, max(rows, 5) - 1: 1}
    files = listed(containers, sample=6).files
    assert files.skipped == {"not in input.sample": 14 - files.read}


def test_files_of_all_kinds_are_accounted_for(demo_copy: Path) -> None:
    everything, kinds = listed(demo_copy).files.listed, set[str]()
    for size in (1, 3, 10, 25, 60, 1_000):
        found = listed(demo_copy, sample=size)
        assert found.files.listed == everything
        assert (found.lists, found.named, found.excluded) == (frozenset(), frozenset(), frozenset())
        assert not found.covers(f"file://{demo_copy}/loose/gone.wav")
        if size == 10:
            kinds = {each.format for each in found.objects}
    assert kinds == {"audio", "tar", "parquet", "manifest"}  # ten of the demo show all that it has
    assert not found.files.skipped["not in input.sample"]


def test_what_is_excluded_keeps_its_rows(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).write_bytes(WAV)
    assert listed(tmp_path, exclude=["b*"]).excluded
    assert not listed(tmp_path, exclude=["b*"], sample=1).excluded


def sampled_of(whole: SourceObject, archive: Archive, number: int) -> SourceObject:
    """A container of nine recordings, as a sample of so many takes it in an archive."""
    (found,) = take_sample(number, [whole], lambda each, enough: 9)
    (found,) = as_many_as_before([found], archive.state(), archive.place)
    return found


def test_a_sample_takes_no_rows_from_a_container(tmp_path: Path) -> None:
    archive = Archive(str(tmp_path / "out"))
    whole = source("s3://archive/a.tar", "tar")

    limited = partial(sampled_of, whole, archive)

    archive.run(limited(2))
    assert (limited(1).limit, limited(2).limit, limited(3).limit) == (2, 2, 3)
    assert archive.plan(limited(1)).done
    assert archive.plan(limited(3)).redo
    archive.run(limited(3))
    assert len(archive.run(whole).redo) == 1
    assert archive.plan(limited(1)).done
    archive.claim(archive.plan(whole, source("s3://archive/b.tar", "tar")))  # a run that was killed
    (other,) = take_sample(1, [source("s3://archive/b.tar", "tar")], lambda each, enough: 9)
    assert as_many_as_before([other], archive.state(), archive.place) == [other]


def test_a_sample_that_found_a_run_at_work_takes_no_rows_from_it_later(tmp_path: Path) -> None:
    """It planned its own limit, and the rows are those of another one."""
    archive = Archive(str(tmp_path / "out"))
    whole = source("s3://archive/a.tar", "tar")

    limited = partial(sampled_of, whole, archive)

    def commit(plan: Plan) -> None:
        for unit in plan.units:
            commit_made(unit, part_rows(unit, "at work"), archive.place)

    at_work = archive.plan(whole)
    assert archive.claim(at_work)
    assert archive.claim(archive.plan(limited(2)))  # which ends with status 4
    commit(at_work)
    assert limited(2).limit is None
    assert archive.plan(limited(2)).done
    assert archive.plan(whole).done
    changed = replace(whole, etag="2")
    assert as_many_as_before([replace(changed, limit=2)], archive.state(), archive.place)[0].limit is None
    assert archive.claim(archive.plan(replace(whole, limit=1), on_deleted="remove"))
    assert archive.claim(archive.plan(source("s3://archive/b.wav"), on_deleted="remove", max_removed_fraction=1.0))
    assert limited(2).limit is None  # its removal was planned, and it is there again


def test_a_run_of_all_that_was_killed_makes_no_sample_larger(tmp_path: Path) -> None:
    archive = Archive(str(tmp_path / "out"))
    whole = source("s3://archive/a.tar", "tar")
    archive.run(replace(whole, limit=1))
    assert archive.claim(archive.plan(whole))
    assert as_many_as_before([replace(whole, limit=1)], archive.state(), archive.place)[0].limit == 1
    (archive.place / part_name(*archive.state().parts)).write(b"damaged")
    assert as_many_as_before([replace(whole, limit=1)], archive.state(), archive.place)[0].limit is None  # as planned


def test_limit_and_sample_are_one_choice(job: Callable[..., Any], tmp_path: Path) -> None:
    where = ("input.limit=3", "input.sample=3", f"output.uri={tmp_path}/out")
    status, _, seen = job(*where, main=plan_job.main)
    assert status == 2
    assert "input.sample: not together with input.limit; give one of them, and null for the other" in seen
    assert job(where[0], where[1], "input.limit=null", where[2], main=plan_job.main)[0] == 0


def test_a_name_to_redo_beyond_the_sample_is_refused(job: Callable[..., Any], tmp_path: Path) -> None:
    where = (f"output.uri={tmp_path}/out", "input.sample=2")
    kept = job(*where, main=plan_job.main)[1]["files"]["read"]
    assert kept <= 3
    status, _, seen = job(*where, "input.redo=[loose/00.wav,loose/01.wav,loose/02.wav]", main=plan_job.main)
    assert (status, "is nothing that is listed" in seen) == (2, True)


def recordings_in(out: Path) -> Counter[tuple[str, str | None, float | None]]:
    """How often each recording has a first row."""
    found = Counter[tuple[str, str | None, float | None]]()
    for part in out.glob("part-*.parquet"):
        for row in pq.read_table(part).to_pylist():
            if row["segment_index"] == 0:
                found[row["uri"], row["member"], row["offset_s"]] += 1
    return found


@pytest.mark.usefixtures("ray_two_cpus")
def test_a_sample_grows_to_the_whole(job: Callable[..., Any], tmp_path: Path) -> None:
    out = tmp_path / "out"
    where = (f"output.uri={out}", "errors.max_fraction=1")
    before = set[tuple[str, str | None, float | None]]()
    for size in (10, 14, None):
        status, summary, _ = job(*where, f"input.sample={json.dumps(size)}")
        found = recordings_in(out)
        assert (status, len(found), set(found.values())) == (0, size or 77, {1})
        assert before <= found.keys()
        before = set(found)
        assert ("not in input.sample" in summary["entries"]["skipped"]) == (size == 10)  # of the tars and the Parquet
    status, summary, _ = job(*where, "input.sample=10")
    assert (status, summary["recordings"], summary["units"]["planned"]) == (0, 0, 0)
    assert recordings_in(out) == found
