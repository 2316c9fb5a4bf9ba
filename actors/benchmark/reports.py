"""What the measurements of jobs.benchmark return, as JSON holds it."""

from typing import NotRequired, TypedDict

PIPELINES = {"the whole pipeline": "WAV", "the whole pipeline, FLAC": "FLAC"}  # sides, and the files of their shards


class SideReport(TypedDict):
    """One way to transcribe.

    rtfx: seconds of audio per second; passes_s: of each pass; start_s: from a process with torch to a loaded model;
    padding: share of padding samples in batches (the fused engine has none, only a few rows of zeros between
    recordings); start_gb and peak_gb: peak resident memory of the process once the model is loaded, and at the end;
    gpu_gb: peak memory of the GPU; busy_share: of the whole job.
    """

    side: str
    rtfx: float
    padding: float | None
    start_s: float
    peak_gb: float | None
    passes_s: list[float]
    start_gb: NotRequired[float]
    gpu_gb: NotRequired[float | None]
    busy_share: NotRequired[float | None]


class KernelTime(TypedDict):
    """One kind of call: milliseconds of one (median), of all in a batch, and the minimum that the device allows."""

    kernel: str
    shape: str
    calls: int
    ms: float
    least_ms: float
    batch_ms: float


class ChoiceTime(TypedDict):
    """A kernel that a card may run (`tiles`): the largest product in one tile, or a depthwise convolution."""

    kernel: str
    choice: str
    ms: float
    tflop_s: float


class KernelReport(TypedDict):
    """The operations of one batch of `seconds` of audio, and the device's rates of copying and multiplying."""

    seconds: float
    precision: str
    copy_gb_s: float
    product_gflop_s: float
    kernels: list[KernelTime]
    rtfx: float
    choices: list[ChoiceTime]


class DecodingTime(TypedDict):
    """One way to decode emissions, of clear or noisy sound, on one core: frames a second, and times real time."""

    side: str
    sound: str
    frames_s: int
    rtfx: int


class CodecTime(TypedDict):
    """Files of one codec: core-seconds an audio hour of reading them as the job does, of their decoder alone, and of
    the resampler on mono sound; the first by the sum of the others; and times real time of a core."""

    codec: str
    sound: str
    read_s: float
    decoder_s: float
    resampler_s: float
    ratio: float
    rtfx: int


class Report(TypedDict):
    """All that one run of jobs.benchmark measured."""

    date: str
    commit: str
    machine: str
    versions: dict[str, str]
    model: str
    minutes: float
    sides: list[SideReport]
    kernels: NotRequired[KernelReport]
    decoding: NotRequired[list[DecodingTime]]
    codecs: NotRequired[list[CodecTime]]
    command: str
