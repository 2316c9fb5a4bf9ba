"""Hearing and saying without Ray, for tests of what is heard, said and committed."""

import hashlib
from typing import Protocol

import numpy as np
import pyarrow as pa

from actors.engine.interface import Candidates, Emission, EngineSettings
from actors.engine.models import ModelFile, read_vocabulary
from actors.engine.vocabulary import TokenDecoder, Vocabulary
from actors.outcomes import Committed, Kept, Work
from actors.parts.update import Updating
from actors.pieces import Piece
from actors.schema import EMISSION_SCHEMA, FRAME_SAMPLES
from actors.sources.objects import ReadSettings, describe
from actors.storage.place import Place
from actors.text.decoding import GreedyDecoder
from actors.text.emissions import Heard, to_columns
from actors.text.say import Hypothesis, Speaker, hypothesis_of
from actors.text.written.write import TextSettings, load_write
from actors.transcriber import Transcriber
from actors.writer import Writer, WriteSettings

WORK = Work("actor", 1, 2, 1, 1).to_metadata()
HEXADECIMAL = Vocabulary(tuple(f"{number:02x}" for number in range(256)))
MODEL = ModelFile("m", "m")
NOWHERE = Place.at("/nowhere")


class Hearing(Protocol):
    """What hears tables of SPEECH_SCHEMA, and the vocabulary of what it heard."""

    vocabulary: Vocabulary

    def hear(self, speech: pa.Table) -> pa.Table: ...


class Transcribing:
    """The last two stages of the graph, but for the commit: tables of SPEECH_SCHEMA to tables of PART_SCHEMA."""

    def __init__(self, model: ModelFile, settings: EngineSettings, run_id: str = "run", tokens: bool = False) -> None:
        self.vocabulary, self.hear = read_vocabulary(model), Transcriber(model, settings)
        writing = WriteSettings(model, self.vocabulary, run_id, ReadSettings(), tokens)
        self._writer = Writer(writing, NOWHERE, run_id)

    def __call__(self, speech: pa.Table, unit: str = "0a") -> pa.Table:
        heard = self._writer.joined(unit, self.hear(speech))
        said = self._writer.said(heard, keeps_emissions=False)
        return said.replace_schema_metadata(heard.schema.metadata)


class Digests:
    """Hears a digest of each sound, which is its text then."""

    vocabulary = HEXADECIMAL

    def hear(self, speech: pa.Table) -> pa.Table:
        sounds = speech.column("pcm").to_pylist()
        return emitted(speech, [hashlib.md5(each).digest() if each else None for each in sounds])


DIGESTS = Digests()


def emission_of(content: bytes, candidates: int = 0) -> Emission:
    """An emission whose text is some bytes, in HEXADECIMAL, with so many candidates of each frame; by default, with one
    in every second frame."""
    best = np.full(2 * len(content), 256, np.uint16)
    best[::2] = tokens = np.frombuffer(content, np.uint8)
    counts, ids = (best != 256).astype(np.uint8), tokens.astype(np.uint16)
    if candidates:
        counts, ids = np.full(len(best), candidates, np.uint8), np.zeros(candidates * len(best), np.uint16)
    listed = Candidates(counts, ids, np.zeros_like(ids), np.zeros_like(best))
    return Emission(best, np.ones(len(best), np.float32), listed)


def emitted(speech: pa.Table, contents: list[bytes | None], candidates: int = 0) -> pa.Table:
    """What an actor would return, had it heard these bytes of each row; where there are none, it is silent."""
    columns = {name: speech.column(name) for name in speech.column_names if name in EMISSION_SCHEMA.names}
    columns |= to_columns([None if each is None else emission_of(each, candidates) for each in contents])
    columns["samples"] = pa.array([0 if each is None else 1 for each in contents], pa.int32())
    for name in ("before", "after"):  # nothing is joined
        columns[name] = pa.array([0] * speech.num_rows, pa.int32())
    table = pa.table([columns[name] for name in EMISSION_SCHEMA.names], schema=EMISSION_SCHEMA)
    return table.replace_schema_metadata(WORK | {FRAME_SAMPLES: "1280"} | (speech.schema.metadata or {}))


def writer(vocabulary: Vocabulary = HEXADECIMAL, output: Place = NOWHERE, attempt: str = "one") -> Writer:
    """The last stage."""
    return Writer(WriteSettings(MODEL, vocabulary, "m", ReadSettings()), output, attempt)


def heard(unit: str, emissions: pa.Table) -> pa.Table:
    """What the last stage makes of an actor's table before anything is said: of HEARD_SCHEMA."""
    return writer().joined(unit, emissions)


def said(unit: str, emissions: pa.Table) -> pa.Table:
    """What the last stage says then: of PART_SCHEMA, with the emissions."""
    return writer().said(heard(unit, emissions), keeps_emissions=True)


def updating(run_id: str = "later", tokens: bool = True, settings: ReadSettings | None = None) -> Updating:
    """How the last stage brings rows of HEXADECIMAL up to date."""
    reading = settings or ReadSettings()
    speak, write = Speaker(HEXADECIMAL.decoder(), tokens), load_write(TextSettings())
    return Updating(speak, write, lambda source: describe(source, reading), run_id)


def commit_piece(
    piece: Piece, emissions: pa.Table, output: Place, attempt: str, vocabulary: Vocabulary = HEXADECIMAL
) -> Committed | Kept:
    """Commits a piece, as the last stage does."""
    return writer(vocabulary, output, attempt)(piece, emissions)


def decode(heard: Heard, vocabulary: TokenDecoder, with_tokens: bool = True) -> Hypothesis:
    """What is said of a segment by the greedy path."""
    return hypothesis_of(heard, GreedyDecoder(vocabulary.blank)(heard, None), vocabulary, with_tokens)
