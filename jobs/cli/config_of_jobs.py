"""The sections of the configuration that concern one job alone."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from actors.foreign.escape import without_credentials
from actors.text.normalise import Normalisation
from jobs.cli.sections import Auto, Location, Positive, Section, Share, StorageOptions, Stored

MAX_SHOWN = 10_000  # rows of a table


class Plan(Stored):
    """For jobs.plan alone."""

    machines: Auto | Annotated[int, Field(gt=0, le=100_000)] = "auto"
    """auto (this machine, or the cluster that is asked for its devices) | how many like these the time is told for"""
    cost_per_hour: Positive | None = None
    """what a machine costs an hour, in any currency; null: no cost is told"""
    list: Location | None = None
    """a Parquet or CSV file or URL for every object, with its verdict and the reason; null: none is written"""
    storage_options: StorageOptions = {}
    """as for input; empty: those of output"""

    @model_validator(mode="after")
    def _with_a_suffix(self) -> "Plan":
        if self.list is not None and not self.list.lower().endswith((".parquet", ".csv")):
            raise ValueError(
                f"list: {without_credentials(self.list):.60} must end in .parquet or .csv, which says the format"
            )
        return self


class Export(Stored):
    """For jobs.export alone: subtitles and other files."""

    format: Literal["srt", "vtt", "textgrid", "text", "jsonl", "manifest"] = "srt"
    """srt | vtt | textgrid (Praat) | text | jsonl | manifest (NeMo, a line per segment)"""
    text: Literal["auto", "written", "text", "reference"] = "auto"
    """auto (written for srt, vtt, text, else text) | written | text | reference, timed by jobs.align"""
    files: Literal["auto", "recording", "one"] = "auto"
    """auto (recording for srt, vtt, textgrid, else one) | recording | one"""
    uri: Location | None = None
    """folder or URL; null: _export/<format> below output.uri, with -<text> unless that is auto"""
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


class Evaluate(Stored):
    """For jobs.evaluate alone: normalisation before texts are compared, and what is shown."""

    width: bool = True
    """makes full and half width equal, and other forms that Unicode has twice (NFKC)"""
    case: bool = True
    """makes upper and lower case equal"""
    punctuation: bool = True
    """leaves out punctuation"""
    spaces: bool = True
    """leaves out spaces, for the character error rate"""
    digits: Literal["keep", "chinese", "spoken"] = "keep"
    """keep | chinese (0 to 9 become 零 to 九, one by one) | spoken (read aloud: 30.5% is 百分之三十点五)"""
    group: str = "folder"
    """folder | none | a column | a field that came with the audio, such as speaker

    A name that is neither a column nor a field of any recording is refused. Recordings without the field are the group
    (none). Columns of texts are refused unless output.show is true."""
    bootstrap: Annotated[int, Field(gt=0, le=1_000_000)] = 1_000
    """samples for the confidence intervals"""
    shown: Annotated[int, Field(ge=0, le=MAX_SHOWN)] = 10
    """recordings with the most errors, and commonest errors, in the tables; up to three differences for each"""
    write: Location | None = None
    """a Parquet file or URL for the counts of every recording"""
    phrases: Location | None = None
    """a text file or URL with a phrase a line, as for decoding.phrases: how many of them were recognised"""
    against: Location | None = None
    """folder or URL of another output of the same audio: is the difference between the two significant?"""
    storage_options: StorageOptions = {}
    """as for input, for the three above; empty: those of output"""

    @property
    def normalisation(self) -> Normalisation:
        return Normalisation(self.width, self.case, self.punctuation, self.spaces, self.digits)


class Align(Stored):
    """For jobs.align alone: when each word of a reference is said, and which references do not fit."""

    uri: Location | None = None
    """folder or URL for the aligned references; null: _align below output.uri"""
    min_score: Annotated[float, Field(ge=-1e9, le=0)] = -3.0
    """nats a token; segments below it are counted as suspicious: their reference is hardly what is said"""
    shown: Annotated[int, Field(ge=0, le=MAX_SHOWN)] = 10
    """segments with the lowest scores in the table"""
    storage_options: StorageOptions = {}
    """as for input; empty: those of output"""


class Tune(Section):
    """For jobs.tune alone: the search of the weights of decoding.lm and decoding.phrases."""

    hours: Positive = 5.0
    """hours of audio at most, both of what is searched on and of what is held back"""
    trials: Annotated[int, Field(gt=0, le=10_000)] = 100
    """weights that are tried at most"""
    threads: Auto | Annotated[int, Field(gt=0, le=1_024)] = "auto"
    """auto: one for each CPU"""
    bootstrap: Annotated[int, Field(gt=0, le=1_000_000)] = 1_000
    """samples for the confidence intervals"""
    shown: Annotated[int, Field(gt=0, le=MAX_SHOWN)] = 10
    """the best weights in the table"""


class LanguageModel(Section):
    """For jobs.language_model alone."""

    order: Annotated[int, Field(ge=2, le=6)] = 4
    """tokens of the longest n-grams; 6 needs KenLM's lmplz"""
    column: str = "text"
    """column of Parquet files, or key of a manifest's lines, that holds the texts"""
    held_back: Literal["leave_out", "use"] = "leave_out"
    """leave_out | use: references of the half that jobs.tune holds back

    A model must not be tuned on texts that it was trained on: train it with leave_out, run jobs.tune, then train it
    again with use. Plain texts and Parquet columns are used whole."""
    trainer: Literal["auto", "kaldingram", "lmplz"] = "auto"
    """auto (lmplz where it is installed) | kaldingram (the extra lm) | lmplz (KenLM's, for large texts)"""


class History(Section):
    """For jobs.history alone."""

    run: Literal["last"] | Annotated[int, Field(gt=0)] | None = None
    """number of the run to tell of, or last; null: the list of runs"""
    limit: Annotated[int, Field(gt=0, le=10_000)] = 20
    """runs in the list, the newest ones"""


class Metrics(Section):
    """For jobs.transcribe alone: metrics that outlast a run, in a file for Prometheus."""

    folder: Location | None = None
    """folder of node_exporter's textfile collector on this machine; null: no file is written"""

    @model_validator(mode="after")
    def _local(self) -> "Metrics":
        if self.folder is not None and ("://" in self.folder or not self.folder):
            raise ValueError(f"folder: must be a folder on this machine, not {without_credentials(self.folder)!r:.60}")
        return self


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
