"""What identifies a run beside its result: code, machine, input, model and settings, without any secret."""

import platform
import re
import subprocess
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TypedDict

from actors import VERSION
from actors.outcomes import Example
from actors.parts.summary import MAX_NAMED
from actors.units import Unit
from jobs.cli.config import Config
from jobs.cli.secrets import without_secrets
from jobs.planning.prepare import Prepared

MAX_REASON = 1_000  # characters of why a unit failed
GIT_PATIENCE_S = 5.0

_ROOT = Path(__file__).parents[2]


class FailingRecording(TypedDict):
    """A recording with an error, as its rows have it; long texts are shortened."""

    recording_id: str
    error_kind: str
    error_detail: str


class FailedUnit(TypedDict):
    """A unit that was not committed, with the number of its objects and the URI of the first."""

    unit: str
    reason: str
    objects: int
    uri: str


def timestamp(seconds: float) -> str:
    """Seconds since 1970 as ISO 8601 in UTC: `2026-11-26T08:14:45Z`."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def facts_of_config(config: Config) -> dict[str, object]:
    """What is known before a run is planned: the code, the machine, the input and all settings as used."""
    settings = {name: without_secrets([name], section) for name, section in config.model_dump().items()}
    return {
        "version": VERSION,
        "commit": code_commit(),
        "host": platform.node(),
        "input": without_secrets(["input", "uri"], config.input.uris),
        "model": {"name": without_secrets(["model", "name"], config.model.name), "revision": config.model.revision},
        "settings": settings,
    }


def facts_of_plan(prepared: Prepared) -> dict[str, object]:
    """What planning resolved: the model's version, and every `auto` that decides about rows or speed."""
    recipe = prepared.recipe
    name = without_secrets(["model", "name"], recipe.model.name)
    return {
        "model": {"name": name, "revision": recipe.model.revision, "sha256": recipe.model.sha256},
        "engine": recipe.engine,
        "precision": recipe.precision,
        "device": recipe.device,
        "target_minutes": recipe.piece_seconds / 60,
        "max_padded_seconds": recipe.max_padded_seconds,
    }


def failing(examples: Iterable[Example]) -> list[FailingRecording]:
    return [
        {"recording_id": each.recording_id, "error_kind": each.error_kind, "error_detail": each.error_detail}
        for each in examples
    ]


def failed_units(failed: Mapping[str, str], units: Mapping[str, Unit]) -> list[FailedUnit]:
    """The first units that failed, with their reasons."""
    found = list[FailedUnit]()
    for unit, reason in list(failed.items())[:MAX_NAMED]:
        known = units.get(unit)
        uris = [each.uri for each in known.objects] + [each.uri for each in known.carried] if known else []
        uri = uris[0][:MAX_REASON] if uris else ""
        found.append({"unit": unit, "reason": reason[:MAX_REASON], "objects": len(uris), "uri": uri})
    return found


def code_commit() -> str | None:
    """The git commit of the code, with `-dirty` if files were changed since; None where it is not a git checkout."""
    if not (_ROOT / ".git").exists():
        return None
    command = ["git", "-C", str(_ROOT), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", timeout=GIT_PATIENCE_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if re.fullmatch(r"[0-9a-f]{40}(-dirty)?", done.stdout.strip()) else None
