"""Formats transcripts as SRT, WebVTT, TextGrid, text, JSON lines or NeMo manifests.

Texts are untrusted: whatever they contain, the file remains valid, and markup in them is shown as text.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from actors.foreign.escape import single_line
from actors.foreign.plain_json import to_json
from actors.schema import KEY
from jobs.transcripts.read import Transcript
from jobs.transcripts.subtitles import SubtitleLayout, cues_of

Writer = Callable[[Transcript, SubtitleLayout], str]
SUFFIXES = {
    "srt": ".srt",
    "vtt": ".vtt",
    "textgrid": ".TextGrid",
    "text": ".txt",
    "jsonl": ".jsonl",
    "manifest": ".json",
}
PER_RECORDING = frozenset({"srt", "vtt", "textgrid"})  # formats that hold one recording


def subtitles(transcript: Transcript, layout: SubtitleLayout, kind: str) -> str:
    """SRT, or WebVTT (https://www.w3.org/TR/webvtt1/) with &, < and > escaped.

    SRT has no escapes, but programs interpret HTML tags in it, so < and > are replaced by their full-width forms.
    """
    import pysubs2

    file = pysubs2.SSAFile()
    for cue in cues_of(transcript.rows, layout):
        lines = (single_line(line) for line in cue.text.split("\n"))
        text = "\n".join(line for line in lines if line.strip()).replace("\\", "＼")  # an empty line would end the cue
        if kind == "vtt":
            text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        else:
            text = text.replace("<", "＜").replace(">", "＞")
        if text:
            file.append(pysubs2.SSAEvent(round(cue.start * 1_000), round(cue.end * 1_000), text))
    return str(file.to_string(kind, keep_ssa_tags=True))


def textgrid(transcript: Transcript, layout: SubtitleLayout) -> str:
    """Praat's TextGrid: a tier of segments, and one of tokens if there are any."""
    from praatio import textgrid as praat

    end = transcript.first["duration_s"]
    grid = praat.Textgrid(0, end)
    segments = [(row["start_s"], row["end_s"], row["text"] or "") for row in transcript.rows if row["end_s"]]
    tokens = [
        (token["start_s"], token["end_s"], token["token"]) for row in transcript.rows for token in row["tokens"] or ()
    ]
    for name, intervals in (("segments", segments), ("tokens", tokens)):
        if intervals:
            grid.addTier(praat.IntervalTier(name, list(_without_overlaps(intervals, end)), 0, end))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "grid"
        grid.save(str(path), "long_textgrid", includeBlankSpaces=True)
        return path.read_text(encoding="utf-8")


def _without_overlaps(intervals: list[tuple[float, float, str]], end: float) -> Iterator[tuple[float, float, str]]:
    """Intervals with a label, trimmed such that none overlap."""
    at = 0.0
    for start, stop, text in intervals:
        start, stop, label = max(start, at), min(stop, end), single_line(text).strip()
        if label and stop - start >= 0.001:
            yield start, stop, label
            at = stop


def text(transcript: Transcript, layout: SubtitleLayout) -> str:
    """Plain text, one line per segment."""
    return "".join(single_line(row["text"]).strip() + "\n" for row in transcript.rows if row["text"])


def text_line(transcript: Transcript, layout: SubtitleLayout) -> str:
    """A line of Kaldi's `text`: the recording's id and its transcript."""
    name = single_line(transcript.first["recording_id"]).strip().replace(" ", "_") or "recording"
    return f"{name} {single_line(transcript.text).strip()}\n"


def json_line(transcript: Transcript, layout: SubtitleLayout) -> str:
    """A recording with all its segments as one JSON object."""
    names = ("recording_id", *KEY, "duration_s", "reference", "warning")
    recording = {name: transcript.first[name] for name in names} | {"text": transcript.text, "extra": transcript.fields}
    columns = ("start_s", "end_s", "text", "confidence", "tokens", "error_kind")
    segments = [{name: row[name] for name in columns if row[name] is not None} for row in transcript.rows]
    return to_json(recording | {"segments": segments}) + "\n"


def manifest_lines(transcript: Transcript, layout: SubtitleLayout) -> str:
    """NeMo's manifest, one line per segment with text, to train a model on.

    Format: https://docs.nvidia.com/nemo-framework/user-guide/latest/nemotoolkit/asr/datasets.html. For a member of a
    tar or a row of a Parquet file, audio_filepath is its name and `shard` the file; NeMo can read it once extracted.
    """
    audio = transcript.first["uri"].removeprefix("file://")
    place = (
        {"audio_filepath": transcript.first["member"], "shard": audio}
        if transcript.first["member"]
        else {"audio_filepath": audio}
    )
    offset = transcript.first["offset_s"] or 0.0
    return "".join(
        to_json(
            place
            | {"offset": round(offset + row["start_s"], 3), "duration": round(row["end_s"] - row["start_s"], 3)}
            | {"text": row["text"], "confidence": round(row["confidence"], 4)}
        )
        + "\n"
        for row in transcript.rows
        if row["text"]
    )


#: By format, and whether a file holds all recordings instead of one.
WRITERS: dict[tuple[str, bool], Writer] = {
    ("srt", False): lambda transcript, layout: subtitles(transcript, layout, "srt"),
    ("vtt", False): lambda transcript, layout: subtitles(transcript, layout, "vtt"),
    ("textgrid", False): textgrid,
    ("text", False): text,
    ("text", True): text_line,
    ("jsonl", False): json_line,
    ("jsonl", True): json_line,
    ("manifest", False): manifest_lines,
    ("manifest", True): manifest_lines,
}
