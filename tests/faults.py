"""A fault campaign: the job is struck at random moments and started again; its rows must be those of a quiet run.

    python tests/faults.py --runs 50 --seed 1

A strike counts where some units were committed and some were not. Prints a table, and exits with 1 where rows differ.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parent.parent
LEASE_S = 2
AGAIN = 4  # runs that a struck output may need until one ends with status 0


def command(out: Path) -> list[str]:
    keys = [f"output.uri={out}", "unit.target_minutes=0.25", f"output.lease_seconds={LEASE_S}"]
    return [sys.executable, "-m", "jobs.transcribe", "configs/demo.yaml", *keys]


def start(out: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(command(out), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def finish(out: Path) -> int:
    """Runs undisturbed until a run ends with status 0; returns how many runs it took."""
    for number in range(1, AGAIN + 1):
        status = subprocess.run(command(out), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
        if status == 0:
            return number
        time.sleep(LEASE_S)
    raise AssertionError(f"{AGAIN} runs after the fault none ended with status 0; the last with {status}")


def rows(out: Path) -> pd.DataFrame:
    """What a reader sees, but for which run made it and when."""
    found = pd.concat([pd.read_parquet(part) for part in out.glob("*.parquet")])
    keys = ["uri", "member", "offset_s", "segment_index"]
    return found.drop(columns=["run_id", "transcribed_at"]).sort_values(keys).reset_index(drop=True)


def descendants(process: int) -> dict[int, str]:
    """The command lines of all processes that descend from one, by number."""
    parents, names = dict[int, int](), dict[int, str]()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                stat = (folder / "stat").read_text()
                parents[int(folder.name)] = int(stat.rpartition(")")[2].split()[1])
                names[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
    found = {process}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return {each: names[each] for each in found - {process}}


def kill_one(process: int, name: str) -> bool:
    """Kills one descendant whose command line has that word; says whether there was one."""
    for child, line in descendants(process).items():
        if name in line:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
                return True
    return False


def strike_driver(how: signal.Signals) -> Callable[[subprocess.Popen[str], Path], None]:
    return lambda run, out: run.send_signal(how)


def strike_worker(name: str) -> Callable[[subprocess.Popen[str], Path], None]:
    def strike(run: subprocess.Popen[str], out: Path) -> None:
        end = time.monotonic() + 3
        while not kill_one(run.pid, name) and time.monotonic() < end:
            time.sleep(0.005)

    return strike


def pause(run: subprocess.Popen[str], out: Path) -> None:
    """The driver sleeps while another run does the rest, and then wakes up."""
    run.send_signal(signal.SIGSTOP)
    time.sleep(LEASE_S + 1)
    finish(out)
    run.send_signal(signal.SIGCONT)


STRIKES: dict[str, Callable[[subprocess.Popen[str], Path], None]] = {
    "driver killed": strike_driver(signal.SIGKILL),
    "driver terminated": strike_driver(signal.SIGTERM),
    "driver interrupted": strike_driver(signal.SIGINT),
    "actor killed": strike_worker("TranscribeBlock"),
    "decoder killed": strike_worker("read_block"),
    "commit killed": strike_worker("commit_block"),
    "node killed": strike_worker("raylet/raylet"),
    "driver paused": pause,
}


def struck(out: Path, name: str, after: int) -> bool:
    """A run that is struck once so many units are committed; says whether that was midway."""
    run = start(out)
    try:
        while run.poll() is None and len(list(out.glob("_commits/*"))) < after:
            time.sleep(0.005)
        STRIKES[name](run, out)
        done, parts = len(list(out.glob("_commits/*"))), units_of(out)
        run.wait(timeout=120)
    finally:
        if run.poll() is None:
            run.kill()
    return name == "driver paused" or 0 < done < parts


def units_of(out: Path) -> int:
    import pyarrow as pa

    plans = sorted(out.glob("_runs/*/plan.arrow"))
    return len(set(pa.ipc.open_file(plans[0]).read_all().column("unit").to_pylist()))


@contextlib.contextmanager
def quiet_run() -> Iterator[tuple[Path, pd.DataFrame]]:
    """A folder, and the rows of an undisturbed run."""
    folder = Path(tempfile.mkdtemp(prefix="citrascribe-faults-"))
    try:
        finish(folder / "quiet")
        yield folder, rows(folder / "quiet")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def campaign(
    runs: int, seed: int, kinds: Sequence[str] = tuple(STRIKES), say: Callable[[str], None] = print
) -> dict[str, Counter[str]]:
    """For each kind of strike, how often the rows were the same, differed, or the strike came too early or late."""
    results = {name: Counter[str]() for name in kinds}
    with quiet_run() as (folder, expected):
        units = units_of(folder / "quiet")
        number = counted = 0
        while counted < runs:
            draw, name = random.Random(seed * 10_000 + number), kinds[number % len(kinds)]
            out = folder / f"run-{number}"
            midway = struck(out, name, draw.randint(1, max(units * 2 // 3, 1)))
            again = finish(out)
            found = rows(out)
            outcome = "same" if found.equals(expected) else "different"
            outcome = outcome if midway or outcome == "different" else "not midway"
            results[name][outcome] += 1
            counted += outcome != "not midway"
            number += 1
            say(f"{number:3d}  {name:20s}  {outcome}  ({again} runs to the end)")
            shutil.rmtree(out)
    return results


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    results = campaign(options.runs, options.seed, say=lambda line: print(line, flush=True))
    print("\n| fault | same rows | different |\n|---|---|---|")
    for name, counts in results.items():
        print(f"| {name} | {counts['same']} | {counts['different']} |")
    print(json.dumps({name: dict(counts) for name, counts in results.items()}))
    return int(any(counts["different"] for counts in results.values()))


if __name__ == "__main__":
    sys.exit(main())
