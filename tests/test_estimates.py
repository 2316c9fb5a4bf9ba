"""Estimates of audio: what a sample of headers makes of sizes, which objects it opens, and what cannot be opened."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, encoded, tone
from hostile_storage import Answer, Asked, Serve
from test_reading import tar_of

from actors.formats import AUDIO_SUFFIXES, FORMATS, SECONDS_PER_BYTE
from actors.isolation import Isolated
from actors.storage.place import Place
from actors.units import Format, SourceObject, known_seconds, nominal_seconds
from jobs.cli.config import Input
from jobs.planning import sample
from jobs.planning.estimates import MAX_CONTAINERS, MAX_FACTOR, Estimates, calibrate
from jobs.planning.listing import list_input
from jobs.planning.sample import CANDIDATES, Sampled, candidates, measure, spread


def listed(folder: Path) -> list[SourceObject]:
    return list_input(Input(uri=str(folder)), "/nowhere/out").objects


def audio(uri: str, size: int = 160_000, kind: Format = "audio", lines: str | None = None) -> SourceObject:
    return SourceObject(uri, uri, uri, kind, "e", size, lines=lines)


def total(estimates: Estimates, objects: Iterable[SourceObject]) -> float:
    return sum(map(estimates.seconds, objects))


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of the files of which the headers are asked for, once for each time."""
    call, paths = Isolated.__call__, list[str]()

    def counted(child: Isolated, asked: list[Sampled]) -> object:
        paths.extend(each.uri.removeprefix("file://") for each in asked)
        return call(child, asked)

    monkeypatch.setattr(Isolated, "__call__", counted)
    return paths


def lethal(options: Mapping[str, object], patience_s: float) -> Callable[[Sequence[Sampled]], list[float | None]]:
    """A measurer that is killed by the number 30, as a codec might be, and caught in a loop by 60."""

    def measured(asked: Sequence[Sampled]) -> list[float | None]:
        numbers = [each.size for each in asked]
        if 30 in numbers:
            os.kill(os.getpid(), signal.SIGKILL)
        if 60 in numbers:
            time.sleep(600)
        return [1.0] * len(asked)

    return measured


def test_what_kills_the_process_costs_what_it_was_given_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "measurer", lethal)
    found = measure([audio(f"s3://b/{number}.wav", number) for number in range(100)], {}, patience_s=16)
    assert found == [1.0] * 25 + [None] * 50 + [1.0] * 25


def test_nothing_is_started_when_there_is_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", None)
    assert calibrate([], {}) == calibrate([audio("s3://b/a.wav", 0)], {}) == Estimates()


@pytest.mark.parametrize("subtype", ["ULAW", "ALAW", "PCM_U8"])
def test_telephone_recordings(tmp_path: Path, subtype: str) -> None:
    data = encoded(tone(200, 8_000), 8_000, subtype=subtype)
    for number in range(100):
        (tmp_path / f"{number:03d}.wav").write_bytes(data)
    objects = listed(tmp_path)
    assert sum(map(nominal_seconds, objects)) == pytest.approx(100 * 50, rel=0.01)
    assert total(calibrate(objects, {}), objects) == pytest.approx(100 * 200, rel=0.001)


def test_each_folder_has_its_own_factor_where_they_differ(tmp_path: Path, opened: list[str]) -> None:
    kinds = {
        "a": encoded(np.tile(tone(5, 48_000)[:, None], 2), 48_000, subtype="PCM_24"),
        "b": encoded(tone(20, 8_000), 8_000, subtype="ULAW"),
    }
    for name, data in kinds.items():
        for speaker in range(30):
            (tmp_path / name / f"{speaker}").mkdir(parents=True)
            for number in range(3):
                (tmp_path / name / f"{speaker}" / f"{number}.wav").write_bytes(data)
    objects = listed(tmp_path)
    estimates = calibrate(objects, {}, 40)
    assert len(set(opened)) == len(opened) == 40
    for each in objects:
        assert estimates.seconds(each) == pytest.approx(5 if "/a/" in each.uri else 20, rel=0.01), each.uri
    assert len(estimates.factors) <= 3  # of the speakers, none of their own
    assert estimates.seconds(audio(f"file://{tmp_path}/b/new/deep/x.WAV", 8_000)) == pytest.approx(1, rel=0.01)
    assert estimates.seconds(audio(f"file://{tmp_path}/b/x.mp3", 8_000)) == 1


def test_suffixes_do_not_mix(tmp_path: Path) -> None:
    members = [(f"{number}.flac", encoded(tone(9), kind="FLAC")) for number in range(40)]
    sounds = {
        "a.mp3": (20, encoded(tone(20), kind="MP3")),
        "b.flac": (20, encoded(tone(20), kind="FLAC")),
        "c.wav": (20, encoded(tone(20), subtype="FLOAT")),
        "d.tar": (360, tar_of(members)),
    }
    for name, (_, data) in sounds.items():
        (tmp_path / name).write_bytes(data)
    objects = listed(tmp_path)
    estimates = calibrate(objects, {})
    for each, (seconds, _) in zip(objects, sounds.values(), strict=True):
        assert estimates.seconds(each) == pytest.approx(seconds, rel=0.03)
        assert nominal_seconds(each) != pytest.approx(seconds, rel=0.3)


def test_no_more_than_the_sample_is_opened_and_always_the_same(tmp_path: Path, opened: list[str]) -> None:
    data = encoded(tone(0.2))
    for folder in range(30):
        (tmp_path / f"{folder:02d}").mkdir()
        for number in range(15):
            (tmp_path / f"{folder:02d}" / f"{number}.wav").write_bytes(data)
    objects = listed(tmp_path)
    first = calibrate(objects, {})
    paths = sorted(opened)
    assert len(set(paths)) == len(paths) == 200
    assert set(Counter(Path(path).parent for path in paths).values()) == {6, 7}
    opened.clear()
    assert calibrate(objects, {}) == first
    assert sorted(opened) == paths


def test_a_sample_is_spread_over_suffixes_and_folders() -> None:
    names = product(range(100), range(50), ("flac", "wav"))
    objects = [
        *(audio(f"s3://b/{folder:03d}/{number:05d}.{suffix}") for folder, number, suffix in names),
        *(audio(f"s3://b/other/{number}.mp3") for number in range(200)),
    ]
    found = candidates(objects)
    assert len({each.key for each in found}) == len(found) == CANDIDATES
    chosen = spread(found, 200)
    counts = Counter(each.uri.rpartition(".")[2] for each in chosen)
    assert counts["mp3"] == sum(each.uri.endswith("mp3") for each in found)  # all of the few
    assert counts["flac"] == pytest.approx(counts["wav"], abs=1)
    assert len({each.uri[:10] for each in chosen}) > 80
    assert chosen == spread(candidates(objects), 200)


def test_what_needs_no_header_is_not_opened(tmp_path: Path, opened: list[str]) -> None:
    (tmp_path / "a.wav").write_bytes(encoded(tone(1, 8_000), 8_000))
    uri = f"file://{tmp_path}/a.wav"
    plain = audio(uri, 16_044)
    stated = audio(uri, 16_044, "manifest", '{"audio_filepath": "a.wav", "duration": 0.5}')
    unstated = replace(stated, lines='{"audio_filepath": "a.wav", "duration": null}')
    refused = replace(plain, refusal=("outside_input", "elsewhere"))
    for each in (stated, refused, replace(plain, limit=3), replace(plain, size=0)):
        assert calibrate([each], {}) == Estimates()
    assert not opened
    for each in (plain, unstated):
        assert calibrate([each], {}).seconds(each) == pytest.approx(1, rel=0.01)
    estimates = calibrate([plain, stated, refused], {})
    assert estimates.seconds(stated) == 0.5
    assert estimates.seconds(refused) == 0


def test_a_manifest_duration_is_what_its_json_says() -> None:
    line = audio("s3://b/a.mp3", 8_000, "manifest")
    for text, seconds in {
        '{"duration": 2.5}': 2.5,
        '{"text": "\\"duration\\": 7", "duration" : 3}': 3,
        '{"text": "the \\"duration\\": 7"}': 1,
        '{"a \\"duration": 7}': 1,
        '{"a\\\\": 3, "duration": 7}': 7,
        '{"dur\\u0061tion": 4}': 4,
        '{"text": "duration", "a": 7}': 1,
        '{"duration": 3, "duration": 4}': 4,
        '{"x": {"duration": 5}}': 1,
        '{"x": {"duration": 5}, "duration": 6}': 6,
        '{"duration": 6, "x": [{"duration": 5}]}': 6,
        '{"duration": 6, "text": "{"}': 6,
        '{"duration": 1e-1, "offset": 3}': 0.1,
        '{"duration":1E+1}': 10,
        '{"duration": null}': 1,
        '{"durations": 5}': 1,
        '{"duration": 99999999}': 16,
        "{}": 1,
    }.items():
        assert nominal_seconds(replace(line, lines=text)) == pytest.approx(seconds), text
    for duration, seconds in ((9_000, 9_000), (80_000, 4 * 3_600), (100_000, 600), (99_999_999, 600)):
        assert nominal_seconds(replace(line, size=0, lines=f'{{"duration": {duration}}}')) == seconds


def test_a_duration_is_found_as_json_finds_it() -> None:
    keys = ["duration", "text", 'duration"', '"duration', "dur", "{", "\\", "é", "中", "a"]
    line = audio("s3://b/a.mp3", 1_000_000, "manifest")
    for seed in range(3_000):
        draw = random.Random(seed)
        values = [*keys, 1, 2.5, None, 1e-3, {draw.choice(keys): 3}, [{"duration": 4}], '"duration": 5', ": 6"]
        fields = {draw.choice(keys): draw.choice(values) for _ in range(draw.randrange(1, 5))}
        if type(fields.get("duration")) not in (int, float):
            fields.pop("duration", None)
        text = json.dumps(fields, ensure_ascii=draw.random() < 0.5, separators=(", ", draw.choice([":", ": ", " : "])))
        assert known_seconds(replace(line, lines=text)) == json.loads(text).get("duration"), text


def test_every_suffix_has_a_nominal_rate() -> None:
    assert {f".{suffix}" for suffix in SECONDS_PER_BYTE} == AUDIO_SUFFIXES
    assert len(SECONDS_PER_BYTE) == sum(len(each.suffixes) for each in FORMATS)  # none stands for two formats
    for suffix, seconds in {"wav": 1, "flac": 2, "mp3": 4, "opus": 32 / 3, "mp4": 0.64, "avi": 0.128}.items():
        assert nominal_seconds(audio(f"s3://b/a.{suffix}", 32_000)) == pytest.approx(seconds)
    assert 3_600 < nominal_seconds(audio("s3://b/film.mpg", 2_000_000_000)) < 4 * 3_600
    for uri in ("s3://b/a.OGA", "s3://b/v1.0/a.oga"):
        assert nominal_seconds(audio(uri, 8_000)) == 1
    for uri in ("s3://b/v1.0/a", "s3://b/a.tar.gz", "s3://b/wav/a.0001", "s3://b/a.parquet"):
        assert nominal_seconds(audio(uri, 16_000)) == 1


def test_a_liar_is_bounded(tmp_path: Path) -> None:
    flac = bytearray(encoded(tone(1), kind="FLAC"))
    flac[21:26] = b"\xff\xff\xff\xff\xff"
    (tmp_path / "a.flac").write_bytes(flac)
    (tmp_path / "b.wav").write_bytes(encoded(np.zeros((4_800, 60)), 192_000, subtype="DOUBLE"))
    flac_object, wav_object = objects = listed(tmp_path)
    estimates = calibrate(objects, {})
    assert estimates.seconds(flac_object) == pytest.approx(len(flac) / 500)
    assert estimates.seconds(wav_object) == pytest.approx(nominal_seconds(wav_object) / MAX_FACTOR)


def test_what_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "good.wav").write_bytes(encoded(tone(4, 8_000), 8_000))
    (tmp_path / "noise.wav").write_bytes(np.random.default_rng(1).bytes(100_000))
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "folder.wav").mkdir()
    os.mkfifo(tmp_path / "pipe.wav")
    names = ("good", "noise", "empty", "folder", "pipe", "missing")
    objects = [audio(f"file://{tmp_path}/{name}.wav", 64_044) for name in names]
    objects += [audio("nothing://b/a.wav"), audio("zip::s3://b/a.wav"), audio("http://127.0.0.1:1/a.wav")]
    assert measure(objects, {}, patience_s=16) == [pytest.approx(4), *[None] * 8]
    assert calibrate(objects[1:-1], {}) == Estimates()


@pytest.mark.timeout(60)
def test_storage_that_hangs_is_not_waited_for(tmp_path: Path, serve: Serve) -> None:
    released, begin = threading.Event(), time.monotonic()
    (tmp_path / "a.wav").write_bytes(encoded(tone(1, 8_000), 8_000))

    def answer(asked: Asked) -> Answer:
        released.wait(600)
        return Answer(status=404)

    server = serve(answer)
    objects = [audio(f"file://{tmp_path}/a.wav", 16_044), audio("s3://bucket/a.wav")] * 30
    try:
        found = measure(objects, server.options, patience_s=16)
    finally:
        released.set()
    assert found[:50] == [pytest.approx(1), None] * 25
    assert time.monotonic() - begin < 24


def test_ffmpeg_is_not_loaded_to_plan() -> None:
    program = "import sys, jobs.planning.prepare; print([m for m in ('av', 'ray') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_few_containers_are_opened(tmp_path: Path, opened: list[str]) -> None:
    data = tar_of([("a.wav", encoded(tone(1, 8_000), 8_000))])
    for number in range(30):
        (tmp_path / f"{number}.tar").write_bytes(data)
        (tmp_path / f"{number}.wav").write_bytes(encoded(tone(1, 8_000), 8_000))
    calibrate(listed(tmp_path), {})
    assert Counter(Path(path).suffix for path in opened) == {".tar": MAX_CONTAINERS, ".wav": 30}


def test_s3(s3_options: dict[str, Any]) -> None:
    folder = Place.at("s3://bucket/estimates", s3_options)
    objects = list[SourceObject]()
    for kind in ("wav", "flac", "mp3"):
        data = encoded(tone(9), kind=kind.upper())
        (folder / f"a.{kind}").write(data)
        objects.append(audio(f"s3://bucket/estimates/a.{kind}", len(data)))
    assert measure(objects, s3_options) == [pytest.approx(9, rel=0.01)] * 3
    assert measure(objects, s3_options | {"secret": "wrong"}) == [None] * 3
