"""The driver side of citrascribe: what a person or scheduler starts by `citrascribe NAME` or `python -m jobs.NAME`."""

import sys
from pathlib import PurePath

from jobs.cli.signals import SIGNALS

#: So Python names the program until it has found the module; an installed command has its own name. A job starts.
if sys.argv[0] == "-m" or PurePath(sys.argv[0]).name == "citrascribe":
    SIGNALS.take()
