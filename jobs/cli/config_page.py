"""Writes docs/configuration.md and configs/local.yaml from the configuration's own code: python -m jobs.cli.config_page

Both are made of the keys, types, defaults and docstrings of `jobs/cli/config.py`; a test holds that they are current.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic.fields import FieldInfo

from jobs.cli.config import Config
from jobs.cli.kinds import as_yaml, in_words
from jobs.cli.sections import Section

PAGE, LOCAL = Path("docs/configuration.md"), Path("configs/local.yaml")

_INTRODUCTION = """# Configuration

<!-- Written by `make docs` from jobs/cli/config.py. -->

Every job takes a YAML file and then any number of `section.key=value`, which replace the file's:

    python -m jobs.transcribe configs/local.yaml 'input.uri=/data/calls #3' input.include='[*.wav, 2026/*.mp3]' \\
        ray.actors='[2, 8]'

- On the command line, a text is what was typed, with its spaces, `#` and the like. `[a, b]` is a list, `{a: b}` a
  mapping in YAML. Quotes around a whole value are YAML's, so `"[a]"` is the text `[a]`.
- In the file, a text is what was typed, too, be it `010`, `12:30`, `2026-01-02`, `yes` or `*.wav`. As in any YAML, it
  ends before ` #`, and quotes are needed where it contains `: ` or begins with one of `[ { & ! | > ' " #`.
- A number is written in decimal digits: `010`, `1_000`, `nan` and `true` are refused. A key given twice is refused.
- `~` at the beginning of a path is the home folder.

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
            default = "" if field.is_required() else f"`{as_yaml(field.default)}`"
            cells = (f"`{name}.{key}`", in_words(field), default, _meaning(field))
            parts.append("| " + " | ".join(cells) + " |\n")
    return "".join(parts)


def local_config(introduction: str = _LOCAL_INTRODUCTION, given: Mapping[str, object] = {}) -> str:
    """configs/local.yaml, or another configuration with every key: at the values `given` by `section.key`, else at its
    default."""
    lines = [introduction.rstrip()]
    for name, section in _sections():
        lines.append(f"{name}:".ljust(28) + f"  # {section.__doc__}")
        for key, field in section.model_fields.items():
            value = given.get(f"{name}.{key}", field.examples[0] if field.examples else field.default)
            comment = (field.description or "").splitlines()[0]
            lines.append(f"  {key}: {as_yaml(value)}".ljust(28) + f"  # {comment}")
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


def main() -> None:
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
    LOCAL.write_text(local_config(), encoding="utf-8")


if __name__ == "__main__":
    main()
