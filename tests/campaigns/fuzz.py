"""Damaged recordings of every kind: each decodes, whole and in any pieces to the same samples, or is refused.

    make fuzz
    python tests/campaigns/fuzz.py --count 20000 --seed 1 --jobs 2 --keep build/fuzz
    python tests/campaigns/fuzz.py --one 1000017

A mutant is made from a good recording by a few changes that its number draws (tests/audio_mutants.py). A child process
decodes it, in bounded memory and time, with minutes and blocks so short that there are many. It fails if it ends its
process, takes too long or too much memory, raises anything but RecordingError, has other samples in pieces than as a
whole, or, where it was left unchanged, is not the sound that it was made of.
"""

import argparse
import faulthandler
import multiprocessing
import os
import pickle
import random
import re
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]  # this checkout, and its tests' helpers
from audio_mutants import Mutant, mutant  # noqa: E402
from audio_seeds import Seed, makers  # noqa: E402
from conftest import forget_peak, peak_bytes  # noqa: E402

from actors.audio.decode import DecodeRequest, Sound, decode  # noqa: E402
from actors.audio.pcm import as_float  # noqa: E402
from actors.schema import SAMPLE_RATE, RecordingError  # noqa: E402
from actors.storage.place import Place  # noqa: E402
from actors.storage.stored_file import StoredFile  # noqa: E402

ADDRESS_SPACE = 3_000_000_000  # bytes that a child may ask for beyond what it has at its start
MAX_BYTES = 700_000_000  # that decoding one mutant may add to what the child holds
#: Of processor time and of the clock, for a mutant in all its pieces. Junk as AMR lasts for hours.
CPU_S, PATIENCE_S = 120, 240.0
NUMBERS_A_SEED = 1_000_000


class Fault(Exception):
    """What is wrong with how a mutant was decoded."""


@dataclass(frozen=True)
class Report:
    """How a mutant ended: what its whole gave, and what is wrong, if anything is."""

    number: int
    seed: str
    end: str
    fault: str | None = None
    seconds: float = 0.0
    extra_bytes: int = 0


# In the child


def judge(found: Mutant, seed: Seed, folder: Path) -> str:
    """Decodes a mutant, whole and in pieces; returns "sound" or the kind of its error. Raises Fault."""
    draw = random.Random(found.number + 1)
    options = {"offset_s": draw.choice((0.0, 0.0, 0.0, 0.5, 1.3)), "channel": draw.choice((None, None, None, 0))}
    _shorten(draw, len(found.content))
    whole = _decoded(found.content, **options)
    is_as_made = isinstance(whole, Sound) and not found.changes and not options["offset_s"]
    if is_as_made and (fault := seed.fault_of(whole.pcm)):
        raise Fault(f"wrong sound: {fault}")
    pieces = list(_pieces(draw, len(whole.pcm) if isinstance(whole, Sound) else SAMPLE_RATE * 7))
    parts = [(begin, end, _decoded(found.content, begin=begin, end=end, **options)) for begin, end in pieces]
    if draw.random() < 0.2:
        path = folder / "stored"
        path.write_bytes(found.content)
        stored = StoredFile(Place.at(str(path)), len(found.content))
        parts.append((0, None, _decoded(stored, **options)))
    for begin, end, part in parts:
        if fault := _difference(whole, part, begin, end):
            raise Fault(f"{fault}, in samples {begin} to {end}")
    if isinstance(whole, RecordingError):
        return str(whole.kind)
    told = {each for begin, end, part in parts if isinstance(part, Sound) for each in part.warnings}
    if told != set(whole.warnings):
        raise Fault(f"other warnings: {sorted(whole.warnings)} in the whole, {sorted(told)} in its pieces")
    return "sound"


def _shorten(draw: random.Random, size: int) -> None:
    """Makes the minutes and the blocks of the decoders short, so that a recording of seconds has many."""
    minute = draw.choice((2, 7, 60)) if size > 250_000 and draw.random() < 0.5 else draw.choice((2, 3))
    block = 1 << draw.choice((12, 14, 16, 20))
    for name in [each for each in sys.modules if each.startswith("actors.audio")]:
        for constant, value in (("MINUTE", minute), ("BLOCK_SAMPLES", block)):
            if hasattr(sys.modules[name], constant):
                setattr(sys.modules[name], constant, value)


def _pieces(draw: random.Random, samples: int) -> Iterator[tuple[int, int | None]]:
    """Pieces that cover a recording and overlap, as stretches do, and one beyond its end."""
    cuts = sorted(draw.randrange(max(samples, 1)) for _ in range(draw.choice((1, 2, 3))))
    for number, begin in enumerate([0, *cuts]):
        end = cuts[number] + draw.choice((0, 1, 5_000, 40_000)) if number < len(cuts) else None
        yield begin, end
    yield samples + draw.choice((0, 1, 20_000, 200_000)), None


def _decoded(content: bytes | StoredFile, **request: float | int | None) -> Sound | RecordingError:
    try:
        return decode(content, DecodeRequest(**request))  # type: ignore[arg-type]
    except RecordingError as problem:
        return problem
    except Exception as problem:
        raise Fault(f"raises {type(problem).__name__}: {problem}"[:300]) from problem


def _difference(whole: Sound | RecordingError, part: Sound | RecordingError, begin: int, end: int | None) -> str | None:
    """How a piece of a recording differs from what it is in the whole."""
    if isinstance(whole, RecordingError):
        if isinstance(part, Sound):
            is_less = whole.kind == "too_short" and begin + len(part.pcm) < SAMPLE_RATE // 10
            return f"a piece is sound, and the whole {whole.kind}" if len(part.pcm) and not is_less else None
        return f"a piece is {part.kind}, and the whole {whole.kind}" if part.kind != whole.kind else None
    expected = as_float(whole.pcm[begin:end])
    if isinstance(part, RecordingError):
        is_small = part.kind == "too_short" and not begin and len(expected) < SAMPLE_RATE // 10
        return None if is_small else f"a piece is {part.kind}, and the whole sound ({part.detail[:100]})"
    samples = as_float(part.pcm)
    if len(samples) != len(expected):
        return f"another length: {len(samples):,} samples for {len(expected):,}"
    if not np.array_equal(samples, expected):
        at = int(np.flatnonzero(samples != expected)[0])
        by = np.abs(samples - expected).max()
        return f"other samples: from {begin + at:,} on, by up to {by:g}"
    for name in ("sample_rate", "channels", "codec"):
        if len(expected) and getattr(part, name) != getattr(whole, name):
            return f"another {name}: {getattr(part, name)} for {getattr(whole, name)}"
    return None


def _work(folder: str, pipe: Connection) -> None:
    """Judges the mutants whose numbers come through a pipe. What decoders print is kept in a file of the process."""
    seeds = load_seeds(Path(folder))
    with (Path(folder) / f"{os.getpid()}").open("w") as printed:
        os.dup2(printed.fileno(), 2)
    faulthandler.enable()
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + ADDRESS_SPACE, most))
    with tempfile.TemporaryDirectory(prefix="citrascribe-fuzz-") as own:
        while (number := pipe.recv()) is not None:
            pipe.send(_report(number, seeds, Path(own)))


def _report(number: int, seeds: Sequence[Seed], folder: Path) -> Report:
    found = mutant(number, seeds)
    used = resource.getrusage(resource.RUSAGE_SELF)
    most = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (round(used.ru_utime + used.ru_stime) + CPU_S, most))  # ends by SIGXCPU
    before, began, end, fault = forget_peak(), time.monotonic(), "", None
    try:
        end = judge(found, seeds[number % len(seeds)], folder)
    except Fault as problem:
        fault = str(problem)
    extra = peak_bytes() - before
    if extra > MAX_BYTES and not fault:
        fault = f"took {extra:,} bytes"
    return Report(number, found.seed, end, fault, time.monotonic() - began, extra)


# In the parent


def save_seeds(folder: Path, wanted: Callable[[str], bool] = lambda name: True) -> list[Seed]:
    """Makes the seeds, and keeps them in a folder for the children."""
    seeds = [make() for name, make in makers().items() if wanted(name)]
    (folder / "seeds").write_bytes(pickle.dumps(seeds))
    return seeds


def load_seeds(folder: Path) -> list[Seed]:
    found: list[Seed] = pickle.loads((folder / "seeds").read_bytes())
    return found


class _Child:
    """A process that judges one mutant after another."""

    def __init__(self, folder: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self.folder = folder
        self.pipe, there = context.Pipe()
        self.process: BaseProcess = context.Process(target=_work, args=(str(folder), there), daemon=True)
        self.process.start()
        there.close()
        self.number, self.since = -1, 0.0

    def give(self, number: int) -> None:
        self.number, self.since = number, time.monotonic()
        self.pipe.send(number)

    def overdue(self) -> bool:
        return time.monotonic() - self.since > PATIENCE_S

    def end(self) -> str:
        """Ends the process; how it ended, and where Python was then."""
        self.process.join(1)
        self.process.kill()
        self.process.join()
        code = self.process.exitcode or 0
        self.pipe.close()
        if code == -signal.SIGXCPU:
            return f"more than {CPU_S} s of processor time"
        printed = (self.folder / f"{self.process.pid}").read_text(errors="replace")
        where = re.findall(
            r'File "[^"]*/([^"/]+)", line (\d+) in (\w+)', printed.partition("most recent call first")[2]
        )
        last = " < ".join(f"{function} ({file}:{line})" for file, line, function in where[:4])
        return f"{f'signal {signal.Signals(-code).name}' if code < 0 else f'status {code}'} in {last or printed[-200:]}"


def campaign(numbers: Sequence[int], seeds: Sequence[Seed], folder: Path, jobs: int = 1) -> Iterator[Report]:
    """Judges the mutants of some numbers in child processes; a child that ends is replaced."""
    left, children = iter(numbers), list[_Child]()

    def employ(child: _Child | None = None) -> None:
        number = next(left, None)
        if number is not None:
            child = child or _Child(folder)
            child.give(number)
            children.append(child)
        elif child:
            child.pipe.send(None)
            child.end()

    for _ in range(jobs):
        employ()
    while children:
        ready = wait([each.pipe for each in children], timeout=1)
        for child in [each for each in children if each.pipe in ready or each.overdue()]:
            children.remove(child)
            try:
                if child.pipe not in ready:
                    raise EOFError
                report: Report = child.pipe.recv()
            except (EOFError, ConnectionError):
                fault = f"more than {PATIENCE_S:g} s" if child.overdue() else ""
                fault = f"{fault}{'; ' * bool(fault)}{child.end()}"
                yield Report(child.number, seeds[child.number % len(seeds)].name, "", fault)
                employ()
            else:
                yield report
                employ(child)


@dataclass
class Account:
    """What a campaign has found."""

    ends: Counter[str] = field(default_factory=Counter)
    by_seed: Counter[tuple[str, str]] = field(default_factory=Counter)
    faults: list[Report] = field(default_factory=list)
    slowest: Report | None = None
    largest: Report | None = None

    def add(self, report: Report) -> None:
        end = "wrong" if report.fault else report.end
        self.ends[end] += 1
        self.by_seed[report.seed, end] += 1
        if report.fault:
            self.faults.append(report)
        self.slowest = max(self.slowest or report, report, key=lambda each: each.seconds)
        self.largest = max(self.largest or report, report, key=lambda each: each.extra_bytes)

    def progress(self) -> str:
        return f"{self.ends.total():,} mutants: " + ", ".join(
            f"{count} {end}" for end, count in sorted(self.ends.items())
        )

    def lines(self) -> Iterator[str]:
        ends = sorted(self.ends)
        names = sorted({name for name, _ in self.by_seed})
        yield "  ".join([f"{'seed':55}", *(f"{end:>10}" for end in ends)])
        for name in names:
            yield "  ".join([f"{name:55}", *(f"{self.by_seed[name, end]:>10}" for end in ends)])
        if self.slowest and self.largest:
            yield f"slowest {self.slowest.seconds:.1f} s ({self.slowest.number})"
            yield f"largest {self.largest.extra_bytes / 1e6:.0f} MB ({self.largest.number})"
        yield self.progress()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--one", type=int, help="the number of a single mutant")
    parser.add_argument("--keep", type=Path, help="a folder for the mutants that fail")
    options = parser.parse_args()
    first = options.seed * NUMBERS_A_SEED
    numbers = range(first, first + options.count) if options.one is None else range(options.one, options.one + 1)
    account, told = Account(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="citrascribe-fuzz-") as folder:
        seeds = save_seeds(Path(folder))
        for report in campaign(numbers, seeds, Path(folder), options.jobs):
            account.add(report)
            if report.fault or options.one is not None:
                found = mutant(report.number, seeds)
                print(f"{found}\n    {report.fault or report.end}", flush=True)
                if options.keep and (report.fault or options.one is not None):
                    options.keep.mkdir(parents=True, exist_ok=True)
                    (options.keep / f"{report.number}-{report.seed}").write_bytes(found.content)
            if time.monotonic() - told > 10:
                told = time.monotonic()
                print(account.progress(), file=sys.stderr, flush=True)
    print("\n".join(account.lines() if options.one is None else [account.progress()]))
    return 1 if account.faults else 0


if __name__ == "__main__":
    sys.exit(main())
