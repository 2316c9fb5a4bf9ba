"""What a piece costs in the graph beside its work: many pieces whose stages do next to nothing.

    python tests/campaigns/pieces.py --pieces 10000 --actors 1

Prints milliseconds a piece by the clock, from the first to the last, and of the driver's own processor time.
"""

import argparse
import resource
import sys
import time
from typing import Any

import pyarrow as pa
import ray
from kept_results import add_write_option, publish

from actors.blocks import advance
from actors.engine.models import ModelFile
from actors.outcomes import Kept
from actors.pieces import Cut, Piece
from actors.sources.objects import ReadSettings
from actors.storage.place import Place
from jobs import pipeline
from jobs.cli.config import Cluster
from jobs.cli.loading import load
from jobs.planning.recipe import Devices, Recipe
from jobs.running import cluster, connect


def read(block: pa.Table, settings: ReadSettings, output: Any) -> pa.Table:
    return advance(block, lambda unit, _: pa.table({"pcm": [b"sound"]}))


class Transcribe:
    def __init__(self, *_: Any) -> None:
        pass

    def __call__(self, block: pa.Table) -> pa.Table:
        return advance(block, lambda _, speech: speech)


def commit(block: pa.Table, output: Any, attempt: str) -> pa.Table:
    return advance(block, lambda piece, _: Kept(piece.unit, 0.0))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pieces", type=int, default=10_000)
    parser.add_argument("--actors", type=int, default=1)
    add_write_option(parser, "pieces")
    options = parser.parse_args()
    # The stages are pickled with this script, for what is in __main__ is pickled by value.
    pipeline.read_block, pipeline.TranscribeBlock, pipeline.commit_block = read, Transcribe, commit  # type: ignore[misc, assignment]
    pool = (options.actors, options.actors)
    ray.init(address="local", num_cpus=2 * options.actors, include_dashboard=False, log_to_driver=False)
    resources = cluster.allocate(Cluster(actors=pool), connect.connect_ray(None), "cpu")
    pieces = [Piece(f"{number:x}", "f", Cut(60), ()) for number in range(options.pieces)]
    recipe = Recipe.of(load("configs/demo.yaml", []), ModelFile("", ""), Devices(0, has_bfloat16=False))
    dataset = pipeline.build_graph(pieces, recipe, resources, Place.at("/nowhere"), "run")
    ends, began = [time.monotonic()], resource.getrusage(resource.RUSAGE_SELF)
    for _ in pipeline.outcomes(dataset):
        ends.append(time.monotonic())
    used = resource.getrusage(resource.RUSAGE_SELF)
    driver = used.ru_utime + used.ru_stime - began.ru_utime - began.ru_stime
    assert len(ends) == options.pieces + 1
    each = 1_000 * (ends[-1] - ends[1]) / (options.pieces - 1)
    columns = ["pieces", "actors", "ms per piece", "CPU ms of the driver"]
    row = f"{options.pieces:,}", options.actors, f"{each:.0f}", f"{1_000 * driver / options.pieces:.0f}"
    about = "The stages do next to nothing, so this is Ray's own cost per piece."
    publish("Pieces through the graph", about, columns, [row], options.write)
    return 0


if __name__ == "__main__":
    sys.exit(main())
