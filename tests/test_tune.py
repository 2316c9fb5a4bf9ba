"""Weights are searched on one half of recordings and measured on the other, as the job decodes and evaluates them."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from conftest import DEMO_MODEL, ROOT
from noisy_speech import noisy, write_noisy
from pydantic import ValidationError

from jobs import evaluate, tune
from jobs.cli.config import Decoding
from jobs.transcripts.halves import is_held_back
from jobs.transcripts.weight_search import LM_AXES, PHRASE_AXES, Weights, WeightSearch

LM, PHRASES = f"decoding.lm={ROOT}/demo/lm/demo.arpa.gz", f"decoding.phrases={ROOT}/demo/lm/phrases.txt"
START = Weights(0.9, 3.5, 1.5)


@pytest.fixture
def heard(job: Any, speech: Any, tmp_path: Path, ray_two_cpus: None) -> str:
    """An output of noisy recordings with their emissions; one of them is long enough for several segments."""
    folder = tmp_path / "noisy"
    write_noisy(folder, speech, copies=2, seed=1)
    sound, draw = np.concatenate([each for each, _ in speech]), np.random.default_rng(3)
    soundfile.write(folder / "long.wav", noisy(sound, draw, -5), 16_000)
    (folder / "long.txt").write_text("".join(text for _, text in speech), encoding="utf-8")
    out = f"output.uri={tmp_path / 'out'}"
    status, summary, _ = job(f"input.uri={folder}", out, "output.emissions=true")
    assert (status, summary["recordings"]) == (0, 29)
    return out


def check_weights_of_phrases_own(job: Any, heard: str, tmp_path: Path) -> None:
    """Where each phrase that can be written has its own weight, there is no such axis; with phrases alone, nothing."""
    listed = tmp_path / "weighed.txt"
    listed.write_text("今天\t2\nabc\n")
    status, told, seen = job(heard, LM, f"decoding.phrases={listed}", "tune.trials=2", main=tune.main)
    assert (status, list(told["best"])) == (0, ["decoding.lm_weight", "decoding.token_bonus"]), seen
    assert "decoding.phrase_weight changes nothing and is not searched" in seen
    status, _, seen = job(heard, f"decoding.phrases={listed}", main=tune.main)
    assert (status, "decoding.phrases: each phrase" in seen, "no weight to tune" in seen) == (2, True, True), seen


def check_missing_emissions(job: Any, heard: str, tmp_path: Path) -> None:
    """Recordings without emissions are a note where there are enough others, whether or not all are read."""
    other, first = tmp_path / "unheard", next((tmp_path / "noisy").glob("*-0.wav"))
    other.mkdir()
    shutil.copy(first, other / "later.wav")
    shutil.copy(first.with_suffix(".txt"), other / "later.txt")
    both = json.dumps([str(tmp_path / "noisy"), str(other)])
    assert job(f"input.uri={both}", heard, "output.emissions=false")[0] == 0
    status, told, seen = job(heard, LM, "tune.trials=1", main=tune.main)
    assert (status, told["left_out"]) == (0, {"have no emissions": 1}), seen
    assert "1 recordings have no emissions and are left out" in seen
    most = 0.7 * (told["search"]["hours"] + told["held_back"]["hours"])
    status, told, seen = job(heard, LM, "tune.trials=1", f"tune.hours={most}", main=tune.main)
    assert status == 0, seen


def check_phrases_alone(job: Any, heard: str) -> None:
    """With phrases alone, there is one weight, and an absurd one is mended."""
    status, told, seen = job(heard, PHRASES, "decoding.phrase_weight=40", main=tune.main)
    assert (status, list(told["best"])) == (0, ["decoding.phrase_weight"]), seen
    results = told["results"]
    assert list(results) == ["greedy", "defaults", "as configured", "tuned"]
    assert results["as configured"]["search"]["cer"] > results["tuned"]["search"]["cer"]
    assert told["best"]["decoding.phrase_weight"] < 10
    assert "lm_weight" not in seen


def _errors(rates: dict[str, Any]) -> int:
    return sum(rates["characters"][kind] for kind in ("substitutions", "deletions", "insertions"))


def test_weights_are_as_good_as_they_are_said_to_be(job: Any, heard: str, tmp_path: Path) -> None:
    few = ("tune.trials=60", "tune.bootstrap=200")
    status, told, seen = job(heard, LM, PHRASES, *few, "tune.threads=1", main=tune.main)
    assert status == 0, seen
    assert job(heard, LM, PHRASES, *few, "tune.threads=4", main=tune.main)[1] == told
    check_phrases_alone(job, heard)
    check_weights_of_phrases_own(job, heard, tmp_path)
    halves, results, best = told["search"], told["results"], told["best"]
    assert halves["recordings"] + told["held_back"]["recordings"] == 29
    assert min(halves["recordings"], told["held_back"]["recordings"]) >= 7
    assert list(results) == ["greedy", "defaults", "tuned"]
    assert (
        results["tuned"]["search"]["cer"] <= results["defaults"]["search"]["cer"] < results["greedy"]["search"]["cer"]
    )
    assert results["tuned"]["held_back"]["cer"] < results["greedy"]["held_back"]["cer"]
    low, high = results["tuned"]["held_back"]["interval"]
    assert low < results["tuned"]["held_back"]["cer"] < high
    assert len(told["tried"]) <= 60
    assert told["tried"][0]["cer"] == results["tuned"]["search"]["cer"] == min(each["cer"] for each in told["tried"])
    for name, value in best.items():
        assert f"  {name.removeprefix('decoding.')}: {value:g}\n" in seen
    # The job itself, with these weights, makes just as many errors, also where segments were joined.
    where = (f"input.uri={tmp_path / 'noisy'}", heard, "output.emissions=true")
    for name, weights in (("greedy", ()), ("tuned", (LM, PHRASES, *(f"{key}={value}" for key, value in best.items())))):
        assert job(*where, *weights)[0] == 0
        rates = job(heard, main=evaluate.main)[1]["all"]
        errors = sum(results[name][half]["cer"] * told[half]["characters"] for half in ("search", "held_back"))
        assert _errors(rates) == pytest.approx(errors, abs=0.01)
    check_missing_emissions(job, heard, tmp_path)


@pytest.mark.usefixtures("ray_two_cpus")
def test_channels_with_one_reference_are_one_recording(job: Any, speech: Any, tmp_path: Path) -> None:
    folder, draw = tmp_path / "calls", np.random.default_rng(5)
    folder.mkdir()
    for number in range(8):
        (left, first), (right, second) = (speech[(number + each) % len(speech)] for each in (0, 3))
        sound = np.zeros((len(left) + len(right), 2), np.float32)
        sound[: len(left), 0], sound[len(left) :, 1] = noisy(left, draw, -3), noisy(right, draw, -3)
        soundfile.write(folder / f"{number}.wav", sound, 16_000)
        (folder / f"{number}.txt").write_text(first + second, encoding="utf-8")
    out = f"output.uri={tmp_path / 'out'}"
    assert job(f"input.uri={folder}", out, "output.emissions=true", "audio.channel=each")[0] == 0
    status, told, seen = job(out, LM, "tune.trials=3", main=tune.main)
    assert status == 0, seen
    assert told["search"]["recordings"] + told["held_back"]["recordings"] == 8
    errors = sum(told["results"]["greedy"][half]["cer"] * told[half]["characters"] for half in ("search", "held_back"))
    assert _errors(job(out, main=evaluate.main)[1]["all"]) == pytest.approx(errors, abs=0.01)


@pytest.mark.usefixtures("ray_two_cpus")
def test_what_cannot_be_tuned_is_told(job: Any, speech: Any, tmp_path: Path) -> None:
    folder, out = tmp_path / "in", f"output.uri={tmp_path / 'out'}"

    def told(*overrides: str) -> str:
        status, _, seen = job(out, *overrides, main=tune.main)
        assert status == 2, seen
        assert "Traceback" not in seen
        return str(seen)

    assert "no weights to tune; name a language model" in told()
    assert "decoding.lm: there is no file" in told(f"decoding.lm={tmp_path}/none.arpa")
    assert "has no committed transcripts; run python -m jobs.transcribe first" in told(LM)
    write_noisy(folder, speech[:2], copies=1, seed=1)
    assert job(f"input.uri={folder}", out)[0] == 0
    assert "has no emissions; run jobs.transcribe with output.emissions=true" in told(LM)
    out = f"output.uri={tmp_path / 'again'}"
    for path in folder.glob("*.txt"):
        os.remove(path)
    assert job(f"input.uri={folder}", out, "output.emissions=true")[0] == 0
    seen = told(LM)
    assert "2 recordings have no reference and are left out" in seen
    assert "has no recording with a reference and emissions of this model" in seen
    write_noisy(tmp_path / "one", speech[:1], copies=1, seed=1)
    out = f"output.uri={tmp_path / 'one_out'}"
    assert job(f"input.uri={tmp_path / 'one'}", out, "output.emissions=true")[0] == 0
    assert "has only 1 recordings with a reference" in told(LM)
    other = f"model.name={tmp_path / 'other.nemo'}"
    (tmp_path / "other.nemo").write_bytes(DEMO_MODEL.read_bytes() + bytes(512))
    assert "heard by another model than model.name" in told(other, PHRASES)


def test_the_halves_are_told_by_references_alone() -> None:
    halves = [is_held_back(f"第 {number} 句。") for number in range(1_000)]
    assert halves == [is_held_back(f"第{number}句") for number in range(1_000)]
    assert 430 < sum(halves) < 570
    assert "".join("01"[each] for each in halves[:12]) == "000011000010"


def test_the_search_finds_the_least_loss() -> None:
    def loss(weights: Weights) -> int:
        lm, bonus, phrases = weights
        return round(1_000 * ((lm - 1.3) ** 2 + (bonus - 4.2 - (lm - 1.3)) ** 2 / 4 + (phrases - 2.3) ** 2 / 9))

    search = WeightSearch(loss, [START], 200)
    assert search.run([LM_AXES, PHRASE_AXES]) == pytest.approx((1.3, 4.2, 2.3), abs=0.11)
    assert search.found[search.best] <= 3
    assert len(search.found) < 150
    beyond = WeightSearch(lambda each: round(-100 * sum(each)), [START], 1_000)
    beyond.run([LM_AXES])
    assert beyond.best == (10.0, 10.0, 1.5)
    least = WeightSearch(lambda each: round(100 * sum(each)), [START], 1_000)
    assert least.run([LM_AXES, PHRASE_AXES]) == (0.0, -10.0, 0.0)


def test_the_axes_are_those_of_the_configuration() -> None:
    for axis in (*LM_AXES, *PHRASE_AXES):
        for value in (axis.least, axis.most):
            Decoding.model_validate({axis.name: value})
        for beyond in (axis.least - axis.step, axis.most + axis.step):
            with pytest.raises(ValidationError):
                Decoding.model_validate({axis.name: beyond})


def test_few_trials_are_near_the_start_and_on_all_axes() -> None:
    few = WeightSearch(lambda each: round(100 * abs(each.lm_weight - 10)), [START], 6)
    few.run([LM_AXES, PHRASE_AXES])
    steps = sorted(abs(each.lm_weight - 0.9) / 0.05 + abs(each.token_bonus - 3.5) / 0.1 for each in few.found)
    assert steps[-1] < 30
    some = WeightSearch(lambda each: round(100 * abs(each.phrase_weight - 3)), [START], 20)
    assert some.run([LM_AXES, PHRASE_AXES]).phrase_weight == 3.0


def test_of_equal_weights_those_nearest_to_the_start_are_best() -> None:
    assert WeightSearch(lambda _: 7, [START], 100).run([LM_AXES, PHRASE_AXES]) == START
    tried = list[Weights]()
    search = WeightSearch(lambda each: tried.append(each) or 7, [START, Weights(1, 1, 1)], 5)
    search.run([LM_AXES, PHRASE_AXES])
    assert tried[:2] == [START, (1, 1, 1)]
    assert len(tried) == len(set(tried)) == 5
