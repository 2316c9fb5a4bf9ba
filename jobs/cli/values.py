"""Reads values as typed, by the kind of their key: a text is what was typed, whatever else it might be in YAML."""

import difflib
import re

import yaml

from actors.foreign.escape import without_credentials
from jobs.cli.errors import ConfigError
from jobs.cli.kinds import ANY, Kinds
from jobs.cli.secrets import has_secret
from jobs.cli.yaml_text import compose, items

_WHOLE = re.compile(r"[+-]?(0|[1-9][0-9]{0,63})", re.ASCII)
_DECIMAL = re.compile(r"[+-]?((0|[1-9][0-9]{0,63})(\.[0-9]{0,64})?|\.[0-9]{1,64})([eE][+-]?[0-9]{1,4})?", re.ASCII)
_ODD_NUMBER = re.compile(r"([+-]?)0*([0-9][0-9_, ]*)", re.ASCII)
_NULLS = ("", "~", "null", "Null", "NULL")
_TRUE, _FALSE = ("true", "yes", "on"), ("false", "no", "off")


def node_of(text: str, kinds: Kinds, key: str) -> yaml.Node:
    """A value of the command line. Lists and mappings are in YAML, as are quotes around the whole value."""
    stripped = text.strip()
    if stripped[:1] in ('"', "'") and stripped[-1:] == stripped[:1] and len(stripped) > 1:
        try:
            node = compose(stripped, key, has_lines=False)
        except ConfigError:
            node = None
        if isinstance(node, yaml.ScalarNode) and node.style in ('"', "'"):
            return node
    if kinds.is_mapping and stripped[:1] in ("{", "["):
        return compose(stripped, key, has_lines=False) or _scalar("")
    if kinds.items is not None and stripped.startswith("["):
        if stripped.endswith("]"):
            return yaml.SequenceNode("", [node_of(each, kinds.items, key) for each in _split(stripped[1:-1])])
        if "]" not in stripped:
            raise ConfigError(f"{key}: a list begins with [ and must end with ]; put the value in quotes if it is none")
    return _scalar(text)


def value_of(node: yaml.Node, kinds: Kinds, key: str, words: str = "") -> object:
    """The value of a node. Raises ConfigError, with `words` for what is taken, if its key does not take it."""
    if isinstance(node, yaml.MappingNode):
        if not kinds.is_mapping:
            raise ConfigError(f"{key}: must be {words}, not a mapping")
        return {name: value_of(each, ANY, f"{key}.{name}") for name, each in items(node)}
    if isinstance(node, yaml.SequenceNode):
        if kinds.items is None and kinds != ANY.items:
            raise ConfigError(f"{key}: must be {words}, not a list")
        if kinds != ANY and any(isinstance(each, yaml.CollectionNode) for each in node.value):
            raise ConfigError(f"{key}: must be {words}; an item of the list is itself a list or a mapping")
        return [value_of(each, kinds.items or ANY, key, words) for each in node.value]
    assert isinstance(node, yaml.ScalarNode)
    value = _scalar_value(node, kinds, key, words)
    is_single = kinds.items is not None and not (kinds.items.is_number or kinds.is_text or kinds.is_null)
    return [value] if is_single and value is not None else value


def shown(value: object, key: str) -> str:
    """The end of a sentence: the value that is wrong, unless it may be secret."""
    path = key.split(".")
    if value is None:
        return ", and is empty"
    if "storage_options" in path or isinstance(value, dict | list) or has_secret(path, value):
        return ""
    return f", not {without_credentials(repr(value)):.60}"


def hint_for(value: object, kinds: Kinds) -> str:
    """The end of a sentence: what to write in place of a value that is nearly right."""
    if kinds.items is None or isinstance(value, bool):
        return ""
    if kinds.items.is_number and isinstance(value, int) and value > 0:
        return f"; write [{value}, {value}] for exactly {value}, or [1, {value}] for up to {value}"
    if value is None and kinds.items.is_text:
        return "; write [] for none"
    if kinds.items.words and isinstance(value, str):
        known = sorted(kinds.items.words)
        near = difflib.get_close_matches(value, known, n=1)
        return f"; did you mean {near[0]}?" if near else f"; the kinds are {', '.join(known)}"
    return ""


def _scalar_value(node: yaml.ScalarNode, kinds: Kinds, key: str, words: str) -> object:
    text, is_plain = str(node.value), node.style is None
    kinds_or_items = kinds | (kinds.items or Kinds())
    if is_plain and text in _NULLS and (kinds.is_null or text != "null"):
        return None
    if kinds == ANY or kinds == ANY.items:
        return _any_value(text, key) if is_plain else text
    if kinds_or_items.is_text or text in kinds_or_items.words:
        return text
    typed = text.strip()
    if kinds.is_bool and typed.lower() in _TRUE + _FALSE:
        return typed.lower() in _TRUE
    if kinds_or_items.is_number and (number := _number(typed)) is not None:
        return number
    odd = _ODD_NUMBER.fullmatch(typed) if kinds_or_items.is_number else None
    hint = f"; write {odd[1]}{re.sub('[^0-9]', '', odd[2])}" if odd else hint_for(text, kinds)
    raise ConfigError(f"{key}: must be {words}{shown(text, key)}{hint}")


def _any_value(text: str, key: str) -> object:
    """A plain value of an option: null, true, false, a number in decimal digits, else a text."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if text.lower() in _TRUE + _FALSE:
        raise ConfigError(f'{key}: write true or false, or "{text}" if it is a text')
    number = _number(text) if _WHOLE.fullmatch(text) or "." in text else None
    return text if number is None else number


def _number(text: str) -> int | float | None:
    """A number in decimal digits; None if it is another notation, or none: 010, 1_000, 12:30, nan, inf."""
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if _DECIMAL.fullmatch(text) else None


def _scalar(text: str) -> yaml.ScalarNode:
    return yaml.ScalarNode("", text)


def _split(text: str) -> list[str]:
    """The items of a list: what commas separate outside quotes, brackets and braces."""
    found, quote, depth = [""], "", 0
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'" and not found[-1].strip():
            quote = character
        elif character in "[{":
            depth += 1
        elif character in "]}":
            depth -= 1
        elif character == "," and depth <= 0:
            found.append("")
            continue
        found[-1] += character
    stripped = [each.strip() for each in found]
    return stripped if stripped[-1] else stripped[:-1]
