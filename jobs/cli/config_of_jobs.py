"""The sections of the configuration that concern one job alone: export, evaluate and benchmark."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from jobs.cli.sections import Location, Positive, Section, Share, StorageOptions, Stored


class Export(Stored):
    """For jobs.export alone: subtitles and other files."""

    format: Literal["srt", "vtt", "textgrid", "text", "jsonl", "manifest"] = "srt"
    """srt | vtt | textgrid (Praat) | text | jsonl | manifest (NeMo, a line per segment)"""
    files: Literal["auto", "recording", "one"] = "auto"
    """auto (recording for srt, vtt, textgrid, else one) | recording | one"""
    uri: Location | None = None
    """folder or URL; null: _export/<format> below output.uri"""
    characters_per_line: Annotated[int, Field(gt=0)] = 16
    """of subtitles, as wide as Chinese ones; Latin ones count half"""
    lines: Annotated[int, Field(gt=0)] = 2
    """lines of a subtitle"""
    min_seconds: Positive = 1.0
    """seconds that a subtitle stays, unless the next one starts earlier"""
    max_seconds: Positive = 7.0
    """seconds of a subtitle"""
    min_confidence: Share = 0.0
    """segments below it are left out"""
    channel_names: list[str] = []
    """who speaks on channel 0, 1 and so on, as in [caller, agent]; empty: the numbers"""
    storage_options: StorageOptions = {}
    """as for input; empty: those of output"""

    @model_validator(mode="after")
    def _ordered(self) -> "Export":
        if self.min_seconds > self.max_seconds:
            raise ValueError(f"min_seconds: {self.min_seconds:g} is more than max_seconds, {self.max_seconds:g}")
        return self


class Evaluate(Section):
    """For jobs.evaluate alone: normalisation before texts are compared, and what is shown."""

    width: bool = True
    """makes full and half width equal, and other forms that Unicode has twice (NFKC)"""
    case: bool = True
    """makes upper and lower case equal"""
    punctuation: bool = True
    """leaves out punctuation"""
    spaces: bool = True
    """leaves out spaces, for the character error rate"""
    digits: Literal["keep", "chinese"] = "keep"
    """keep | chinese: 0 to 9 become 零 to 九, one by one"""
    group: str = "folder"
    """folder | none | a column | a field that came with the audio, such as speaker"""
    bootstrap: Annotated[int, Field(gt=0, le=1_000_000)] = 1_000
    """samples for the confidence intervals"""
    shown: Annotated[int, Field(ge=0, le=10_000)] = 10
    """recordings with the most errors, and commonest errors, in the tables"""
    write: Location | None = None
    """a Parquet file or URL for the counts of every recording"""


class Benchmark(Section):
    """For jobs.benchmark alone."""

    model: Literal["given", "reference"] = "given"
    """given (model.name) | reference, random weights in the shape of Citrinet-1024"""
    minutes: Positive = 2.0
    """minutes of generated audio"""
    repeats: Annotated[int, Field(gt=0)] = 3
    """passes over the audio, of which the median counts"""
    copies: Annotated[int, Field(gt=0)] = 1
    """how often the whole pipeline gets that audio: a GPU needs hours of it"""
    sides: list[str] = []
    """names of what to measure; empty: all"""
    write: Location | None = None
    """a JSON file or URL for the result, such as docs/benchmarks/engine.json; `make benchmarks` makes the page"""
