"""Resolves how a run decodes: the beam, and the files of a language model and of phrases."""

import os
from pathlib import Path

from actors.storage.cache import cache_folder
from actors.storage.fetched import resolve_file
from actors.text.decoding import IMPLIED_BEAM, DecodingSettings, Loaded
from actors.text.phrases import MAX_BYTES as MAX_PHRASES_BYTES
from actors.text.phrases import sentences_about
from jobs.cli.config import Config, Decoding
from jobs.cli.terminal import say

MAX_LM_BYTES = 64_000_000_000


def resolve_decoding(config: Config) -> DecodingSettings:
    """Resolves the section `decoding`. Raises UsageError, which names the key, for files that cannot be read, and
    ConfigError if a secret is not set."""
    stated, options = config.decoding, config.decoding.options()
    lm = resolve_file(stated.lm, options, "decoding.lm", MAX_LM_BYTES) if stated.lm else None
    phrases = resolve_file(stated.phrases, options, "decoding.phrases", MAX_PHRASES_BYTES) if stated.phrases else None
    implied = max(IMPLIED_BEAM, stated.alternatives) if lm or phrases or stated.alternatives else None
    return DecodingSettings(
        beam=implied if stated.beam is None else stated.beam,
        lm=lm,
        lm_weight=stated.lm_weight,
        token_bonus=stated.token_bonus,
        phrases=phrases,
        phrase_weight=stated.phrase_weight,
        alternatives=stated.alternatives,
    )


def say_what_takes_time(settings: DecodingSettings) -> None:
    """Says that the beam search will be compiled, if this machine has not done so yet."""
    folder = Path(os.environ.get("NUMBA_CACHE_DIR") or cache_folder() / "numba")
    if settings.beam is not None and not any(folder.glob("*/*.nbi")):
        say("compiling the beam search, once per machine, which takes up to a minute …")


def notes_of(stated: Decoding, loaded: Loaded) -> list[str]:
    """What a person should know: phrases that the model cannot write, and weights of what is not there."""
    notes = [f"decoding.phrases: {each}" for each in sentences_about(loaded.unspelled, loaded.phrases)]
    for name, needed in (("lm_weight", "lm"), ("token_bonus", "lm"), ("phrase_weight", "phrases")):
        if getattr(stated, name) != Decoding.model_fields[name].default and not getattr(stated, needed):
            notes.append(f"decoding.{name} changes nothing without decoding.{needed}")
    return notes
