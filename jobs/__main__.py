"""All jobs as one command: `citrascribe NAME …`, which an installation brings, or `python -m jobs NAME …`."""

import ast
import difflib
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from actors import VERSION
from actors.foreign.escape import for_terminal
from jobs.cli.called import command_called, take_job
from jobs.cli.command import DONE, FAILED, USAGE, exit_process
from jobs.cli.streams import open_streams, page_width
from jobs.cli.tables import facts, reflowed
from jobs.cli.terminal import print_json, print_text, say

#: Modules of this folder, in the order in which a person meets them.
JOBS = (
    *("init", "plan", "transcribe", "export", "transcribe_file", "evaluate", "history"),
    *("align", "language_model", "tune", "benchmark"),
)
MAX_SHOWN = 60  # characters of a command that there is not

_USAGE = """usage: {called} COMMAND …

Transcribes audio archives with NeMo Citrinet models.

commands:
{commands}

`{called} COMMAND --help` tells more. `{called} --version` prints the version.

Begin with: {called} init input.uri=FOLDER output.uri=FOLDER model.name=MODEL"""


def main() -> NoReturn:
    """Runs the job that the command line names. Its module is imported then, and no other: some take seconds."""
    called = command_called()
    commands = {module.replace("_", "-"): module for module in JOBS}
    name, *arguments = sys.argv[1:] or [""]
    if name.replace("_", "-") in commands:
        name = name.replace("_", "-")
        take_job(called, name, arguments)
        exit_process(import_module(f"jobs.{commands[name]}").main())
    open_streams()
    try:
        exit_process(_answer(called, commands, name))
    except OSError as problem:
        say(f"storage: {problem}", "red")
        exit_process(FAILED)


def _answer(called: str, commands: dict[str, str], name: str) -> int:
    """Says which commands there are, or which are meant. Raises OSError if standard output cannot be written."""
    if name in ("-h", "--help", "help"):
        print_text(_usage(called, commands, page_width(sys.stdout)))
        return DONE
    if name == "--version":
        print_text(f"citrascribe {VERSION}")
        return DONE
    if not name:
        why = "no command is given"
        for line in _usage(called, commands, page_width(sys.stderr)).splitlines():
            say(line)
    else:
        near = difflib.get_close_matches(name, commands, n=1)
        shown = for_terminal(name.partition("=")[0], MAX_SHOWN)
        why = f"there is no command {shown}" + (f"; did you mean {near[0]}?" if near else f"; see {called} --help")
        say(why, "red")
    print_json({"status": USAGE, "error": why})
    return USAGE


def _usage(called: str, commands: dict[str, str], width: int) -> str:
    lines = facts([(f"  {name}", _purpose(module)) for name, module in commands.items()], width)
    return reflowed(_USAGE.format(called=called, commands="\n".join(lines)), width)


def _purpose(module: str) -> str:
    """What a job does: how its docstring begins, without an import."""
    source = Path(__file__).with_name(f"{module}.py").read_text(encoding="utf-8")
    return re.split(r"[:,.]\s", ast.get_docstring(ast.parse(source)) or "")[0].rstrip(".")


if __name__ == "__main__":
    main()
