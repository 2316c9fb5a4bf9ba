"""Checkpoints for tests, made of the demo's parts without NeMo: any configuration, any bytes for weights."""

import copy
import io
import tarfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
import yaml
from conftest import DEMO_MODEL

from actors.engine.citrinet.archive import CONFIG, WEIGHTS

_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


@cache
def demo_member(name: str) -> bytes:
    with tarfile.open(DEMO_MODEL) as archive:
        file = archive.extractfile(f"./{name}")
        assert file is not None
        return file.read()


def demo_config() -> dict[str, Any]:
    return copy.deepcopy(_demo_config())


@cache
def _demo_config() -> dict[str, Any]:
    return dict(yaml.load(demo_member(CONFIG), getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


def demo_weights() -> dict[str, torch.Tensor]:
    return dict(torch.load(io.BytesIO(demo_member(WEIGHTS)), weights_only=True))


def saved(weights: Any, **how: Any) -> bytes:
    file = io.BytesIO()
    torch.save(weights, file, **how)
    return file.getvalue()


def nemo(
    path: Path,
    config: dict[str, Any] | bytes | None = None,
    weights: Any = None,
    mode: str = "w",
    change: Callable[[tarfile.TarInfo], None] = lambda member: None,
    **more: bytes,
) -> Path:
    """A `.nemo` of the demo's parts, or of others: a configuration or its text, a state dict or its bytes. Members of
    `more` come first; `change` may spoil a header."""
    text = demo_member(CONFIG) if config is None else config
    content = text if isinstance(text, bytes) else yaml.dump(text, Dumper=_DUMPER, allow_unicode=True).encode()
    stored = demo_member(WEIGHTS) if weights is None else weights
    members = more | {CONFIG: content, WEIGHTS: stored if isinstance(stored, bytes) else saved(stored)}
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in members.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(data)
            change(member)
            archive.addfile(member, io.BytesIO(data))
    return path


def changed(config: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """The configuration with another value at a key such as "encoder.jasper.1.stride"."""
    *way, last = [int(part) if part.isdigit() else part for part in key.split(".")]
    place: Any = config
    for part in way:
        place = place[part]
    place[last] = value
    return config
