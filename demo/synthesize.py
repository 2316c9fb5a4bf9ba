"""Makes the speech that the demo model is trained and measured on, with espeak-ng.

    python -m demo.synthesize [--out build/demo] [--train-hours 14] [--held-out-characters 12000] [--seed 1]

Writes `train/` and `held_out/`, each a folder of 16 kHz mono FLAC files with a NeMo manifest beside them.
The same seed gives the same files: each utterance draws from its own seed. About 4 minutes on two cores.
Needs the program espeak-ng (Debian and Ubuntu: `apt-get install espeak-ng`).
"""

import argparse
import io
import json
import shutil
import subprocess
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import soundfile
import soxr

from demo.sentences import sentences

RATE = 16_000
VOICES = [f"cmn+{variant}" for variant in "f1 f2 f3 f4 f5 m1 m2 m3 m4 m5 m6 m7".split()]
SECONDS_PER_UTTERANCE = 5.6  # on average, to turn hours into a number of sentences


def speak(text: str, draw: np.random.Generator) -> np.ndarray:
    """espeak-ng's rendering of a text: float64 samples at 16 kHz, by a voice, speed and pitch drawn at random."""
    command = ["espeak-ng", "-v", draw.choice(VOICES), "-s", str(draw.integers(150, 231))]
    command += ["-p", str(draw.integers(25, 76)), "--stdout", text]
    sound = subprocess.run(command, check=True, capture_output=True).stdout
    samples, rate = soundfile.read(io.BytesIO(sound))
    return soxr.resample(samples, rate, RATE, "HQ")


def roughen(samples: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """A clean recording as a microphone might have heard it: room, band, noise, silence around it, level."""
    margins = draw.integers(0, int(0.4 * RATE), size=2)
    samples = np.pad(samples, margins)
    if draw.random() < 0.3:  # a room: direct sound, then noise that decays by 60 dB within the reverberation time
        reverberation_s = draw.uniform(0.1, 0.35)
        tail = draw.standard_normal(int(reverberation_s * RATE))
        tail *= 10 ** (-3 * np.arange(len(tail)) / len(tail)) * draw.uniform(0.02, 0.1)
        tail[0] = 1.0
        size = 1 << (len(samples) + len(tail)).bit_length()
        wet = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(tail, size), size)
        samples = wet[: len(samples)]
    if draw.random() < 0.3:  # a telephone's band
        narrow = soxr.resample(samples, RATE, RATE // 2, "HQ")
        samples = soxr.resample(narrow, RATE // 2, RATE, "HQ")
    if draw.random() < 0.7:  # white or brownish noise, 12 to 40 dB below the speech
        noise = draw.standard_normal(len(samples))
        if draw.random() < 0.5:
            noise = np.convolve(noise, np.ones(8) / 8, mode="same")
        speech_power, noise_power = np.mean(samples**2), np.mean(noise**2)
        samples = samples + noise * np.sqrt(speech_power / noise_power * 10 ** (-draw.uniform(12, 40) / 10))
    peak = np.max(np.abs(samples))
    return samples / peak * 10 ** (-draw.uniform(1, 20) / 20)


def make_utterance(job: tuple[str, Path, int]) -> dict[str, object]:
    """Writes one utterance as FLAC and returns its manifest entry."""
    text, path, seed = job
    draw = np.random.default_rng(seed)
    samples = roughen(speak(text, draw), draw)
    soundfile.write(path, samples, RATE, subtype="PCM_16")
    return {"audio_filepath": path.name, "duration": round(len(samples) / RATE, 3), "text": text}


def make_set(folder: Path, texts: list[str], seed: int) -> float:
    """Writes one set of utterances with its manifest, and returns its hours."""
    folder.mkdir(parents=True)
    jobs = [(text, folder / f"{index:06d}.flac", seed * 1_000_000 + index) for index, text in enumerate(texts)]
    with ProcessPoolExecutor() as workers:
        entries = list(workers.map(make_utterance, jobs, chunksize=64))
    lines = [json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries]
    (folder / "manifest.jsonl").write_text("".join(lines), encoding="utf-8")
    return sum(float(str(entry["duration"])) for entry in entries) / 3600


def take_characters(count: int, seed: int) -> list[str]:
    """Held-out texts of at least so many characters together."""
    texts, total = list[str](), 0
    for text in sentences(seed, held_out=True):
        texts.append(text)
        total += len(text)
        if total >= count:
            break
    return texts


def main() -> None:
    parser = argparse.ArgumentParser(description="Synthesizes the demo's training and held-out speech.")
    parser.add_argument("--out", type=Path, default=Path("build/demo"), help="folder to write (default: %(default)s)")
    parser.add_argument("--train-hours", type=float, default=14.0, help="hours to train on (default: %(default)s)")
    parser.add_argument("--held-out-characters", type=int, default=12_000, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    options = parser.parse_args()
    if shutil.which("espeak-ng") is None:
        parser.error("espeak-ng is not installed: apt-get install espeak-ng")
    started = time.monotonic()
    count = int(options.train_hours * 3600 / SECONDS_PER_UTTERANCE)
    training = list(islice(sentences(options.seed, held_out=False), count))
    for name, texts in (
        ("train", training),
        ("held_out", take_characters(options.held_out_characters, options.seed)),
    ):
        hours = make_set(options.out / name, texts, options.seed + (name == "held_out"))
        characters = sum(map(len, texts))
        print(f"{name}: {len(texts)} utterances, {characters} characters, {hours:.2f} h")
    print(f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
