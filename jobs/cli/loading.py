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

from jobs.cli.called import how_to_call
from jobs.cli.config import Config, ConfigError
from jobs.cli.kinds import ANY, in_a_sentence, kinds_of
from jobs.cli.secrets import has_secret, leaves
from jobs.cli.sections import Section
from jobs.cli.values import hint_for, node_of, shown, value_of
from jobs.cli.yaml_text import compose, items

_LARGE = 1e9  # no number is larger
_OVERRIDES = "an override, section.key=value such as input.sample=10, comes after it"


def load(path: str | None, overrides: list[str]) -> Config:
    """The configuration of a YAML file, or of none, with `section.key=value` overrides. Raises ConfigError."""
    values = _read(path) if path is not None else {}
    if any(each.startswith("=") or (each.endswith("=") and "." not in each) for each in overrides):
        raise ConfigError(
            "an override is section.key=value in one word, such as input.sample=10, without spaces around ="
        )
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
    except (FileNotFoundError, NotADirectoryError):
        if "=" in path:  # its value may be secret
            raise ConfigError(
                f"the first argument must be a YAML file, such as configs/demo.yaml; {_OVERRIDES}"
            ) from None
        raise ConfigError(f"there is no config file {path!r}; {how_to_call('init')} writes one to begin with") from None
    except IsADirectoryError:
        raise ConfigError(f"{path} is a folder; give a YAML file, such as configs/demo.yaml") from None
    except (OSError, ValueError) as problem:
        if isinstance(problem, UnicodeDecodeError):
            raise ConfigError(f"{path} is not UTF-8 text; give a YAML file, such as configs/demo.yaml") from None
        why = problem.strerror if isinstance(problem, OSError) else problem
        raise ConfigError(f"the config file {path!r} cannot be read: {why}") from None
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
        match = re.match(r"[\w.-]{0,60}", key.strip())  # what comes after may be secret
        shown_key = match[0] if match else ""
        told = f"{shown_key!r}: an override is section.key=value, such as input.sample=10"
        raise ConfigError(told + (_did_you_mean(_keys_called(shown_key)) if shown_key == key.strip() else ""))
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
    """Pydantic's errors as sentences, one for each key: of one that takes a name or a list, a name that is refused is
    told, not also that it is no list; of one that takes a word or a list, what is wrong in the list."""
    told = dict[tuple[int | str, ...], ErrorDetails]()
    for each in errors:
        known = told.setdefault(each["loc"][:2], each)
        if known["type"] != "value_error" and each["type"] != "missing":
            told[each["loc"][:2]] = each
    return map(_sentence, told.values())


def _sentence(error: ErrorDetails) -> str:
    """One of pydantic's errors as a sentence; a value is shown unless it may be a secret."""
    path = [str(part) for part in error["loc"]]
    key = ".".join(path)
    if error["type"] == "extra_forbidden":
        return _no_such_key(path)
    if error["type"] == "missing":
        return f"{key}: this key is needed"
    if error["type"] == "value_error" and len(path) > 1:
        return f"{'.'.join(path[:2])}: {error['ctx']['error']}"
    if error["type"] == "value_error":  # of a section as a whole; its message begins with the key
        return f"{key}.{error['ctx']['error']}"
    field = _field_at(path) if len(path) > 1 else None
    if field is None:
        return f"{key}: must be a section, with keys below it"
    words = in_a_sentence(field)
    if error["type"] == "string_pattern_mismatch":
        words = (field.description or "").splitlines()[0]
    value = error["input"]
    if isinstance(value, int | float) and value > _LARGE:
        words += "" if re.search(r" to \d", words) else f", at most {_LARGE:,.0f}"
    key = ".".join(path[:2])
    hint = hint_for(value, kinds_of(field.annotation)) if len(path) < 4 else ""  # deeper is what a list holds
    return f"{key}: must be {words}{shown(value, key)}{hint}"


def _no_such_key(path: list[str]) -> str:
    """That there is no section or key of this name, with the nearest one, or those that there are."""
    section, keys = path[0], _keys()
    key = ".".join(path[:2])
    if section not in keys:
        near = difflib.get_close_matches(section, keys, n=1) or _keys_called(section)
        return f"{section}: no such section" + (_did_you_mean(near) or f"; there are {', '.join(keys)}")
    near = difflib.get_close_matches(path[1], keys[section], n=1)
    suggested = [f"{section}.{each}" for each in near] or _keys_called(path[1])
    return f"{key}: no such key" + (_did_you_mean(suggested) or f"; {section} has {', '.join(keys[section])}")


def _did_you_mean(names: list[str]) -> str:
    return f"; did you mean {' or '.join(names)}?" if names else ""


def _keys_called(name: str) -> list[str]:
    """The keys of this name in all sections, at most three of them; of a section, its first key."""
    of_section = [f"{name}.{key}" for key in _keys().get(name, ())[:1]]
    return of_section or [f"{section}.{name}" for section, keys in _keys().items() if name in keys][:3]


def _keys() -> dict[str, list[str]]:
    """The names of the keys, by section."""
    return {name: [*each.annotation.model_fields] for name, each in Config.model_fields.items()}  # type: ignore[union-attr]
