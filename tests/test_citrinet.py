"""The fused engine is the same function as NeMo's forward pass of each recording alone, whatever it is batched with."""

import io
import subprocess
import sys
import tarfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import DEMO_MODEL, ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.benchmark.citrinets import citrinet_config
from actors.engine.citrinet import checkpoint
from actors.engine.citrinet.archive import read_archive
from actors.engine.citrinet.conversion import convert
from actors.engine.citrinet.engine import CitrinetEngine
from actors.engine.citrinet.packing import pack
from actors.engine.interface import Engine
from actors.engine.models import read_vocabulary, resolve
from actors.storage.cache import sha256_of
from actors.text.greedy import collapse

LABELS = list("abcdefghijklmnopqrstuvwxyz '")
TOLERANCE = 1e-3  # of log-probabilities, against NeMo


def quartznet_config() -> dict[str, Any]:
    """No gates, a dilated block, and a last block that is a plain pointwise convolution."""
    config = citrinet_config(LABELS, filters=96, squeeze=False, strides=(2, 1, 1))
    dilated, plain = config["encoder"]["jasper"][-1], dict(config["encoder"]["jasper"][-1])
    dilated |= {"dilation": [2], "kernel": [15]}
    config["encoder"]["jasper"].append(plain | {"kernel": [1], "separable": False})
    return config


#: The family: filters, gamma (0.25 and 1.0 by the kernels), repeat, strides, gates, characters and SentencePiece.
MODELS: dict[str, dict[str, Any]] = {
    "small kernels": {"filters": 96, "kernel_scale": 0.25, "repeat": 1},
    "large kernels": {"filters": 96, "kernel_scale": 1.0, "repeat": 5},
    "256 filters": {"filters": 256, "kernel_scale": 0.25, "repeat": 3},
    "1024 filters": {"filters": 1024, "kernel_scale": 0.25, "repeat": 2, "blocks_per_stage": 1},
    "stride of 4": {"filters": 128, "strides": (2, 1, 2), "repeat": 4},
    "without gates": {"filters": 128, "squeeze": False},
    "pieces": {"filters": 64, "sentencepiece": True},
    "quartznet": {"config": quartznet_config()},
}


def engine_of(path: Path, folder: Path, precision: str = "float32") -> CitrinetEngine:
    return CitrinetEngine(path, resolve(str(path), None, {}).sha256, folder, precision)


def texts_of(path: Path, engine: Engine, sounds: Sequence[np.ndarray]) -> list[str]:
    """The greedy text of each sound; `path` is the engine's model."""
    decoder = read_vocabulary(resolve(str(path), None, {})).decoder()
    assert decoder.blank == engine.blank
    return [decoder.text(collapse(frames.best, engine.blank).tolist()) for frames in engine.transcribe(sounds)]


def sounds_of(seconds: list[float], seed: int = 1) -> list[np.ndarray]:
    """Sounds unlike each other, int16: tones that glide, with noise and pauses."""
    draw = np.random.default_rng(seed)
    sounds = []
    for length in seconds:
        count = round(length * 16_000)
        hertz = np.interp(np.arange(count), np.linspace(0, count, 8), draw.uniform(100, 3_000, 8))
        loud = np.interp(np.arange(count), np.linspace(0, count, 20), draw.choice([0.0, 0.1, 0.7], 20))
        sound = np.sin(2 * np.pi * np.cumsum(hertz) / 16_000) * loud + draw.normal(0, draw.uniform(0.001, 0.1), count)
        sounds.append((sound * 20_000).clip(-32_768, 32_767).astype(np.int16))
    return sounds


def in_both_forms(sounds: list[np.ndarray]) -> list[np.ndarray]:
    """The sounds, every second of them in float32 and so quiet that int16 would not hold it."""
    return [sound.astype(np.float32) * 1e-7 if number % 2 else sound for number, sound in enumerate(sounds)]


@cache
def nemo_model(path: Path) -> Any:
    from nemo.collections.asr.models import ASRModel

    return ASRModel.restore_from(str(path), map_location="cpu").eval()


def nemo_alone(path: Path, sounds: list[np.ndarray]) -> tuple[list[torch.Tensor], list[str]]:
    """NeMo's log-probabilities (frames, classes) and text of each recording by itself."""
    model = nemo_model(path)
    found, texts = [], []
    for pcm in sounds:
        signal = torch.from_numpy(pcm.astype(np.float32) / 32_768)[None]
        with torch.inference_mode():
            log_probs, frames, _ = model.forward(input_signal=signal, input_signal_length=torch.tensor([len(pcm)]))
            (said,) = model.decoding.ctc_decoder_predictions_tensor(log_probs, decoder_lengths=frames)
        found.append(log_probs[0, : int(frames)].clone())
        texts.append(said.text)
    return found, texts


@pytest.mark.parametrize("name", [*MODELS, "demo"])
def test_same_function_as_nemo(name: str, lively_model: Callable[..., Path], speech: Any, tmp_path: Path) -> None:
    path = DEMO_MODEL if name == "demo" else lively_model(f"family {name}", **MODELS[name])
    sounds = sounds_of([0.1, 0.11, 0.35, 1.0, 2.345, 7.7, 15.0, 60.0 if name == "small kernels" else 20.0])
    sounds += [(samples * 32_767).astype(np.int16) for samples, _ in speech[:4]]
    engine = engine_of(path, tmp_path)
    logits, packing = engine.logits(sounds)
    texts = texts_of(path, engine, sounds)
    theirs, their_texts = nemo_alone(path, sounds)
    assert len(set(texts)) >= 5  # it tells sounds apart, or the comparison proves nothing
    excepted = 0
    for rows, wanted, text, their_text in zip(packing.slices, theirs, texts, their_texts, strict=True):
        ours = torch.log_softmax(logits[rows], dim=1)
        assert ours.shape == wanted.shape
        difference = float((ours - wanted).abs().max())
        assert difference < TOLERANCE
        best, second = wanted.topk(2, dim=1).values.T
        if bool((best - second < 2 * difference).any()):
            excepted += 1  # a frame that NeMo itself decides by less than the rounding
        else:
            assert text == their_text
    assert excepted <= len(sounds) // 4


def test_same_function_at_any_length(lively_model: Callable[..., Path], tmp_path: Path) -> None:
    path = lively_model("family small kernels", **MODELS["small kernels"])
    engine = engine_of(path, tmp_path)

    @settings(max_examples=25, deadline=None)
    @given(st.lists(st.integers(1_600, 48_000), min_size=1, max_size=5), st.integers(0, 1_000))
    def holds(samples: list[int], seed: int) -> None:
        sounds = sounds_of([count / 16_000 for count in samples], seed)
        logits, packing = engine.logits(sounds)
        for rows, wanted in zip(packing.slices, nemo_alone(path, sounds)[0], strict=True):
            assert logits[rows].shape == wanted.shape
            assert float((torch.log_softmax(logits[rows], dim=1) - wanted).abs().max()) < TOLERANCE

    holds()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_batch_never_changes_a_result_to_the_bit(
    precision: str, lively_model: Callable[..., Path], tmp_path: Path
) -> None:
    engine = engine_of(lively_model("family 256 filters", **MODELS["256 filters"]), tmp_path, precision)

    @settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(st.floats(0.1, 6.0), min_size=1, max_size=7), st.integers(0, 1_000))
    def holds(seconds: list[float], seed: int) -> None:
        sounds = in_both_forms(sounds_of(seconds, seed))
        together, packing = engine.logits(sounds)
        for sound, rows in zip(sounds, packing.slices, strict=True):
            alone, _ = engine.logits([sound])
            assert torch.equal(alone, together[rows])

    holds()


def test_bfloat16_says_the_same_of_speech(speech: list[tuple[np.ndarray, str]], tmp_path: Path) -> None:
    engine = engine_of(DEMO_MODEL, tmp_path, "bfloat16")
    assert texts_of(DEMO_MODEL, engine, [(samples * 32_767).astype(np.int16) for samples, _ in speech]) == [
        text for _, text in speech
    ]


def test_a_packing_has_room_between_recordings() -> None:
    packing = pack([3, 4, 1], gap=2)
    assert (packing.starts.tolist(), packing.rows) == ([0, 6, 12], 13)
    assert packing.gaps.tolist() == [3, 4, 5, 10, 11]
    assert packing.recording.tolist() == [0, 0, 0, -1, -1, -1, 1, 1, 1, 1, -1, -1, 2]
    halved = packing.strided(gap=1)
    assert (halved.lengths.tolist(), halved.starts.tolist()) == ([2, 2, 1], [0, 4, 8])
    assert halved.source.tolist() == [0, 2, 0, 0, 6, 8, 0, 0, 12]


def test_a_damaged_cache_entry_is_made_anew(tmp_path: Path) -> None:
    sha256 = resolve(str(DEMO_MODEL), None, {}).sha256
    tensors = {name: tensor.clone() for name, tensor in checkpoint.load(DEMO_MODEL, sha256, tmp_path)[1].items()}
    (entry,) = (tmp_path / "converted").glob("*.safetensors")
    whole = entry.read_bytes()
    for damaged in (whole[:-1_000], whole[:100_000] + bytes(100) + whole[100_100:], b""):
        entry.write_bytes(damaged)
        _, again = checkpoint.load(DEMO_MODEL, sha256, tmp_path)
        assert all(torch.equal(tensor, again[name]) for name, tensor in tensors.items())
    entry.with_suffix(".sha256").unlink()
    checkpoint.load(DEMO_MODEL, sha256, tmp_path)
    used = entry.stat().st_mtime_ns
    checkpoint.load(tmp_path / "is not even opened", sha256, tmp_path)
    assert entry.stat().st_mtime_ns == used


def test_many_processes_convert_once(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom actors.engine.citrinet.checkpoint import load\n"
        "print(len(load(Path('demo/citrinet_zh_demo.nemo'), sys.argv[2], Path(sys.argv[1]))[1]))"
    )
    command = [sys.executable, "-c", program, str(tmp_path), sha256_of(DEMO_MODEL)]
    started = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert len({each.communicate(timeout=100)[0] for each in started}) == 1
    assert [each.returncode for each in started] == [0] * 4
    assert sorted(each.suffix for each in (tmp_path / "converted").iterdir()) == [".lock", ".safetensors", ".sha256"]


def altered(path: Path, **changes: Any) -> Any:
    archive = read_archive(path)
    for key, value in changes.items():
        archive.config["encoder"]["jasper"][1][key] = value
    return archive


@pytest.mark.parametrize(
    "change",
    [{"se_context_size": 128}, {"groups": 4}, {"residual_dense": True}, {"residual_mode": "max"}, {"heads": 2}],
)
def test_what_it_does_not_know_is_refused_by_name(change: dict[str, Any]) -> None:
    (key,) = change
    with pytest.raises(ValueError, match=rf"block \d has {key}: .*model\.engine=nemo"):
        convert(altered(DEMO_MODEL, **change))


def test_other_encoders_are_refused_by_name() -> None:
    archive = read_archive(DEMO_MODEL)
    archive.config["encoder"]["_target_"] = "nemo.collections.asr.modules.ConformerEncoder"
    with pytest.raises(ValueError, match=r"ConformerEncoder.*model\.engine=nemo"):
        convert(archive)


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (open, ("/tmp/should-not-be-there", "w"))


def test_an_untrusted_checkpoint_runs_nothing(tmp_path: Path) -> None:
    """Weights with code in them, a config that names what should be built, and members with paths that lead out."""
    weights, marker = io.BytesIO(), tmp_path / "ran"
    torch.save({"encoder.x": Evil()}, weights)
    config = f"target: os.system\nencoder: {{_target_: os.system, command: 'touch {marker}'}}\n"
    path = tmp_path / "evil.nemo"
    with tarfile.open(path, "w") as archive:
        for name, data in (
            ("../../model_config.yaml", config.encode()),
            ("/abs/model_weights.ckpt", weights.getvalue()),
        ):
            header = tarfile.TarInfo(name)
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))
    with pytest.raises(ValueError, match="its weights cannot be read"):
        checkpoint.load(path, sha256_of(path), tmp_path / "cache")
    assert not marker.exists()
    assert not Path("/tmp/should-not-be-there").exists()
    with tarfile.open(path, "w") as archive:
        header = tarfile.TarInfo("model_config.yaml")
        data = b"!!python/object/apply:os.system ['touch " + str(marker).encode() + b"']"
        header.size = len(data)
        archive.addfile(header, io.BytesIO(data))
    with pytest.raises(ValueError, match=r"not a \.nemo file"):
        read_archive(path)
    assert not marker.exists()


def test_digital_silence_is_normalised_as_nemo_does(tmp_path: Path) -> None:
    """All frames are equal there, and the rounding of their mean, blown up, is all that the network sees."""
    engine = engine_of(DEMO_MODEL, tmp_path)
    sounds = [np.zeros(round(seconds * 16_000), np.int16) for seconds in (0.1, 0.77, 1.0, 3.21, 12.0)]
    logits, packing = engine.logits(sounds)
    for rows, wanted in zip(packing.slices, nemo_alone(DEMO_MODEL, sounds)[0], strict=True):
        assert float((torch.log_softmax(logits[rows], dim=1) - wanted).abs().max()) < TOLERANCE
