"""Trains the demo model on what `demo.synthesize` made.

    python -m demo.train [--data build/demo/train] [--out demo/citrinet_zh_demo.nemo] [--epochs 6] [--seed 1]
    python -m demo.train --joined --epochs 3    # goes on with that model, on several sentences at a time

A plain loop over NeMo's own model: no trainer, no data loader, the whole set in memory (about 1.6 GB for 14 hours).
The same seed on the same machine gives the same model. About 20 minutes on two cores, and 10 for the second command:
a model trained on single sentences only makes mistakes in a segment of 12 s.
"""

import argparse
import json
import random
import time
from pathlib import Path

import numpy as np
import soundfile
import torch

from actors.audio.pcm import as_float
from actors.benchmark.citrinets import build, citrinet_config, restore
from demo.sentences import alphabet

BATCH_SECONDS = 200  # of padded audio a step
PEAK_LEARNING_RATE, PEAK_WHEN_JOINED = 5e-3, 2e-3
MAX_JOINED = 19 * 16_000  # samples


def load(folder: Path) -> list[tuple[np.ndarray, str]]:
    """Every utterance of a manifest: int16 samples at 16 kHz, and its text."""
    entries = [json.loads(line) for line in (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    return [(soundfile.read(folder / entry["audio_filepath"], dtype="int16")[0], entry["text"]) for entry in entries]


def make_batches(utterances: list[tuple[np.ndarray, str]]) -> list[list[int]]:
    """Indices in batches of like length, each of at most BATCH_SECONDS with its padding."""
    batches: list[list[int]] = [[]]
    for index in sorted(range(len(utterances)), key=lambda i: len(utterances[i][0])):
        if len(utterances[index][0]) * (len(batches[-1]) + 1) > BATCH_SECONDS * 16_000:
            batches.append([])
        batches[-1].append(index)
    return batches


def joined(utterances: list[tuple[np.ndarray, str]], draw: np.random.Generator) -> list[tuple[np.ndarray, str]]:
    """The same utterances in another order, up to five in a row, with pauses of up to 2 s or none between."""
    rows: list[tuple[list[np.ndarray], str]] = []
    room = 0
    for index in draw.permutation(len(utterances)):
        samples, text = utterances[index]
        pause = 0 if draw.random() < 0.5 else int(draw.uniform(0, 2) * 16_000)
        if not pause:
            loud = np.flatnonzero(np.abs(samples) > 0.1 * np.abs(samples).max())
            samples = samples[loud[0] : loud[-1] + 1]
        if not rows or room < len(samples) + pause or draw.random() < 0.2:
            rows.append(([], ""))
            room = MAX_JOINED
        rows[-1][0].extend((samples, np.zeros(pause, np.int16)))
        rows[-1] = (rows[-1][0], rows[-1][1] + text)
        room -= len(samples) + pause
    return [(hissing(np.concatenate(parts), draw), text) for parts, text in rows]


def hissing(sound: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """A sound with noise that fills its pauses: int16."""
    noise = draw.standard_normal(len(sound), dtype=np.float32) * draw.uniform(0, 150)
    return np.clip(sound + noise, -32_768, 32_767).astype(np.int16)


def pad(rows: list[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of unequal length as one zero-padded tensor (batch, longest), and their lengths."""
    lengths = torch.tensor([len(row) for row in rows])
    return torch.nn.utils.rnn.pad_sequence([torch.from_numpy(row) for row in rows], batch_first=True), lengths


def hide_some(features: torch.Tensor) -> torch.Tensor:
    """SpecAugment, lightly: one band of up to 15 mels and two stretches of up to 10 frames become zero."""
    _, mels, frames = features.shape
    for row in features:
        band, low = random.randint(0, 15), random.randint(0, mels - 15)
        row[low : low + band] = 0
        for _ in range(2):
            start = random.randint(0, max(frames - 10, 0))
            row[:, start : start + random.randint(0, 10)] = 0
    return features


def main() -> None:
    parser = argparse.ArgumentParser(description="Trains the demo's small Citrinet.")
    parser.add_argument("--data", type=Path, default=Path("build/demo/train"), help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=Path("demo/citrinet_zh_demo.nemo"), help="default: %(default)s")
    parser.add_argument("--epochs", type=int, default=6, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--joined", action="store_true", help="go on with the model at --out, on joined sentences")
    options = parser.parse_args()
    random.seed(options.seed)
    torch.manual_seed(options.seed)
    started = time.monotonic()
    labels = alphabet()
    index_of = {label: index for index, label in enumerate(labels)}
    model = restore(options.out) if options.joined else build(citrinet_config(labels))
    draw = np.random.default_rng(options.seed)
    alone = load(options.data)
    utterances = joined(alone, draw) if options.joined else alone
    batches = make_batches(utterances)
    peak = PEAK_WHEN_JOINED if options.joined else PEAK_LEARNING_RATE
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak, weight_decay=1e-3)
    steps = options.epochs * len(batches)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, total_steps=steps, pct_start=0.15)
    weights = sum(parameter.numel() for parameter in model.parameters())
    print(f"{weights / 1e6:.2f} M weights, {len(labels)} characters, {len(utterances)} utterances, {steps} steps")
    model.train()
    for epoch in range(options.epochs):
        if options.joined and epoch:  # in another order
            utterances = joined(alone, draw)
            batches = make_batches(utterances)[: len(batches)]
        random.shuffle(batches)
        total = 0.0
        for batch in batches:
            audio, audio_lengths = pad([as_float(utterances[index][0]) for index in batch])
            texts = [np.array([index_of[char] for char in utterances[index][1]]) for index in batch]
            targets, target_lengths = pad(texts)
            with torch.no_grad():
                features, lengths = model.preprocessor(input_signal=audio, length=audio_lengths)
            encoded, lengths = model.encoder(audio_signal=hide_some(features), length=lengths)
            log_probs = model.decoder(encoder_output=encoded)
            loss = torch.nn.functional.ctc_loss(
                log_probs.transpose(0, 1), targets, lengths, target_lengths, blank=len(labels), zero_infinity=True
            )
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item()
        print(f"epoch {epoch + 1}: loss {total / len(batches):.3f}, {time.monotonic() - started:.0f} s", flush=True)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    model.eval()
    model.save_to(str(options.out))
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
