"""How emissions are decoded: settings, and the decoders that they make."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from actors.engine.vocabulary import TokenDecoder, Vocabulary
from actors.foreign.errors import InvalidData
from actors.schema import UsageError
from actors.storage.fetched import StoredFile, fetch_file
from actors.text.alignment import align_tokens
from actors.text.beam import Found, Fusion, State, search
from actors.text.emissions import Heard
from actors.text.frames import frames_of
from actors.text.greedy import Aligned, align
from actors.text.language_model import LanguageModel, load_language_model, no_language_model
from actors.text.phrases import Phrases, Unspelled, build_phrases, no_phrases, read_phrases, sentences_about
from actors.text.spelling import Speller

GREEDY = "greedy"  # in the column `decoding`
IMPLIED_BEAM = 16  # of a language model, phrases or alternatives


@dataclass(frozen=True)
class DecodingSettings:
    """Greedy if `beam` is None, else a beam of that width, with what is fused (`beam.Fusion`); `phrase_weight` is for
    phrases without one, in nats a token. So many `alternatives` of each segment are kept."""

    beam: int | None = None
    lm: StoredFile | None = None
    lm_weight: float = 0.9
    token_bonus: float = 3.5
    phrases: StoredFile | None = None
    phrase_weight: float = 1.5
    alternatives: int = 0

    def to_dict(self) -> dict[str, object]:
        """What decides which texts are made; a file by its SHA-256."""
        told: dict[str, object] = {"beam": self.beam}
        if self.lm:
            told |= {"lm": self.lm.sha256, "lm_weight": self.lm_weight, "token_bonus": self.token_bonus}
        if self.phrases:
            told |= {"phrases": self.phrases.sha256, "phrase_weight": self.phrase_weight}
        return told | ({"alternatives": self.alternatives} if self.alternatives else {})

    @property
    def described(self) -> str:
        """For the column `decoding`: `greedy`, or `beam=16 lm=4f0c1a2b3c4d lm_weight=0.9 …`."""
        if self.beam is None:
            return GREEDY
        return " ".join(f"{name}={_short(value)}" for name, value in self.to_dict().items())


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)[:16]


class Alternative(NamedTuple):
    """One of the best texts of a segment, with its score in nats."""

    text: str
    score: float


class Decoded(NamedTuple):
    """What a segment was decoded to: its tokens, its best texts if they were asked for, and what the next segment goes
    on from if it is joined to this one."""

    tokens: Aligned
    alternatives: Sequence[Alternative] = ()
    state: State | None = None


class Decoder(Protocol):
    """Decodes segments. `described` is for the column `decoding`."""

    described: str

    def __call__(self, heard: Heard, state: State | None) -> Decoded:
        """Decodes a segment. `state` is that after the segment to which it is joined; None if there is none.

        Raises InvalidData for emissions that are not of this model.
        """
        ...


class GreedyDecoder:
    """The best class of each frame. `blank` is the id of the model's blank."""

    described = GREEDY

    def __init__(self, blank: int) -> None:
        self._blank = blank

    def __call__(self, heard: Heard, state: State | None) -> Decoded:
        if heard.best.max(initial=0) > self._blank:
            raise InvalidData(f"it has emissions of more than the {self._blank + 1} classes of the model")
        return Decoded(align(heard.best, heard.probability, self._blank, heard.previous))


class BeamDecoder:
    """A beam of settings, with a language model and phrases."""

    def __init__(
        self, settings: DecodingSettings, vocabulary: TokenDecoder, lm: LanguageModel, phrases: Phrases
    ) -> None:
        assert settings.beam
        self._vocabulary, self._beam, self._alternatives = vocabulary, settings.beam, settings.alternatives
        weights = (settings.lm_weight, settings.token_bonus) if settings.lm else (0.0, 0.0)
        self._fusion = Fusion(lm, *weights, phrases)
        self.described = settings.described

    def __call__(self, heard: Heard, state: State | None) -> Decoded:
        frames, count = frames_of(heard, self._vocabulary.blank), self._beam if self._alternatives else 1
        found = search(frames, self._beam, self._fusion, heard.previous, state, heard.is_followed, count)
        aligned = align_tokens(found[0].ids.tolist(), frames, heard.previous)
        assert aligned  # the beam found a path for it
        return Decoded(aligned.tokens, self._best_texts(found), found[0].state)

    def _best_texts(self, found: Sequence[Found]) -> list[Alternative]:
        """The best texts, of which several hypotheses may have the same."""
        scores = dict[str, float]()
        for each in found if self._alternatives else ():
            scores.setdefault(self._vocabulary.text(each.ids.tolist()), each.score)
        return [Alternative(text, score) for text, score in scores.items()][: self._alternatives]


class Loaded(NamedTuple):
    """A decoder, and the phrases that its vocabulary cannot write."""

    decoder: Decoder
    unspelled: Sequence[Unspelled] = ()
    phrases: int = 0


def load_decoder(settings: DecodingSettings, vocabulary: Vocabulary) -> Loaded:
    """Loads a decoder with its files; the first time on a machine, they are fetched and converted.

    Raises UsageError, which names the key and the file, if one is not what it should be.
    """
    decoder = vocabulary.decoder()
    blank = decoder.blank
    if settings.beam is None:
        return Loaded(GreedyDecoder(blank))
    lm, phrases, unspelled, count = no_language_model(blank), no_phrases(blank), list[Unspelled](), 0
    if settings.lm:
        path = fetch_file(settings.lm)
        try:
            lm = load_language_model(path, settings.lm.sha256, vocabulary)
        except UsageError as problem:
            raise _of_file(settings.lm, problem) from None
    if settings.phrases:
        path = fetch_file(settings.phrases)
        try:
            listed = read_phrases(path)
            count = len(listed)
            phrases, unspelled = build_phrases(listed, Speller(vocabulary), blank, settings.phrase_weight)
            if len(unspelled) == count:
                raise UsageError(" ".join(sentences_about(unspelled, count)))
        except UsageError as problem:
            raise _of_file(settings.phrases, problem) from None
    return Loaded(BeamDecoder(settings, decoder, lm, phrases), unspelled, count)


def _of_file(file: StoredFile, problem: UsageError) -> UsageError:
    return UsageError(f"{file.key}: {file.place.described}: {problem}")
