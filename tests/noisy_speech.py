"""The demo's sentences under noise: recordings that its model hears badly, with their words."""

import json
import tarfile
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import soundfile
from audio_files import AUDIO, RATE, Sound, demo_sentences, scaled

from actors.audio.decode import decode
from demo.bundle import LOOSE
from demo.synthesize import take_characters

SNR_DB = (-9.0, -2.0)
PAUSE_S = 0.25  # within a sentence there is none as long
INTERVIEW = range(73, 133)  # which of the held-out sentences it is made of


def sentences() -> list[tuple[Sound, str]]:
    """The 132 recordings of one sentence in the demo, at 16 kHz, with their words: all but what `reading.ogg` holds."""
    return [*_files(), *demo_sentences(), *_interview()]


def write_noisy(
    folder: Path, spoken: Sequence[tuple[Sound, str]], copies: int, seed: int, snr_db: tuple[float, float] = SNR_DB
) -> None:
    """Writes each recording `copies` times as 16-bit WAV, under other noise each time, with its words beside it.

    The noise is white or brownish. The same arguments write the same bytes.
    """
    folder.mkdir(parents=True)
    draw = np.random.default_rng(seed)
    for number, (sound, text) in enumerate(spoken):
        for copy in range(copies):
            path = folder / f"{number:03d}-{copy}.wav"
            soundfile.write(path, noisy(sound, draw, draw.uniform(*snr_db)), RATE, subtype="PCM_16")
            path.with_suffix(".txt").write_text(f"{text}\n", encoding="utf-8")


def noisy(sound: Sound, draw: np.random.Generator, snr_db: float) -> Sound:
    """A sound with noise of which the power is `snr_db` below that of the sound, at a peak of half of full scale."""
    noise = draw.standard_normal(len(sound))
    if draw.random() < 0.5:
        noise = np.convolve(noise, np.ones(8) / 8, mode="same")
    noise *= np.sqrt(np.mean(sound.astype(np.float64) ** 2) / np.mean(noise**2) * 10 ** (-snr_db / 10))
    mixed = sound + noise
    return (0.5 * mixed / np.abs(mixed).max()).astype(np.float32)


def _files() -> Iterator[tuple[Sound, str]]:
    """The recordings that are files of their own, members of tars and cells of a Parquet file."""
    for number, (suffix, *_) in enumerate(LOOSE):
        path = AUDIO / "loose" / f"{number:02d}.{suffix}"
        yield _sound(path.read_bytes()), path.with_suffix(".txt").read_text(encoding="utf-8").strip()
    for name in ("speech-000.tar", "speech-001.tar.gz"):
        with tarfile.open(AUDIO / "shards" / name) as archive:
            members = {each.name: archive.extractfile(each) for each in archive.getmembers()}
            contents = {path: file.read() for path, file in members.items() if file}
        for path in sorted(each for each in contents if each.endswith((".flac", ".mp3"))):
            stem = path.rpartition(".")[0]
            told = contents.get(f"{stem}.txt") or json.loads(contents[f"{stem}.json"])["text"].encode()
            yield _sound(contents[path]), told.decode()
    for row in pq.read_table(AUDIO / "parquet" / "speech.parquet").to_pylist():
        yield _sound(row["audio"]["bytes"]), row["sentence"]


def _interview() -> Iterator[tuple[Sound, str]]:
    """The sentences of `interview.mp3`, cut in the middle of the pauses between them."""
    sound = _sound((AUDIO / "long" / "interview.mp3").read_bytes())
    texts = take_characters(12_000, seed=1)[INTERVIEW.start : INTERVIEW.stop]
    assert "".join(texts) == (AUDIO / "long" / "interview.txt").read_text(encoding="utf-8").strip()
    block = RATE // 100
    levels = np.abs(sound[: len(sound) // block * block].reshape(-1, block)).max(axis=1)
    loud = np.flatnonzero(levels > 0.02)
    pauses = [(left, right) for left, right in pairwise(loud) if (right - left) * block > PAUSE_S * RATE]
    cuts = [0, *((left + right) // 2 * block for left, right in pauses), len(sound)]
    for (begin, end), text in zip(pairwise(cuts), texts, strict=True):
        yield sound[begin:end], text


def _sound(content: bytes) -> Sound:
    return scaled(decode(content).pcm)
