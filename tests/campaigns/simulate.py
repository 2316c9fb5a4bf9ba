"""What one driver, decoders and actors sustain, with stand-ins for GPUs that sleep as long as one would work.

    python tests/campaigns/simulate.py --actors 1 2 4 8 --minutes 30 150 --write docs/benchmarks/simulation.json
    python tests/campaigns/simulate.py --real 3000 --actors 1

By default decoders sleep too, as long as `--decoder-rtfx` takes on a core, and blocks hold a minute of sound: what is
left is the driver and Ray, on this machine's cores. As many decoders as feed all actors are simulated by an eighth of
that number of workers, each eight times as fast. With `--real` decoding, packing, saying and committing are real, and
the engine sleeps at the given speed, which this machine's cores should be able to feed. Shown is the speed once all
workers run, by the time between the first and the last quarter of the units.
"""

import argparse
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]  # this checkout, and its tests' helpers
from host_stages import ProcessTimes, pieces_of, planned, writing  # noqa: E402
from kept_results import add_write_option, publish  # noqa: E402
from stand_ins import paced_transcriber, speech_shards  # noqa: E402

from actors.blocks import advance  # noqa: E402
from actors.outcomes import Committed, Counts, Outcome  # noqa: E402
from actors.pieces import Piece  # noqa: E402
from actors.stages import CommitBlock, ReadBlock  # noqa: E402
from jobs import pipeline  # noqa: E402
from jobs.cli.loading import load  # noqa: E402
from jobs.running import connect  # noqa: E402
from jobs.running.share import hold  # noqa: E402

GPU_RTFX = 45_000  # that of the engine on an H200, by the model of its bytes and operations
CORES_OF_WORKER = 8  # that one simulated decoder stands for


class Pace(NamedTuple):
    """Seconds of audio in a unit, and times real time of a core that decodes, None for real decoding, and of a GPU."""

    unit_s: float
    decoder_rtfx: float | None
    gpu_rtfx: float


class Slept:
    """A stage that sleeps for a piece, and returns the same table."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._speech = pa.table({"pcm": pa.array([bytes(60 * 32_000)], pa.large_binary())})

    def __call__(self, block: pa.Table) -> pa.Table:
        time.sleep(self._seconds)
        return advance(block, lambda *_: self._speech)


class SleptCommit(Slept):
    """The last stage, with nothing to commit."""

    def __call__(self, block: pa.Table) -> pa.Table:
        time.sleep(self._seconds)
        return advance(block, lambda piece, _: self._outcome(piece))

    @staticmethod
    def _outcome(piece: Piece) -> Outcome:
        return Committed(piece.unit, Counts(recordings=1))


class HearPaced:
    """The stage that hears, at a GPU's speed."""

    def __init__(self, rtfx: float) -> None:
        self._transcriber = paced_transcriber(rtfx)

    def __call__(self, block: pa.Table) -> pa.Table:
        return advance(block, lambda _, speech: self._transcriber(speech))


def with_arguments(name: str, stage: type, *arguments: float) -> type:
    """A stage under a name that takes these arguments, not those that the graph has for it."""

    class Bound(stage):  # type: ignore[misc]
        def __init__(self, *_: Any) -> None:
            super().__init__(*arguments)

    Bound.__name__ = name
    return Bound


def put_in(pace: Pace) -> None:
    """Puts stand-ins into the graph."""
    pipeline.ReadBlock, pipeline.CommitBlock = ReadBlock, CommitBlock  # type: ignore[misc]
    if pace.decoder_rtfx is None:
        pipeline.HearBlock = with_arguments("HearBlock", HearPaced, pace.gpu_rtfx)  # type: ignore[misc]
        return
    read_s = pace.unit_s / (pace.decoder_rtfx * CORES_OF_WORKER)
    pipeline.ReadBlock = with_arguments("ReadBlock", Slept, read_s)  # type: ignore[misc]
    pipeline.HearBlock = with_arguments("HearBlock", Slept, pace.unit_s / pace.gpu_rtfx * 2)  # type: ignore[misc] # two at once
    pipeline.CommitBlock = with_arguments("CommitBlock", SleptCommit, 0.005)  # type: ignore[misc]


def speed(pace: Pace, folder: Path, out: Path, actors: int, units: int) -> tuple[float, float]:
    """Times real time, and cores that the driver and Ray took."""
    config = load("configs/demo.yaml", [f"input.uri={folder}", f"output.uri={out}", f"ray.actors=[{actors},{actors}]"])
    put_in(pace)
    prepared = planned(folder, out, pace.unit_s / 60 if pace.decoder_rtfx is None else 1)
    pieces = pieces_of(prepared)
    pieces = [replace(pieces[number % len(pieces)], unit=f"{number:x}") for number in range(units)] if units else pieces
    total = connect.connect_ray(None)
    with hold(config.ray, total, "cuda", "run", str(out)) as share:
        graph = pipeline.build_graph(pieces, prepared.recipe, share, prepared.output, writing(prepared))
        ended, seconds, used, first, begin = list[float](), list[float](), ProcessTimes(), len(pieces) // 4, 0.0
        for outcome in pipeline.outcomes(graph):
            ended.append(time.monotonic())
            heard = outcome.counts.audio_seconds if isinstance(outcome, Committed) else 0.0
            seconds.append(pace.unit_s if pace.decoder_rtfx else heard)
            if len(ended) in (first, len(pieces)):
                used.look()
                begin = begin or used.seconds
    if not first:
        sys.exit(f"{len(pieces)} units are too few; ask for smaller ones, or a longer simulation")
    took = ended[-1] - ended[first - 1]
    return sum(seconds[first:]) / took, (used.seconds - begin) / took


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--actors", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--minutes", type=float, nargs="+", default=[30, 150], help="of audio in a unit")
    parser.add_argument("--decoder-rtfx", type=float, default=4_500, help="of a core that decodes 16 kHz FLAC")
    parser.add_argument("--gpu-rtfx", type=float, default=GPU_RTFX)
    parser.add_argument("--seconds", type=float, default=20, help="that a simulation lasts, at the ideal speed")
    parser.add_argument("--real", type=float, help="decode really, with an engine of so many times real time")
    add_write_option(parser, "simulation")
    options = parser.parse_args()
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray

    rows = list[list[str]]()
    with tempfile.TemporaryDirectory(prefix="citrascribe-simulation-") as work:
        folder = Path(work, "audio")
        speech_shards(folder, 60 if options.real else 1, 24 if options.real else 1)
        for actors in options.actors:
            for minutes in options.minutes:
                gpu = options.real or options.gpu_rtfx
                pace = Pace(60 * minutes, None if options.real else options.decoder_rtfx, gpu)
                decoders = -(-int(1.3 * actors * gpu / options.decoder_rtfx) // CORES_OF_WORKER)
                cpus = 2 if options.real else decoders + 2 * actors + 2
                ray.init(
                    address="local",
                    num_cpus=cpus,
                    num_gpus=actors,
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level="FATAL",
                )
                units = 0 if options.real else max(int(options.seconds * actors * gpu / (60 * minutes)), 40)
                found, cores = speed(pace, folder, Path(work, f"{actors}-{minutes}"), actors, units)
                ray.shutdown()
                ideal = actors * gpu
                rows.append([str(actors), f"{minutes:g}", f"{ideal:,.0f}", f"{found:,.0f}", f"{found / ideal:.0%}"])
                rows[-1] += [f"{found / 60 / minutes:.1f}", f"{cores:.2f}"]
                print(*rows[-1], sep="  ", flush=True)
    what = "real" if options.real else f"simulated at {options.decoder_rtfx:,.0f} times real time a core"
    about = (
        f"A stand-in for each GPU sleeps as long as one would work at {gpu:,.0f} times real time, in the real graph; "
        f"decoding is {what}. Cores are those that the driver and Ray took on this machine, simulated stages included."
    )
    columns = ["actors", "minutes a unit", "ideal, x", "reached, x", "of ideal", "units a second", "cores"]
    publish("One driver and several GPUs, simulated", about, columns, rows, options.write)
    return 0


if __name__ == "__main__":
    sys.exit(main())
