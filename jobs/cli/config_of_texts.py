"""The sections of the configuration by which texts are made of what was heard."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from actors.engine.interface import MAX_CANDIDATES
from jobs.cli.sections import Location, StorageOptions, Stored


class Decoding(Stored):
    """From emissions, what the model says of each frame, to text."""

    beam: Annotated[int, Field(ge=1, le=256)] | None = None
    """null: greedy, or 16 with a language model, phrases or alternatives; a number: a beam of that width"""
    lm: Location | None = None
    """language model: path or URL of an ARPA file (also .gz) of characters, or of the model's SentencePiece pieces

    `python -m jobs.language_model` makes one from texts."""
    lm_weight: Annotated[float, Field(ge=0, le=10)] = 0.9
    """of the language model's log-probabilities; `python -m jobs.tune` finds the best"""
    token_bonus: Annotated[float, Field(ge=-10, le=10)] = 3.5
    """with a language model: nats for each token, or the texts would be too short"""
    phrases: Location | None = None
    """phrases to prefer: path or URL of a text file, a phrase a line, with its own weight after a tab if wanted"""
    phrase_weight: Annotated[float, Field(ge=0, le=100)] = 1.5
    """nats for each token of a phrase in a text; 1 to 2 are usual, more finds phrases that were not said"""
    alternatives: Annotated[int, Field(ge=0, le=32)] = 0
    """so many of the best texts of each segment are kept, with their scores, in the column alternatives"""
    candidates: Annotated[int, Field(gt=0, le=MAX_CANDIDATES)] = 32
    """candidates of each frame, for a beam and to be kept with output.emissions; less than 1 in 10,000 is none

    Another number has what was kept with the old one transcribed again, as output.on_mismatch says."""
    storage_options: StorageOptions = {}
    """as for input, if lm or phrases is a URL"""

    @model_validator(mode="after")
    def _wide_enough(self) -> "Decoding":
        if self.beam is not None and self.alternatives > self.beam:
            raise ValueError(f"alternatives: {self.alternatives} are more than the beam holds, {self.beam}")
        return self


class Text(Stored):
    """The column written: texts as people write them. The column text never changes by it."""

    itn: Literal["none", "zh", "en"] = "none"
    """none | zh | en: numbers, dates, times and amounts as digits (inverse text normalisation)

    Only what its context says is a number is written so. English needs the extra written-en."""
    replace: Location | None = None
    """replacements, after that: path or URL of a text file, a pair a line, with a tab between

    The longest that fits is replaced; in scripts with spaces between words, whole words are."""
    punctuation: Location | None = None
    """model of punctuation: path or URL of a CT-transformer in ONNX, as sherpa-onnx publishes it

    It sees whole recordings of text; its marks are put into what the other keys make of that. Needs the extra
    punctuation."""
    storage_options: StorageOptions = {}
    """as for input, if replace or punctuation is a URL"""
