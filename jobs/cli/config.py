"""The configuration of every job: YAML, overrides from the command line, and messages that name the key."""

import difflib
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from actors.foreign import plain_yaml
from actors.foreign.escape import without_credentials
from actors.schema import ErrorKind
from jobs.cli.secrets import has_secret, leaves

Auto = Literal["auto"]
Positive = Annotated[float, Field(gt=0, le=1e9)]  # seconds, hours, megabytes: more makes no sense, and no time or size


class ConfigError(Exception):
    """Mistakes in the configuration, each as a sentence that names the key and what would be right."""

    def __str__(self) -> str:
        return "\n".join(map(str, self.args))


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())
    later: ClassVar[frozenset[str]] = frozenset()  # keys that there were not when the first outputs were made

    def recipe(self) -> dict[str, Any]:
        """Its values as part of a recipe. A later key that stands at its default is left out: so it was done before,
        and what was made without the key still matches."""
        fields = type(self).model_fields
        return self.model_dump(exclude={key for key in self.later if getattr(self, key) == fields[key].default})


class Input(Section):
    uri: str | list[str]
    format: Literal["auto", "audio", "tar", "parquet", "manifest", "kaldi"] = "auto"
    include: list[str] = []
    exclude: list[str] = []
    limit: Annotated[int, Field(gt=0)] | None = None
    allowed_roots: list[str] = []
    max_list_megabytes: Positive = 1_000.0
    storage_options: dict[str, Any] = Field(default={}, repr=False)

    @property
    def uris(self) -> list[str]:
        return [self.uri] if isinstance(self.uri, str) else self.uri


class Segmentation(Section):
    target_seconds: Annotated[float, Field(ge=8, le=60)] = 12.0
    max_seconds: Annotated[float, Field(ge=16, le=120)] = 20.0
    vad: Literal["none", "silero"] = "none"
    silence: Literal["keep", "drop"] = "keep"


class Audio(Section):
    max_megabytes: Positive = 512.0
    max_hours: Positive = 24.0
    later = frozenset({"max_hours"})
    channel: Literal["average"] | Annotated[int, Field(ge=0)] = "average"


class Output(Section):
    uri: str
    on_mismatch: Literal["fail", "keep", "replace"] = "fail"
    on_deleted: Literal["keep", "remove"] = "keep"
    max_removed_fraction: Annotated[float, Field(ge=0, le=1)] = 0.1
    lease_seconds: Positive = 60.0
    tokens: bool = False
    storage_options: dict[str, Any] = Field(default={}, repr=False)


class Model(Section):
    name: str
    revision: str | None = None
    engine: Literal["auto", "fused", "nemo"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    storage_options: dict[str, Any] = Field(default={}, repr=False)


class Batch(Section):
    max_padded_seconds: Auto | Positive = "auto"


class Units(Section):
    target_minutes: Auto | Positive = "auto"


class Cluster(Section):
    address: str | None = None
    actors: Auto | tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]] = "auto"
    gpus_per_actor: Auto | Annotated[float, Field(ge=0)] = "auto"
    cpus_per_actor: Auto | Positive = "auto"
    cpus_per_decoder: Auto | Positive = "auto"
    decoder_memory_gb: Positive = 2.0

    @model_validator(mode="after")
    def _ordered(self) -> "Cluster":
        if self.actors != "auto" and self.actors[0] > self.actors[1]:
            raise ValueError(f"actors: the least ({self.actors[0]}) is more than the most ({self.actors[1]})")
        return self


class Errors(Section):
    retry: list[ErrorKind] = []
    patience_seconds: Positive = 600.0
    max_fraction: Annotated[float, Field(ge=0, le=1)] = 0.05


class Export(Section):
    format: Literal["srt", "vtt", "textgrid", "text", "jsonl", "manifest"] = "srt"
    files: Literal["auto", "recording", "one"] = "auto"
    uri: str | None = None
    characters_per_line: Annotated[int, Field(gt=0)] = 16
    lines: Annotated[int, Field(gt=0)] = 2
    min_seconds: Positive = 1.0
    max_seconds: Positive = 7.0
    min_confidence: Annotated[float, Field(ge=0, le=1)] = 0.0
    storage_options: dict[str, Any] = Field(default={}, repr=False)


class Evaluate(Section):
    width: bool = True
    case: bool = True
    punctuation: bool = True
    spaces: bool = True
    digits: Literal["keep", "chinese"] = "keep"
    group: str = "folder"
    bootstrap: Annotated[int, Field(gt=0, le=1_000_000)] = 1_000
    shown: Annotated[int, Field(ge=0, le=10_000)] = 10
    write: str | None = None


class Benchmark(Section):
    model: Literal["given", "reference"] = "given"
    minutes: Positive = 2.0
    repeats: Annotated[int, Field(gt=0)] = 3
    copies: Annotated[int, Field(gt=0)] = 1
    sides: list[str] = []
    write: str | None = None


class Config(Section):
    input: Input
    output: Output
    model: Model
    audio: Audio = Audio()
    segmentation: Segmentation = Segmentation()
    batch: Batch = Batch()
    unit: Units = Units()
    ray: Cluster = Cluster()
    errors: Errors = Errors()
    export: Export = Export()
    evaluate: Evaluate = Evaluate()
    benchmark: Benchmark = Benchmark()


def load(path: str, overrides: list[str]) -> Config:
    """The configuration of a YAML file with `section.key=value` overrides, values in YAML. Raises ConfigError."""
    try:
        values = _parsed(Path(path).read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        raise ConfigError(f"there is no config file {path!r}; configs/demo.yaml is one to begin with") from None
    except OSError as problem:
        raise ConfigError(f"{path} cannot be read: {problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as problem:
        raise ConfigError(f"{path} is not YAML{_where(problem)}") from None
    if not isinstance(values, dict):
        kind = type(values).__name__
        raise ConfigError(f"{path} must hold sections such as input, output and model, and holds a {kind}")
    for override in overrides:
        _apply(values, override)
    for names, leaf in leaves([], values):
        if isinstance(leaf, str) and not _is_sayable(leaf):
            raise ConfigError(f"{'.'.join(names)}: holds a zero byte, or half of a character, which no name can")
    try:
        return Config.model_validate(values)
    except ValidationError as problem:
        raise ConfigError(*map(_sentence, problem.errors())) from None


def _parsed(text: str) -> Any:
    """What a YAML text says. Raises YAMLError and others; UsageError where aliases make it grow beyond belief."""
    with suppress(yaml.YAMLError):  # the other parser tells it in better words
        plain_yaml.check_size(text.encode("utf-8", "surrogatepass"))
    return yaml.safe_load(text)


def _is_sayable(text: str) -> bool:
    """Whether storage can be asked for a name: bytes that are not UTF-8 stand in it as Python has them."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def _apply(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    path = key.strip().split(".")
    if not equals or len(path) < 2:
        told = re.match(r"[\w.-]{0,60}", key.strip())  # what comes after may be secret
        raise ConfigError(f"{told and told[0]!r}: an override is section.key=value, such as input.limit=10")
    try:
        value = _parsed(text)
        is_secret = has_secret(path, value)
    except (yaml.YAMLError, ValueError, RecursionError) as problem:
        raise ConfigError(f"{key}: its value is not YAML{_where(problem)}") from None
    if is_secret:
        raise ConfigError(
            f"{key}: a secret may not stand on a command line, which others can read; use env:NAME, or the config file"
        )
    section = values
    for part in path[:-1]:
        section = section.setdefault(part, {})
        if not isinstance(section, dict):
            raise ConfigError(f"{key}: {part!r} is a value, not a section")
    section[path[-1]] = value


def _where(problem: Exception) -> str:
    """What is wrong with a text that is not YAML, and where; without the text, which may hold secrets."""
    if not isinstance(problem, yaml.MarkedYAMLError) or problem.problem_mark is None:
        return ""
    mark = problem.problem_mark
    return f", line {mark.line + 1}, column {mark.column + 1}" + (f": {problem.context}" if problem.context else "")


def _sentence(error: Mapping[str, Any]) -> str:
    """One of pydantic's errors as a sentence; a value is shown unless it may be a secret."""
    path = [str(part) for part in error["loc"]]
    key = ".".join(path)
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, _all_keys(), n=1, cutoff=0.5)
        return f"{key}: no such key" + (f"; did you mean {near[0]}?" if near else "")
    if error["type"] == "missing":
        return f"{key}: this key is needed"
    return f"{key}: {error['msg'].removeprefix('Value error, ')}{_not(path, error['input'])}"


def _not(path: list[str], value: Any) -> str:
    if "storage_options" in path or isinstance(value, (dict, list)):
        return ""  # there may be secrets in it
    return f", not {without_credentials(repr(value)):.60}"


def _all_keys() -> list[str]:
    sections = {name: each.annotation for name, each in Config.model_fields.items()}
    return [f"{name}.{key}" for name, section in sections.items() for key in section.model_fields] + list(sections)  # type: ignore[union-attr]


def with_secrets(options: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Storage options with every "env:NAME" replaced by what the environment holds. Raises ConfigError."""

    def fill(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: fill(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [fill(inner) for inner in value]
        if isinstance(value, str) and value.startswith("env:"):
            name = value.removeprefix("env:")
            if name not in os.environ:
                raise ConfigError(f"{key}: the environment variable {name} is not set")
            return os.environ[name]
        return value

    return {name: fill(value) for name, value in options.items()}
