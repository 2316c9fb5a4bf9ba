"""The actor's text is NeMo's own, for every model, and memory that runs out costs time and not recordings."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from conftest import DEMO_MODEL, tone
from transcribing import Transcribing

from actors.benchmark.citrinets import build, citrinet_config
from actors.engine.interface import Emission, EngineSettings
from actors.engine.models import resolve
from actors.engine.nemo import NemoEngine
from actors.schema import PART_SCHEMA, SPEECH_SCHEMA, RecordingError
from actors.transcriber import EngineRunner, IsolatedRunner, Sound, Transcriber


def settings(engine: str = "fused", max_padded_seconds: float = 30) -> EngineSettings:
    return EngineSettings(engine, "cpu", "float32", 2, max_padded_seconds)


def speech_table(sounds: Sequence[np.ndarray | None]) -> pa.Table:
    """Rows as reading would make them; None is a recording that could not be read."""
    rows = [
        {
            "recording_id": str(index),
            "uri": f"s3://b/{index}",
            "etag": "e",
            "segment_index": 0,
            **({} if sound is None else {"start_s": 0.0, "before": 0, "after": 0}),
            "own": True,
            "pcm": None if sound is None else (sound * 32_767).astype(np.int16).tobytes(),
            "error_kind": "missing" if sound is None else None,
            "error_detail": "gone" if sound is None else None,
        }
        for index, sound in enumerate(sounds)
    ]
    return pa.Table.from_pylist(rows, schema=SPEECH_SCHEMA)


def nemo_alone(path: Path, sounds: Sequence[np.ndarray]) -> list[str]:
    """What NeMo says of each recording by itself: transcribe(), or where that would pad to a second, forward()."""
    from nemo.collections.asr.models import ASRModel

    model = ASRModel.restore_from(str(path), map_location="cpu")
    texts = []
    for sound in sounds:
        model.eval()  # transcribe() may leave parts of the model in training mode
        model.preprocessor.featurizer.dither = 0.0
        exact = (sound * 32_767).astype(np.int16).astype(np.float32) / 32_768
        if len(exact) >= 16_000:
            (said,) = model.transcribe([exact], batch_size=1, verbose=False)
        else:
            with torch.inference_mode():
                lengths = torch.tensor([len(exact)])
                log_probs, frames, _ = model.forward(
                    input_signal=torch.from_numpy(exact)[None], input_signal_length=lengths
                )
                (said,) = model.decoding.ctc_decoder_predictions_tensor(log_probs, decoder_lengths=frames)
        texts.append(said.text)
    return texts


@pytest.fixture
def varied_sounds(speech: list[tuple[np.ndarray, str]]) -> list[np.ndarray]:
    draw = np.random.default_rng(5)
    sounds = [samples for samples, _ in speech]
    sounds += [tone(seconds, hertz=hertz) for seconds, hertz in ((0.1, 300), (0.7, 900), (3.3, 1_500))]
    sounds += [draw.normal(0, 0.1, round(seconds * 16_000)) for seconds in (0.13, 1.0, 7.0)]
    return [*sounds, np.zeros(16_000)]


@pytest.mark.parametrize("engine", ["fused", "nemo"])
def test_demo_speech_is_understood_and_as_nemo_alone_would(
    engine: str, speech: list[tuple[np.ndarray, str]], varied_sounds: Any
) -> None:
    transcriber = Transcribing(resolve(str(DEMO_MODEL), None, {}), settings(engine), "run-1")
    table = transcriber(speech_table([None, *varied_sounds]))
    assert table.schema == PART_SCHEMA
    texts = table.column("text").to_pylist()
    assert texts[1 : len(speech) + 1] == [words for _, words in speech]
    assert texts[1:] == nemo_alone(DEMO_MODEL, varied_sounds)
    first = table.to_pylist()[0]
    assert (first["text"], first["error_kind"], first["error_detail"]) == (None, "missing", "gone")
    assert (first["model"], first["decoding"], first["run_id"]) == (str(DEMO_MODEL), "greedy", "run-1")
    alone = Transcribing(resolve(str(DEMO_MODEL), None, {}), settings(engine, max_padded_seconds=0.1), "run-1")
    assert alone(speech_table(varied_sounds)).column("text").to_pylist() == texts[1:]


@pytest.mark.parametrize(("name", "filters", "sentencepiece"), [("characters", 256, False), ("pieces", 64, True)])
def test_other_citrinets(
    name: str, filters: int, sentencepiece: bool, lively_model: Callable[..., Path], varied_sounds: list[np.ndarray]
) -> None:
    path = lively_model(name, sentencepiece, filters=filters)
    table = Transcribing(resolve(str(path), None, {}), settings("nemo"))(speech_table(varied_sounds))
    texts = table.column("text").to_pylist()
    assert len(set(texts)) > len(texts) // 2  # the model tells sounds apart, or the comparison proves nothing
    assert texts == nemo_alone(path, varied_sounds)


class SmallDevice:
    """An engine whose device holds so many samples; its only frame has the length of the recording as its class."""

    blank, frame_samples, busy_seconds, capacity = -1, 1_280, None, None

    def __init__(self, holds: int) -> None:
        self.holds = holds
        self.calls = 0

    def transcribe(self, batch: Sequence[np.ndarray]) -> list[Emission]:
        self.calls += 1
        if max(map(len, batch)) * len(batch) > self.holds:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [Emission(np.array([len(pcm)]), np.ones(1, np.float32)) for pcm in batch]


def test_out_of_memory_splits_down_to_one_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.transcriber.load_engine", lambda *_: SmallDevice(100))
    workers = EngineRunner(resolve(str(DEMO_MODEL), None, {}), settings(max_padded_seconds=1_000 / 16_000))
    heard = workers.hear([Sound(np.zeros(samples, np.int16), True) for samples in (10, 50, 3, 120, 7, 49, 50)])
    lengths = [each.best.tolist() for each in heard if isinstance(each, Emission)]
    assert lengths == [[10], [50], [3], [7], [49], [50]]
    assert isinstance(heard[3], RecordingError)
    assert heard[3].kind == "out_of_memory"


def test_words_begin_with_a_space(lively_model: Any) -> None:
    model = resolve(str(lively_model("pieces", sentencepiece=True)), None, {})
    sounds = [tone(2, hertz=hertz) + tone(2, hertz=2 * hertz, level=0.2) for hertz in (300, 700, 1_500)]
    for engine in ("fused", "nemo"):
        transcribe = Transcribing(model, EngineSettings(engine, "cpu", "float32", 2, 30), tokens=True)
        rows = transcribe(speech_table([np.concatenate(sounds), *sounds])).to_pylist()
        assert any(" " in row["text"] for row in rows)
        for row in rows:
            assert "".join(token["token"] for token in row["tokens"]) == row["text"]


def test_a_recording_too_large_for_the_device_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.transcriber.load_engine", lambda *_: SmallDevice(20_000))
    hear = Transcriber(resolve(str(DEMO_MODEL), None, {}), settings())
    table = hear(speech_table([tone(1), tone(2), None]))
    assert [each and list(np.frombuffer(each, "<u2")) for each in table.column("best").to_pylist()] == [
        [16_000],
        None,
        None,
    ]
    assert table.column("error_kind").to_pylist() == [None, "out_of_memory", "missing"]


@pytest.mark.parametrize("isolated", [False, True])
def test_a_piece_without_sound_has_its_rows(isolated: bool) -> None:
    """Not one recording could be read, or all are empty: the model has nothing to hear, in its own process neither."""
    alone = EngineSettings("fused", "cpu", "float32", 2, 30, isolated=isolated)
    transcriber = Transcribing(resolve(str(DEMO_MODEL), None, {}), alone)
    empty = np.zeros(0)
    for sounds in ([None], [None, None], [empty], [None, empty, None], []):
        table = transcriber(speech_table(sounds))
        assert table.column("text").to_pylist() == [None if sound is None else "" for sound in sounds]
        assert table.column("error_kind").to_pylist() == ["missing" if sound is None else None for sound in sounds]


def test_alone_each_recording_is_as_together(speech: list[tuple[np.ndarray, str]]) -> None:
    model, texts = resolve(str(DEMO_MODEL), None, {}), [words for _, words in speech[:3]]
    alone = Transcribing(model, EngineSettings("fused", "cpu", "float32", 2, 30, isolated=True))
    sounds = [None, speech[0][0], np.zeros(0), *(sound for sound, _ in speech[1:3]), None]
    said = alone(speech_table(sounds)).column("text").to_pylist()
    assert said == [None, texts[0], "", *texts[1:], None]


def test_recordings_that_all_end_the_process_are_rows(speech: list[tuple[np.ndarray, str]]) -> None:
    """Then no engine has said how long its frames are."""
    hasty = EngineSettings("fused", "cpu", "float32", 2, 30, patience_s=1e-3, isolated=True)
    rows = speech_table([sound for sound, _ in speech[:2]])
    rows = rows.set_column(rows.schema.get_field_index("after"), "after", pa.array([1_600, 0], pa.int32()))
    table = Transcribing(resolve(str(DEMO_MODEL), None, {}), hasty)(rows)
    assert table.column("error_kind").to_pylist() == ["crashed", "crashed"]
    assert table.column("text").to_pylist() == [None, None]


def test_an_actor_refuses_other_weights() -> None:
    model = resolve(str(DEMO_MODEL), None, {})
    with pytest.raises(ValueError, match="planned"):
        Transcriber(replace(model, sha256="0" * 64), settings())


def test_nemos_engine_takes_models_of_other_families(tmp_path: Path) -> None:
    config = citrinet_config(list("abc "), filters=64)
    config["decoder"]["feat_in"] = 16
    config["encoder"] = {"_target_": "nemo.collections.asr.modules.ConformerEncoder", "feat_in": 80, "n_layers": 1}
    config["encoder"] |= {"d_model": 16, "n_heads": 2, "subsampling": "striding", "subsampling_factor": 4}
    config["encoder"] |= {"subsampling_conv_channels": 8, "conv_kernel_size": 3}
    build(config).eval().save_to(str(tmp_path / "conformer.nemo"))
    engine = NemoEngine(tmp_path / "conformer.nemo", "cpu", "float32")
    assert engine.frame_samples == 640
    (frames,) = engine.transcribe([np.zeros(64_000, np.int16)])
    assert len(frames.best) == 100


def test_what_a_device_works_at_once() -> None:
    """A CPU's threads share a piece out; a GPU has one large batch, and the next ones on their way."""
    cpu = EngineSettings("fused", "cpu", "float32", 4, 30)
    assert (cpu.concurrent_batches, cpu.batch_shares) == (4, 4)
    gpu = EngineSettings("fused", "cuda", "bfloat16", 1, 3_600)
    assert (gpu.concurrent_batches, gpu.batch_shares) == (3, 1)
    nemo = EngineSettings("nemo", "cuda", "float32", 1, 3_600)
    assert (nemo.concurrent_batches, nemo.batch_shares) == (1, 1)


def test_blocks_at_once_get_their_own_answers_from_one_child() -> None:
    """An actor on a GPU has two blocks, also where each recording is heard in a process of its own."""
    model = resolve(str(DEMO_MODEL), None, {})
    runner = IsolatedRunner(model, EngineSettings("fused", "cpu", "float32", 1, 30, isolated=True))
    lengths = [[1_600 * (number + 1 + 20 * thread) for number in range(12)] for thread in range(2)]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda own: [runner.hear([Sound(np.zeros(n, np.int16), True)])[0] for n in own], lengths))
    for own, emissions in zip(lengths, found, strict=True):
        frames = [len(each.best) for each in emissions if isinstance(each, Emission)]
        assert frames == [-(-(samples // 160) // 8) for samples in own]
