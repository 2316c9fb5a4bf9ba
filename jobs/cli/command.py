"""The command line that all jobs share: CONFIG.yaml, overrides, help, and errors in one line."""

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import NoReturn

from actors import VERSION
from actors.foreign.escape import for_terminal
from actors.schema import UsageError
from jobs.cli.config import Config, ConfigError
from jobs.cli.loading import load
from jobs.cli.streams import open_streams
from jobs.cli.terminal import say
from jobs.cli.utf8 import ensure_utf8

DONE, FAILED, USAGE, OVER_BUDGET, BUSY = 0, 1, 2, 3, 4  # exit statuses


def run_job(
    module: str, description: str | None, epilog: str, job: Callable[[Config], int], arguments: list[str] | None
) -> int:
    """Parses the command line, runs `job` on the configuration, and returns the exit status."""
    open_streams()
    try:
        ensure_utf8(is_command=arguments is None)
    except UsageError as problem:
        say(f"configuration: {problem}", "red")
        return USAGE
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"citrascribe {VERSION}")
    parser.add_argument("config", help="a YAML file, such as configs/demo.yaml")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="replaces a value of the file")
    options, unknown = parser.parse_known_args(arguments)
    if unknown:  # named without their values, which may be secret
        parser.error("unknown option " + ", ".join(for_terminal(each.partition("=")[0]) for each in unknown))
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _interrupt)  # schedulers and `ray job stop` send this instead of Ctrl-C
    try:
        return job(load(options.config, options.overrides))
    except (ConfigError, UsageError) as problem:
        for sentence in problem.args:
            say(f"configuration: {sentence}", "red")
        return USAGE
    except OSError as problem:  # from the storage of input, output or model, outside the graph
        say(f"storage: {problem}", "red")
        return FAILED
    except KeyboardInterrupt:
        say("interrupted: committed units are kept; the next run does the rest")
        return FAILED


def exit_process(status: int) -> NoReturn:
    """Ends the process. What Ray still prints goes to standard error, so that the JSON line remains the last."""
    sys.stdout.flush()
    os.dup2(2, 1)
    sys.exit(status)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
