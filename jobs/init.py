"""Writes a configuration to begin with: every key with what it means, at its default."""

import argparse
import os
import re
import shlex
from pathlib import Path

from jobs.cli.called import how_to_call
from jobs.cli.command import DONE, OVERRIDE, exit_process, run_command
from jobs.cli.config import ConfigError
from jobs.cli.config_page import local_config
from jobs.cli.loading import load
from jobs.cli.terminal import print_json, say

EPILOG = """
examples:
  python -m jobs.init input.uri=/data/archive output.uri=/data/out model.name=/data/models/citrinet.nemo
  python -m jobs.init calls.yaml input.uri=s3://calls/2026/ output.uri=s3://transcripts/calls

The file has every key at its default, with what it means in a comment, and the values that are given. Edit it, then try
it with `python -m jobs.plan`. A file that is there is not overwritten. The last line of standard output is one JSON
object.
"""
DEFAULT = "citrascribe.yaml"

_INTRODUCTION = """\
# Made by citrascribe init. Every key is at its default, but for those that were given. A key may be left out, and so
# may a section; on a command line, section.key=value replaces what is here.
"""
#: Keys without a default, which a person has to give.
_NEEDED = ("input.uri", "output.uri", "model.name")


def main(arguments: list[str] | None = None) -> int:
    return run_command("jobs.init", __doc__, EPILOG, _add_arguments, run, arguments)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", nargs="?", default=DEFAULT, help=f"the file to write, ./{DEFAULT} by default")
    parser.add_argument("overrides", nargs="*", default=[], metavar=OVERRIDE, help="a value of the file")


def run(options: argparse.Namespace) -> int:
    path, overrides = options.path, list(options.overrides)
    if re.match(r"\w+\.[\w.]+=", path):  # the first of the overrides
        path, overrides = DEFAULT, [path, *overrides]
    given = _given(overrides)
    _write_new(path, local_config(_INTRODUCTION, given))
    _say_what_comes(path, [key for key in _NEEDED if key not in given])
    print_json({"status": DONE, "config": str(Path(path).absolute())})
    return DONE


def _write_new(path: str, text: str) -> None:
    """Writes a file that is not there yet, or none. Raises ConfigError."""
    try:
        with open(path, "x", encoding="utf-8") as file:
            try:
                file.write(text)
                file.flush()
            except OSError:  # a full disk: half a file would be in the way of the next attempt
                os.remove(path)
                raise
    except FileExistsError:
        raise ConfigError(f"{path} is there already, and is not overwritten; name another file, or remove it") from None
    except OSError as problem:
        raise ConfigError(f"{path} cannot be written: {problem.strerror}") from None


def _given(overrides: list[str]) -> dict[str, object]:
    """The values of overrides by `section.key`. Raises ConfigError."""
    keys = [override.partition("=")[0].strip() for override in overrides]
    examples = [f"{key}={key}" for key in _NEEDED if key not in keys]
    config = load(None, [*examples, *overrides]).model_dump(mode="json")
    return {f"{section}.{key}": config[section][key] for section, key, *_ in (each.split(".") for each in keys)}


def _say_what_comes(path: str, missing: list[str]) -> None:
    say(f"wrote {path}")
    if missing:
        say(f"set {', '.join(missing)} in it, then look at what a run would do:")
    else:
        say("look at what a run would do, try ten recordings, then do all:")
    for command, *overrides in (("plan",), ("transcribe", "input.sample=10"), ("transcribe",)):
        say(" ".join((f"  {how_to_call(command)}", shlex.quote(path), *overrides)))


if __name__ == "__main__":
    exit_process(main())
