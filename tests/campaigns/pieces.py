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
from actors.engine.vocabulary import Vocabulary
from actors.outcomes import Kept
from actors.pieces import Cut, Piece
from actors.storage.place import Place
from actors.writer import WriteSettings
from jobs import pipeline
from jobs.cli.config import Cluster
from jobs.cli.loading import load
from jobs.planning.recipe import Devices, Recipe
from jobs.running.connect import connect_ray
from jobs.running.share import hold


class Stage:
    def __init__(self, *_: Any) -> None:
        pass


class Read(Stage):
    def __call__(self, block: pa.Table) -> pa.Table:
        return advance(block, lambda unit, _: pa.table({"pcm": [b"sound"]}))


class Transcribe(Stage):
    def __call__(self, block: pa.Table) -> pa.Table:
        return advance(block, lambda _, speech: speech)


class Commit(Stage):
    def __call__(self, block: pa.Table) -> pa.Table:
        return advance(block, lambda piece, _: Kept(piece.unit, 0.0))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pieces", type=int, default=10_000)
    parser.add_argument("--actors", type=int, default=1)
    add_write_option(parser, "pieces")
    options = parser.parse_args()
    # The stages are pickled with this script, for what is in __main__ is pickled by value.
    pipeline.ReadBlock, pipeline.HearBlock, pipeline.CommitBlock = Read, Transcribe, Commit  # type: ignore[misc, assignment]
    pool = (options.actors, options.actors)
    ray.init(address="local", num_cpus=2 * options.actors, include_dashboard=False, log_to_driver=False)
    pieces = [Piece(f"{number:x}", "f", Cut(60), ()) for number in range(options.pieces)]
    recipe = Recipe.of(load("configs/demo.yaml", []), ModelFile("", ""), Devices(0, has_bfloat16=False))
    with hold(Cluster(actors=pool), connect_ray(None), "cpu", "run", "/nowhere") as share:
        writing = WriteSettings(recipe.model, Vocabulary(()), "run", recipe.reading)
        dataset = pipeline.build_graph(pieces, recipe, share, Place.at("/nowhere"), writing)
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
