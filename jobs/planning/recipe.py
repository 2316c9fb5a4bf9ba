"""Resolves every `auto` of a configuration, once, from the devices that the run will use.

The settings that can change a row become part of every fingerprint. So the driver decides them, not each actor, and
before it plans: the size of units and the precision depend on the devices.
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from actors.audio.segments import SegmentationSettings
from actors.audio.tracks import Track
from actors.engine.devices import count_gpus, cpu_has_bfloat16
from actors.engine.interface import CODES_PER_NAT, THRESHOLD, EngineSettings
from actors.engine.models import ModelFile
from actors.sources.objects import ReadSettings
from actors.text.decoding import DecodingSettings
from actors.text.written.write import TextSettings
from actors.units import NO_EMISSIONS, digest
from jobs.cli.config import Config, ConfigError, Model

#: The sections of a recipe's settings, as in a Fingerprint, each with a version that is part of every fingerprint. It
#: is raised when a change of the code changes what is heard, kept, said or written: that is then made anew.
VERSIONS = {"heard": "7", "emissions": "7", "said": "7", "written": "7"}

#: Minutes of audio in a unit, by device. Half an hour keeps a CPU actor busy for a minute or two. One driver handles 37
#: pieces a second (docs/benchmarks.md); at two and a half hours each (290 MB, or 580 MB where sound is float32), that
#: keeps 8 GPUs busy at 40,000 times real time. (Simulated on two cores: 4, and with half an hour each not one.)
TARGET_MINUTES = {"cpu": 30.0, "cuda": 150.0}
PADDED_SECONDS = {"cpu": 30.0, "cuda": 3_600.0}  # of a batch: fits a CPU's cache; a GPU needs an hour to be busy

#: The keys that people know, of settings under other names.
_KEYS = {
    "model_sha256": "the file of model.name (its SHA-256)",
    "engine": "model.engine",
    "precision": "model.precision",
    "tokens": "output.tokens",
}
Device = Literal["cpu", "cuda"]
Settings = Mapping[str, object]  # by section, as VERSIONS; emissions are None if they are not kept


@dataclass(frozen=True)
class Devices:
    """The devices that a run will use: how many GPUs, and whether every CPU multiplies in bfloat16."""

    gpus: int
    has_bfloat16: bool

    @classmethod
    def of_this_machine(cls) -> "Devices":
        """Those of this machine, as far as CUDA_VISIBLE_DEVICES shows them."""
        gpus, shown = count_gpus(), os.environ.get("CUDA_VISIBLE_DEVICES")
        if shown is not None:
            gpus = min(gpus, sum(each.strip() not in ("", "-1", "NoDevFiles") for each in shown.split(",")))
        return cls(gpus, cpu_has_bfloat16())


def depends_on_devices(model: Model) -> bool:
    """Whether an `auto` of the configuration is resolved by the devices that there are, or one may lack int8."""
    if model.device == "cpu" and model.engine != "nemo":
        return model.precision in ("auto", "int8")
    return model.device == "auto"


@dataclass(frozen=True)
class Recipe:
    """How a run transcribes: what all stages derive their settings from.

    `settings` are those that can change a row, by section, as plans record them; `piece_seconds` is the audio intended
    for a piece; `candidates` of each frame are listed, none where nothing needs them.
    """

    model: ModelFile
    device: Device
    reading: ReadSettings
    piece_seconds: float
    max_padded_seconds: float
    patience_s: float
    decoding: DecodingSettings
    text: TextSettings
    candidates: int
    settings: Settings

    @classmethod
    def of(
        cls,
        config: Config,
        model: ModelFile,
        devices: Devices,
        decoding: DecodingSettings = DecodingSettings(),  # noqa: B008 - it is immutable
        text: TextSettings = TextSettings(),  # noqa: B008 - it is immutable
    ) -> "Recipe":
        """Resolves a configuration. Raises ConfigError if a secret is not set, or the device lacks the precision."""
        device: Device = config.model.device if config.model.device != "auto" else "cuda" if devices.gpus else "cpu"
        minutes, padded = config.unit.target_minutes, config.batch.max_padded_seconds
        return cls(
            model,
            device,
            _reading(config),
            60 * (TARGET_MINUTES[device] if minutes == "auto" else minutes),
            PADDED_SECONDS[device] if padded == "auto" else padded,
            config.errors.patience_seconds,
            decoding,
            text,
            config.decoding.candidates if config.output.emissions or decoding.beam else 0,
            {
                "heard": {
                    "model_sha256": model.sha256,
                    "engine": "fused" if config.model.engine == "auto" else config.model.engine,
                    "precision": _precision(config.model, device, devices),
                    "audio": config.audio.recipe(),
                    "segmentation": config.segmentation.model_dump(),
                },
                "emissions": _emissions(config) if config.output.emissions else None,
                "said": {"decoding": _decoding(config, decoding), "tokens": config.output.tokens},
                "written": {"text": told} if (told := text.to_dict()) else {},
            },
        )

    @property
    def digest(self) -> str:
        return recipe_digest(self.settings)

    @property
    def engine(self) -> str:
        return str(_section(self.settings, "heard")["engine"])

    @property
    def precision(self) -> str:
        return str(_section(self.settings, "heard")["precision"])

    @property
    def tokens(self) -> bool:
        """Whether rows have their tokens."""
        return bool(_section(self.settings, "said")["tokens"])

    def engine_settings(self, threads: int) -> EngineSettings:
        """The settings of every actor's engine."""
        return EngineSettings(
            engine=self.engine,
            device=self.device,
            precision=self.precision,
            threads=threads,
            max_padded_seconds=self.max_padded_seconds,
            patience_s=self.patience_s,
            candidates=self.candidates,
        )


def _reading(config: Config) -> ReadSettings:
    return ReadSettings(
        max_megabytes=config.audio.max_megabytes,
        max_hours=config.audio.max_hours,
        channel=None if config.audio.channel == "average" else config.audio.channel,
        track=_track(config.audio.track),
        storage_options=config.input.options(),
        patience_s=config.errors.patience_seconds,
        vad=config.segmentation.vad == "silero",
        drops_silence=config.segmentation.silence == "drop",
        segmentation=SegmentationSettings(config.segmentation.target_seconds, config.segmentation.max_seconds),
    )


def _track(stated: str) -> Track:
    return None if stated == "best" else int(stated) if stated.isdecimal() else stated


def _precision(model: Model, device: Device, devices: Devices) -> str:
    """bfloat16 on GPUs, and on CPUs that multiply in it. NeMo's engine is the reference, and stays in float32."""
    if model.precision == "int8" and device == "cuda":
        raise ConfigError(
            "model.precision: int8 is only for CPUs, and there is a GPU; set model.device=cpu, or bfloat16"
        )
    if model.precision != "auto":
        return model.precision
    if model.engine == "nemo":
        return "float32"
    return "bfloat16" if device == "cuda" or devices.has_bfloat16 else "float32"


def _decoding(config: Config, decoding: DecodingSettings) -> str:
    candidates = "" if decoding.beam is None else f" candidates={config.decoding.candidates}"
    return decoding.described + candidates


def _emissions(config: Config) -> Settings:
    return {"candidates": config.decoding.candidates, "threshold": THRESHOLD, "rounding": f"1/{CODES_PER_NAT}"}


def recipe_digest(settings: Settings) -> str:
    """The 32 digits of all settings that can change a row, including the model's SHA-256: 8 of each section, as in a
    Fingerprint."""
    return "".join(_digest_of(name, settings.get(name)) for name in VERSIONS)


def _digest_of(name: str, section: object) -> str:
    if name == "emissions" and section is None:
        return NO_EMISSIONS
    return digest([VERSIONS[name], json.dumps(section, sort_keys=True)])[:8]


def _section(settings: Settings, name: str) -> Settings:
    """A section of settings, which may come from a plan."""
    section = settings.get(name)
    return section if isinstance(section, dict) else {}


def differences(before: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    """How settings differ, as phrases: `audio.channel was average and is 1`. A key that one of them does not have, for
    it came later, had its default there."""
    old, new = _flat(before), _flat(now)
    phrases = list[str]()
    for name in dict.fromkeys([*new, *old]):
        was, is_now = old.get(name, _default(name)), new.get(name, _default(name))
        if was != is_now:
            phrases.append(f"{_KEYS.get(name, name)} was {_abbreviated(was)} and is {_abbreviated(is_now)}")
    return phrases


def _default(name: str) -> object:
    """The default of a key by its section and name; None for what is no key."""
    section, _, key = name.partition(".")
    fields = getattr(getattr(Config.model_fields.get(section), "annotation", None), "model_fields", {})
    return fields[key].default if key in fields else None


def section_differences(before: Settings, now: Settings, sections: Iterable[str] = tuple(VERSIONS)) -> list[str]:
    """How the settings of sections differ, as of `differences`. That emissions are kept, or are not, is no difference
    of how they are."""
    phrases = list[str]()
    for name in sections:
        if name == "emissions" and None in (before.get(name), now.get(name)):
            continue
        prefix = "decoding." if name == "emissions" else ""
        phrases += [prefix + phrase for phrase in differences(_section(before, name), _section(now, name))]
    return phrases


def _flat(section: Settings) -> dict[str, object]:
    """Settings of inner sections as section.key."""
    flat = dict[str, object]()
    for name, value in section.items():
        flat |= {f"{name}.{key}": inner for key, inner in value.items()} if isinstance(value, dict) else {name: value}
    return flat


def _abbreviated(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    text = "none" if value is None else f"{value:.10g}" if isinstance(value, float) else str(value)
    return f"{text[:12]}…" if len(text) == 64 else text
