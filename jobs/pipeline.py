"""The graph, from pieces of units to committed parts. Start reading here.

    pieces ──▶ read_block ──▶ TranscribeBlock ──▶ commit_block ──▶ outcomes
               CPU tasks      one Citrinet        CPU tasks
               fetch, decode  per GPU, an         write the part,
               and cut        actor pool          commit the unit

A block is one piece throughout: a unit, or a share of a large one. `jobs/transcribe.py` sends the pieces
and collects the outcomes; the three stages are in `actors/stages.py`.
"""

import uuid
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from actors.blocks import outcome, start
from actors.engine.interface import EngineSettings
from actors.engine.models import ModelFile
from actors.sources.objects import ReadSettings
from actors.stages import TranscribeBlock, commit_block, read_block
from actors.storage.place import Place
from actors.units import Piece
from jobs.running.cluster import GraphError, Resources, configure_ray_data, reason_of


def build_graph(
    pieces: Sequence[Piece],
    reading: ReadSettings,
    model: ModelFile,
    engine: EngineSettings,
    run_id: str,
    output: Place,
    resources: Resources,
) -> Any:
    """The graph as a lazy Ray dataset: read and decode, transcribe, commit."""
    import ray.data

    configure_ray_data()
    attempt = f"{run_id}-{uuid.uuid4().hex[:6]}"
    whole_blocks = {"batch_size": 1, "batch_format": "pyarrow"}
    return (
        ray.data.from_items([start(piece) for piece in pieces], override_num_blocks=len(pieces))
        .map_batches(partial(read_block, settings=reading, output=output), **whole_blocks, **resources.of_readers())
        .map_batches(
            TranscribeBlock, fn_constructor_args=(model, engine, run_id), **whole_blocks, **resources.of_actors()
        )
        .map_batches(partial(commit_block, output=output, attempt=attempt), **whole_blocks, **resources.of_commits())
    )


def outcomes(dataset: Any) -> Iterator[dict[str, Any]]:
    """Runs the graph; yields the outcome of each piece as it ends (see `blocks.outcome`). Raises GraphError."""
    try:
        for block in dataset.iter_batches(batch_size=1, batch_format="pyarrow", prefetch_batches=0):
            yield outcome(block)
    except Exception as problem:
        raise GraphError(reason_of(problem)) from problem
