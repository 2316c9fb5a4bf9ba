"""The schema of rows between stages and in parts, and the closed set of errors that a recording can have."""

from enum import StrEnum

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

SCHEMA_VERSION = "4"  # of parts, in their metadata and in those of plans; an output of another one is not continued

SAMPLE_RATE = 16_000  # Hz; every Citrinet was trained at this rate, and all PCM in this project has it

Samples = NDArray[np.int16]  # PCM, full scale is 32,768
Floats = NDArray[np.float32]
Waveform = Samples | Floats  # mono sound at SAMPLE_RATE: int16 where that is exact, else float32, whose full scale is 1


class ErrorKind(StrEnum):
    """Why a recording has no text. Readers of parts may rely on this set; new kinds are announced in the changelog."""

    EMPTY = "empty"  # no bytes, or a container without a recording
    NOT_AUDIO = "not_audio"  # no known audio container or stream begins in its first bytes
    UNREADABLE = "unreadable"  # a known container, but no decoder gets audio from it; or a channel or track it has not
    TRUNCATED = "truncated"  # its archive ends before the recording does
    TOO_SHORT = "too_short"  # less than 0.1 s of sound
    TOO_LARGE = "too_large"  # more bytes than a limit: of a recording, a list, or what a container expands to
    TOO_LONG = "too_long"  # more sound than the configured limit
    MISSING = "missing"  # named by a manifest or a pattern, but does not exist
    CHANGED = "changed"  # replaced or removed in storage during the run; the next run reads it
    OUTSIDE_INPUT = "outside_input"  # a manifest or a link leads out of the input and the allowed folders
    BAD_ENTRY = "bad_entry"  # a manifest line or a row that is not valid
    OUT_OF_MEMORY = "out_of_memory"  # does not fit the device's memory even alone in its batch
    CRASHED = "crashed"  # crashed the process that decoded it, or took longer than the configured patience
    FORBIDDEN = "forbidden"  # storage denies access to it, and to others it does not
    ARCHIVED = "archived"  # in cold storage, from which it has to be restored first
    UNREACHABLE = "unreachable"  # storage does not respond for it, and for others it does; the next run tries it again
    HOST_MEMORY = "host_memory"  # the machine ran out of memory for it; the next run tries it again
    INTERNAL = "internal"  # an exception that the code does not foresee; tried again when the code's version changes


#: Errors that may pass by themselves: the next run tries these recordings again.
PASSING = frozenset({ErrorKind.UNREACHABLE, ErrorKind.HOST_MEMORY, ErrorKind.CHANGED})
TRIED_AGAIN = PASSING | {ErrorKind.INTERNAL}  # the latter by another version of the code


class WarningKind(StrEnum):
    """What a text leaves out, or may be wrong by. A closed set, as that of errors."""

    ENDED_EARLY = "ended_early"  # its stream broke off or ended before its container says; the text is of the rest
    DAMAGED = "damaged"  # some of it could not be decoded: it is silence if its length is known, else left out
    NO_SUCH_CHANNEL = "no_such_channel"  # it has one channel, not the one that the configuration names; it was taken
    CHANNELS_CANCEL = "channels_cancel"  # its channels cancel out; the text is of the loudest where they do


class UsageError(ValueError):
    """A mistake that a person can fix, such as a wrong URL or an unusable checkpoint, described in a sentence."""


class MachineError(UsageError):
    """A mistake of this machine, not of what it reads: a full disk, a file that this user may not read."""


class RecordingError(Exception):
    """An error of one recording: its kind, and a sentence that a person can act on."""

    def __init__(self, kind: ErrorKind, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail

    def __reduce__(self) -> tuple[type["RecordingError"], tuple[ErrorKind, str]]:
        return RecordingError, (self.kind, self.detail)


_TOKEN = pa.struct(
    [("token", pa.string()), ("start_s", pa.float64()), ("end_s", pa.float64()), ("confidence", pa.float32())]
)
_ALTERNATIVE = pa.struct([("text", pa.string()), ("score", pa.float32())])
_REPEATED = pa.dictionary(pa.int32(), pa.string())

_IDENTITY = [
    pa.field("recording_id", pa.string(), nullable=False),
    pa.field("uri", pa.string(), nullable=False),
    pa.field("member", pa.string()),
    pa.field("offset_s", pa.float64()),
    pa.field("stretch_s", pa.float64()),
    pa.field("channel", pa.int16()),
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
    pa.field("warning", pa.list_(pa.string())),
]

#: The columns that identify a recording; with segment_index they identify a row.
KEY = ("uri", "member", "offset_s", "stretch_s", "channel")

#: Between reading and transcribing: one row per segment, with its waveform in `pcm`, of float32 if `is_float`; null on
#: error, empty if there is no speech. `before` and `after` count the samples of context at its ends, which belong to
#: the neighbours. A segment that is not `own` belongs to another piece, and is only needed for the join with it.
SPEECH_SCHEMA = pa.schema(
    [
        *_IDENTITY,
        *_COMPANIONS,
        pa.field("pcm", pa.large_binary()),
        pa.field("is_float", pa.bool_()),
        pa.field("before", pa.int32()),
        pa.field("after", pa.int32()),
        pa.field("own", pa.bool_()),
    ]
)

#: The model's output for a segment, of the engine's `Emission`, its arrays as bytes: those of the best class and its
#: probability of each frame in `best` (uint16) and `probability` (float32), and its candidates, if there are any, in
#: `counts` (uint8), `ids`, `log_probs` and `blank` (uint16). All little-endian.
FRAMES = [
    pa.field("best", pa.large_binary()),
    pa.field("probability", pa.large_binary()),
    pa.field("counts", pa.large_binary()),
    pa.field("ids", pa.large_binary()),
    pa.field("log_probs", pa.large_binary()),
    pa.field("blank", pa.large_binary()),
]

FRAME_SAMPLES = b"frame_samples"  # in the metadata of tables of EMISSION_SCHEMA: the stride of frames, in samples

#: Between hearing and saying: one row per segment, with the emission of its sound, context included; null where there
#: was none. `samples` counts those of the sound, context included; 0 if there is no speech.
EMISSION_SCHEMA = pa.schema(
    [
        *_IDENTITY,
        *_COMPANIONS,
        pa.field("samples", pa.int32()),
        pa.field("before", pa.int32()),
        pa.field("after", pa.int32()),
        pa.field("own", pa.bool_()),
        *FRAMES,
    ]
)

#: The emission of a segment alone, after it was joined with its neighbours: all that its text and times are decoded
#: from. Its frames begin at `start_s` and last `frame_s` each; its sound ends at `end_s`, all in seconds from the
#: recording's start. `previous` is the best class of the frame before the first, which belongs to the neighbour that it
#: is joined to; null if there is none. It `is_followed` if one is joined to its end.
EMISSION = pa.struct(
    [
        pa.field("start_s", pa.float64()),
        pa.field("end_s", pa.float64()),
        pa.field("frame_s", pa.float64()),
        pa.field("previous", pa.int32()),
        pa.field("is_followed", pa.bool_()),
        *FRAMES,
    ]
)

_PROVENANCE = [
    pa.field("model", _REPEATED, nullable=False),
    pa.field("model_sha256", _REPEATED, nullable=False),
    pa.field("run_id", _REPEATED, nullable=False),
    pa.field("unit", _REPEATED, nullable=False),
    pa.field("transcribed_at", pa.timestamp("us", tz="UTC"), nullable=False),
]

#: What was heard of segments, before anything is said: the rows of kept pieces. `emission` is null on error, and where
#: there is no speech.
HEARD_SCHEMA = pa.schema([*_IDENTITY, *_COMPANIONS, *_PROVENANCE, pa.field("emission", EMISSION)])

#: The schema of parts: the contract with their readers. Every column is in every part.
PART_SCHEMA = pa.schema(
    [
        *_IDENTITY,
        pa.field("text", pa.string()),
        pa.field("written", pa.string()),
        pa.field("confidence", pa.float32()),
        pa.field("tokens", pa.list_(_TOKEN)),
        pa.field("alternatives", pa.list_(_ALTERNATIVE)),
        *_COMPANIONS,
        pa.field("model", _REPEATED, nullable=False),
        pa.field("model_sha256", _REPEATED, nullable=False),
        pa.field("decoding", _REPEATED, nullable=False),
        pa.field("run_id", _REPEATED, nullable=False),
        pa.field("unit", _REPEATED, nullable=False),
        pa.field("transcribed_at", pa.timestamp("us", tz="UTC"), nullable=False),
    ]
)
