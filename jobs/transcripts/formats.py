"""Formats transcripts as SRT, WebVTT, TextGrid, text, JSON lines or NeMo manifests; as heard, or in written form.

Texts are untrusted: whatever they contain, the file remains valid, and markup in them is shown as text. A recording
without words has a file without cues, lines or labels. One that a format cannot hold raises Unwritable.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

from actors.foreign.escape import single_line
from actors.foreign.plain_json import to_json
from actors.schema import KEY
from jobs.transcripts.failures import Unwritable
from jobs.transcripts.read import Transcript
from jobs.transcripts.subtitles import SubtitleLayout, cues_of
from jobs.transcripts.written import as_written, written_text

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
FOR_READERS = frozenset({"srt", "vtt", "text"})  # formats that have the written form unless the text is asked for
SUBTITLES = frozenset({"srt", "vtt"})  # formats whose words need times
MAX_CUE_S = 100 * 3_600.0  # hours have two digits in subtitles
MIN_INTERVAL_S = 0.001  # Praat has no intervals without a length


def subtitles(transcript: Transcript, layout: SubtitleLayout, kind: str) -> str:
    """SRT, or WebVTT (https://www.w3.org/TR/webvtt1/) with &, < and > escaped.

    SRT has no escapes, but programs interpret HTML tags in it, so < and > are replaced by their full-width forms.
    Raises Unwritable if a cue ends after 100 hours or more.
    """
    import pysubs2

    cues = [
        (cue.start, number, cue.end, cue.text, _speaker(each, layout) if transcript.is_dialogue else "")
        for number, each in enumerate(transcript.channels)
        for cue in cues_of(each.rows, layout)
    ]
    if any(end >= MAX_CUE_S for _, _, end, *_ in cues):
        raise Unwritable("it is longer than 100 hours, and times of subtitles have two digits for hours")
    file = pysubs2.SSAFile()
    for start, _, end, said, speaker in sorted(cues):
        lines = (single_line(line) for line in said.split("\n"))
        text = _shown("\n".join(line for line in lines if line.strip()), kind)  # an empty line would end the cue
        if text and speaker:
            text = f"<v {_shown(speaker, kind)}>{text}" if kind == "vtt" else f"{_shown(speaker, kind)}: {text}"
        if text:
            file.append(pysubs2.SSAEvent(round(start * 1_000), round(end * 1_000), text))
    return str(file.to_string(kind, keep_ssa_tags=True))


def _shown(text: str, kind: str) -> str:
    """Text such that nothing in it is markup."""
    text = text.replace("\\", "＼")
    if kind == "vtt":
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace("<", "＜").replace(">", "＞")


def _speaker(channel: Transcript, layout: SubtitleLayout) -> str:
    """Who speaks on a channel."""
    return single_line(layout.speaker(channel.first["channel"])).strip()


def textgrid(transcript: Transcript, layout: SubtitleLayout) -> str:
    """Praat's TextGrid: a tier of segments, and one of tokens if there are any; those of each channel in a dialogue."""
    from praatio import textgrid as praat

    spoken = [row for row in transcript.rows if row["text"] is not None]
    end = max(MIN_INTERVAL_S, *(row[name] for row in spoken for name in ("duration_s", "end_s")))
    grid = praat.Textgrid(0, end)
    for each in transcript.channels:
        of_channel = f" {each.first['channel']}" if transcript.is_dialogue else ""  # names need not be distinct
        rows = [row for row in each.rows if row["text"] is not None]
        segments = [(row["start_s"], row["end_s"], row["text"]) for row in rows]
        tokens = [(token["start_s"], token["end_s"], token["token"]) for row in rows for token in row["tokens"] or ()]
        for name, intervals in (("segments", segments), ("tokens", tokens)):
            if intervals:
                tier = praat.IntervalTier(name + of_channel, _without_overlaps(intervals, end), 0, end)
                grid.addTier(tier)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "grid"
        grid.save(str(path), "long_textgrid", includeBlankSpaces=True)
        return path.read_text(encoding="utf-8")


def _without_overlaps(intervals: list[tuple[float, float, str]], end: float) -> list[tuple[float, float, str]]:
    """Intervals with a label, in order, trimmed such that none overlap. The label of one that has no time of its own
    goes to the one before it; the first has MIN_INTERVAL_S at least."""
    placed = list[tuple[float, float, str]]()
    for start, stop, text in sorted(intervals, key=lambda each: each[0]):
        label = single_line(text)
        start, stop = max(start, placed[-1][1] if placed else 0.0), min(stop, end)
        if not label.strip():
            continue
        if stop - start >= MIN_INTERVAL_S:
            placed.append((start, stop, label))
        elif placed:
            placed[-1] = (*placed[-1][:2], placed[-1][2] + label)
        else:
            start = max(min(start, end - MIN_INTERVAL_S), 0.0)
            placed.append((start, start + MIN_INTERVAL_S, label))
    return [(start, stop, label.strip()) for start, stop, label in placed]


def text(transcript: Transcript, layout: SubtitleLayout) -> str:
    """Plain text, one line per segment; in a dialogue each begins with who speaks."""
    lines = [(row, single_line(row["text"]).strip()) for row in transcript.rows if row["text"]]
    return "".join(
        (f"{single_line(layout.speaker(row['channel'])).strip()}: " if transcript.is_dialogue else "") + line + "\n"
        for row, line in lines
        if line
    )


def text_line(transcript: Transcript, layout: SubtitleLayout) -> str:
    """A line of Kaldi's `text`: the recording's id and its transcript; for a dialogue one for each channel, with its
    number after the id."""
    name = single_line(transcript.first["recording_id"]).strip().replace(" ", "_") or "recording"
    if transcript.is_dialogue:
        lines = {f"{name}-{each.first['channel']}": each.text for each in transcript.channels}
    else:
        lines = {name: transcript.text}
    return "".join(f"{key} {single_line(said).strip()}\n" for key, said in lines.items())


def json_lines(transcript: Transcript, layout: SubtitleLayout) -> str:
    """A recording with all its segments as one JSON object, with the written form beside the text; each channel of a
    dialogue is one."""
    return "".join(map(_json_line, transcript.channels))


def _json_line(transcript: Transcript) -> str:
    names = ("recording_id", *KEY, "duration_s", "reference", "warning")
    recording = {name: transcript.first[name] for name in names}
    recording |= {"text": transcript.text, "written": written_text(transcript), "extra": transcript.fields}
    columns = ("start_s", "end_s", "text", "written", "confidence", "tokens", "error_kind")
    segments = [{name: row[name] for name in columns if row.get(name) is not None} for row in transcript.rows]
    return to_json(recording | {"segments": segments}) + "\n"


def manifest_lines(transcript: Transcript, layout: SubtitleLayout) -> str:
    """NeMo's manifest, one line per segment with text, to train a model on.

    Format: https://docs.nvidia.com/nemo-framework/user-guide/latest/nemotoolkit/asr/datasets.html. For a member of a
    tar or a row of a Parquet file, audio_filepath is its name and `shard` the file; NeMo can read it once extracted. A
    segment has at least a millisecond: NeMo takes a duration of 0 for all that follows.
    """
    if transcript.is_dialogue:
        return "".join(manifest_lines(each, layout) for each in transcript.channels)
    audio = transcript.first["uri"].removeprefix("file://")
    place = (
        {"audio_filepath": transcript.first["member"], "shard": audio}
        if transcript.first["member"]
        else {"audio_filepath": audio}
    )
    offset, channel = transcript.first["offset_s"] or 0.0, transcript.first["channel"]
    place |= {} if channel is None else {"channel_selector": channel}
    return "".join(
        to_json(
            place
            | {
                "offset": round(offset + row["start_s"], 3),
                "duration": max(round(row["end_s"] - row["start_s"], 3), 0.001),
            }
            | {"text": row["text"], "confidence": round(row["confidence"], 4)}
        )
        + "\n"
        for row in transcript.rows
        if row["text"] and row["text"].strip()
    )


#: By format, and whether a file holds all recordings instead of one.
WRITERS: dict[tuple[str, bool], Writer] = {
    ("srt", False): lambda transcript, layout: subtitles(transcript, layout, "srt"),
    ("vtt", False): lambda transcript, layout: subtitles(transcript, layout, "vtt"),
    ("textgrid", False): textgrid,
    ("text", False): text,
    ("text", True): text_line,
    ("jsonl", False): json_lines,
    ("jsonl", True): json_lines,
    ("manifest", False): manifest_lines,
    ("manifest", True): manifest_lines,
}


def writer_of(kind: str, holds_all: bool, is_written: bool) -> Writer:
    """The writer of a format, of texts or of their written form."""
    writer = WRITERS[kind, holds_all]
    if not is_written:
        return writer
    return lambda transcript, layout: writer(as_written(transcript, with_times=kind in SUBTITLES), layout)
