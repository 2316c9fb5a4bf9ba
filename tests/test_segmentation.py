"""Long recordings: segments tile them, and what is said in them is what is said in their sentences alone."""

import subprocess
import sys
from dataclasses import replace
from difflib import SequenceMatcher
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from conftest import DEMO_MODEL, piece_of, sound_of
from hypothesis import given, settings
from hypothesis import strategies as st
from transcribing import Transcribing

from actors.audio.decode import decode
from actors.audio.segments import GRID, Segment, SegmentationSettings, segments_of
from actors.engine.batching import padded_batches
from actors.engine.interface import EngineSettings
from actors.engine.models import resolve
from actors.reader import read_piece
from actors.schema import SAMPLE_RATE, SPEECH_SCHEMA
from actors.sources.objects import ReadSettings
from actors.text.cer import character_errors
from jobs.cli.config import Input
from jobs.planning.listing import list_input


@settings(max_examples=50, deadline=None)
@given(
    seconds=st.floats(0.1, 600),
    kind=st.sampled_from(["noise", "silence", "bursts"]),
    target=st.floats(8, 16),
    most=st.floats(17, 30),
)
def test_segments_tile_any_recording(seconds: float, kind: str, target: float, most: float) -> None:
    draw = np.random.default_rng(3)
    samples = round(seconds * SAMPLE_RATE)
    pcm = np.zeros(samples) if kind == "silence" else draw.normal(0, 2_000, samples)
    if kind == "bursts":
        pcm *= np.arange(samples) // 9_000 % 2
    found = segments_of(pcm.astype(np.int16), SegmentationSettings(target, most))
    assert (found[0].start, found[-1].end) == (0, samples)
    assert [each.end for each in found[:-1]] == [each.start for each in found[1:]]
    assert all(each.end > each.start for each in found)
    assert all(each.input_end - each.input_start <= most * SAMPLE_RATE for each in found)
    assert all(0 <= each.input_start <= each.start < each.end <= each.input_end <= samples for each in found)
    assert all(each.start % GRID == 0 and each.input_start % GRID == 0 for each in found)
    for left, right in pairwise(found):
        assert left.input_end - left.end == right.start - right.input_start  # what both hear lies around the cut
    if kind == "bursts":  # every cut is in a pause, so nothing is heard twice
        assert all((each.input_start, each.input_end) == (each.start, each.end) for each in found)


@settings(max_examples=30, deadline=None)
@given(
    seconds=st.one_of(st.floats(1, 900), st.integers(1, 7).map(lambda anchors: 120 * anchors + 20)),
    kind=st.sampled_from(["noise", "silence", "bursts", "swelling"]),
    wanted=st.sampled_from([SegmentationSettings(), SegmentationSettings(8, 16), SegmentationSettings(15, 30)]),
    stretch_s=st.sampled_from([1, 120, 310]),
    count=st.integers(1, 9),
)
def test_stretches_have_the_segments_of_the_whole(
    seconds: float, kind: str, wanted: SegmentationSettings, stretch_s: float, count: int
) -> None:
    samples = round(seconds * SAMPLE_RATE)
    at = np.arange(samples)
    envelope = {"noise": 1.0, "silence": 0.0, "bursts": at // 9_000 % 2, "swelling": np.abs(np.sin(at / 7_001.3))}
    pcm = (np.random.default_rng(5).normal(0, 2_000, samples) * envelope[kind]).astype(np.int16)
    found, used = list[Segment](), 0
    for number in range(count):
        stretch = wanted.stretch(stretch_s, number, count)
        first, last = wanted.needed(stretch)
        segments = segments_of(pcm[first:last], wanted, stretch)
        if found and segments and segments[0].input_start < found[-1].input_end:
            assert replace(segments[0], own=True) == found[-1]  # what the join with it needs
        found += [each for each in segments if each.own]
        used += bool(segments)
    assert found == segments_of(pcm, wanted)
    assert used == min(count, 1 + max(samples - wanted.max_samples - 1, 0) // wanted.stretch(stretch_s, 1, 2).start)


@pytest.fixture(scope="module")
def transcribe() -> Transcribing:
    model = resolve(str(DEMO_MODEL), None, {})
    return Transcribing(model, EngineSettings("fused", "cpu", "float32", 2, 30), tokens=True)


def said_of(transcribe: Transcribing, pcm: np.ndarray, wanted: SegmentationSettings) -> list[dict[str, Any]]:
    rows = [
        {
            "recording_id": "a",
            "uri": "s3://b/a",
            "etag": "e",
            "segment_index": index,
            "start_s": each.start / SAMPLE_RATE,
            "before": each.start - each.input_start,
            "after": each.input_end - each.end,
            "own": True,
            "pcm": pcm[each.input_start : each.input_end].tobytes(),
            "is_float": pcm.dtype == np.float32,
        }
        for index, each in enumerate(segments_of(pcm, wanted))
    ]
    said: list[dict[str, Any]] = transcribe(pa.Table.from_pylist(rows, schema=SPEECH_SCHEMA)).to_pylist()
    return said


def concatenated(speech: Any, pauses: tuple[float, float] | None, noise_db: float, seed: int) -> tuple[np.ndarray, str]:
    """Sentences in some order from anywhere on, with pauses between and noise over all, as int16, and their words."""
    draw = np.random.default_rng(seed)
    parts, words = [np.zeros(round(draw.uniform(0, 3) * SAMPLE_RATE))], []
    for index in draw.permutation(len(speech)):
        samples, text = speech[index]
        sounding = np.flatnonzero(np.abs(samples) > 0.02)
        parts.append(samples[sounding[0] : sounding[-1] + 1])
        words.append(text)
        if pauses:
            parts.append(np.zeros(round(draw.uniform(*pauses) * SAMPLE_RATE)))
    sound = np.concatenate(parts)
    sound = sound + draw.normal(0, 10 ** (noise_db / 20) * np.sqrt(np.mean(sound**2)), len(sound))
    return (np.clip(sound, -1, 1) * 32_767).astype(np.int16), "".join(words)


def error_rate(
    transcribe: Transcribing,
    speech: Any,
    pauses: tuple[float, float] | None,
    noise_db: float,
    seed: int,
    wanted: SegmentationSettings,
) -> float:
    """The error rate of a concatenation, less that of its sentences alone."""
    pcm, words = concatenated(speech, pauses, noise_db, seed)
    said = said_of(transcribe, pcm, wanted)
    edits, characters = character_errors([(words, "".join(each["text"] for each in said))])
    return edits / characters


@pytest.mark.parametrize(("pauses", "within"), [((0.3, 2.0), 0.01), (None, 0.02)])
def test_a_long_recording_says_what_its_sentences_say(
    transcribe: Transcribing, speech: Any, pauses: tuple[float, float] | None, within: float
) -> None:
    alone = [
        said_of(transcribe, (samples * 32_767).astype(np.int16), SegmentationSettings())[0]["text"]
        for samples, _ in speech
    ]
    edits, characters = character_errors(list(zip((text for _, text in speech), alone, strict=True)))
    conditions = [(-40, 12), (-40, 9), (-25, 12), (-25, 15), (-30, 10), (-35, 13)]
    rates = [
        error_rate(transcribe, speech, pauses, noise_db, seed, SegmentationSettings(target))
        for seed, (noise_db, target) in enumerate(conditions)
    ]
    assert np.mean(rates) <= edits / characters + within
    assert max(rates) <= edits / characters + 1.5 * within  # of 224 characters each


@pytest.fixture(scope="module")
def all_speech() -> list[tuple[np.ndarray, str]]:
    """All short recordings of the demo, as float32, with their words."""
    objects = list_input(Input(uri="demo/audio", exclude=["long/*"]), "/nowhere").objects
    rows = read_piece(piece_of(objects, 600), ReadSettings()).to_pylist()
    return [(sound_of(row), row["reference"]) for row in rows if row["pcm"]]


def test_times_are_where_it_was_said(transcribe: Transcribing, all_speech: Any) -> None:
    late = []
    for seed in range(3):
        draw, parts, begins, at = np.random.default_rng(seed), [], [], 0
        for index in draw.permutation(len(all_speech)):
            samples, words = all_speech[index]
            sounding = np.flatnonzero(np.abs(samples) > 0.1 * np.abs(samples).max())
            parts += [samples[sounding[0] : sounding[-1] + 1], np.zeros(round(draw.uniform(0.3, 2) * SAMPLE_RATE))]
            begins.append((at / SAMPLE_RATE, words[0]))
            at += len(parts[-1]) + len(parts[-2])
        said = said_of(transcribe, np.concatenate(parts).astype(np.float32), SegmentationSettings())
        tokens = [token for each in said for token in each["tokens"] or []]
        starts = np.array([token["start_s"] for token in tokens])
        assert (np.diff(starts) > 0).all()
        assert all(token["start_s"] < token["end_s"] <= at / SAMPLE_RATE for token in tokens)
        for begin, first in begins:
            place = int(np.flatnonzero(starts >= begin - 0.2)[0])
            if tokens[place]["token"] == first:  # else the model did not hear it
                late.append(starts[place] - begin)
    assert len(late) >= 0.97 * 3 * len(all_speech)
    assert np.median(np.abs(late)) <= 0.1
    assert np.percentile(np.abs(late), 95) <= 0.25


def test_times_are_those_that_nemo_gives(transcribe: Transcribing, speech: Any, tmp_path: Path) -> None:
    """NeMo gives a token the blanks before it, so that its interval ends at the frame where the token is first best."""
    from nemo.collections.asr.models import ASRModel

    paths = [tmp_path / f"{number}.wav" for number in range(len(speech))]
    for path, (samples, _) in zip(paths, speech, strict=True):
        soundfile.write(path, samples, SAMPLE_RATE, subtype="PCM_16")
    model = ASRModel.restore_from(str(DEMO_MODEL), map_location="cpu")
    told = model.transcribe([str(path) for path in paths], batch_size=1, timestamps=True, verbose=False)
    late = list[float]()
    for path, theirs in zip(paths, told, strict=True):
        (ours,) = said_of(transcribe, decode(path.read_bytes()).pcm, SegmentationSettings())
        assert ours["text"] == theirs.text
        tokens, characters = ours["tokens"] or [], theirs.timestamp["char"]
        assert "".join(token["token"] for token in tokens) == "".join(each["char"][0] for each in characters)
        late += [abs(token["start_s"] - each["end"]) for token, each in zip(tokens, characters, strict=True)]
    assert np.median(late) <= 0.1
    assert np.percentile(late, 95) <= 0.25


def test_segments_of_many_recordings_fill_their_batches() -> None:
    draw = np.random.default_rng(0)
    lengths = list[int]()
    for seconds in draw.uniform(30, 90, 200):
        samples = round(seconds * SAMPLE_RATE)
        swell = np.abs(np.sin(np.arange(samples) / draw.uniform(5_000, 9_000)))
        pcm = (draw.normal(0, 2_000, samples) * swell).astype(np.int16)
        lengths += [each.input_end - each.input_start for each in segments_of(pcm, SegmentationSettings())]
    padded = sum(
        len(batch) * max(lengths[index] for index in batch) for batch in padded_batches(lengths, 30 * SAMPLE_RATE)
    )
    assert 1 - sum(lengths) / padded < 0.05


def test_confidence_is_higher_where_it_is_right(transcribe: Transcribing, speech: Any) -> None:
    draw, sure, right = np.random.default_rng(1), [], []
    for samples, text in speech:
        for noise in (0.01, 0.02, 0.04, 0.06):
            sound = samples + draw.normal(0, noise, len(samples))
            (said,) = said_of(transcribe, (np.clip(sound, -1, 1) * 32_767).astype(np.int16), SegmentationSettings())
            found = "".join(token["token"] for token in said["tokens"] or [])
            kept = {
                block.b + offset
                for block in SequenceMatcher(None, text, found, autojunk=False).get_matching_blocks()
                for offset in range(block.size)
            }
            sure += [token["confidence"] for token in said["tokens"] or []]
            right += [index in kept for index in range(len(found))]
    ranks, correct = np.argsort(np.argsort(sure)) + 1, np.array(right)
    assert 20 < (~correct).sum() < correct.sum()
    area = (ranks[correct].sum() - correct.sum() * (correct.sum() + 1) / 2) / (correct.sum() * (~correct).sum())
    assert area >= 0.8


LONG = """
import sys
from pathlib import Path
from actors.sources.objects import ReadSettings
from actors.reader import read_piece
from actors.pieces import Cut, cut_unit
from actors.units import SourceObject, Unit
uri = "file://" + sys.argv[1]
unit = Unit("u", "f", (SourceObject(uri, uri, "long.flac", "audio", None, 1),))
table = read_piece(cut_unit(unit, Cut(6_000))[0], ReadSettings())
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(table.num_rows, table.column("end_s")[-1], int(peak.split()[1]) / 1e6)
"""


def test_three_hours_are_read_in_bounded_memory(speech: Any, tmp_path: Path) -> None:
    sound = np.concatenate([samples for samples, _ in speech])
    with soundfile.SoundFile(tmp_path / "long.flac", "w", SAMPLE_RATE, 1) as file:
        while file.frames < 3 * 3_600 * SAMPLE_RATE:
            file.write(sound)
    command = [sys.executable, "-c", LONG, str(tmp_path / "long.flac")]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    rows, end_s, gigabytes = map(float, said.split())
    assert rows > 500
    assert end_s == pytest.approx(3 * 3_600, abs=120)
    assert gigabytes < 2


def test_nemo_hears_the_same_at_the_same_times(transcribe: Transcribing, speech: Any) -> None:
    nemo = Transcribing(
        resolve(str(DEMO_MODEL), None, {}), EngineSettings("nemo", "cpu", "float32", 2, 30), tokens=True
    )
    for pauses in ((0.3, 2.0), None):
        pcm, _ = concatenated(speech, pauses, -30, seed=4)
        for ours, theirs in zip(
            *(said_of(each, pcm, SegmentationSettings()) for each in (transcribe, nemo)), strict=True
        ):
            assert ours["text"] == theirs["text"]
            assert ours["confidence"] == pytest.approx(theirs["confidence"], abs=1e-3)
            times = [[token["start_s"] for token in each["tokens"] or []] for each in (ours, theirs)]
            assert times[0] == times[1]
