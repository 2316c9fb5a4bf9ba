"""The whole graph: units in, one summary a unit out."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from actors import storage
from actors.blocks import advance, start
from actors.models import ModelFile
from actors.parts import commit_unit
from actors.reading import ReadSettings, read_unit
from actors.transcriber import EngineSettings, Transcriber
from actors.units import Unit
from jobs.config import Cluster, ConfigError

PADDED_SECONDS = {"cpu": 60.0, "cuda": 3_600.0}  # of a batch: a CPU is busy with few, a GPU wants an hour


@dataclass(frozen=True)
class Resources:
    """What Ray reserves for each stage; `threads` are what an actor really computes with."""

    actor_cpus: float
    actor_gpus: float
    decoder_cpus: float
    commit_cpus: float
    threads: int
    device: str


def share_out(cluster: Cluster, cpus: float, gpus: float, device: str) -> Resources:
    """Resources for the stages such that the least pool, one decoder and one commit fit together.

    Otherwise Ray would wait for ever without a word, so what does not fit is refused here with a ConfigError. CPUs
    of actor and decoder must differ, or Ray Data would fuse the two stages into one and nothing would overlap.
    """
    least, most = cluster.actors
    device = device if device != "auto" else ("cuda" if gpus >= 1 else "cpu")
    actor_gpus = (1.0 if device == "cuda" else 0.0) if cluster.gpus_per_actor == "auto" else cluster.gpus_per_actor
    if device == "cuda" and not actor_gpus:
        raise ConfigError("ray.gpus_per_actor: 0 leaves the actors no GPU, and model.device is cuda")
    decoder = min(1.0, cpus / 4) if cluster.cpus_per_decoder == "auto" else cluster.cpus_per_decoder
    commit = decoder / 2
    actor: float
    if cluster.cpus_per_actor != "auto":
        actor = cluster.cpus_per_actor
    elif device == "cuda":
        actor = min(1.0, (cpus - decoder - commit) / most)
    else:
        actor = (cpus - decoder - commit) / most
    actor = max(float(int(actor)), 1.0) if actor >= 1 else round(actor, 4)
    if actor == decoder:
        decoder *= 0.9
    for name, needed, there in (
        ("CPUs", least * actor + decoder + commit, cpus),
        ("GPUs", least * actor_gpus, gpus),
    ):
        if needed > there or actor <= 0:
            raise ConfigError(
                f"ray.actors: {least} actors, a decoder and a commit need {needed:g} {name}, and Ray has {there:g};"
                " lower ray.actors, ray.cpus_per_actor or ray.gpus_per_actor"
            )
    threads = max(int(cpus // most), 1) if device == "cpu" else max(int(actor), 1)
    return Resources(actor, actor_gpus, decoder, commit, threads, device)


def connect(address: str | None, object_store_gb: float | str) -> tuple[float, float]:
    """Connects to a cluster, or starts a local Ray where none is named; returns its CPUs and GPUs."""
    import ray

    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # Ray's coming default; silences its warning
    inside_job = "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    if address is None and "RAY_ADDRESS" not in os.environ and not inside_job:
        memory = None if object_store_gb == "auto" else int(float(object_store_gb) * 1e9)
        ray.init(address="local", include_dashboard=False, object_store_memory=memory, **quiet)
    else:
        try:
            ray.init(address=address or "auto", **quiet)
        except ConnectionError as problem:
            raise ConfigError(f"ray.address: no cluster answers at {address or 'auto'}: {problem}") from None
    total = ray.cluster_resources()
    return float(total.get("CPU", 0)), float(total.get("GPU", 0))


def build_graph(
    units: Sequence[Unit],
    reading: ReadSettings,
    model: ModelFile,
    engine: EngineSettings,
    run_id: str,
    output: tuple[storage.Filesystem, str],
    resources: Resources,
    cluster: Cluster,
) -> Any:
    """The graph as a lazy Ray dataset: read and decode, transcribe, commit. A block is one piece throughout."""
    import ray
    from ray.data import ActorPoolStrategy

    context = ray.data.DataContext.get_current()
    context.target_max_block_size = None  # a piece is never split
    context.max_errored_blocks = -1  # one bad unit fails without the rest; the driver counts what was committed
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    return (
        ray.data.from_items([start(unit) for unit in units], override_num_blocks=len(units))
        .map_batches(
            partial(read_block, settings=reading),
            batch_size=1,
            batch_format="pyarrow",
            num_cpus=resources.decoder_cpus,
            memory=cluster.decoder_memory_gb * 1e9,
            max_retries=3,
        )
        .map_batches(
            TranscribeBlock,
            fn_constructor_args=(model, engine, run_id),
            batch_size=1,
            batch_format="pyarrow",
            compute=ActorPoolStrategy(min_size=cluster.actors[0], max_size=cluster.actors[1]),
            num_cpus=resources.actor_cpus,
            num_gpus=resources.actor_gpus,
            max_restarts=3,
            max_task_retries=3,
        )
        .map_batches(
            partial(commit_block, output=output),
            batch_size=1,
            batch_format="pyarrow",
            num_cpus=resources.commit_cpus,
            max_retries=3,
        )
    )


def read_block(block: pa.Table, settings: ReadSettings) -> pa.Table:
    return advance(block, lambda unit, _: read_unit(unit, settings))


class TranscribeBlock:
    """The actor as Ray Data calls it."""

    def __init__(self, model: ModelFile, engine: EngineSettings, run_id: str) -> None:
        self._transcriber = Transcriber(model, engine, run_id)

    def __call__(self, block: pa.Table) -> pa.Table:
        return advance(block, lambda _, speech: self._transcriber(speech))


def commit_block(block: pa.Table, output: tuple[storage.Filesystem, str]) -> pa.Table:
    def commit(unit: Unit, rows: pa.Table) -> pa.Table:
        return pa.table({"summary": [json.dumps(commit_unit(unit, rows, *output))]})

    return advance(block, commit)


def summaries(dataset: Any) -> Iterator[dict[str, Any]]:
    """Runs the graph; yields each unit's summary as it is committed, or {"unit", "failure"}."""
    for block in dataset.iter_batches(batch_size=1, batch_format="pyarrow", prefetch_batches=0):
        unit = json.loads(block.column("unit")[0].as_py())["id"]
        failure = block.column("failure")[0].as_py()
        if failure is not None:
            yield {"unit": unit, "failure": failure}
        else:
            rows = pa.ipc.open_stream(block.column("rows")[0].as_buffer()).read_all()
            yield json.loads(rows.column("summary")[0].as_py())
