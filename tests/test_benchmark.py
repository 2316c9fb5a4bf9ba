"""The benchmark measures what it says, on a small scale."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from conftest import DEMO_MODEL, ROOT

from actors.audio.decode import decode
from actors.benchmark.codecs import CODECS, Codec, encoded
from actors.benchmark.decoding import decoding_times
from actors.benchmark.results import Result, page_of
from actors.benchmark.sides import generated_sounds
from actors.benchmark.tables import decoding_table, result_of
from actors.engine.citrinet.archive import read_config
from actors.engine.models import resolve
from jobs import benchmark
from jobs.cli.terminal import read_json


def test_sides_are_measured_and_kept(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    kept = tmp_path / "engine.json"
    chosen = ["benchmark.minutes=0.2", "benchmark.repeats=2", f"benchmark.write={kept}"]
    chosen.append("benchmark.sides=['NeMo transcribe(), batch 4', 'fused, float32']")
    assert benchmark.main(["configs/demo.yaml", *chosen]) == 0
    printed = capsys.readouterr().out
    report = read_json(printed)
    nemo, fused = report["sides"]
    assert [json.loads(line) for line in printed.splitlines()] == [nemo, fused, report]
    assert nemo["rtfx"] > 0
    assert fused["rtfx"] > 0
    assert (len(fused["passes_s"]), fused["padding"]) == (2, 0.0)
    assert fused["peak_gb"] < nemo["peak_gb"]  # NeMo is not loaded there
    assert Result.from_json(kept.read_text()) == result_of(report)
    page = page_of(tmp_path)
    assert f"\n| fused, float32 | {fused['rtfx']:.1f} | {fused['rtfx'] / nemo['rtfx']:.2f} | 0.0% |" in page
    assert f", commit {report['commit']}; {report['machine']}; torch " in page
    assert "\n    python -m jobs.benchmark configs/demo.yaml benchmark.minutes=0.2" in page


def test_a_side_that_ended_is_kept_if_a_later_one_stumbles(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kept = tmp_path / "engine.json"
    chosen = ["benchmark.minutes=0.1", "benchmark.repeats=1", f"benchmark.write={kept}"]
    chosen.append("benchmark.sides=['fused, float32', 'the whole pipeline']")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")  # where no Ray answers
    assert benchmark.main(["configs/demo.yaml", *chosen]) == 2
    side = json.loads(capsys.readouterr().out.splitlines()[0])
    assert side["side"] == "fused, float32"
    assert Result.from_json(kept.read_text()).measured["sides"] == [side]


def test_the_page_is_made_of_what_is_kept() -> None:
    """`make benchmarks` writes it."""
    assert (ROOT / "docs/benchmarks.md").read_text() == page_of(ROOT / "docs/benchmarks")
    for path in (ROOT / "docs/benchmarks").iterdir():
        kept = Result.from_json(path.read_text())
        assert path.suffix == ".json"
        assert re.fullmatch("[0-9a-f]{7,}", kept.commit)
        assert kept.command


def test_the_whole_pipeline_is_a_side(capsys: pytest.CaptureFixture[str]) -> None:
    chosen = ["benchmark.minutes=0.2", "benchmark.repeats=1", "benchmark.sides=[the whole pipeline]"]
    assert benchmark.main(["configs/demo.yaml", *chosen]) == 0
    (side,) = read_json(capsys.readouterr().out)["sides"]
    assert side["rtfx"] > 0
    assert side["start_s"] > 0.1  # Ray's


def test_kernels_are_told_apart(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert (
        benchmark.main(
            ["configs/demo.yaml", "benchmark.minutes=0.02", "benchmark.repeats=1", "benchmark.sides=[kernels]"]
        )
        == 0
    )
    seen = capsys.readouterr()
    found = read_json(seen.out)["kernels"]
    layers = sum(block["repeat"] for block in read_config(DEMO_MODEL)["encoder"]["jasper"])
    names = {row["kernel"] for row in found["kernels"]}
    assert names >= {"log-mel", "depthwise", "pointwise", "pointwise with gate and residual", "gate", "head", "best"}
    assert sum(row["calls"] for row in found["kernels"] if row["kernel"].startswith("pointwise")) == layers
    assert all(row["ms"] > 0 for row in found["kernels"])
    assert [each["kernel"] for each in found["choices"]].count("depthwise, kernel 7") == 2
    assert len(found["choices"]) == 8
    monkeypatch.delenv("TRITON_INTERPRET")
    assert benchmark.main(["configs/demo.yaml", "benchmark.sides=[kernels]"]) == 2
    assert "not for cpu" in capsys.readouterr().err


@pytest.mark.parametrize("peer", ["onnxruntime", "sherpa_onnx"])
def test_peers_run_the_same_weights(peer: str, speech: list[tuple[np.ndarray, str]]) -> None:
    from actors.benchmark import peers

    transcribe = getattr(peers, peer)(resolve(str(DEMO_MODEL), None, {}), 1)
    for sound, words in speech[:3]:
        assert transcribe([(sound * 32_767).astype(np.int16)]) == [words]


def test_mistakes(capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.main(["configs/demo.yaml", "benchmark.sides=[best]"]) == 2
    assert "'best' is not one of NeMo transcribe(), batch 4" in capsys.readouterr().err


def test_generated_sounds_are_the_minutes_asked_for() -> None:
    sounds = generated_sounds(3)
    assert sum(map(len, sounds)) / 16_000 == pytest.approx(180, abs=15)
    assert all(2 * 16_000 <= len(each) <= 15 * 16_000 for each in sounds)


def test_ways_to_decode() -> None:
    """On emissions of a few seconds, with a small language model."""
    found = decoding_times(0.05, 1, arcs=20_000, phrases=100)
    sides = ["greedy text", "beam", "beam, LM and phrases"]
    assert [(each["side"], each["sound"]) for each in found] == [
        (side, sound) for sound in ("clear", "noisy") for side in sides
    ]
    assert all(each["frames_s"] > 1_000 for each in found)
    table = decoding_table(found)
    assert table.rows[0][:2] == ["greedy text", "clear"]


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.title)
def test_files_of_a_codec_are_what_they_say(codec: Codec) -> None:
    tone = np.sin(np.arange(codec.rate) * 2 * np.pi * 440 / codec.rate).astype(np.float32) * np.float32(0.5)
    sound = decode(encoded(codec, np.stack([tone] * codec.channels, axis=1)))
    assert (sound.sample_rate, sound.channels) == (codec.rate, codec.channels)
    assert sound.duration_s == pytest.approx(1, abs=0.15)
    assert np.abs(np.fft.rfft(sound.pcm[:14_400])).argmax() == pytest.approx(440 * 0.9, abs=2)


def test_codecs_are_a_side(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        benchmark.main(
            ["configs/demo.yaml", "benchmark.minutes=0.1", "benchmark.repeats=1", "benchmark.sides=[codecs]"]
        )
        == 0
    )
    seen = capsys.readouterr()
    found = read_json(seen.out)["codecs"]
    assert [(each["codec"], each["sound"]) for each in found] == [
        (codec.title, sound) for sound in ("speech", "noise") for codec in CODECS
    ]
    for each in found:
        assert each["ratio"] == pytest.approx(each["read_s"] / (each["decoder_s"] + each["resampler_s"]), rel=0.1)
        assert (each["resampler_s"] < 0.02) == ("16 kHz" in each["codec"])
