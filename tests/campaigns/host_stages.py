"""What each stage of the job costs the CPUs, in core-seconds an hour of audio, without the model: of 16 kHz FLAC in tar
shards.

    python tests/campaigns/host_stages.py --copies 60 --write docs/benchmarks/host_stages.json

Sixteen cores feed a GPU at 3600 × 16 / sum times real time. Each stage is run in this process on blocks of the size
that units have on a GPU, and its processor time counted, in all threads. Ray's own is what the same job takes in all of
Ray's processes beyond that: moving blocks between the stages, and the driver.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]  # this checkout, and its tests' helpers
from kept_results import add_write_option, publish  # noqa: E402
from stand_ins import TOKENS, paced_transcriber, speech_shards  # noqa: E402

from actors.blocks import advance, start  # noqa: E402
from actors.engine.vocabulary import Vocabulary  # noqa: E402
from actors.outcomes import Committed  # noqa: E402
from actors.pieces import Piece, cut_unit  # noqa: E402
from actors.reader import read_piece  # noqa: E402
from actors.schema import SAMPLE_RATE  # noqa: E402
from actors.sources.memory import MemoryBudget  # noqa: E402
from actors.sources.objects import Reading, read_objects  # noqa: E402
from actors.units import Unit  # noqa: E402
from actors.writer import Writer, WriteSettings  # noqa: E402
from jobs import pipeline  # noqa: E402
from jobs.cli.loading import load  # noqa: E402
from jobs.planning.prepare import Prepared, prepare  # noqa: E402
from jobs.planning.recipe import Devices  # noqa: E402
from jobs.running import connect  # noqa: E402
from jobs.running.share import hold  # noqa: E402

GOAL_S = 1.38  # core-seconds an audio hour of all stages: 16 cores then feed 41,667 times real time
STAGES = ("list", "read", "decode", "pack", "hear", "say", "write")


class Stopwatch:
    """Processor time of this process, by stage."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        began = time.process_time()
        yield
        self.seconds[stage] += time.process_time() - began


def planned(folder: Path, out: Path, minutes: float) -> Prepared:
    config = load(
        "configs/demo.yaml",
        [f"input.uri={folder}", f"output.uri={out}", f"unit.target_minutes={minutes}", "model.device=cpu"],
    )
    return prepare(config, lambda: Devices(0, has_bfloat16=False))


def in_this_process(folder: Path, out: Path, minutes: float) -> tuple[dict[str, float], float]:
    """Seconds by stage, and hours of audio."""
    time_of, hours = Stopwatch(), 0.0
    with time_of("list"):
        prepared = planned(folder, out, minutes)
    transcriber = paced_transcriber(None)
    write = Writer(writing(prepared), prepared.output, "one")
    for piece in pieces_of(prepared):
        with time_of("read"):
            reading = Reading(piece, prepared.recipe.reading, MemoryBudget(10**9))
            for source in piece.objects:
                for recording in read_objects([source], reading):
                    del recording
        began = time.process_time()
        speech = read_piece(piece, prepared.recipe.reading)
        time_of.seconds["decode"] += time.process_time() - began
        hours += pc.sum(pc.binary_length(speech.column("pcm"))).as_py() / (2 * SAMPLE_RATE * 3_600)
        blocks = pa.Table.from_pylist([start(piece)])
        with time_of("pack"):
            block = advance(blocks, lambda *_, speech=speech: speech)
        with time_of("hear"):
            heard = transcriber(pa.ipc.open_stream(block.column("rows")[0].as_buffer()).read_all())
        with time_of("say"):
            write.said(write.joined(piece.unit, heard), keeps_emissions=False)
        with time_of("write"):
            write(piece, heard)
    time_of.seconds["decode"] -= time_of.seconds["read"]  # which it contains
    time_of.seconds["write"] -= time_of.seconds["say"]
    return time_of.seconds, hours


def writing(prepared: Prepared) -> WriteSettings:
    recipe = prepared.recipe
    vocabulary = Vocabulary(tuple(chr(0x4E00 + number) for number in range(TOKENS)))
    return WriteSettings(recipe.model, vocabulary, "run", recipe.reading, recipe.tokens)


def pieces_of(prepared: Prepared) -> list[Piece]:
    units: list[Unit] = prepared.plan.units
    return [piece for unit in units for piece in cut_unit(unit, prepared.cut_of(unit))]


class HearAtOnce:
    """The stage that hears, without a GPU's time."""

    def __init__(self, *_: Any) -> None:
        self._transcriber = paced_transcriber(None)

    def __call__(self, block: pa.Table) -> pa.Table:
        return advance(block, lambda _, speech: self._transcriber(speech))


class ProcessTimes:
    """Processor time of this process and all below it, those of Ray among them, also of those that ended after a look
    at them; of Linux' /proc."""

    def __init__(self) -> None:
        self._ticks = dict[int, int]()

    @property
    def seconds(self) -> float:
        return sum(self._ticks.values()) / os.sysconf("SC_CLK_TCK")

    def look(self) -> None:
        parents, ticks = dict[int, int](), dict[int, int]()
        for path in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):  # it has just ended
                fields = path.read_text().rpartition(")")[2].split()
                parents[int(path.parent.name)], ticks[int(path.parent.name)] = (
                    int(fields[1]),
                    sum(map(int, fields[11:13])),
                )
        family = {os.getpid()}
        while more := {each for each, parent in parents.items() if parent in family} - family:
            family |= more
        self._ticks |= {each: ticks[each] for each in family}


def on_ray(folder: Path, out: Path, minutes: float) -> float:
    """Processor seconds an hour of audio that the graph takes in all processes: by how much more it takes for three
    quarters of the archive than for most of one quarter, so that starting its workers is not counted."""
    config = load("configs/demo.yaml", [f"input.uri={folder}", f"output.uri={out}"])
    pipeline.HearBlock = HearAtOnce  # type: ignore[misc, assignment]
    total = connect.connect_ray("local")
    prepared, points = planned(folder, out, minutes), list[tuple[float, float]]()
    pieces, used = pieces_of(prepared), ProcessTimes()
    if len(pieces) < 8:
        sys.exit(f"{len(pieces)} units are too few to measure Ray by; ask for more --copies")
    at = len(pieces) // 4
    for some in (pieces[:1], pieces[1:at], pieces[at:]):  # the first has more to start than later ones
        used.look()
        began = used.seconds
        with hold(config.ray, total, "cpu", "run", str(out)) as share:
            graph = pipeline.build_graph(some, prepared.recipe, share, prepared.output, writing(prepared))
            hours = 0.0
            for outcome in pipeline.outcomes(graph):
                used.look()  # now: when the graph is done, its workers end, and nobody has their time any more
                hours += outcome.counts.audio_seconds / 3_600 if isinstance(outcome, Committed) else 0.0
            points.append((used.seconds - began, hours))
    _, (few_s, few), (many_s, many) = points
    return (many_s - few_s) / (many - few)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60, help="of audio in the archive, before copies")
    parser.add_argument("--copies", type=int, default=30)
    parser.add_argument("--unit-minutes", type=float, default=150)
    parser.add_argument("--rounds", type=int, default=3, help="without Ray; medians are shown")
    add_write_option(parser, "host_stages")
    options = parser.parse_args()
    rounds = list[dict[str, float]]()
    with tempfile.TemporaryDirectory(prefix="citrascribe-stages-") as work:
        folder = Path(work, "audio")
        speech_shards(folder, options.minutes, options.copies)
        for number in range(options.rounds + 1):
            seconds, hours = in_this_process(folder, Path(work, f"alone-{number}"), options.unit_minutes)
            if number:  # the first has imports and compiled code to load
                rounds.append({stage: each / hours for stage, each in seconds.items()})
        shown = {stage: median(each[stage] for each in rounds) for stage in STAGES}
        whole = on_ray(folder, Path(work, "ray"), options.unit_minutes)
    alone = sum(shown[stage] for stage in STAGES if stage != "list")
    shown |= {"Ray's own": max(whole - alone, 0.0)}
    total = sum(shown.values())
    rows = [[stage, f"{each:.3f}", f"{each / total:.0%}"] for stage, each in shown.items()]
    rows.append(["all", f"{total:.2f}", f"16 cores feed {16 * 3_600 / total:,.0f} x real time"])
    rows.append(["measured on Ray", f"{whole:.2f}", ""])
    about = (
        f"Core-seconds an hour of audio of each stage without the model: 16 kHz FLAC in tar shards, recordings of 2 to"
        f" 15 s, units of {options.unit_minutes:g} minutes. `hear` is the actor's own; `pack` makes a block of decoded"
        f" sound. Ray's own is what that job takes in all of Ray's processes beyond the sum of"
        f" the stages, if it is more. A GPU's batches are not laid out here. Goal: {GOAL_S}."
    )
    publish("What the stages cost beside the model", about, ["stage", "s an audio hour", "share"], rows, options.write)
    return 0


if __name__ == "__main__":
    sys.exit(main())
