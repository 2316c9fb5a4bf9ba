"""Writes docs/configuration.md and configs/local.yaml from the configuration's own code: python -m jobs.cli.config_page

Both are made of the keys, types, defaults and docstrings of `jobs/cli/config.py`; a test holds that they are current.
"""

import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Union, get_args, get_origin

import yaml
from annotated_types import Ge, Gt, Le
from pydantic.fields import FieldInfo

from jobs.cli.config import Config, Section

PAGE, LOCAL = Path("docs/configuration.md"), Path("configs/local.yaml")

_INTRODUCTION = """# Configuration

<!-- Written by `make docs` from jobs/cli/config.py. -->

Every job takes a YAML file and then any number of `section.key=value`, whose values are YAML and replace the file's:

    python -m jobs.transcribe configs/local.yaml input.uri=s3://archive/2026/ ray.actors='[2, 8]'

A key that does not exist is refused, with the nearest one that does. `"env:NAME"` as a value in `storage_options` is
replaced by that environment variable; a secret as such is refused on a command line. `configs/local.yaml` holds all
keys at their defaults.
"""
_HEADER = "| key | values | default | meaning |\n| --- | --- | --- | --- |\n"
_LOCAL_INTRODUCTION = """\
# Your own archive on one machine. Replace input.uri, output.uri and model.name; all other keys are at their defaults.
# docs/configuration.md describes each key. (Written by `make docs` from jobs/cli/config.py.)
"""


def page() -> str:
    """docs/configuration.md."""
    parts = [_INTRODUCTION]
    for name, section in _sections():
        parts.append(f"\n## {name}\n\n{section.__doc__}\n\n{_HEADER}")
        for key, field in section.model_fields.items():
            default = "" if field.is_required() else f"`{_as_yaml(field.default)}`"
            cells = (f"`{name}.{key}`", _values(field), default, _meaning(field))
            parts.append("| " + " | ".join(cells) + " |\n")
    return "".join(parts)


def local_config() -> str:
    """configs/local.yaml."""
    lines = [_LOCAL_INTRODUCTION.rstrip()]
    for name, section in _sections():
        lines.append(f"{name}:".ljust(28) + f"  # {section.__doc__}")
        for key, field in section.model_fields.items():
            value = field.examples[0] if field.examples else field.default
            comment = (field.description or "").splitlines()[0]
            lines.append(f"  {key}: {_as_yaml(value)}".ljust(28) + f"  # {comment}")
    return "\n".join(lines) + "\n"


def _meaning(field: FieldInfo) -> str:
    """A key's docstring as Markdown on one line."""
    first, _, more = (field.description or "").partition("\n")
    text = " ".join(f"{first}. {more}".split()) if more else first
    return re.sub(r"([|*<>])", r"\\\1", text)


def _sections() -> Iterator[tuple[str, type[Section]]]:
    for name, field in Config.model_fields.items():
        assert isinstance(field.annotation, type)
        yield name, field.annotation


def _as_yaml(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("...\n").strip()


def _values(field: FieldInfo) -> str:
    """The values that a key takes, in words."""
    return _in_words(field.annotation, tuple(field.metadata))


def _in_words(kind: object, bounds: tuple[object, ...] = ()) -> str:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _in_words(inner[0], _bounds_in(inner[1:]))
    if origin is Literal:
        return ", ".join(f"`{_as_yaml(each)}`" for each in inner)
    if origin in (Union, types.UnionType):
        return " or ".join(_in_words(each) for each in inner)
    if origin is list:
        return f"list of {'names' if inner[0] is str else 'kinds of error'}"
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
    return " ".join([numbers[kind], *_limits(bounds)])


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


def main() -> None:
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
    LOCAL.write_text(local_config(), encoding="utf-8")


if __name__ == "__main__":
    main()
