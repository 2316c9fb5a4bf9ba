"""The command line that all jobs share: CONFIG.yaml, overrides, help, and what ended a job, as a line of JSON too."""

import argparse
import os
import re
import sys
from collections.abc import Callable
from typing import NoReturn

from actors import VERSION
from actors.foreign.escape import for_terminal
from actors.schema import UsageError
from actors.storage.local_writes import is_full
from jobs.cli.config import Config, ConfigError
from jobs.cli.loading import load
from jobs.cli.signals import FAILED as FAILED
from jobs.cli.signals import INTERRUPTED, SIGNALS
from jobs.cli.streams import open_streams
from jobs.cli.terminal import be_quiet, end_line, print_json, say
from jobs.cli.utf8 import ensure_utf8

DONE, USAGE, OVER_BUDGET, BUSY = 0, 2, 3, 4  # exit statuses, beside FAILED


def run_job(
    module: str, description: str | None, epilog: str, job: Callable[[Config], int], arguments: list[str] | None
) -> int:
    """Parses the command line, runs `job` on the configuration, and returns the exit status.

    The job prints its JSON line itself. If it cannot, because of a mistake, its storage or a signal, the line has the
    status and the `error`.
    """
    open_streams()
    try:
        ensure_utf8(is_command=arguments is None)
    except UsageError as problem:
        return _tell(USAGE, [f"configuration: {problem}"], "red")
    parser = _Parser(
        prog=f"python -m {module}",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"citrascribe {VERSION}")
    parser.add_argument("-q", "--quiet", action="store_true", help="print only warnings, errors and the JSON line")
    parser.add_argument("config", help="a YAML file, such as configs/demo.yaml")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="replaces a value of the file")
    options, unknown = parser.parse_known_intermixed_args(arguments)
    if unknown:  # named without their values, which may be secret
        parser.error("unknown option " + ", ".join(for_terminal(each.partition("=")[0]) for each in unknown))
    be_quiet(options.quiet)
    try:
        with SIGNALS.working():
            return job(load(options.config, options.overrides))
    except KeyboardInterrupt:
        return _tell(FAILED, [INTERRUPTED], "yellow")
    except Exception as problem:
        if SIGNALS.asked is not None:  # an interrupted import, or call of Ray, may fail in any way
            return _tell(FAILED, [INTERRUPTED], "yellow")
        if isinstance(problem, (ConfigError, UsageError)):
            return _tell(USAGE, [f"configuration: {sentence}" for sentence in problem.args], "red")
        if isinstance(problem, OSError):  # from the storage of input, output or model, outside the graph
            room = "; free some room on that disk, and run the job again" if is_full(problem) else ""
            return _tell(FAILED, [f"storage: {problem}{room}"], "red")
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

    def error(self, message: str) -> NoReturn:
        if "arguments are required" in message:
            message = f"no configuration is given, as in: {self.prog} configs/demo.yaml"
        message = re.sub("ignored explicit argument .*", "takes no value", message)  # the value may be secret
        _print_error(USAGE, message)
        super().error(message)


def _tell(status: int, sentences: list[str], style: str = "") -> int:
    """Says what ended a job, and prints it as the JSON line. Returns the status."""
    end_line()
    for sentence in sentences:
        say(sentence, style)
    return _print_error(status, "; ".join(sentences))


def _print_error(status: int, error: str) -> int:
    try:
        print_json({"status": status, "error": error})
    except OSError as problem:
        say(f"storage: {problem}", "red")
    return status
