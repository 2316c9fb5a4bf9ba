"""An n-gram language model over the tokens of a vocabulary, as arrays that are mapped from a file.

A back-off model as a deterministic automaton (Allauzen, Mohri, Roark 2003, https://doi.org/10.3115/1075096.1075102): a
state is the longest context that the model has, state 0 the empty one.
"""

import hashlib
import json
import shutil
import zlib
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import NamedTuple

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from actors.engine.vocabulary import Vocabulary
from actors.storage.cache import cache_folder
from actors.text.arpa import read_arpa
from actors.text.backoff import Arrays, automaton

_FORMAT = 1  # of the folder; another number makes every machine convert its models again
_CHECKSUMS, _NUMBERS = "checksums.json", "numbers"


class LanguageModel(NamedTuple):
    """A model's arrays, read-only. Weights are natural logarithms of probabilities, `backoffs` of back-off weights.

    The arcs of state s, `begins[s]` to `begins[s + 1]` (states + 1,) of `labels`, `weights` and `targets` (arcs,), are
    in the order of their tokens. State 0 has none: `unigrams` and `unigram_targets`, (tokens,), hold what every token
    has there, <unk>'s if it is not in the model. `backoff_states` (states,) is the state of the shorter context,
    `finals` (states,) the probability of the end of a sentence, `start` the state after its beginning.
    """

    begins: NDArray[np.uint32]
    labels: NDArray[np.uint16]
    weights: NDArray[np.float32]
    targets: NDArray[np.uint32]
    unigrams: NDArray[np.float32]
    unigram_targets: NDArray[np.uint32]
    backoffs: NDArray[np.float32]
    backoff_states: NDArray[np.uint32]
    finals: NDArray[np.float32]
    start: int


_TYPES = {
    "begins": np.uint32,
    "labels": np.uint16,
    "weights": np.float32,
    "targets": np.uint32,
    "unigrams": np.float32,
    "unigram_targets": np.uint32,
    "backoffs": np.float32,
    "backoff_states": np.uint32,
    "finals": np.float32,
}


class Coverage(NamedTuple):
    """How well a model fits a vocabulary: how many of its words there are besides <s>, </s> and <unk>, and how many of
    them are tokens. N-grams of others are left out."""

    words: int
    known: int


def no_language_model(tokens: int) -> LanguageModel:
    """One state in which every token has log-probability 0."""
    sizes = {"begins": 2, "unigrams": tokens, "unigram_targets": tokens}
    arcs = ("labels", "weights", "targets")
    arrays = {name: np.zeros(0 if name in arcs else sizes.get(name, 1), kind) for name, kind in _TYPES.items()}
    return _model(arrays, 0)


def load_language_model(path: Path, sha256: str, vocabulary: Vocabulary) -> LanguageModel:
    """The model of an ARPA file (also gzipped) whose words are the vocabulary's tokens, mapped from the cache folder;
    the first time on a machine it is converted, up to order 6.

    A token that is a space is written `<space>` or `▁` in such a file. Raises UsageError, which says what would be
    right, if the file is no such model; without the name of the file.
    """
    folder = _folder(sha256, vocabulary)
    loaded = _load(folder)
    if loaded is None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):  # if many processes start at once, one converts
            loaded = _load(folder)
            if loaded is None:
                _convert(path, vocabulary, folder)
                loaded = _load(folder)
    if loaded is None:
        raise OSError(f"{folder} cannot be read back as it was written; the disk may be damaged")
    return loaded[0]


def language_model_coverage(sha256: str, vocabulary: Vocabulary) -> Coverage | None:
    """How well a model that was loaded on this machine fits a vocabulary; None if it was not."""
    loaded = _load(_folder(sha256, vocabulary))
    return loaded and loaded[1]


def _folder(sha256: str, vocabulary: Vocabulary) -> Path:
    tokens = vocabulary.tokens
    content = tokens if isinstance(tokens, bytes) else json.dumps(tokens).encode()
    key = hashlib.sha256(f"{_FORMAT} {sha256} {hashlib.sha256(content).hexdigest()}".encode()).hexdigest()
    return cache_folder() / "language_models" / key


def _convert(path: Path, vocabulary: Vocabulary, folder: Path) -> None:
    """Writes a folder of arrays and their checksums, in place of what may be there."""
    tokens = vocabulary.pieces
    ngrams = read_arpa(path, tokens)
    arrays, start = automaton(ngrams, len(tokens))
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
    try:
        partial.mkdir()
        for name, array in arrays.items():
            np.save(partial / f"{name}.npy", array)
        np.save(partial / f"{_NUMBERS}.npy", np.array([start, ngrams.stated, ngrams.known], np.int64))
        (partial / _CHECKSUMS).write_text(json.dumps(_checksums(partial)), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _load(folder: Path) -> tuple[LanguageModel, Coverage] | None:
    """The model in a folder; None if there is none, or what is there is damaged: compiled code would read past the
    arrays' ends where their numbers are not as written."""
    try:
        if json.loads((folder / _CHECKSUMS).read_bytes()) != _checksums(folder):
            return None
        arrays: Arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _TYPES}
        start, words, known = np.load(folder / f"{_NUMBERS}.npy").tolist()
    except (OSError, ValueError):  # also if another process replaces it meanwhile
        return None
    return _model(arrays, start), Coverage(words, known)


def _checksums(folder: Path) -> dict[str, int]:
    """The CRC-32 of each file of arrays. It tells of damage, not of malice, for the folder is the user's own; that of
    100 MB takes 30 ms."""
    sums = dict[str, int]()
    for name in (*_TYPES, _NUMBERS):
        with (folder / f"{name}.npy").open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
            sums[name] = zlib.crc32(content)
    return sums


def _model(arrays: Arrays, start: int) -> LanguageModel:
    """All arrays are plain ones and read-only, so that numba compiles for one type alone."""
    plain = {name: np.asarray(array).view(np.ndarray) for name, array in arrays.items()}
    for array in plain.values():
        array.flags.writeable = False
    return LanguageModel(**plain, start=start)
