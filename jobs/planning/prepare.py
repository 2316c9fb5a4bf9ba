"""Turns a configuration into a plan, for runs and dry runs. Does not start Ray."""

import gc
import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from actors.audio.segments import SegmentationSettings
from actors.engine.models import ModelFile, resolve
from actors.schema import SAMPLE_RATE, UsageError
from actors.sources.objects import ReadSettings
from actors.storage.place import Place
from actors.units import Piece, Unit
from jobs.cli.config import Config, ConfigError, Model
from jobs.cli.terminal import StatusLine
from jobs.planning.listing import Listing, list_input
from jobs.planning.sizing import pieces_of
from jobs.planning.state import State, load_commits, load_state, units_with_errors
from jobs.planning.verdicts import Plan, Policy, make_plan

#: Minutes of audio in a unit, by device. Half an hour keeps a CPU actor busy for a minute or two. One driver handles 37
#: pieces a second (docs/benchmarks.md); at two and a half hours, 290 MB, each, that keeps 8 GPUs busy at 40,000 times
#: real time.
AUTO_TARGET_MINUTES = {"cpu": 30.0, "cuda": 150.0}


@dataclass(frozen=True)
class Prepared:
    """The result of planning: the units to process, and all settings they need."""

    listing: Listing
    state: State
    plan: Plan
    model: ModelFile
    reading: ReadSettings
    settings: dict[str, Any]  # all that can change a row, with each `auto` resolved
    output: Place
    piece_seconds: float  # target for the audio in a piece

    @property
    def output_uri(self) -> str:
        return self.output.uri

    def pieces_of(self, unit: Unit) -> list[Piece]:
        """The pieces that a unit is cut into when planned."""
        return pieces_of(unit, self.piece_seconds, self.reading.segmentation.anchor_distance / SAMPLE_RATE)


def prepare(config: Config, on_cluster: bool) -> Prepared:
    """Lists the input, reads the state of the output, and plans. Raises ConfigError."""
    gc.disable()  # millions of live objects: collections would free nothing and take a third of the time
    try:
        return _prepare(config, on_cluster)
    finally:
        gc.enable()


def _prepare(config: Config, on_cluster: bool) -> Prepared:
    if on_cluster and "://" not in config.output.uri and not config.output.uri.startswith("/"):
        raise ConfigError(
            f"output.uri: {config.output.uri} is relative, but on a cluster each machine has its own working folder;"
            " use a URL such as s3://bucket/transcripts, or an absolute path that all machines share"
        )
    if config.segmentation.vad == "silero" and find_spec("silero_vad") is None:
        raise ConfigError(
            "segmentation.vad: silero needs the package silero-vad: pip install -c constraints.txt '.[vad]'"
        )
    line = StatusLine()
    try:
        output = config.output.place()
        model = resolve(config.model.name, config.model.revision, config.model.options())
        listing = list_input(config.input, config.output.uri, say=lambda files: line.say(f"listing: {files:,} files …"))
        reading = ReadSettings(
            max_megabytes=config.audio.max_megabytes,
            max_hours=config.audio.max_hours,
            channel=None if config.audio.channel == "average" else config.audio.channel,
            storage_options=config.input.options(),
            patience_s=config.errors.patience_seconds,
            vad=config.segmentation.vad == "silero",
            drops_silence=config.segmentation.silence == "drop",
            segmentation=SegmentationSettings(config.segmentation.target_seconds, config.segmentation.max_seconds),
        )
        settings = {
            "model_sha256": model.sha256,
            "engine": "fused" if config.model.engine == "auto" else config.model.engine,
            "precision": choose_precision(config.model),
            "decoding": "greedy",
            "audio": config.audio.recipe(),
            "segmentation": config.segmentation.model_dump(),
            "tokens": config.output.tokens,
        }
        target = config.unit.target_minutes
        minutes = AUTO_TARGET_MINUTES[expected_device(config.model)] if target == "auto" else target
        line.say(f"planning {len(listing.objects):,} objects …")
        state = load_state(output)
        policy = Policy(
            minutes * 60,
            config.output.on_mismatch,
            config.output.on_deleted,
            config.output.max_removed_fraction,
            units_with_errors(frozenset(config.errors.retry), state, output),
        )
        plan = make_plan(listing, state, settings, policy)
    except (UsageError, PermissionError) as problem:
        raise ConfigError(str(problem)) from None
    finally:
        line.clear()
    return Prepared(listing, state, plan, model, reading, settings, output, minutes * 60)


def expected_device(model: Model) -> str:
    """cpu or cuda: the configured device; for `auto` that of this machine, which is taken to be like the others."""
    if model.device != "auto":
        return model.device
    return "cuda" if os.path.exists("/dev/nvidiactl") else "cpu"


def choose_precision(model: Model) -> str:
    """Resolves `auto` precision: bfloat16 on GPUs and on CPUs that support its multiplication, else float32.

    NeMo's engine is the reference and remains in float32. The precision is part of the fingerprint, so the driver
    chooses it, not each actor; if the device is `auto` too, this machine is taken to be like the others.
    """
    if model.precision != "auto":
        return model.precision
    if model.engine == "nemo":
        return "float32"
    if expected_device(model) == "cuda":
        return "bfloat16"
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return "float32"
    return "bfloat16" if {"avx512_bf16", "amx_bf16"} & set(flags) else "float32"


def is_on_cluster(config: Config) -> bool:
    """Whether a run would use an existing cluster, as inside a Ray Job, instead of starting a local Ray."""
    return bool(config.ray.address or "RAY_ADDRESS" in os.environ)


def totals(prepared: Prepared) -> tuple[int, int]:
    """Counts the committed recordings of the units that hold listed objects, and those with an error."""
    plan, commits = prepared.plan, prepared.state.commits
    if plan.units or plan.remove:
        commits = load_commits(prepared.output)
    touched = {unit.id for unit in plan.units} | set(plan.done)
    counted = [commit for unit, each in commits.items() if unit in touched for commit in each]
    return sum(commit.recordings for commit in counted), sum(commit.errors for commit in counted)
