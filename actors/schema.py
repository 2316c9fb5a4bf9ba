"""The record that travels between stages, the part's schema, and the closed set of errors a recording can have."""

from enum import StrEnum
from typing import Any

import numpy as np
import pyarrow as pa

SAMPLE_RATE = 16_000  # Hz; every Citrinet was trained at this rate, and all PCM in this project has it

Samples = np.ndarray[Any, np.dtype[Any]]  # of sound, one after the other


class ErrorKind(StrEnum):
    """Why a recording has no text. A reader of parts may rely on this set; new kinds are announced in the changelog."""

    EMPTY = "empty"  # no bytes, or a container without a recording
    NOT_AUDIO = "not_audio"  # its first bytes belong to no known audio container
    UNREADABLE = "unreadable"  # a known container, but no audio can be decoded from it
    TRUNCATED = "truncated"  # its archive ends before the recording does
    TOO_SHORT = "too_short"  # less sound than one output frame of the model
    TOO_LARGE = "too_large"  # in a tar or a Parquet file, with more bytes than the configured limit
    TOO_LONG = "too_long"  # of more sound than the configured limit
    MISSING = "missing"  # named by a manifest or a listing, but not there
    CHANGED = "changed"  # replaced in storage while the run was at work; the next run reads it
    OUTSIDE_INPUT = "outside_input"  # a manifest points out of the folders that it may point into
    BAD_ENTRY = "bad_entry"  # a manifest line or a row that does not say what it should
    OUT_OF_MEMORY = "out_of_memory"  # does not fit the device even when it is alone in its batch
    CRASHED = "crashed"  # ended the process that decoded it, or made the code around the decoder fail


class UsageError(ValueError):
    """A mistake that a person can mend: a URL, a checkpoint, a state that is not what it should be, as a sentence."""


class RecordingError(Exception):
    """What is wrong with one recording: its kind, and a sentence that a person can act on."""

    def __init__(self, kind: ErrorKind, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail

    def __reduce__(self) -> tuple[type["RecordingError"], tuple[ErrorKind, str]]:
        return RecordingError, (self.kind, self.detail)


_TOKEN = pa.struct(
    [("token", pa.string()), ("start_s", pa.float64()), ("end_s", pa.float64()), ("confidence", pa.float32())]
)
_REPEATED = pa.dictionary(pa.int32(), pa.string())

_IDENTITY = [
    pa.field("recording_id", pa.string(), nullable=False),
    pa.field("uri", pa.string(), nullable=False),
    pa.field("member", pa.string()),
    pa.field("offset_s", pa.float64()),
    pa.field("etag", pa.string(), nullable=False),
    pa.field("segment_index", pa.int32(), nullable=False),
    pa.field("start_s", pa.float64()),
    pa.field("end_s", pa.float64()),
    pa.field("duration_s", pa.float64()),
    pa.field("source_sample_rate", pa.int32()),
    pa.field("source_channels", pa.int16()),
    pa.field("source_codec", pa.string()),
]
_COMPANIONS = [
    pa.field("reference", pa.string()),
    pa.field("extra", pa.string()),
    pa.field("error_kind", pa.string()),
    pa.field("error_detail", pa.string()),
]

#: Between reading and transcribing: one row a segment, with its sound as 16 kHz mono int16 PCM; null on error, empty
#: where nobody speaks. Samples of `before` and `after` belong to the neighbours, and are there to be heard. A segment
#: that is not `own` is another piece's, and there to be joined with.
SPEECH_SCHEMA = pa.schema(
    [
        *_IDENTITY,
        *_COMPANIONS,
        pa.field("pcm", pa.large_binary()),
        pa.field("before", pa.int32()),
        pa.field("after", pa.int32()),
        pa.field("own", pa.bool_()),
    ]
)

#: What a part holds: the contract with those who read it. Every column is in every part.
PART_SCHEMA = pa.schema(
    [
        *_IDENTITY,
        pa.field("text", pa.string()),
        pa.field("confidence", pa.float32()),
        pa.field("tokens", pa.list_(_TOKEN)),
        *_COMPANIONS,
        pa.field("model", _REPEATED, nullable=False),
        pa.field("model_sha256", _REPEATED, nullable=False),
        pa.field("decoding", _REPEATED, nullable=False),
        pa.field("run_id", _REPEATED, nullable=False),
        pa.field("transcribed_at", pa.timestamp("us", tz="UTC"), nullable=False),
    ]
)
