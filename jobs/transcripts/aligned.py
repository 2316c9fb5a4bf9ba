"""Aligned references: the Parquet files that jobs.align writes beside the parts, and transcripts that are made of them.

Each is of one version of a part, which its name states, and has the rows of its recordings in the same order.
"""

import io
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from actors.foreign.errors import InvalidData
from actors.parts.part import Part
from actors.parts.recordings import Row, identity, recordings_in
from actors.parts.stored import HELD_BYTES, Commit, open_part, part_name
from actors.schema import KEY, PART_SCHEMA
from actors.storage.outputs import STATE_FOLDERS, check_folder
from actors.storage.place import Place
from actors.storage.stored_file import StoredFile
from actors.text.forced import ForcedAlignment, Span
from jobs.cli.called import how_to_call
from jobs.cli.config import Config, ConfigError
from jobs.planning.files import ALIGNED_NAME
from jobs.planning.finding import real
from jobs.transcripts.read import (
    MAX_SECONDS,
    MAX_TEXT,
    Transcript,
    committed,
    committed_units,
    each_part,
    recordings_of,
)

FOLDER = "_align"  # below an output
_TIMES = [("start_s", pa.float64()), ("end_s", pa.float64()), ("score", pa.float32())]
_OF_ROW = ("recording_id", *KEY, "segment_index", "start_s", "end_s", "duration_s")

#: A row for each segment of each recording with a reference; `reference` is the segment's share of that. What is of the
#: whole recording, `recording_score` and `left_out`, is in segment 0.
ALIGNED_SCHEMA = pa.schema(
    [
        *(PART_SCHEMA.field(name) for name in _OF_ROW),
        pa.field("reference", pa.string()),
        pa.field("score", pa.float32()),
        pa.field("recording_score", pa.float32()),
        pa.field("unaligned", pa.string()),
        pa.field("left_out", pa.int32()),
        pa.field("tokens", pa.list_(pa.struct([("token", pa.string()), *_TIMES]))),
        pa.field("words", pa.list_(pa.struct([("word", pa.string()), *_TIMES]))),
    ]
)


def aligned_name(commit: Commit) -> str:
    """The name of the file with the aligned references of a part."""
    return f"aligned-{commit.unit}.{commit.part}.parquet"


def unit_of_aligned(name: str) -> str | None:
    """The unit in the name of such a file; None for any other name."""
    match = ALIGNED_NAME.fullmatch(name)
    return match[1] if match else None


def aligned_folder(config: Config) -> Place:
    """Where they are. Raises ConfigError if align.uri is the output itself or one of a run's folders in it, and
    UsageError if it is not given and _align is a link or not a folder."""
    options = config.align.options() or config.output.options()
    output = Place.at(config.output.uri, options)
    if config.align.uri:
        folder = Place.at(config.align.uri, options)
        of_runs = (output, *(output / name for name in STATE_FOLDERS))
        if real(folder).uri.rstrip("/") in [real(each).uri.rstrip("/") for each in of_runs]:
            raise ConfigError(
                f"align.uri: {folder.uri} is where jobs.transcribe writes; give another folder, or leave it out for"
                f" {(output / FOLDER).uri}"
            )
        return folder
    folder = output / FOLDER
    check_folder(folder)
    return folder


def rows_of(rows: Sequence[Row], aligned: ForcedAlignment) -> Iterator[Row]:
    """Rows of ALIGNED_SCHEMA, from those of a recording."""
    for number, (row, segment) in enumerate(zip(rows, aligned.segments, strict=True)):
        of_recording = {"recording_score": aligned.score, "left_out": aligned.left_out} if number == 0 else {}
        is_aligned = segment.unaligned is None
        yield (
            {name: row[name] for name in _OF_ROW}
            | of_recording
            | {
                "reference": segment.reference,
                "score": segment.score,
                "unaligned": segment.unaligned,
                "tokens": _as_structs("token", segment.tokens) if is_aligned or segment.tokens else None,
                "words": _as_structs("word", segment.words) if is_aligned or segment.words else None,
            }
        )


def _as_structs(name: str, spans: Sequence[Span]) -> list[Row]:
    return [{name: each.text, "start_s": each.start_s, "end_s": each.end_s, "score": each.score} for each in spans]


def references(config: Config, problems: list[str], counts: Counter[str]) -> Iterator[Transcript]:
    """Yields the recordings of an output with their aligned references in place of what was heard: texts, words as
    tokens, and as confidence e to the power of the score.

    Recordings without a reference that is aligned are counted as `unaligned`. Otherwise as `transcripts`. Raises
    ConfigError if nothing is aligned.
    """
    output, state = committed(config)
    folder, missing = aligned_folder(config), 0

    def opened(unit: str) -> tuple[Part, Part | None]:
        commit = state.commit_of(unit)
        assert commit
        return open_part(unit, output, lambda _: None), _open_aligned(folder / aligned_name(commit))

    def recordings(unit: str, found: tuple[Part, Part | None]) -> Iterator[Transcript]:
        nonlocal missing
        missing += found[1] is None
        rest = recordings_in(found[1].tables()) if found[1] else iter(())
        following = next(rest, None)
        for transcript in recordings_of(found[0].tables(), output / part_name(unit), problems):
            if following and identity(following[0]) == identity(transcript.first):
                aligned, following = following, next(rest, None)
                if transcript.fault:
                    yield transcript
                elif told := _as_transcript(transcript, aligned):
                    yield told
                else:
                    counts["unaligned"] += 1
            else:
                counts["unaligned"] += 1

    units = committed_units(state)
    yield from each_part(output, units, opened, recordings, problems)
    if missing == len(units):
        raise ConfigError(f"export.text: no references are aligned in {folder.uri}; run {how_to_call('align')} first")


def _as_transcript(transcript: Transcript, aligned: Sequence[Row]) -> Transcript | None:
    """A recording with its aligned reference as text; None if it is not aligned, or not as its rows are now."""
    times = ("segment_index", "start_s", "end_s")
    if [[row[name] for name in times] for row in aligned] != [[row[name] for name in times] for row in transcript.rows]:
        return None
    if not any(row["words"] for row in aligned):
        return None
    rows = [row | _said(other) for row, other in zip(transcript.rows, aligned, strict=True)]
    return Transcript(rows, transcript.is_dialogue)


def _said(aligned: Row) -> Row:
    """The columns of a transcript that an aligned row has, and none for the written form of what was heard."""
    if aligned["words"] is None:
        return {"text": None, "written": None, "tokens": None, "confidence": None}
    text, tokens, place = aligned["reference"] or "", list[Row](), 0
    for each in aligned["words"]:
        begin = max(text.find(each["word"], place), place)
        is_spaced = begin > 0 and text[begin - 1 : begin].isspace()
        place = begin + len(each["word"])
        times = {"start_s": each["start_s"], "end_s": each["end_s"], "confidence": _confidence(each["score"])}
        tokens.append({"token": (" " if is_spaced else "") + each["word"]} | times)
    is_scored = aligned["score"] is not None
    confidence = _confidence(aligned["score"]) if is_scored else 0.0 if text else None
    return {"text": text, "written": None, "tokens": tokens, "confidence": confidence}


def _confidence(score: float) -> float:
    """A score as a number from 0 to 1."""
    return math.exp(min(score, 0.0))


def _open_aligned(place: Place) -> Part | None:
    """A file of aligned references; None if there is none. Raises InvalidData."""
    try:
        if place.is_link():
            raise InvalidData("it is a link, which is not followed")
        stored = StoredFile(place, place.info().size or 0)
        file: BinaryIO = io.BytesIO(place.read()) if stored.size <= HELD_BYTES else stored.open()
        return Part(file, _check, ALIGNED_SCHEMA)
    except FileNotFoundError:
        return None
    except InvalidData as problem:
        raise InvalidData(f"its aligned references in {place.uri} cannot be used ({problem}): run jobs.align") from None


def _check(rows: pa.Table) -> None:
    """Raises InvalidData if valid rows of ALIGNED_SCHEMA have what no run of jobs.align has written."""
    times = [rows.column(name) for name in ("start_s", "end_s", "duration_s")]
    for column, text in (("tokens", "token"), ("words", "word")):
        spans = pc.list_flatten(rows.column(column))
        fields = [pc.struct_field(spans, name) for name in (text, "start_s", "end_s", "score")]
        if spans.null_count or any(each.null_count for each in fields):
            raise InvalidData(f"it has {column} without text, times or score")
        times += fields[1:]
    times.append(rows.column("score"))
    if any(pc.all(pc.less(pc.abs(each), MAX_SECONDS)).as_py() is False for each in times):
        raise InvalidData("it has impossible times or scores")
    if (
        pc.max(pc.binary_length(rows.filter(rows.column("words").is_valid()).column("reference"))).as_py() or 0
    ) > MAX_TEXT:
        raise InvalidData(f"it has a segment of more than {MAX_TEXT:,} bytes of text")
