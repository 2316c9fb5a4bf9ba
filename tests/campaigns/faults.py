"""A fault campaign: the job is struck at random moments and started again; its rows must be those of a quiet run.

    python tests/campaigns/faults.py --runs 50 --seed 1

Processes are struck over a local disk, and storage over an S3 server with a proxy before it. A strike counts where some
units were committed and some were not. Prints a table, and exits with 1 where rows differ.
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
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from kept_results import add_write_option, publish

sys.path[:0] = [str(Path(__file__).parents[1])]  # where the tests' own helpers are
from conftest import S3_KEY, S3_SECRET, s3_server  # noqa: E402
from faulty_storage import Fault, FaultyStorage  # noqa: E402

ROOT = Path(__file__).parents[2]
LEASE_S = 2
AGAIN = 4  # runs that a struck output may need until one ends with status 0


@dataclass(frozen=True)
class Output:
    """One output: where it lies on the disk, the keys that tell a run of it, and the storage that can be struck."""

    folder: Path
    keys: list[str]
    storage: FaultyStorage | None = None
    address: str | None = None  # of the Ray that undisturbed runs use

    @property
    def commits(self) -> int:
        return len(list(self.folder.glob("_commits/*a")))

    @property
    def units(self) -> int:
        import pyarrow as pa

        plan = min(self.folder.glob("_runs/*/plan.arrow")).read_bytes()
        return len(set(pa.ipc.open_file(plan).read_all().column("unit").to_pylist()))


def command(out: Output) -> list[str]:
    keys = [*out.keys, "unit.target_minutes=0.25", f"output.lease_seconds={LEASE_S}"]
    return [sys.executable, "-m", "jobs.transcribe", "configs/demo.yaml", *keys]


def start(out: Output, address: str | None = None) -> subprocess.Popen[bytes]:
    """Starts a run, on a Ray of its own unless there is an address."""
    environment = os.environ | {"AWS_ACCESS_KEY_ID": S3_KEY, "AWS_SECRET_ACCESS_KEY": S3_SECRET}
    environment |= {"RAY_ADDRESS": address} if address else {}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command(out), cwd=ROOT, env=environment, **quiet)


def finish(out: Output) -> int:
    """Runs undisturbed until a run ends with status 0; returns how many runs it took."""
    for number in range(1, AGAIN + 1):
        status = start(out, out.address).wait()
        if status == 0:
            return number
        time.sleep(LEASE_S)
    raise AssertionError(f"{AGAIN} runs after the fault none ended with status 0; the last with {status}")


def rows(out: Output) -> pd.DataFrame:
    """What a reader sees, but for which run made it and when."""
    found = pd.concat([pd.read_parquet(part) for part in out.folder.glob("*.parquet")])
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


Strike = Callable[[subprocess.Popen[bytes], Output], None]


def strike_driver(how: signal.Signals) -> Strike:
    return lambda run, out: run.send_signal(how)


def strike_worker(name: str) -> Strike:
    def strike(run: subprocess.Popen[bytes], out: Output) -> None:
        end = time.monotonic() + 3
        while not kill_one(run.pid, name) and time.monotonic() < end:
            time.sleep(0.005)

    return strike


def pause(run: subprocess.Popen[bytes], out: Output) -> None:
    """The driver sleeps while another run does the rest, and then wakes up."""
    run.send_signal(signal.SIGSTOP)
    time.sleep(LEASE_S + 1)
    finish(out)
    run.send_signal(signal.SIGCONT)


def strike_storage(fault: Fault) -> Strike:
    """From now on, until the run ends."""

    def strike(run: subprocess.Popen[bytes], out: Output) -> None:
        assert out.storage is not None
        out.storage.fault = fault

    return strike


STRIKES: dict[str, Strike] = {
    "driver killed": strike_driver(signal.SIGKILL),
    "driver terminated": strike_driver(signal.SIGTERM),
    "driver interrupted": strike_driver(signal.SIGINT),
    "actor killed": strike_worker("HearBlock"),
    "decoder killed": strike_worker("ReadBlock"),
    "commit killed": strike_worker("CommitBlock"),
    "node killed": strike_worker("raylet/raylet"),
    "driver paused": pause,
    "storage: every third request refused, 503": strike_storage(lambda method, path, n: None if n % 3 else 503),
    "storage: every third answer cut or lost": strike_storage(lambda method, path, n: None if n % 3 else "reset"),
    "storage: every fifth request stalls": strike_storage(lambda method, path, n: None if n % 5 else "stall"),
    "storage: down": strike_storage(lambda method, path, n: 500),
    "storage: credentials expired": strike_storage(lambda method, path, n: 400),
    "storage: read-only": strike_storage(lambda method, path, n: 403 if method in ("PUT", "DELETE", "POST") else None),
}


def struck(out: Output, name: str, after: int) -> bool:
    """A run that is struck once so many units are committed; says whether that was midway."""
    run = start(out)
    try:
        while run.poll() is None and out.commits < after:
            time.sleep(0.005)
        STRIKES[name](run, out)
        done, units = out.commits, out.units
        run.wait(timeout=300)
    finally:
        if run.poll() is None:
            run.kill()
        if out.storage:
            out.storage.fault = lambda *_: None
    return name == "driver paused" or 0 < done < units


@dataclass
class Grounds:
    """Where the outputs of a campaign lie: on a disk, or in S3 with the disk below it and a proxy before it."""

    folder: Path
    storage: FaultyStorage | None = None
    keys: tuple[str, ...] = ()
    address: str | None = None

    def output(self, name: str) -> Output:
        if self.storage is None:
            return Output(self.folder / name, [*self.keys, f"output.uri={self.folder / name}"], address=self.address)
        s3 = json.dumps({"endpoint_url": self.storage.url, "config_kwargs": {"read_timeout": 2}})
        keys = [*self.keys, "input.uri=s3://bucket/audio", f"output.uri=s3://bucket/{name}"]
        keys += [f"{part}.storage_options={s3}" for part in ("input", "output")]
        return Output(self.folder / "bucket" / name, keys, self.storage, self.address)


@contextlib.contextmanager
def grounds(keys: tuple[str, ...], address: str | None) -> Iterator[dict[bool, Grounds]]:
    """By whether storage is to be struck."""
    folder = Path(tempfile.mkdtemp(prefix="citrascribe-faults-"))
    try:
        shutil.copytree(ROOT / "demo" / "audio", folder / "s3" / "bucket" / "audio")
        with s3_server(folder / "s3") as options:
            storage = FaultyStorage(options["endpoint_url"])
            places = Grounds(folder / "disk", None, keys, address), Grounds(folder / "s3", storage, keys, address)
            yield dict(zip((False, True), places, strict=True))
            storage.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def campaign(
    runs: int,
    seed: int,
    kinds: Sequence[str] = tuple(STRIKES),
    say: Callable[[str], None] = print,
    keys: tuple[str, ...] = (),
    address: str | None = None,
) -> dict[str, Counter[str]]:
    """For each kind of strike, how often the rows were the same, differed, or the strike came too early or late.

    `keys` are of all runs. Those that are not struck use the Ray at an address, where there is one;
    its workers need the credentials in their environment.
    """
    results = {name: Counter[str]() for name in kinds}
    quiet = dict[bool, tuple[pd.DataFrame, int]]()
    with grounds(keys, address) as places:
        number = counted = 0
        while counted < runs:
            draw, name = random.Random(seed * 10_000 + number), kinds[number % len(kinds)]
            strikes_storage = name.startswith("storage")
            place = places[strikes_storage]
            if strikes_storage not in quiet:
                undisturbed = place.output("quiet")
                finish(undisturbed)
                quiet[strikes_storage] = rows(undisturbed), undisturbed.units
            expected, units = quiet[strikes_storage]
            out = place.output(f"run-{number}")
            began = time.monotonic()
            midway = struck(out, name, draw.randint(1, max(units * 2 // 3, 1)))
            again = finish(out)
            outcome = "same" if rows(out).equals(expected) else "different"
            outcome = outcome if midway or outcome == "different" else "not midway"
            results[name][outcome] += 1
            counted += outcome != "not midway"
            number += 1
            say(f"{number:3d}  {name:42s}  {outcome:10s}  {again} more, {time.monotonic() - began:.0f} s")
            shutil.rmtree(out.folder)
    return results


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    add_write_option(parser, "strikes")
    options = parser.parse_args()
    results = campaign(options.runs, options.seed, say=lambda line: print(line, flush=True))
    rows = [(name, counts["same"], counts["different"]) for name, counts in results.items()]
    about = f"{options.runs} runs, each struck at a random moment and started again; rows as those of a quiet run."
    publish("Runs struck midway", about, ["struck midway", "same rows", "different"], rows, options.write)
    print(json.dumps({name: dict(counts) for name, counts in results.items()}))
    return int(any(counts["different"] for counts in results.values()))


if __name__ == "__main__":
    sys.exit(main())
