"""The driver side of citrascribe: jobs started by a person or scheduler with `python -m jobs.NAME`."""

import sys

from jobs.cli.signals import SIGNALS

if sys.argv[0] == "-m":  # so Python names the program until it has found the module: a job starts
    SIGNALS.take()
