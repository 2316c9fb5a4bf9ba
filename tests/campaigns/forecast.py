"""How well jobs.plan foretells the time of what is left, once half of the demo is done in one of several ways.

    python tests/campaigns/forecast.py [--rounds 3]

Prints a line for each way and round: what was foretold, what the run's summary says that it took, what the command took
from its start to its end, and the ratio of the former two. Exits with 1 if one is beyond 1.5 either way. The machine
should be idle but for this.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

WITHIN = 1.5
ROOT = Path(__file__).parents[2]


def start(job: str, output: str, *keys: str) -> "subprocess.Popen[str]":
    """Starts a job on the demo."""
    command = [sys.executable, "-m", f"jobs.{job}", "configs/demo.yaml", f"output.uri={output}", *keys]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def done(job: str, output: str, *keys: str) -> dict:
    """The JSON object of a job on the demo."""
    return json.loads(start(job, output, *keys).communicate()[0].splitlines()[-1])


def ended_by(number: int) -> Callable[[str], tuple[str, ...]]:
    """Ends a run with a signal once some of its units are committed."""

    def run(output: str) -> tuple[str, ...]:
        process, commits = start("transcribe", output), Path(output, "_commits")
        while process.poll() is None and len(list(commits.glob("*"))) < 3:
            time.sleep(0.02)
        process.send_signal(number)
        process.wait()
        return ()

    return run


def half(*keys: str) -> Callable[[str], tuple[str, ...]]:
    """Transcribes what these keys leave."""

    def run(output: str) -> tuple[str, ...]:
        done("transcribe", output, *keys)
        return ()

    return run


def rewritten(output: str) -> tuple[str, ...]:
    """Transcribes a half, then writes its texts anew, which hears nothing."""
    done("transcribe", output, "input.limit=38")
    done("transcribe", output, "input.limit=38", "text.itn=none")
    return ("text.itn=none",)


def hardly(output: str) -> tuple[str, ...]:
    """Transcribes a half, then one recording."""
    done("transcribe", output, "input.include=[shards/*]")
    done("transcribe", output, "input.include=[loose/00.wav]")
    return ()


WAYS = {
    "limit=38": half("input.limit=38"),
    "the shards": half("input.include=[shards/*]"),
    "all but the long ones": half("input.exclude=[long/*]"),
    "the long ones": half("input.include=[long/*]"),
    "interrupted": ended_by(signal.SIGINT),
    "killed": ended_by(signal.SIGKILL),
    "then rewritten": rewritten,
    "then hardly anything": hardly,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--way", choices=WAYS, action="append")
    options, worst = parser.parse_args(), 1.0
    for way in options.way or WAYS:
        for _ in range(options.rounds):
            with tempfile.TemporaryDirectory() as output:
                keys = WAYS[way](output)
                foretold = done("plan", output, *keys)["forecast"]
                began = time.monotonic()
                took = done("transcribe", output, *keys)
                seconds, whole = took["wall_seconds"], time.monotonic() - began
            ratio = foretold["wall_seconds"] / seconds
            worst = max(worst, ratio, 1 / ratio)
            print(
                f"{way:22} foretold {foretold['wall_seconds']:5.1f} s by runs {foretold['runs']}, took {seconds:5.1f} s"
                f" ({whole:5.1f} s in all), ratio {ratio:.2f}, {took['units']}",
                flush=True,
            )
    return int(worst > WITHIN)


if __name__ == "__main__":
    sys.exit(main())
