"""The graph, from pieces of units to committed parts. Start reading here.

    pieces ──▶ ReadBlock ──▶ HearBlock ──▶ CommitBlock ──▶ outcomes
               on CPUs:      one Citrinet  on CPUs:
               fetch,        per GPU       say what was heard,
               decode, cut                 write the part, commit the unit

A block is one piece throughout: a unit, or a share of a large one. `jobs/transcribe.py` sends the pieces
and collects the outcomes; the three stages are in `actors/stages.py`, each a pool of workers that grows and
shrinks with the work and the room on the cluster (`jobs/running/share.py`). Pieces of which nothing is to be
heard anew go to the last stage alone.
"""

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from actors.blocks import outcome_of, start
from actors.outcomes import Outcome
from actors.pieces import Piece
from actors.stages import CommitBlock, HearBlock, ReadBlock
from actors.storage.place import Place
from actors.writer import WriteSettings
from jobs.planning.recipe import Recipe
from jobs.running.cluster import GraphError, ShareLost, configure_ray_data, has_restarted
from jobs.running.connect import reason_of
from jobs.running.share import Share

if TYPE_CHECKING:
    from ray.data import Dataset

_WHOLE_BLOCKS: dict[str, Any] = {"batch_size": 1, "batch_format": "pyarrow"}


def build_graph(
    pieces: Sequence[Piece],
    recipe: Recipe,
    share: Share,
    output: Place,
    writing: WriteSettings,
    isolated: bool = False,
) -> "Dataset":
    """The graph as a lazy Ray dataset: read and decode, hear, say and commit. If `isolated`, each recording is handled
    in a process of its own, since one of them may crash it."""
    reading = replace(recipe.reading, isolated=isolated)
    engine = replace(recipe.engine_settings(share.resources.threads), isolated=isolated)
    hearing = recipe.model, engine, share.resources.actors[1] == 1, has_restarted
    return (
        _source(pieces)
        .map_batches(ReadBlock, fn_constructor_args=(reading, output), **_WHOLE_BLOCKS, **share.of_readers())
        .map_batches(HearBlock, fn_constructor_args=hearing, **_WHOLE_BLOCKS, **share.of_actors())
        .map_batches(
            CommitBlock, fn_constructor_args=_committing(writing, output), **_WHOLE_BLOCKS, **share.of_writers()
        )
    )


def build_rewriting(pieces: Sequence[Piece], share: Share, output: Place, writing: WriteSettings) -> "Dataset":
    """The last stage alone, for pieces of which nothing is heard anew."""
    committing = _committing(writing, output)
    return _source(pieces).map_batches(
        CommitBlock, fn_constructor_args=committing, **_WHOLE_BLOCKS, **share.of_writers()
    )


def rewrite_here(pieces: Sequence[Piece], output: Place, writing: WriteSettings) -> Iterator[Outcome]:
    """Does what `build_rewriting` does in this process, which for a few pieces is faster than to start Ray."""
    commit = CommitBlock(*_committing(writing, output))
    for piece in pieces:
        yield outcome_of(commit(pa.Table.from_pylist([start(piece)])))


def graph_here(recipe: Recipe, threads: int, output: Place, writing: WriteSettings) -> Callable[[Piece], Outcome]:
    """The three stages in this process, without Ray: what takes a piece through them, to its outcome. Raises UsageError
    as the stages do."""
    stages = (
        ReadBlock(recipe.reading, output),
        HearBlock(recipe.model, recipe.engine_settings(threads), True, lambda: False),
        CommitBlock(*_committing(writing, output)),
    )

    def transcribe(piece: Piece) -> Outcome:
        block = pa.Table.from_pylist([start(piece)])
        for stage in stages:
            block = stage(block)
        return outcome_of(block)

    return transcribe


def _source(pieces: Sequence[Piece]) -> "Dataset":
    import ray.data

    configure_ray_data()
    return ray.data.from_items([start(piece) for piece in pieces], override_num_blocks=len(pieces))


def _committing(writing: WriteSettings, output: Place) -> tuple[WriteSettings, Place, str]:
    """The arguments of a CommitBlock, for one execution of the graph."""
    return writing, output, f"{writing.run_id}-{uuid.uuid4().hex[:6]}"


def outcomes(dataset: "Dataset") -> Iterator[Outcome]:
    """Runs the graph; yields the outcome of each piece as it ends. Raises GraphError, of which ShareLost is one."""
    try:
        for block in dataset.iter_batches(batch_size=1, batch_format="pyarrow", prefetch_batches=0):
            yield outcome_of(block)
    except ShareLost:
        raise
    except Exception as problem:
        raise GraphError(reason_of(problem)) from problem
