"""Recordings to tune weights on: what was heard of them, beside their references, decoded with any weights."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

import numpy as np

from actors.engine.vocabulary import TokenDecoder, Vocabulary
from actors.parts.recordings import as_dialogue, have_one_reference
from actors.storage.fetched import fetch_file
from actors.text.beam import Fusion, search
from actors.text.decoding import DecodingSettings
from actors.text.emissions import Heard
from actors.text.frames import Frames, frames_of
from actors.text.greedy import align
from actors.text.language_model import load_language_model, no_language_model
from actors.text.normalise import Normalisation, join_texts, normalise
from actors.text.phrases import Phrases, build_phrases, no_phrases, read_phrases
from actors.text.spelling import Speller
from jobs.transcripts.halves import is_held_back
from jobs.transcripts.heard import HeardRecording
from jobs.transcripts.weight_search import Weights

AT_ONCE = 16  # recordings that a thread takes


class Segment(NamedTuple):
    """The frames of a segment, and how it is joined to its neighbours, as in `Heard`."""

    frames: Frames
    previous: int | None
    is_followed: bool


@dataclass(frozen=True)
class Sample:
    """A recording, or several that are the channels of one sound and have one reference.

    `order` has the place of each segment, channel after channel, in the transcript. `errors` has those of texts that
    were compared already.
    """

    channels: list[list[Segment | None]]
    order: list[int]
    reference: str
    greedy: str
    seconds: float
    is_held_back: bool
    errors: dict[str, int] = field(default_factory=dict)


def with_channels(recordings: Iterable[HeardRecording]) -> Iterator[list[HeardRecording]]:
    """Recordings, those together that are the channels of one sound and have one reference."""
    found = list[HeardRecording]()
    for each in recordings:
        if found and not have_one_reference(found[-1].first, each.first):
            yield found
            found = []
        found.append(each)
    if found:
        yield found


def sample_of(channels: Sequence[HeardRecording], vocabulary: TokenDecoder, normalisation: Normalisation) -> Sample:
    """A recording to tune on. Raises InvalidData for emissions that are not of the vocabulary."""
    rows = list(chain.from_iterable(each.rows for each in channels))
    heard = list(chain.from_iterable(each.heard for each in channels))
    places = {id(row): number for number, row in enumerate(rows)}
    order = [places[id(row)] for row in as_dialogue([each.rows for each in channels])]
    segments = [[_segment(each, vocabulary.blank) for each in channel.heard] for channel in channels]
    greedy = [_greedy(each, vocabulary) for each in heard]
    reference = channels[0].first["reference"]
    return Sample(
        channels=segments,
        order=order,
        reference=normalise(reference, normalisation),
        greedy=normalise(join_texts(greedy[place] for place in order), normalisation),
        seconds=sum(each.end_s - each.start_s for each in heard if each),
        is_held_back=is_held_back(reference),
    )


def _segment(heard: Heard | None, blank: int) -> Segment | None:
    return heard and Segment(frames_of(heard, blank), heard.previous, heard.is_followed)


def _greedy(heard: Heard | None, vocabulary: TokenDecoder) -> str:
    if heard is None:
        return ""
    return vocabulary.text(align(heard.best, heard.probability, vocabulary.blank, heard.previous).ids.tolist())


def size_of(samples: Sequence[Sample]) -> dict[str, object]:
    """How many recordings, characters of references and hours there are."""
    return {
        "recordings": len(samples),
        "characters": sum(len(each.reference) for each in samples),
        "hours": round(sum(each.seconds for each in samples) / 3_600, 4),
    }


def sized(samples: Sequence[Sample]) -> str:
    """The same in words."""
    return "{recordings:,} recordings, {characters:,} characters".format(**size_of(samples))


class Tried:
    """Decodes samples with the language model and the phrases of settings, and any weights, on so many threads.

    The files were read before: raises UsageError only if one has changed meanwhile. Whatever the number of threads,
    the results are the same.
    """

    def __init__(
        self, settings: DecodingSettings, vocabulary: Vocabulary, normalisation: Normalisation, threads: int
    ) -> None:
        assert settings.beam
        self._decoder, self._normalisation, self._beam = vocabulary.decoder(), normalisation, settings.beam
        self._pool = ThreadPoolExecutor(threads)
        tokens = self._decoder.blank
        self._has_lm, self._lm = settings.lm is not None, no_language_model(tokens)
        if settings.lm:
            self._lm = load_language_model(fetch_file(settings.lm), settings.lm.sha256, vocabulary)
        self._phrases: Callable[[float], Phrases] = lambda _: no_phrases(tokens)
        if settings.phrases:
            listed, speller = read_phrases(fetch_file(settings.phrases)), Speller(vocabulary)
            self._phrases = lru_cache(4)(lambda weight: build_phrases(listed, speller, tokens, weight)[0])

    def __enter__(self) -> "Tried":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    @property
    def is_phrase_weight_used(self) -> bool:
        """Whether a phrase that the model can write has no weight of its own."""
        return not np.array_equal(self._phrases(0.0).bonuses, self._phrases(1.0).bonuses)

    def errors(self, samples: Sequence[Sample], weights: Weights | None) -> list[int]:
        """The characters wrong in each sample, decoded with weights; None is the greedy text."""
        if weights is None:
            return [_errors(each, each.greedy) for each in samples]
        lm_weights = (weights.lm_weight, weights.token_bonus) if self._has_lm else (0.0, 0.0)
        fusion = Fusion(self._lm, *lm_weights, self._phrases(weights.phrase_weight))

        def of(some: Sequence[Sample]) -> list[int]:
            return [_errors(each, self._text(each, fusion)) for each in some]

        parts = [samples[at : at + AT_ONCE] for at in range(0, len(samples), AT_ONCE)]
        return list(chain.from_iterable(self._pool.map(of, parts)))

    def _text(self, sample: Sample, fusion: Fusion) -> str:
        """The transcript of a sample, normalised: decoded as the last stage of a run does it."""
        texts = list[str]()
        for segments in sample.channels:
            state = None
            for segment in segments:
                if segment is None:
                    texts.append("")
                    state = None
                    continue
                frames, previous, is_followed = segment
                state = state if previous is not None else None
                (found,) = search(frames, self._beam, fusion, previous, state, is_followed)
                texts.append(self._decoder.text(found.ids.tolist()))
                state = found.state
        return normalise(join_texts(texts[place] for place in sample.order), self._normalisation)


def _errors(sample: Sample, text: str) -> int:
    from rapidfuzz.distance import Levenshtein

    errors = sample.errors.get(text)
    if errors is None:
        errors = sample.errors[text] = Levenshtein.distance(sample.reference, text)
    return errors
