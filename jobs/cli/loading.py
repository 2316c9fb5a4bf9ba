"""Loads the configuration: YAML, overrides from the command line, and messages that name the key."""

import difflib
import os
import re
from contextlib import suppress
from pathlib import Path

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from actors.foreign import plain_yaml
from actors.foreign.escape import without_credentials
from jobs.cli.config import Config, ConfigError
from jobs.cli.secrets import has_secret, leaves


def load(path: str, overrides: list[str]) -> Config:
    """The configuration of a YAML file with `section.key=value` overrides, values in YAML. Raises ConfigError."""
    try:
        values = _parsed(Path(path).read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        raise ConfigError(f"there is no config file {path!r}; configs/demo.yaml is one to begin with") from None
    except OSError as problem:
        raise ConfigError(f"{path} cannot be read: {problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as problem:
        raise ConfigError(f"{path} is not YAML{_where(problem)}") from None
    if not isinstance(values, dict):
        kind = type(values).__name__
        raise ConfigError(f"{path} must hold sections such as input, output and model, and holds a {kind}")
    for override in overrides:
        _apply(values, override)
    for names, leaf in leaves([], values):
        if isinstance(leaf, str) and not _is_valid_name(leaf):
            raise ConfigError(f"{'.'.join(names)}: contains a NUL byte or a lone surrogate, which no name can have")
    try:
        return Config.model_validate(values)
    except ValidationError as problem:
        raise ConfigError(*map(_sentence, problem.errors())) from None


def _parsed(text: str) -> object:
    """Parses YAML. Raises YAMLError and others; UsageError if aliases expand it beyond the limits."""
    with suppress(yaml.YAMLError):  # the other parser has a better message
        plain_yaml.check_size(text.encode("utf-8", "surrogatepass"))
    value: object = yaml.safe_load(text)
    return value


def _is_valid_name(text: str) -> bool:
    """Whether a name can be passed to storage. Undecodable bytes are surrogates in it, as in Python's file names."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def _apply(values: dict[str, object], override: str) -> None:
    key, equals, text = override.partition("=")
    path = key.strip().split(".")
    if not equals or len(path) < 2:
        shown_key = re.match(r"[\w.-]{0,60}", key.strip())  # what comes after may be secret
        raise ConfigError(f"{shown_key and shown_key[0]!r}: an override is section.key=value, such as input.limit=10")
    try:
        value = _parsed(text)
        is_secret = has_secret(path, value)
    except (yaml.YAMLError, ValueError, RecursionError) as problem:
        raise ConfigError(f"{key}: its value is not YAML{_where(problem)}") from None
    if is_secret:
        where = "use env:NAME, or the config file"
        if "storage_options" not in path:  # a URL; only options take env:NAME
            where = f"give the URL without it, and the login in {path[0]}.storage_options as env:NAME"
        raise ConfigError(f"{key}: a secret must not be on a command line, which others can read; {where}")
    section = values
    for part in path[:-1]:
        inner = section.setdefault(part, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{key}: {part!r} is a value, not a section")
        section = inner
    section[path[-1]] = value


def _where(problem: Exception) -> str:
    """What is wrong with a text that is not YAML, and where; without the text, which may hold secrets."""
    if not isinstance(problem, yaml.MarkedYAMLError) or problem.problem_mark is None:
        return ""
    mark = problem.problem_mark
    return f", line {mark.line + 1}, column {mark.column + 1}" + (f": {problem.context}" if problem.context else "")


def _sentence(error: ErrorDetails) -> str:
    """One of pydantic's errors as a sentence; a value is shown unless it may be a secret."""
    path = [str(part) for part in error["loc"]]
    key = ".".join(path)
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, _all_keys(), n=1, cutoff=0.5)
        return f"{key}: no such key" + (f"; did you mean {near[0]}?" if near else "")
    if error["type"] == "missing":
        return f"{key}: this key is needed"
    if error["type"] == "value_error":  # of a section as a whole; its message begins with the key
        return f"{key}.{error['ctx']['error']}"
    return f"{key}: {error['msg']}{_not(path, error['input'])}"


def _not(path: list[str], value: object) -> str:
    if "storage_options" in path or isinstance(value, (dict, list)):
        return ""  # there may be secrets in it
    return f", not {without_credentials(repr(value)):.60}"


def _all_keys() -> list[str]:
    sections = {name: each.annotation for name, each in Config.model_fields.items()}
    return [f"{name}.{key}" for name, section in sections.items() for key in section.model_fields] + list(sections)  # type: ignore[union-attr]
