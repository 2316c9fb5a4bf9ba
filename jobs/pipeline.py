"""The graph, from pieces of units to committed parts. Start reading here.

    pieces ──▶ ReadBlock ──▶ TranscribeBlock ──▶ CommitBlock ──▶ outcomes
               on CPUs:      one Citrinet        on CPUs:
               fetch,        per GPU             write the part,
               decode, cut                       commit the unit

A block is one piece throughout: a unit, or a share of a large one. `jobs/transcribe.py` sends the pieces
and collects the outcomes; the three stages are in `actors/stages.py`, each a pool of workers that grows and
shrinks with the work and the room on the cluster (`jobs/running/share.py`).
"""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from actors.blocks import outcome_of, start
from actors.outcomes import Outcome
from actors.pieces import Piece
from actors.stages import CommitBlock, ReadBlock, TranscribeBlock
from actors.storage.place import Place
from jobs.planning.recipe import Recipe
from jobs.running.cluster import GraphError, configure_ray_data
from jobs.running.connect import reason_of
from jobs.running.share import Share

if TYPE_CHECKING:
    from ray.data import Dataset


def build_graph(
    pieces: Sequence[Piece],
    recipe: Recipe,
    share: Share,
    output: Place,
    run_id: str,
    isolated: bool = False,
) -> "Dataset":
    """The graph as a lazy Ray dataset: read and decode, transcribe, commit. If `isolated`, each recording is handled in
    a process of its own, since one of them may crash it."""
    import ray.data

    configure_ray_data()
    attempt = f"{run_id}-{uuid.uuid4().hex[:6]}"
    reading = replace(recipe.reading, isolated=isolated)
    engine = replace(recipe.engine_settings(share.resources.threads), isolated=isolated)
    whole_blocks = {"batch_size": 1, "batch_format": "pyarrow"}
    return (
        ray.data.from_items([start(piece) for piece in pieces], override_num_blocks=len(pieces))
        .map_batches(ReadBlock, fn_constructor_args=(reading, output), **whole_blocks, **share.of_readers())
        .map_batches(
            TranscribeBlock, fn_constructor_args=(recipe.model, engine, run_id), **whole_blocks, **share.of_actors()
        )
        .map_batches(CommitBlock, fn_constructor_args=(output, attempt), **whole_blocks, **share.of_writers())
    )


def outcomes(dataset: "Dataset") -> Iterator[Outcome]:
    """Runs the graph; yields the outcome of each piece as it ends. Raises GraphError."""
    try:
        for block in dataset.iter_batches(batch_size=1, batch_format="pyarrow", prefetch_batches=0):
            yield outcome_of(block)
    except Exception as problem:
        raise GraphError(reason_of(problem)) from problem
