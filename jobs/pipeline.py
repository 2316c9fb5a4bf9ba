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
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from actors.blocks import outcome_of, start
from actors.outcomes import Outcome
from actors.pieces import Piece
from actors.stages import TranscribeBlock, commit_block, read_block
from actors.storage.place import Place
from jobs.planning.recipe import Recipe
from jobs.running.cluster import GraphError, Resources, configure_ray_data
from jobs.running.connect import reason_of

if TYPE_CHECKING:
    from ray.data import Dataset


def build_graph(
    pieces: Sequence[Piece],
    recipe: Recipe,
    resources: Resources,
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
    engine = replace(recipe.engine_settings(resources.threads), isolated=isolated)
    whole_blocks = {"batch_size": 1, "batch_format": "pyarrow"}
    return (
        ray.data.from_items([start(piece) for piece in pieces], override_num_blocks=len(pieces))
        .map_batches(partial(read_block, settings=reading, output=output), **whole_blocks, **resources.of_readers())
        .map_batches(
            TranscribeBlock, fn_constructor_args=(recipe.model, engine, run_id), **whole_blocks, **resources.of_actors()
        )
        .map_batches(partial(commit_block, output=output, attempt=attempt), **whole_blocks, **resources.of_commits())
    )


def outcomes(dataset: "Dataset") -> Iterator[Outcome]:
    """Runs the graph; yields the outcome of each piece as it ends. Raises GraphError."""
    try:
        for block in dataset.iter_batches(batch_size=1, batch_format="pyarrow", prefetch_batches=0):
            yield outcome_of(block)
    except Exception as problem:
        raise GraphError(reason_of(problem)) from problem
