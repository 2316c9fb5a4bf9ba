"""The configuration's keys: types, defaults and what each means.

The docstring below a key is its documentation: the first line is the comment in configs/local.yaml, and all of it is in
docs/configuration.md. `make docs` writes both from here.
"""

from collections import Counter
from typing import Annotated, Literal

from pydantic import Field, model_validator

from actors.schema import ErrorKind, UsageError
from actors.storage.connect import SIGNATURES
from actors.storage.place import Place
from actors.storage.preflight import check_storage
from actors.storage.urls import Signatures, is_signed, is_web, public_url
from jobs.cli.config_of_jobs import Align, Benchmark, Evaluate, Export, History, LanguageModel, Metrics, Plan, Tune
from jobs.cli.config_of_texts import Decoding as Decoding
from jobs.cli.config_of_texts import Text
from jobs.cli.errors import ConfigError as ConfigError
from jobs.cli.sections import Auto, Location, Positive, Section, Share, StorageOptions, Stored


class Input(Stored):
    """The archive to transcribe."""

    uri: Annotated[Location | list[Location], Field(examples=["/data/archive"])]
    """file, folder, glob (*.wav), shards ({000..511}.tar, audio__OP_0..511_CL_.tar), or a list; any fsspec URL"""
    format: Literal["auto", "audio", "tar", "parquet", "manifest", "kaldi"] = "auto"
    """auto (by name) | audio | tar | parquet | manifest | kaldi (wav.scp, as in AISHELL-2)"""
    include: list[str] = []
    """globs on the path below input.uri; * crosses folders; empty: everything"""
    exclude: list[str] = []
    """globs; matching files are skipped"""
    redo: list[Location] = []
    """recordings to do again: URIs, paths or globs below input.uri, or files of recordings; for one command line

    A folder stands for all that is listed below it. The unit of each is transcribed again as a whole, in every run that
    names it, also with output.on_mismatch=keep. A file of recordings is as for errors.accept. A name that is
    nothing listed is refused; those in files are counted."""
    sample: Annotated[int, Field(gt=0)] | None = None
    """recordings; so many, spread over the archive. Start with 10"""
    limit: Annotated[int, Field(gt=0)] | None = None
    """recordings; only the first so many by name"""
    allowed_roots: list[Location] = []
    """folders outside the input that manifests and links may lead to; elsewhere is an error row"""
    max_list_megabytes: Positive = 1_000.0
    """megabytes of manifests and Kaldi files, a line 200 bytes at least; beyond that, error rows (too_large)"""
    uri_column: str | None = None
    """column that names the audio: CSV, TSV, Parquet and JSON files are then tables of recordings

    A row may have any other columns: a reference, an offset and a duration, and what goes to `extra`. Files are named
    relative to the table, or by URLs below input.allowed_roots."""
    storage_options: StorageOptions = {}
    """for fsspec; for S3: endpoint_url, key, secret, token, anon, profile. Secrets as env:NAME"""

    @property
    def uris(self) -> list[str]:
        return [self.uri] if isinstance(self.uri, str) else self.uri

    def options(self) -> dict[str, object]:
        """Also the URLs that are secrets."""
        signed_urls = [uri for uri in self.uris if is_signed(uri)]
        return super().options() | ({SIGNATURES: Signatures(signed_urls)} if signed_urls else {})

    @property
    def takes_all(self) -> bool:
        """Whether all recordings of the input are asked for."""
        return self.limit is None and self.sample is None

    @model_validator(mode="after")
    def _one_of_limit_and_sample(self) -> "Input":
        if self.limit is not None and self.sample is not None:
            raise ValueError("sample: not together with input.limit; give one of them, and null for the other")
        return self

    @model_validator(mode="after")
    def _distinct(self) -> "Input":
        known = Counter(public_url(uri) for uri in {*self.uris} if is_web(uri))
        if same := [url for url, count in known.items() if count > 1]:
            raise ValueError(f"uri: URLs of {same[0]} differ only in their signatures, and so name one file; keep one")
        return self


class Audio(Section):
    """Decoding."""

    later = frozenset({"max_hours", "track"})
    max_megabytes: Positive = 512.0
    """stored megabytes of a recording in a tar or Parquet file; a larger one is an error row (too_large)

    Files of their own may have any size."""
    max_hours: Positive = 24.0
    """hours of a recording, or of a manifest's stretch of it; a longer one is an error row (too_long)"""
    channel: Literal["average", "each"] | Annotated[int, Field(ge=0)] = "average"
    """average | each, every channel a recording of its own, for calls; or the number of one from 0"""
    track: Annotated[str, Field(pattern=r"^(best|0|[1-9]\d{0,2}|[A-Za-z]{2,3})$")] = "best"
    """best, or the number of one audio track from 0, or its language as in ISO 639, such as eng"""


class Segmentation(Section):
    """How recordings longer than max_seconds are cut."""

    target_seconds: Annotated[float, Field(ge=8, le=60)] = 12.0
    """seconds of a segment; cut at the quietest place nearby"""
    max_seconds: Annotated[float, Field(ge=16, le=120)] = 20.0
    """seconds that the model gets at most; Citrinets were trained on utterances of up to about 20"""
    vad: Literal["none", "silero"] = "none"
    """none | silero: segments without speech are not transcribed (needs the extra vad)"""
    silence: Literal["keep", "drop"] = "keep"
    """segments without speech: keep (with the text "") | drop"""

    @model_validator(mode="after")
    def _ordered(self) -> "Segmentation":
        if self.target_seconds > self.max_seconds:
            raise ValueError(f"target_seconds: {self.target_seconds:g} is more than max_seconds, {self.max_seconds:g}")
        return self


class Output(Stored):
    """Where transcripts go, and how a run treats those that are there."""

    uri: Annotated[Location, Field(examples=["out/local"])]
    """folder or URL; parts and the state of all runs are below it, and nothing else is written"""
    on_mismatch: Literal["fail", "keep", "replace"] = "fail"
    """recordings transcribed with another model, or setting of what is heard: fail | keep | replace

    fail: stop and name what differs. keep: leave their text, and use the new settings for new and changed objects only.
    replace: transcribe all of them again. It is about what takes the audio: model, engine, precision, audio,
    segmentation, and how emissions are kept. What takes none is always brought up to date: decoding and
    output.tokens from the emissions, if output.emissions kept them; references, fields and written forms from the rows.
    Without emissions, another decoding has the recordings transcribed again; with keep, left as they are."""
    on_deleted: Literal["keep", "remove"] = "keep"
    """rows of objects that are no longer listed: keep | remove"""
    on_excluded: Literal["keep", "remove"] = "keep"
    """rows of objects that input.include, input.exclude or input.format now leaves out: keep | remove

    Only of files that are there and listed. What lies outside input.uri keeps its rows, and so does what is over
    input.limit. An object that is no longer excluded comes back."""
    max_removed_fraction: Share = 0.1
    """share of the objects that one run may remove; more stops the run"""
    lease_seconds: Positive = 60.0
    """seconds without a heartbeat after which another run on this output is taken to be dead"""
    keep_runs: Annotated[int, Field(gt=0)] = 100
    """runs whose folders below _runs are kept, the newest ones

    Every run removes the files of older ones, first those of runs with status 4. What is done is known from the
    newest plans, which stay."""
    tokens: bool = True
    """fill the column tokens: each token with its times and confidence"""
    show: bool = False
    """true: jobs print some of the transcripts, which may be private, and logs are kept"""
    emissions: bool = False
    """true: keep what the model said of each frame, so that texts can be decoded again without the audio and a GPU

    They are kept below `_emissions`, 1 to 3 MB for 150 minutes. Setting it hears nothing again: they are kept of what
    is transcribed from then on."""
    storage_options: StorageOptions = {}
    """as for input"""

    def place(self) -> Place:
        """The folder of the output. Raises UsageError as `Place.at` does, also over HTTP, and ConfigError."""
        if is_web(self.uri):
            raise UsageError("output.uri: HTTP cannot be written to; give a folder, or the storage's own URL (s3://…)")
        return Place.at(self.uri, self.options())

    def asked_place(self) -> Place:
        """The folder of the output, in a storage that lets it be listed.

        Raises what `place` does, UsageError for storage that cannot be used, and OSError where it does not answer.
        """
        place = self.place()
        check_storage(place / "_", "output.uri", must_list=True)  # which lists the folder, not the one above it
        return place


class Model(Stored):
    """The model and how it is run."""

    name: Annotated[Location, Field(examples=["/data/models/stt_zh_citrinet_1024_gamma_0_25.nemo"])]
    """path, URL, or hub name such as nvidia/stt_zh_citrinet_1024_gamma_0_25"""
    revision: str | None = None
    """branch, tag or commit on the hub; null: its main branch"""
    engine: Literal["auto", "fused", "nemo"] = "auto"
    """auto (fused) | fused, our own forward pass | nemo, the reference, for other models too"""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto (cuda if the cluster, or without one this machine, has a GPU) | cpu | cuda"""
    precision: Literal["auto", "float32", "bfloat16", "int8"] = "auto"
    """auto (bfloat16 on GPUs, and where all CPUs multiply in it) | float32 | bfloat16 | int8, on CPUs with VNNI

    int8 is the fastest there, and rounds the most: docs/engine.md shows how to judge it on audio of one's own."""
    storage_options: StorageOptions = {}
    """as for input, if model.name is a URL"""

    @model_validator(mode="after")
    def _supported(self) -> "Model":
        if self.precision == "int8" and self.engine == "nemo":
            raise ValueError("precision: int8 is only for model.engine: fused; NeMo's takes float32 or bfloat16")
        if self.precision == "int8" and self.device == "cuda":
            raise ValueError("precision: int8 is only for model.device: cpu; on a GPU use bfloat16 or float32")
        return self


class Batch(Section):
    """Batches of the model. They never change a text."""

    max_padded_seconds: Auto | Positive = "auto"
    """seconds of audio in a batch, with NeMo's engine padded ones; auto: 30 on a CPU, 3600 on a GPU or what fits"""


class Units(Section):
    """The size of parts."""

    target_minutes: Auto | Positive = "auto"
    """minutes of audio in a part, estimated; auto: 30, on a GPU 150"""


class Cluster(Section):
    """Ray, and what it reserves for each stage. A run waits for what others hold; what can never fit is refused."""

    address: str | None = None
    """null: RAY_ADDRESS, else a local Ray on this machine; or host:port, auto (this machine's) or local"""
    actors: Auto | tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]] = "auto"
    """minimum and maximum, as in [1, 8]; each holds one model. auto: up to one per GPU share, else per node"""
    gpus_per_actor: Auto | Annotated[float, Field(ge=0)] = "auto"
    """auto: 1 on a GPU, 0 on CPUs; 0.5 puts two actors on one GPU"""
    cpus_per_actor: Auto | Positive = "auto"
    """CPUs that Ray reserves; auto: 1 to 3 on a GPU, else what other runs, decoding and committing leave"""
    cpus_per_decoder: Auto | Positive = "auto"
    """CPUs of one decoder; auto: 1, less on fewer than 4 CPUs"""
    decoder_memory_gb: Positive = 2.0
    """GB that Ray reserves for one decoder"""

    @model_validator(mode="after")
    def _ordered(self) -> "Cluster":
        if self.actors != "auto" and self.actors[0] > self.actors[1]:
            most, least = self.actors
            raise ValueError(
                f"actors: the minimum ({most}) is more than the maximum ({least}); write [{least}, {most}]"
            )
        return self


class Errors(Section):
    """Recordings with an error."""

    retry: list[ErrorKind] = []
    """kinds of error, such as [missing, crashed], that are tried again, each file or container as a whole"""
    patience_seconds: Positive = 600.0
    """for one recording to be decoded, or transcribed alone, before it is given up (crashed)"""
    max_fraction: Share = 0.05
    """share of all recordings in the output that may have an error before the exit status is 3"""
    max_new_fraction: Share | None = None
    """the same of the recordings that this run itself commits; null: any share"""
    accept: list[ErrorKind | Location] = []
    """errors that no longer count for the exit status: kinds, and files of recordings (paths or URLs)

    A file has a URI or a path below input.uri on each line, or is a CSV, TSV, JSON or Parquet file with a column uri
    and, if wanted, member, offset_s, stretch_s and channel, such as a query on the parts returns. What it does not
    state may be anything. It is read with output.storage_options, and up to input.max_list_megabytes. Recordings
    stay accepted, whatever their version and error, as long as they are named."""


class Config(Section):
    input: Input
    output: Output
    model: Model
    audio: Audio = Audio()
    segmentation: Segmentation = Segmentation()
    decoding: Decoding = Decoding()
    text: Text = Text()
    batch: Batch = Batch()
    unit: Units = Units()
    ray: Cluster = Cluster()
    errors: Errors = Errors()
    metrics: Metrics = Metrics()
    plan: Plan = Plan()
    export: Export = Export()
    evaluate: Evaluate = Evaluate()
    align: Align = Align()
    tune: Tune = Tune()
    language_model: LanguageModel = LanguageModel()
    history: History = History()
    benchmark: Benchmark = Benchmark()
