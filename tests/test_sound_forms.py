"""Sound reaches the model as it is stored: in int16 where that is exact, in float32 where it is not."""

import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
from conftest import DEMO_MODEL, encoded, piece_of, sound_of, tone
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_pieces import cut, unit_of, worked
from test_transcriber import settings as engine_settings
from test_transcriber import speech_table
from transcribing import Transcribing

from actors.audio.decode import decode
from actors.audio.pcm import JOINED_AT_ONCE, Joined, as_float, narrowed
from actors.audio.segments import SegmentationSettings, segments_of
from actors.audio.voice import has_speech
from actors.engine.models import resolve
from actors.pieces import NeedsRecut
from actors.reader import read_piece
from actors.reading import measure
from actors.schema import SAMPLE_RATE
from actors.sources.objects import ReadSettings
from jobs.cli.config import Input
from jobs.planning.listing import list_input

#: How speech is stored: rate, subtype of WAV, and peak in dB of full scale, if not its own.
FORMS: dict[str, tuple[int, str, float | None]] = {
    "8 kHz": (8_000, "PCM_16", None),
    "mu-law": (8_000, "ULAW", None),
    "48 kHz": (48_000, "PCM_24", None),
    "-40 dB": (16_000, "PCM_24", -40),
    "-60 dB": (16_000, "PCM_24", -60),
    "-75 dB": (16_000, "PCM_24", -75),
    "8 kHz, -60 dB": (8_000, "PCM_24", -60),
    "+12 dB": (16_000, "FLOAT", 12),
    "16 bit": (16_000, "PCM_16", None),
}
EXACT = {"16 bit"}
SETTINGS = ReadSettings()


def store(folder: Path, form: str, sounds: list[np.ndarray]) -> None:
    """Writes recordings as WAV files, in the order of their names."""
    rate, subtype, peak = FORMS[form]
    (folder / form).mkdir(parents=True)
    for number, sound in enumerate(sounds):
        sound = sound if peak is None else sound * (10 ** (peak / 20) / np.abs(sound).max())
        path = folder / form / f"{number:02d}.wav"
        soundfile.write(path, soxr.resample(sound, SAMPLE_RATE, rate, "HQ"), rate, subtype=subtype)


def read(folder: Path, settings: ReadSettings = SETTINGS) -> Any:
    return read_piece(piece_of(list_input(Input(uri=str(folder)), "/nowhere").objects, 3_600), settings)


@pytest.mark.parametrize("model", ["demo", "lively"])
def test_texts_are_those_of_nemo_on_the_file(
    model: str, speech: Any, lively_model: Callable[..., Path], tmp_path: Path
) -> None:
    from nemo.collections.asr.models import ASRModel

    path = DEMO_MODEL if model == "demo" else lively_model("forms", filters=256)
    for form in FORMS:
        store(tmp_path, form, [samples for samples, _ in speech[:4]])
    table = read(tmp_path)
    rows = table.to_pylist()
    assert {Path(row["recording_id"]).parent.name for row in rows if not row["is_float"]} == EXACT
    nemo = ASRModel.restore_from(str(path), map_location="cpu")
    paths = [str(tmp_path / row["recording_id"]) for row in rows]
    wanted = [said.text for said in nemo.transcribe(paths, batch_size=1, verbose=False)]
    assert len(set(wanted)) >= 4
    for engine in ("fused", "nemo"):
        transcriber = Transcribing(resolve(str(path), None, {}), engine_settings(engine))
        texts = transcriber(table).column("text").to_pylist()
        assert dict(zip(paths, texts, strict=True)) == dict(zip(paths, wanted, strict=True))


@pytest.mark.parametrize(
    "layout", [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "FLOAT"), ("AIFF", "PCM_16")]
)
def test_what_16_bit_holds_is_unchanged_to_the_bit(layout: tuple[str, str], tmp_path: Path) -> None:
    samples = np.random.default_rng(1).integers(-32_768, 32_768, 70 * SAMPLE_RATE).astype(np.int16)
    (tmp_path / "a.wav").write_bytes(encoded(as_float(samples), 16_000, *layout))
    rows = read(tmp_path, ReadSettings(segmentation=SegmentationSettings(max_s=100))).to_pylist()
    assert [(row["is_float"], row["pcm"]) for row in rows] == [(False, samples.tobytes())]


def test_a_segment_has_the_form_of_its_own_samples(speech: Any, tmp_path: Path) -> None:
    """Whole or in stretches: minutes of 16 bit, of 24 bit, and of silence, at a rate that is kept or not."""
    talk = np.concatenate([samples for samples, _ in speech] * 9)[: 60 * SAMPLE_RATE]
    exact, fine = np.rint(talk * 20_000) / 32_768, talk * 0.3
    sound = np.concatenate([exact, fine, exact, exact, 0 * exact, fine, fine, exact, exact, 0 * fine])
    for rate in (16_000, 8_000):
        (tmp_path / f"{rate}").mkdir()
        (tmp_path / f"{rate}" / "a.wav").write_bytes(
            encoded(soxr.resample(sound, SAMPLE_RATE, rate, "HQ"), rate, "WAV", "PCM_24")
        )
        whole = read(tmp_path / f"{rate}").to_pylist()
        assert {row["is_float"] for row in whole} == {True, False}
        for row in whole:
            found = sound_of(row)
            assert row["is_float"] == bool((np.rint(found * 32_768) != found * 32_768).any())
            if rate == SAMPLE_RATE:
                first = round(row["start_s"] * SAMPLE_RATE) - row["before"]
                assert np.abs(found - sound[first : first + len(found)]).max() <= 2**-23
        unit = unit_of(tmp_path / f"{rate}")
        at_once = worked(cut(unit), tmp_path / f"{rate} at once")  # the text is a digest of the bytes
        assert len(at_once) == len(whole)
        for stretches in (3, 5):
            assert worked(cut(unit, stretches=stretches), tmp_path / f"{rate} {stretches}") == at_once


def test_minutes_of_both_forms_are_joined() -> None:
    draw = np.random.default_rng(2)
    exact = as_float(draw.integers(-3_000, 3_000, 60 * SAMPLE_RATE).astype(np.int16))
    fine = draw.normal(0, 0.1, 60 * SAMPLE_RATE).astype(np.float32)
    for parts in ([exact, fine, exact], [fine, exact], [exact, exact], [fine] * 10 + [exact] * 10):
        sound = np.concatenate(parts)
        pcm = decode(encoded(sound, subtype="FLOAT")).pcm
        assert pcm.dtype == (np.float32 if any(part is fine for part in parts) else np.int16)
        assert np.array_equal(as_float(pcm), sound)


@given(st.lists(st.floats(-1e6, 1e6, width=32) | st.integers(-32_769, 32_768).map(lambda each: each / 32_768)))
@example([1.0])
@example([-1.0])
@example([2.0**-150 + 2.0**-140])
@example([65_536.0, 131_072.0])
@settings(max_examples=300)
def test_int16_is_for_what_it_holds_exactly(values: list[float]) -> None:
    sound = np.array(values, np.float32)
    found = narrowed(sound)
    scaled = sound.astype(np.float64) * 32_768
    fits = bool((np.rint(scaled) == scaled).all() and (scaled >= -32_768).all() and (scaled < 32_768).all())
    assert found.dtype == (np.int16 if fits else np.float32)
    assert np.array_equal(as_float(found), sound)
    assert narrowed(found) is found or not fits


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5))))
def test_joined_is_what_was_appended(parts: list[tuple[bool, int]]) -> None:
    joined = Joined()
    for is_float, count in parts:
        joined.append(np.full(count, 0.3, np.float32) if is_float else np.full(count, 7, np.int16))
    values = [0.3 if is_float else 7 / 32_768 for is_float, count in parts for _ in range(count)]
    assert as_float(joined.sound).tolist() == np.array(values, np.float32).tolist()
    assert joined.sound.dtype == (np.float32 if any(is_float for is_float, _ in parts) else np.int16)


def test_forms_that_alternate_fill_the_same_chunk() -> None:
    joined = Joined()
    tracemalloc.start()
    try:
        for number in range(40):
            joined.append(np.zeros(100, np.float32 if number % 2 else np.int16))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 2 * 4 * JOINED_AT_ONCE  # bytes, of which one chunk of float32 has half


def test_cuts_and_speech_are_the_same_in_either_form(speech: Any) -> None:
    pcm = np.rint(np.concatenate([samples for samples, _ in speech] * 4) * 20_000).astype(np.int16)
    assert segments_of(as_float(pcm), SegmentationSettings()) == segments_of(pcm, SegmentationSettings())
    for each in (pcm[:80_000], np.zeros(80_000, np.int16)):
        assert has_speech(as_float(each)) == has_speech(each) == bool(each.any())


@pytest.mark.parametrize("engine", ["fused", "nemo"])
def test_segments_of_both_forms_share_a_table_and_a_batch(
    engine: str, speech: Any, lively_model: Callable[..., Path]
) -> None:
    path = lively_model("forms", filters=256)
    whole = Transcribing(resolve(str(path), None, {}), engine_settings(engine, 600))
    alone = Transcribing(resolve(str(path), None, {}), engine_settings(engine, 0.1))
    sounds = [samples[: len(samples) // 2 * 2 + 1 - number % 2] * 1.7 for number, (samples, _) in enumerate(speech)]
    table = speech_table(sounds[:4])
    floats = [sound.astype(np.float32).tobytes() for sound in sounds[4:8]]
    mixed = table.slice(0, 0)
    for row, content in zip(table.to_pylist(), floats, strict=True):  # float32 that is not aligned, too
        both = [row, row | {"recording_id": f"{row['recording_id']} float", "pcm": content, "is_float": True}]
        mixed = mixed.from_batches([*mixed.to_batches(), *mixed.from_pylist(both, mixed.schema).to_batches()])
    mixed = mixed.combine_chunks()
    texts = whole(mixed).column("text").to_pylist()
    assert texts == alone(mixed).column("text").to_pylist()
    assert len(set(texts)) == len(texts)


def test_a_limit_counts_samples_and_not_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "MIN_SOUND_LIMIT_S", 10.0)
    monkeypatch.setattr(measure, "MAX_CHANNELS", 0)
    work = partial(piece_of, seconds=6.0)
    (tmp_path / "a.wav").write_bytes(encoded(tone(11.0), subtype="FLOAT"))
    objects = list_input(Input(uri=str(tmp_path)), "/nowhere").objects
    (row,) = read_piece(work(objects), ReadSettings()).to_pylist()
    assert (row["is_float"], len(row["pcm"])) == (True, 4 * 11 * SAMPLE_RATE)
    (tmp_path / "b.wav").write_bytes(encoded(tone(2.0)))
    with pytest.raises(NeedsRecut):
        read_piece(work(list_input(Input(uri=str(tmp_path)), "/nowhere").objects), ReadSettings())
