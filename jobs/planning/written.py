"""Resolves how a run writes texts: the inverse text normalisation, and the files of replacements and of punctuation."""

from actors.storage.fetched import resolve_file
from actors.text.lists import MAX_BYTES
from actors.text.punctuation_model import MAX_BYTES as MAX_MODEL_BYTES
from actors.text.written.write import TextSettings
from jobs.cli.config import Config


def resolve_text(config: Config) -> TextSettings:
    """Resolves the section `text`. Raises UsageError, which names the key, for a file that cannot be read, and
    ConfigError if a secret is not set."""
    stated, options = config.text, config.text.options()
    replace = resolve_file(stated.replace, options, "text.replace", MAX_BYTES) if stated.replace else None
    model = stated.punctuation
    punctuation = resolve_file(model, options, "text.punctuation", MAX_MODEL_BYTES) if model else None
    return TextSettings(stated.itn, replace, punctuation)
