"""The settings of a checkpoint that the fused engine uses, validated to the types and bounds that it supports.

The configuration is untrusted: it is checked once, here, and only valid numbers are passed on. Messages show no more of
a value than fits a line. Source of names and defaults: NeMo, asr/modules/conv_asr.py and audio_preprocessing.py.
"""

from collections.abc import Mapping
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from actors.engine.interface import MAX_CLASSES
from actors.foreign.escape import describe
from actors.schema import SAMPLE_RATE, UsageError

ADVICE = "; model.engine=nemo may run it"
MAX_STRIDES = 6  # of 2 each: an output frame is then 0.64 s
MAX_LABELS = MAX_CLASSES - 1  # besides the blank


def _single(value: object) -> object:
    """Unwraps a list of one number, which NeMo has for each dimension of time."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


Model = TypeVar("Model", bound=BaseModel)


class _Settings(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False, protected_namespaces=())


class Preprocessor(_Settings):
    sample_rate: Literal[16_000] = SAMPLE_RATE  # type: ignore[assignment]  # its value is 16,000
    normalize: Literal["per_feature"] = "per_feature"
    frame_splicing: Literal[1] = 1
    log: Literal[True] = True
    exact_pad: Literal[False] = False
    features: Annotated[int, Field(ge=1, le=1_024)] | None = None
    n_fft: Annotated[int, Field(ge=16, le=8_192)] | None = None
    window_size: Annotated[float, Field(ge=0.001, le=0.5)] | None = None
    window_stride: Annotated[float, Field(ge=0.005, le=0.1)] | None = None
    n_window_size: None = None
    n_window_stride: None = None
    preemph: Annotated[float, Field(ge=0, le=1)] | None = 0.97
    mag_power: Annotated[float, Field(gt=0, le=4)] = 2.0
    log_zero_guard_type: Literal["add", "clamp"] = "add"
    log_zero_guard_value: Annotated[float, Field(ge=1e-38, le=1)] | Literal["tiny", "eps"] = 2**-24


class Block(_Settings):
    """One of NeMo's JasperBlocks. If `residual_mode` is None, that of the previous block applies."""

    filters: Annotated[int, Field(ge=1, le=4_096)]
    repeat: Annotated[int, Field(ge=1, le=50)]
    kernel: Annotated[int, BeforeValidator(_single), Field(ge=1, le=1_000)]
    kernel_size_factor: Annotated[float, Field(gt=0, le=10)] = 1.0
    stride: Annotated[Literal[1, 2], BeforeValidator(_single)]
    dilation: Annotated[int, BeforeValidator(_single), Field(ge=1, le=64)]
    separable: bool = False
    residual: bool = False
    residual_mode: str | None = None
    stride_last: bool = False
    se: bool = False
    se_context_size: Literal[-1] = -1
    groups: Literal[1] = 1
    heads: Literal[-1] = -1
    residual_dense: Literal[False] = False
    future_context: Literal[-1] = -1

    @property
    def width(self) -> int:
        """Width of the depthwise kernels in frames, made odd as NeMo does."""
        scaled = max(int(self.kernel * self.kernel_size_factor), 1)
        return scaled + (scaled + 1) % 2

    @property
    def strides(self) -> list[int]:
        """The stride of each layer."""
        before = 1 if self.stride_last else int(self.stride)
        return [before] * (self.repeat - 1) + [int(self.stride)]


class Encoder(_Settings):
    activation: Literal["relu"] = "relu"
    normalization_mode: Literal["batch"] = "batch"
    conv_mask: Literal[True] = True
    frame_splicing: Literal[1] = 1
    residual_mode: str = "add"
    feat_in: Annotated[int, Field(ge=1, le=1_024)] | None = None
    jasper: Annotated[list[Block], Field(min_length=1, max_length=500)]


class _Parts(_Settings):
    preprocessor: Preprocessor
    encoder: Encoder


Labels = Annotated[list[Annotated[str, Field(max_length=100)]], Field(min_length=1, max_length=MAX_LABELS)]


class _Vocabulary(_Settings):
    vocabulary: Labels


def read_settings(config: Mapping[str, object]) -> tuple[Preprocessor, Encoder]:
    """Validates the settings of features and encoder. Raises UsageError that names an invalid setting."""
    _expect(config, "preprocessor", "AudioToMelSpectrogramPreprocessor")
    _expect(config, "encoder", "ConvASREncoder")
    _expect(config, "decoder", "ConvASRDecoder")
    parts = _validated(_Parts, config)
    features, encoder = parts.preprocessor, parts.encoder
    for number, block in enumerate(encoder.jasper):
        _check_strides(number, block)
    if sum(stride > 1 for block in encoder.jasper for stride in block.strides) > MAX_STRIDES:
        raise UsageError(f"its encoder has more than {MAX_STRIDES} strides of 2{ADVICE}")
    if features.features and encoder.feat_in and features.features != encoder.feat_in:
        raise UsageError(
            f"its preprocessor makes {features.features} features, and its encoder expects {encoder.feat_in}"
        )
    return features, encoder


def read_labels(config: Mapping[str, object]) -> list[str]:
    """The characters of the vocabulary. Raises UsageError if there are none, or they are not strings."""
    decoder = config["decoder"]
    labels = (decoder.get("vocabulary") if isinstance(decoder, dict) else None) or config.get("labels")
    if not labels:
        raise UsageError("it has neither a vocabulary nor a tokenizer")
    return _validated(_Vocabulary, {"vocabulary": labels}).vocabulary


def _check_strides(number: int, block: Block) -> None:
    """Raises UsageError if a block's stride is combined with settings that do not support it."""
    if block.stride == 1:
        return
    if block.dilation > 1:
        raise UsageError(f"its block {number} has a stride and a dilation, which NeMo does not support")
    if not block.separable:
        raise UsageError(f"its block {number} has a stride and is not separable{ADVICE}")
    if block.residual and sum(block.strides) > block.repeat + 1:
        raise UsageError(f"its block {number} has a residual around {block.repeat} strides, which do not fit")


def _expect(config: Mapping[str, object], part: str, expected: str) -> None:
    settings = config.get(part)
    if not isinstance(settings, dict):
        raise UsageError(f"its {part} is {describe(settings)}, and should be a mapping")
    target = settings.get("_target_", "nothing")
    name = describe(target.rsplit(".", 1)[-1] if isinstance(target, str) else target)
    if name != expected:
        raise UsageError(f"its {part} is {name}, and the fused engine supports {expected}{ADVICE}")


def _validated(model: type[Model], values: Mapping[str, object]) -> Model:
    try:
        return model.model_validate(values)
    except ValidationError as problem:
        raise UsageError(_message(problem.errors(include_url=False)[0])) from None


def _message(error: ErrorDetails) -> str:
    """One of pydantic's errors as a sentence: the setting, its value, and what would be right."""
    path, value = list(error["loc"]), describe(error["input"])
    where = f"block {path[2]}" if path[:2] == ["encoder", "jasper"] and len(path) > 2 else str(path[0])
    key = ".".join(map(str, path[3:4] if where.startswith("block") else path[1:2]))
    if error["type"] == "missing":
        return f"its {where} has no {key}"
    has = f"its {where} has {key}: {value}" if key else f"its {where} is {value}"
    if error["type"] == "model_type":
        return f"{has}, and should be a mapping"
    if error["type"] == "literal_error":
        return f"{has}, and the fused engine supports {error['ctx']['expected']}{ADVICE}"
    return f"{has}; {error['msg'][0].lower()}{error['msg'][1:]}"
