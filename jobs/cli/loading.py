"""Loads the configuration: YAML, overrides from the command line, and messages that name the key."""

import difflib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import yaml
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from jobs.cli.config import Config, ConfigError
from jobs.cli.kinds import ANY, in_a_sentence, kinds_of
from jobs.cli.secrets import has_secret, leaves
from jobs.cli.sections import Section
from jobs.cli.values import node_of, shown, value_of
from jobs.cli.yaml_text import compose, items

_LARGE = 1e9  # no number is larger


def load(path: str | None, overrides: list[str]) -> Config:
    """The configuration of a YAML file, or of none, with `section.key=value` overrides. Raises ConfigError."""
    values = _read(path) if path is not None else {}
    mistakes = list[object]()
    for override in overrides:
        try:
            _apply(values, override)
        except ConfigError as problem:
            mistakes += problem.args
    for names, leaf in leaves([], values):
        if isinstance(leaf, str) and not _is_valid_name(leaf):
            raise ConfigError(f"{'.'.join(names)}: contains a NUL byte or a lone surrogate, which no name can have")
    try:
        config = Config.model_validate(values)
    except ValidationError as problem:
        mistakes = [*_sentences(problem.errors()), *mistakes]
    if mistakes:
        raise ConfigError(*dict.fromkeys(mistakes))
    return config


def _read(path: str) -> dict[str, object]:
    """The values of a YAML file, by section and key."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"there is no config file {path!r}; configs/demo.yaml is one to begin with") from None
    except OSError as problem:
        raise ConfigError(f"{path} cannot be read: {problem}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text") from None
    root = compose(text, path)
    if not isinstance(root, yaml.MappingNode):
        kind = "nothing" if root is None else "a list" if isinstance(root, yaml.SequenceNode) else "a text"
        raise ConfigError(f"{path} must hold sections such as input, output and model, and holds {kind}")
    return {name: _read_section(name, node) for name, node in items(root)}


def _read_section(name: str, node: yaml.Node) -> object:
    if isinstance(node, yaml.MappingNode):
        return {key: _value([name, key], each) for key, each in items(node)}
    if value_of(node, ANY, name) is None:  # a section whose keys are all comments
        return {}
    raise ConfigError(f"{name}: must be a section, with keys below it")


def _value(path: list[str], typed: str | yaml.Node) -> object:
    """The value of a key, or of an option in a key's mapping, from a file's node or the command line's text."""
    field, key = _field_at(path), ".".join(path)
    kinds = kinds_of(field.annotation) if field and len(path) == 2 else ANY
    node = node_of(typed, kinds, key) if isinstance(typed, str) else typed
    return value_of(node, kinds, key, in_a_sentence(field) if field else "")


def _field_at(path: list[str]) -> FieldInfo | None:
    section = Config.model_fields[path[0]].annotation if path[0] in Config.model_fields else None
    return section.model_fields.get(path[1]) if isinstance(section, type) and issubclass(section, Section) else None


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
    value = _value(path, text)
    if has_secret(path, value):
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


def _sentences(errors: list[ErrorDetails]) -> Iterator[str]:
    """Pydantic's errors as sentences. Of a key that takes a name or a list, a name that is refused is told alone, not
    also that it is no list."""
    refused = {error["loc"][:2] for error in errors if error["type"] == "value_error" and len(error["loc"]) > 1}
    return (_sentence(each) for each in errors if each["type"] == "value_error" or each["loc"][:2] not in refused)


def _sentence(error: ErrorDetails) -> str:
    """One of pydantic's errors as a sentence; a value is shown unless it may be a secret."""
    path = [str(part) for part in error["loc"]]
    key = ".".join(path)
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, _all_keys(), n=1, cutoff=0.5)
        return f"{key}: no such key" + (f"; did you mean {near[0]}?" if near else "")
    if error["type"] == "missing":
        return f"{key}: this key is needed"
    if error["type"] == "value_error" and len(path) > 1:
        return f"{'.'.join(path[:2])}: {error['ctx']['error']}"
    if error["type"] == "value_error":  # of a section as a whole; its message begins with the key
        return f"{key}.{error['ctx']['error']}"
    field = _field_at(path) if len(path) > 1 else None
    if field is None:
        return f"{key}: must be a section, with keys below it"
    words = f"one of {error['ctx']['expected']}" if error["type"] == "enum" else in_a_sentence(field)
    value = error["input"]
    if isinstance(value, int | float) and value > _LARGE:
        words += f", at most {_LARGE:,.0f}"
    key = ".".join(path[:2])
    return f"{key}: must be {words}{shown(value, key)}"


def _all_keys() -> list[str]:
    sections = {name: each.annotation for name, each in Config.model_fields.items()}
    return [f"{name}.{key}" for name, section in sections.items() for key in section.model_fields] + list(sections)  # type: ignore[union-attr]
