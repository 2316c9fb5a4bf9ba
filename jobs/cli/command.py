"""The command line that all jobs share: CONFIG.yaml, overrides, help, and what ended a job, as a line of JSON too."""

import argparse
import os
import re
import sys
from collections.abc import Callable
from functools import partial
from typing import NoReturn

from actors import VERSION
from actors.foreign.escape import for_terminal
from actors.schema import UsageError
from actors.storage.local_writes import is_full
from jobs.cli.called import how_to_call
from jobs.cli.config import Config, ConfigError
from jobs.cli.loading import load
from jobs.cli.signals import FAILED as FAILED
from jobs.cli.signals import SIGNALS
from jobs.cli.streams import open_streams, page_width
from jobs.cli.tables import reflowed
from jobs.cli.terminal import be_quiet, end_line, print_json, say
from jobs.cli.utf8 import ensure_utf8

DONE, USAGE, OVER_BUDGET, BUSY = 0, 2, 3, 4  # exit statuses, beside FAILED
OVERRIDE = "section.key=value"


def run_job(
    module: str, description: str | None, epilog: str, job: Callable[[Config], int], arguments: list[str] | None
) -> int:
    """Parses the command line of a job, runs `job` on the configuration, and returns the exit status.

    The job prints its JSON line itself. If it cannot, because of a mistake, its storage or a signal, the line has the
    status and the `error`.
    """

    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("config", help=f"a YAML file, as `{how_to_call('init')}` writes it")
        parser.add_argument("overrides", nargs="*", default=[], metavar=OVERRIDE, help="replaces a value of the file")

    def run(options: argparse.Namespace) -> int:
        return job(load(options.config, options.overrides))

    return run_command(module, description, epilog, add_arguments, run, arguments)


def run_command(
    module: str,
    description: str | None,
    epilog: str,
    add_arguments: Callable[[argparse.ArgumentParser], None],
    run: Callable[[argparse.Namespace], int],
    arguments: list[str] | None,
    ends_with_json: bool = True,
) -> int:
    """What `run_job` does, for any arguments; without the JSON line if standard output is for people."""
    tell, SIGNALS.ends_with_json = partial(_tell, ends_with_json=ends_with_json), ends_with_json
    open_streams()
    try:
        ensure_utf8(is_command=arguments is None)
    except UsageError as problem:
        return tell(USAGE, [f"configuration: {problem}"], "red")
    # What follows `--` is for a cluster, which has not this machine's path of the command.
    width, called = (
        page_width(sys.stdout),
        re.sub(r"(?<!-- )python -m jobs\.(\w+)", lambda found: how_to_call(found[1]), epilog),
    )
    parser = _Parser(
        prog=how_to_call(module.removeprefix("jobs.")),
        description=reflowed(description or "", width),
        epilog=reflowed(called, width),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.ends_with_json = ends_with_json
    parser.add_argument("--version", action="version", version=f"citrascribe {VERSION}")
    parser.add_argument("-q", "--quiet", action="store_true", help="print only warnings, errors and what is asked for")
    add_arguments(parser)
    options, unknown = parser.parse_known_intermixed_args(arguments)  # an option may stand anywhere
    if unknown:  # named without their values, which may be secret
        parser.error("unknown option " + ", ".join(for_terminal(each.partition("=")[0]) for each in unknown))
    be_quiet(options.quiet)
    try:
        with SIGNALS.working():
            return run(options)
    except KeyboardInterrupt:
        return tell(FAILED, [SIGNALS.sentence], "yellow")
    except Exception as problem:
        if SIGNALS.asked is not None:  # an interrupted import, or call of Ray, may fail in any way
            return tell(FAILED, [SIGNALS.sentence], "yellow")
        if isinstance(problem, (ConfigError, UsageError)):
            return tell(USAGE, [f"configuration: {sentence}" for sentence in problem.args], "red")
        if isinstance(problem, OSError):  # from the storage of input, output or model, outside the graph
            room = "; free some room on that disk, and run the job again" if is_full(problem) else ""
            return tell(FAILED, [f"storage: {problem}{room}"], "red")
        if ends_with_json:
            _print_error(FAILED, f"{type(problem).__name__}: {problem}")
        raise
    finally:
        end_line()
        be_quiet(False)


def exit_process(status: int) -> NoReturn:
    """Ends the process. What Ray still prints goes to standard error, so that the JSON line remains the last."""
    sys.stdout.flush()
    SIGNALS.close(status)
    os.dup2(2, 1)
    sys.exit(status)


class _Parser(argparse.ArgumentParser):
    """Prints mistakes in the arguments as the JSON line too."""

    ends_with_json = True

    def error(self, message: str) -> NoReturn:
        if "arguments are required: config" in message:
            message = f"no configuration is given, as in: {self.prog} configs/demo.yaml"
        message = re.sub("ignored explicit argument .*", "takes no value", message)  # the value may be secret
        if self.ends_with_json:
            _print_error(USAGE, message)
        if (width := page_width(sys.stderr)) < sys.maxsize:  # argparse looks at standard output's
            self.formatter_class = partial(argparse.RawDescriptionHelpFormatter, width=width)
        self.print_usage(sys.stderr)
        say(f"{self.prog}: error: {message}", "red")
        self.exit(USAGE)


def _tell(status: int, sentences: list[str], style: str = "", ends_with_json: bool = True) -> int:
    """Says what ended a job, and prints it as the JSON line. Returns the status."""
    end_line()
    for sentence in sentences:
        say(sentence, style)
    return _print_error(status, "; ".join(sentences)) if ends_with_json else status


def _print_error(status: int, error: str) -> int:
    try:
        print_json({"status": status, "error": error})
    except OSError as problem:
        say(f"storage: {problem}", "red")
    return status
