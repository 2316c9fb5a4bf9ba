"""Mutants of what the job reads from storage: each results in rows or in an error message, or is skipped.

    python tests/campaigns/mutants.py --kind piece --count 5000 --seed 1

A mutant is made from a good file by a few changes that its seed draws, and read by the job's own code in a child
process. One that ends the child, or takes too long, is told by its seed. Prints how many ended how, the slowest and the
largest.
"""

import argparse
import faulthandler
import json
import logging
import multiprocessing
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1]), str(Path(__file__).parent)]

PATIENCE_S = 60.0  # for one mutant
MAX_BYTES = 2_500_000_000  # that a process may take

Read = Callable[[bytes], str]  # what a mutant ends as, where it ends as it should; raises otherwise


def mutant(good: bytes, seed: int) -> bytes:
    """A file with one to four changes."""
    draw, data = random.Random(seed), bytearray(good)
    in_place, others = (_bit, _byte, _number, _swap), (_cut, _repeat, _digits, _remove)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        draw.choice(in_place if draw.random() < 0.75 else others)(draw, data)
    return bytes(data)


def _place(draw: random.Random, data: bytearray) -> int:
    """Anywhere; often near the end, where footers are."""
    last = max(len(data) - 1, 0)
    return draw.randint(max(last - 600, 0), last) if draw.random() < 0.4 else draw.randint(0, last)


def _bit(draw: random.Random, data: bytearray) -> None:
    if data:
        data[_place(draw, data)] ^= 1 << draw.randrange(8)


def _byte(draw: random.Random, data: bytearray) -> None:
    if data:
        data[_place(draw, data)] = draw.randrange(256)


def _cut(draw: random.Random, data: bytearray) -> None:
    del data[_place(draw, data) :]


def _remove(draw: random.Random, data: bytearray) -> None:
    at = _place(draw, data)
    del data[at : at + draw.choice((1, 2, 4, 8, 100))]


def _swap(draw: random.Random, data: bytearray) -> None:
    size = draw.choice((1, 4, 8, 64))
    one, two = _place(draw, data), _place(draw, data)
    if abs(one - two) >= size and max(one, two) + size <= len(data):
        data[one : one + size], data[two : two + size] = data[two : two + size], data[one : one + size]


def _repeat(draw: random.Random, data: bytearray) -> None:
    at, size = _place(draw, data), draw.choice((1, 8, 64, 512))
    data[at:at] = data[at : at + size] * draw.choice((1, 2, 50))


def _number(draw: random.Random, data: bytearray) -> None:
    """A number where one may be, of those that programs take ill."""
    size = draw.choice((2, 4, 8))
    at = _place(draw, data) // size * size
    top = 1 << (8 * size - 1)
    number = draw.choice(
        (0, 1, -1, top - 1, -top, draw.randint(-top, top - 1), draw.choice((1 << 20, 1 << 31, 1 << 40)))
    )
    if at + size <= len(data):
        data[at : at + size] = (number % (1 << 8 * size)).to_bytes(size, "little")


def _digits(draw: random.Random, data: bytearray) -> None:
    """A word of JSON, of numbers or of names where another stood."""
    at = _place(draw, data)
    words = ("null", "-1", "1e999", "NaN", "9" * 5_000, "[" * 2_000, '"', "{}", "../../x", "\n", "\0", "\udc80", "true")
    data[at : at + draw.choice((0, 1, 5))] = draw.choice(words).encode("utf-8", "surrogatepass")


@dataclass
class Outcome:
    """How the mutants of a campaign ended."""

    ends: Counter[str] = field(default_factory=Counter)
    wrong: list[tuple[int, str]] = field(default_factory=list)  # (seed, what happened)
    slowest: tuple[float, int] = (0.0, 0)  # seconds, seed
    largest: tuple[int, int] = (0, 0)  # bytes, seed


def campaign(kind: str, count: int, seed: int) -> Outcome:
    """Reads mutants of a kind, in child processes."""
    outcome, left = Outcome(), range(seed * 1_000_000, seed * 1_000_000 + count)
    context = multiprocessing.get_context("spawn")
    while left:
        here, there = context.Pipe()
        child = context.Process(target=_work, args=(kind, left, there), daemon=True)
        child.start()
        there.close()
        last = _listen(here, left[0], outcome)
        child.kill()
        child.join()
        left = left[last + 1 - left[0] :]
    return outcome


def _listen(child: Connection, first: int, outcome: Outcome) -> int:
    """Takes what a child tells until it ends or hangs; returns the last seed that it was at."""
    at = first
    while True:
        try:
            if not child.poll(PATIENCE_S):
                outcome.wrong.append((at, f"did not end within {PATIENCE_S:g} s"))
                return at
            told = child.recv()
        except EOFError:
            outcome.wrong.append((at, "ended its process"))
            return at
        if told is None:
            return at
        if isinstance(told, int):
            at = told
            continue
        seconds, size, end, wrong = told
        outcome.slowest = max(outcome.slowest, (seconds, at))
        outcome.largest = max(outcome.largest, (size, at))
        if size > MAX_BYTES:
            wrong = wrong or f"took {size:,} bytes"
        if wrong:
            outcome.wrong.append((at, wrong))
        else:
            outcome.ends[end] += 1


def _work(kind: str, seeds: range, pipe: Connection) -> None:
    from kinds import KINDS

    faulthandler.enable()
    logging.disable()  # what is passed over is told there
    with tempfile.TemporaryDirectory(prefix="citrascribe-mutants-") as folder:
        good, read = KINDS[kind](Path(folder))
        assert read(good) == "rows", f"the good {kind} is not read as one"
        for seed in seeds:
            pipe.send(seed)
            Path("/proc/self/clear_refs").write_text("5")  # the peak of memory begins anew
            began, end, wrong = time.monotonic(), "", ""
            try:
                end = read(mutant(good, seed))
            except Exception as problem:  # noqa: BLE001 - that is what the campaign looks for
                wrong = f"{type(problem).__name__}: {problem}"[:300]
            pipe.send((time.monotonic() - began, _peak(), end, wrong))
    pipe.send(None)


def _peak() -> int:
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("VmHWM")).split()[1]) * 1024


def _lines(kind: str, outcome: Outcome) -> Iterator[str]:
    counts: dict[str, Any] = dict(outcome.ends) | {"wrong": len(outcome.wrong)}
    yield f"{kind}: {json.dumps(counts)}"
    yield f"  slowest {outcome.slowest[0]:.2f} s (seed {outcome.slowest[1]})"
    yield f"  largest {outcome.largest[0] / 1e6:.0f} MB (seed {outcome.largest[1]})"
    yield from (f"  seed {seed}: {what}" for seed, what in outcome.wrong[:20])


def main() -> int:
    from kinds import KINDS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=[*KINDS, "all"], default="all")
    parser.add_argument("--count", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    is_right = True
    for kind in KINDS if options.kind == "all" else [options.kind]:
        outcome = campaign(kind, options.count, options.seed)
        print("\n".join(_lines(kind, outcome)), flush=True)
        is_right = is_right and not outcome.wrong
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main())
