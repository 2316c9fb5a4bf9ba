"""The kinds of values that a key takes: what its annotation says, in words and for the reader of values."""

import re
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from annotated_types import Ge, Gt, Le
from pydantic.fields import FieldInfo


@dataclass(frozen=True)
class Kinds:
    """What a key takes: any text, certain words, numbers, null, lists of certain items, mappings."""

    is_text: bool = False
    words: frozenset[str] = frozenset()
    is_bool: bool = False
    is_number: bool = False
    is_null: bool = False
    is_mapping: bool = False
    items: "Kinds | None" = None

    def __or__(self, other: "Kinds") -> "Kinds":
        return Kinds(
            self.is_text or other.is_text,
            self.words | other.words,
            self.is_bool or other.is_bool,
            self.is_number or other.is_number,
            self.is_null or other.is_null,
            self.is_mapping or other.is_mapping,
            self.items or other.items,
        )


_SCALAR = Kinds(is_text=True, is_bool=True, is_number=True, is_null=True, is_mapping=True)
ANY = replace(_SCALAR, items=_SCALAR)


def kinds_of(kind: object) -> Kinds:
    """What an annotation takes."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return kinds_of(inner[0])
    if origin is Literal:
        return Kinds(words=frozenset(map(str, inner)))
    if origin in (Union, types.UnionType):
        found = Kinds()
        for each in inner:
            found |= kinds_of(each)
        return found
    if origin in (list, tuple):
        return Kinds(items=kinds_of(inner[0]))
    if origin is dict:
        return Kinds(is_mapping=True)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return Kinds(words=frozenset(kind))
    plain: dict[object, Kinds] = {
        bool: Kinds(is_bool=True),
        int: Kinds(is_number=True),
        float: Kinds(is_number=True),
        str: Kinds(is_text=True),
        type(None): Kinds(is_null=True),
        Any: ANY,
    }
    return plain[kind]


def in_words(field: FieldInfo) -> str:
    """The values that a key takes, in Markdown."""
    return _in_words(field.annotation, tuple(field.metadata))


def in_a_sentence(field: FieldInfo) -> str:
    """The values that a key takes, as the end of "must be …": `'auto', a number above 0 or null`."""
    words = re.sub(r"(^| or )(?=whole|number|list|mapping)", r"\1a ", in_words(field))
    words = words.replace("`null`", "null").replace("`", "'").replace("whole numbers", "whole numbers, such as [1, 8]")
    words = words.replace("a mapping", "a mapping, such as {anon: true}")
    *others, last = re.split(r" or |(?<='), (?=')", words)
    return f"{', '.join(others)} or {last}" if others else last


def as_yaml(value: object) -> str:
    """A value as YAML on one line."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return (
        yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=sys.maxsize)
        .removesuffix("...\n")
        .strip()
    )


def _in_words(kind: object, bounds: tuple[object, ...] = ()) -> str:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _in_words(inner[0], _bounds_in(inner[1:]))
    if origin is Literal:
        return ", ".join(f"`{as_yaml(each)}`" for each in inner)
    if origin in (Union, types.UnionType):
        return " or ".join(_in_words(each) for each in inner)
    if origin is list:
        item = kinds_of(inner[0])
        return "list of " + " and ".join(["kinds of error"] * bool(item.words) + ["names"] * item.is_text)
    if origin is tuple:
        return "list of two whole numbers"
    if origin is dict:
        return "mapping"
    if kind is bool:
        return "`true`, `false`"
    if kind is str:
        return "text"
    if kind is type(None):
        return "`null`"
    numbers: dict[object, str] = {int: "whole number", float: "number"}
    limits = " ".join([numbers[kind], *_limits(bounds)])
    return limits.replace("whole number above 0 to", "whole number from 1 to")


def _bounds_in(metadata: tuple[object, ...]) -> tuple[object, ...]:
    return tuple(bound for each in metadata for bound in getattr(each, "metadata", [each]))


def _limits(bounds: tuple[object, ...]) -> Iterator[str]:
    for bound in bounds:
        match bound:
            case Gt(gt=limit):
                yield f"above {limit:g}"
            case Ge(ge=limit):
                yield f"from {limit:g}"
            case Le(le=int() | float() as limit) if limit < 1e9:
                yield f"to {limit:,}"
