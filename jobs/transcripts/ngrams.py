"""Trains n-gram models by programs of others: kaldingram, in Python, or KenLM's lmplz, in C++."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

from actors.extras import how_to_install
from jobs.cli.config import ConfigError
from jobs.cli.config_of_jobs import LanguageModel

_IMPOSSIBLE = b"-99.0000000\t"  # as kaldingram writes a probability of 0


class TrainingFailed(Exception):
    """A program ended with an error."""


def find_trainer(config: LanguageModel) -> str:
    """The trainer to use: kaldingram or lmplz. Raises ConfigError if it is not installed, or cannot train so."""
    trainer = config.trainer
    if trainer == "auto":
        trainer = "lmplz" if shutil.which("lmplz") else "kaldingram"
    if trainer == "lmplz" and not shutil.which("lmplz"):
        raise ConfigError(
            "language_model.trainer: lmplz is not on the PATH; build KenLM (https://github.com/kpu/kenlm), or use"
            " kaldingram"
        )
    if trainer == "kaldingram" and find_spec("kaldingram") is None:
        raise ConfigError(
            f"jobs.language_model needs the package kaldingram: {how_to_install('lm')}; or KenLM's lmplz on the PATH"
        )
    if trainer == "kaldingram" and config.order > 5:
        raise ConfigError("language_model.order: kaldingram trains up to 5; 6 needs KenLM's lmplz on the PATH")
    return trainer


def train(trainer: str, config: LanguageModel, texts: Path, model: Path, say: Callable[[str], None]) -> None:
    """Trains a model of a file of sentences, their tokens separated by spaces, and writes it as ARPA.

    Raises TrainingFailed, and ConfigError if there are too few texts.
    """
    order = str(config.order)
    if trainer == "lmplz":
        command = ["lmplz", "-o", order, "--text", str(texts), "--arpa", str(model), "-T", str(texts.parent)]
        command += ["-S", "50%", "--discount_fallback"]
    else:
        command = [sys.executable, "-m", "kaldingram.cli", "train", "--ngram-order", order]
        command += ["--text", str(texts), "--lm", str(model)]
    log, began = texts.with_suffix(".log"), time.monotonic()
    with log.open("wb") as errors, subprocess.Popen(command, stdout=errors, stderr=errors) as process:
        try:
            while process.poll() is None:
                say(f"{trainer} is training for {time.monotonic() - began:.0f} s …")
                try:
                    process.wait(1)
                except subprocess.TimeoutExpired:
                    continue
        except BaseException:
            process.kill()
            raise
    if process.returncode < 0:
        raise TrainingFailed(
            f"{trainer} was ended by signal {-process.returncode}: for want of memory, if nobody did it; take fewer"
            " texts, a lower language_model.order, or lmplz, which sorts on disk"
        )
    if process.returncode:
        last = log.read_text(encoding="utf-8", errors="replace").strip().replace("\r", "\n").rpartition("\n")[2]
        raise TrainingFailed(f"{trainer} ended with status {process.returncode}: {last[:300]}")


def finished_lines(trainer: str, model: Path, order: int) -> Iterator[bytes]:
    """The lines of a trained model.

    kaldingram writes no <unk>, without which tokens that no text has are impossible: it gets the probability of the
    rarest token. Raises ConfigError where n-grams are impossible, for there were too few texts to estimate discounts.
    """
    if trainer != "kaldingram":
        with model.open("rb") as file:
            yield from file
        return
    least = _least_unigram(model)
    section = 0
    with model.open("rb") as file:
        for line in file:
            if line.startswith(b"\\") and line.endswith(b"-grams:\n"):
                section += 1
            elif section > 1 and line.startswith(_IMPOSSIBLE):
                raise ConfigError(
                    f"input.uri: there are too few texts for language_model.order={order}: all their {section}-grams"
                    " are met once; give more, or a lower order"
                )
            if line.startswith(b"ngram 1="):
                line = b"ngram 1=%d\n" % (int(line[8:]) + 1)
            yield line
            if section == 1 and line == b"\\1-grams:\n":
                yield b"%.7f\t<unk>\n" % least


def _least_unigram(model: Path) -> float:
    """The decimal log-probability of the rarest token."""
    least, is_within = 0.0, False
    with model.open("rb") as file:
        for line in file:
            if line.startswith(b"\\"):
                if is_within:
                    break
                is_within = line == b"\\1-grams:\n"
            elif is_within and b"\t" in line and not line.startswith(_IMPOSSIBLE):
                least = min(least, float(line.partition(b"\t")[0]))
    return least
