"""What transcribing takes: as earlier runs of an output measured it, else as the benchmarks of this project did.

What runs left in `rates` of their summary.json is read as data, and counts only if all of it makes sense.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from statistics import median
from typing import Any

from actors.engine.models import locate
from actors.foreign.errors import InvalidData
from actors.foreign.plain_json import parse_object
from actors.outcomes import Read
from actors.reading.costs import OTHER
from actors.schema import UsageError
from actors.storage import outputs
from actors.storage.place import Place
from jobs.planning.recipe import Recipe
from jobs.planning.run_files import MAX_SUMMARY_BYTES, SUMMARY, run_files

PAGE = "docs/benchmarks.md"  # where the default figures are from
ENOUGH_SECONDS = 600.0  # of work: when the newest runs have as much, older ones say nothing more
MOST_RUNS = 5  # that count
MOST_READ = 60  # the newest summaries: those of runs with nothing to do are passed over
AT_ONCE = 12  # summaries are read

#: Core-seconds on a CPU, and seconds on a GPU, for a second of audio through Citrinet-1024 with REFERENCE_WEIGHTS
#: (benchmarks/engine.json: 102.8 x real time on 2 CPUs in bfloat16; benchmarks/gpu_engine.json: 47,082 on an H200).
REFERENCE_WEIGHTS = 140e6
CPU_SECONDS = {"float32": 2 / 51.8, "bfloat16": 2 / 102.8, "int8": 2 / 158.0}
NEMO_CPU_SECONDS = 2 / 28.0
GPU_SECONDS = {"bfloat16": 1 / 47_082, "float32": 10 / 47_082}  # whose products take ten times as long: docs/engine.md
NEMO_GPU_SECONDS = GPU_SECONDS["float32"]  # not measured
#: Of these, what any model takes, however small: features and launches. The demo's model of 0.6 million weights runs at
#: 1,000 x real time on 2 CPUs; on a GPU, log-mel and what else is not of the layers takes a tenth.
FIXED_CPU_SECONDS, FIXED_GPU_SHARE = 2 / 1_000, 0.1
WEIGHT_BYTES = 4.0  # of a weight in a .nemo

#: Core-seconds to read and decode an hour of audio, by kind of file (benchmarks/codecs.json; shards as of FLAC, in
#: benchmarks/host_stages.json). Where a name does not tell sample rate and channels, it is taken to be 44.1 kHz stereo.
DECODING = {"flac": 0.54, "wav": 0.10, "tar": 0.75, "parquet": 0.75, "m4a": 2.39, "aac": 2.39, "opus": 5.75}
DECODING |= {"mp3": 2.76, "ogg": 2.66, OTHER: 2.76}

START_SECONDS = 15.0  # Ray, its first dataset, the model: 7 to 10 s on two idle CPUs (benchmarks/pipeline.json), plus 5
SLACK = 1.15  # what work takes beyond its slowest stage alone; the whole pipeline in benchmarks/pipeline.json: 1.06
MAX_SLACK, SLACK_SECONDS = 5.0, 5.0  # at most; and of work that the default counts for: a second of work tells little
TIMED = 60.0  # seconds of audio of a kind of file: what less of it took to decode tells nothing
_LARGE, _LEAST = 1e12, 1e-3  # of what is measured: what is rounded to milliseconds is 0, or this
_MAY_BE_0 = ("warming_seconds", "start_seconds")


@dataclass(frozen=True)
class Measured:
    """What one run measured: of `audio_seconds` that were heard in `pieces`, by `actors` with so many `threads` each
    that were busy for `busy_seconds`, and `warming_seconds` more each, on a cluster with so many `cpus`; seconds until
    the first of them had work, and from there until the last one's end; and what was read, by kind of file."""

    run: int
    audio_seconds: float
    busy_seconds: float
    warming_seconds: float
    pieces: int
    actors: int
    threads: int
    cpus: float
    start_seconds: float
    work_seconds: float
    reading: Mapping[str, Read]

    @classmethod
    def of(cls, run: int, told: Any) -> "Measured | None":
        """What `rates` of a run's summary tell; None if they are not such, or tell of no work."""
        if not isinstance(told, dict) or not isinstance(told.get("reading"), dict):
            return None
        names = [each.name for each in fields(cls) if each.name not in ("run", "reading")]
        values: dict[str, Any] = {name: told.get(name) for name in names}
        if not all(map(_is_number, values.values())) or not all(
            values[name] >= _LEAST for name in names if name not in _MAY_BE_0
        ):
            return None
        if not all(type(values[name]) is int for name in ("pieces", "actors", "threads")):
            return None
        reading = dict[str, Read]()
        for kind, read in told["reading"].items():
            costs = {each.name: read.get(each.name) for each in fields(Read)} if isinstance(read, dict) else {"": None}
            if not all(map(_is_number, costs.values())):
                return None
            reading[kind] = Read(**costs)
        return cls(run, reading=reading, **values)


@dataclass(frozen=True)
class Rates:
    """What transcribing takes, by these `runs`, none if by default figures.

    `core_seconds` are an actor's for a second of audio: seconds on a GPU, else seconds times threads. `decoding` is
    seconds of CPU for a second of audio, by kind of file.
    """

    core_seconds: float
    start_seconds: float = START_SECONDS
    decoding: Mapping[str, float] = field(default_factory=dict)
    measured: Sequence[Measured] = ()

    @property
    def runs(self) -> list[int]:
        return sorted(each.run for each in self.measured)

    def decoding_of(self, kind: str) -> float:
        """Seconds of CPU to read and decode a second of audio."""
        return self.decoding.get(kind, DECODING.get(kind, DECODING[OTHER]) / 3600)


def rates_of(output: Place, recipe: Recipe) -> Rates:
    """What a run of the recipe takes: by the newest runs of this output with the same model, engine, device and
    precision, by default figures where there are none."""
    measured = _newest(output, recipe)
    return merged(measured, recipe.device == "cuda") if measured else Rates(default_core_seconds(recipe))


def merged(measured: Sequence[Measured], on_gpu: bool) -> Rates:
    """The rates of runs, at least one, each weighted by the work it did. Start-up is the median: a run may have waited
    for others."""
    audio = sum(each.audio_seconds for each in measured)
    cores = sum(each.busy_seconds * (1 if on_gpu else each.threads) for each in measured)
    reads = defaultdict[str, Read](lambda: Read(0.0, 0.0, 0.0))
    for each in measured:
        for kind, read in each.reading.items():
            reads[kind] += read
    timed = {kind: read.cpu_seconds / read.timed_seconds for kind, read in reads.items() if read.timed_seconds >= TIMED}
    start = median(each.start_seconds + each.warming_seconds for each in measured)
    return Rates(cores / audio, start, timed, measured)


def default_core_seconds(recipe: Recipe) -> float:
    """An actor's seconds for a second of audio, by the benchmarks of the reference model, scaled by the weights."""
    is_nemo, precision = recipe.engine == "nemo", recipe.precision
    if recipe.device == "cuda":
        reference = NEMO_GPU_SECONDS if is_nemo else GPU_SECONDS.get(precision, GPU_SECONDS["float32"])
        fixed = FIXED_GPU_SHARE * reference
    else:
        reference = NEMO_CPU_SECONDS if is_nemo else CPU_SECONDS.get(precision, CPU_SECONDS["float32"])
        fixed = FIXED_CPU_SECONDS
    return fixed + (reference - fixed) * weights_of(recipe) / REFERENCE_WEIGHTS


def weights_of(recipe: Recipe) -> float:
    """The number of the model's weights, about, by its file's size; the reference's if the file is not to be had."""
    try:
        return locate(recipe.model).stat().st_size / WEIGHT_BYTES
    except (OSError, UsageError):
        return REFERENCE_WEIGHTS


def _newest(output: Place, recipe: Recipe) -> list[Measured]:
    """What the newest runs with the recipe's model, engine, device and precision measured, the newest first. What
    cannot be read says nothing."""
    found, work = list[Measured](), 0.0
    for each in _summaries(output):
        if len(found) == MOST_RUNS or work >= ENOUGH_SECONDS:
            break
        run, told = each
        if measured := Measured.of(run, told.get("rates")) if _is_same(told, recipe) else None:
            found.append(measured)
            work += measured.work_seconds
    return found


def _summaries(output: Place) -> Iterator[tuple[int, Mapping[str, object]]]:
    """The newest runs' summaries, with the runs' numbers."""
    try:
        files = [file for file in run_files(output, may_be_closed=True) if file.name == SUMMARY][-MOST_READ:]
    except (OSError, UsageError):
        return
    files.reverse()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for first in range(0, len(files), AT_ONCE):
            some = files[first : first + AT_ONCE]
            yield from zip((each.run for each in some), pool.map(_read, [each.place for each in some]), strict=True)


def _read(place: Place) -> Mapping[str, object]:
    try:
        return parse_object(outputs.read(place, MAX_SUMMARY_BYTES))
    except (InvalidData, OSError, UsageError):
        return {}


def _is_same(told: Mapping[str, object], recipe: Recipe) -> bool:
    model = told.get("model")
    sha256 = model.get("sha256") if isinstance(model, dict) else None
    found = sha256, told.get("engine"), told.get("device"), told.get("precision")
    return found == (recipe.model.sha256, recipe.engine, recipe.device, recipe.precision)


def _is_number(value: object) -> bool:
    return (
        isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and 0 <= value < _LARGE
    )
