"""A model's name to a `.nemo` file on this machine, fetched once per machine, and its SHA-256.

A name is a path, any fsspec URL, or a hub's "organisation/model". What was learned of a stored version of a file (its
hash) is remembered in the cache folder, by URI and ETag or by hub revision, so that a run with nothing to do fetches
nothing. What is remembered names a model; that a file is that model, its content has to show (`fetch`).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from actors.engine.citrinet.archive import read_config
from actors.engine.citrinet.settings import shown
from actors.schema import SAMPLE_RATE, UsageError
from actors.storage import files as storage
from actors.storage.cache import cache_folder, sha256_of
from actors.units import digest

#: organisation/model, each of which the hub begins with a letter or digit; with other names a library would make paths.
_HUB_NAME = re.compile(r"(?!.*(\.\.|--))[A-Za-z0-9_][\w.-]{0,95}/[A-Za-z0-9_][\w.-]{0,95}", re.ASCII)
_REVISION = re.compile(r"(?!.*\.\.)[A-Za-z0-9_][\w./-]{0,200}", re.ASCII)  # a branch, a tag, or a commit
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CHECKS = 2  # the version of `_check`: what was remembered after an older one is worked out anew
MAX_FILE_BYTES = 8_000_000_000  # bytes of a `.nemo`; that of Citrinet-1024 has 0.6 GB


@dataclass(frozen=True)
class ModelFile:
    """A model that a run was planned with. `revision` is a hub's commit, `etag` a stored file's version."""

    name: str
    sha256: str
    revision: str | None = None
    etag: str | None = None
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)


def is_hub_name(name: str) -> bool:
    return bool(_HUB_NAME.fullmatch(name)) and not name.endswith(".nemo") and not Path(name).exists()


def resolve(name: str, revision: str | None, storage_options: Mapping[str, Any]) -> ModelFile:
    """The model of that name as it is now. Raises UsageError, with what to do, where it is not there or of no use."""
    if is_hub_name(name):
        path = _fetch_from_hub(name, revision)
        revision = path.parent.name  # the hub's cache lays files out as snapshots/<commit>/<file>
        noted = _note(digest([name, revision]))
        return ModelFile(name, _remembered(noted) or _remember(noted, path), revision)
    etag = _stored_version(name, storage_options)
    noted = _note(digest([_uri(name, storage_options), etag]))
    sha256 = _remembered(noted)
    if sha256 is None:  # a copy that lies there without a hash is not believed to be what is stored
        sha256 = _remember(noted, _fetch_from_storage(name, etag, storage_options, wanted=""))
    return ModelFile(name, sha256, None, etag, storage_options)


def locate(model: ModelFile, wanted: str | None = None) -> Path:
    """Where the model's file lies on this machine; it is fetched where it is not there, or where the copy has another
    SHA-256 than `wanted`. Else its content is not looked at. Raises UsageError where there is none."""
    if model.etag is None:
        return _fetch_from_hub(model.name, model.revision)
    etag = _stored_version(model.name, model.storage_options)
    return _fetch_from_storage(model.name, etag, model.storage_options, wanted)


def fetch(model: ModelFile) -> Path:
    """The planned model's file on this machine, hashed. Raises UsageError where it is not the one that was planned."""
    path = locate(model, model.sha256)
    try:
        found = sha256_of(path)
    except OSError as problem:
        raise UsageError(f"model.name: {path} cannot be read: {problem.strerror}") from None
    if found != model.sha256:
        raise UsageError(f"model.name: the weights of {model.name} are not those that the run was planned with")
    return path


def _uri(name: str, options: Mapping[str, Any]) -> str:
    return storage.canonical(*storage.connect(name, options))


def _stored_version(name: str, options: Mapping[str, Any]) -> str:
    filesystem, path = storage.connect(name, options)
    try:
        return storage.version(storage.info(filesystem, path))
    except FileNotFoundError:
        hint = "a path or URL of a .nemo file, or a hub name such as nvidia/stt_zh_citrinet_1024_gamma_0_25"
        raise UsageError(f"model.name: there is no file {name!r}; give {hint}") from None


def _fetch_from_storage(name: str, etag: str, options: Mapping[str, Any], wanted: str | None) -> Path:
    """The file itself where it is local, else the copy of it in the cache; a copy that is not `wanted` is made anew."""
    filesystem, path = storage.connect(name, options)
    if storage.is_local(filesystem):
        return Path(path)
    target = cache_folder() / "models" / digest([storage.canonical(filesystem, path), etag]) / "model.nemo"
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):  # of many actors that start at once, one fetches
        if not target.exists() or (wanted is not None and sha256_of(target) != wanted):
            partial = target.with_suffix(".partial")
            try:
                storage.copy(filesystem, path, str(partial), MAX_FILE_BYTES)
            except storage.FileTooLarge:
                raise UsageError(
                    f"model.name: {name} has more than the {MAX_FILE_BYTES:,} bytes that are believed"
                ) from None
            partial.replace(target)
    return target


def _fetch_from_hub(name: str, revision: str | None) -> Path:
    """A hub's `.nemo` by NeMo's naming rule, which from_pretrained follows too: organisation/model/model.nemo."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    if revision is not None and not _REVISION.fullmatch(revision):
        raise UsageError(f"model.revision: {shown(revision)} is no branch, tag or commit of a hub")
    file = name.split("/")[1] + ".nemo"
    try:
        return Path(hf_hub_download(name, file, revision=revision))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as problem:
        reason = next(iter(str(problem).strip().splitlines()), "")
        raise UsageError(
            f"model.name: {name} could not be fetched from the hub ({type(problem).__name__}: {reason}). Without a way"
            f" there, download {file} elsewhere and set model.name to its path or URL. HF_ENDPOINT names a mirror."
        ) from None


def _note(key: str) -> Path:
    """Where the hash of a stored version of a file is remembered."""
    return cache_folder() / "hashes" / f"{key}.json"


def _remembered(noted: Path) -> str | None:
    """A file's SHA-256 as it was worked out before, None where it was not, or what is there is damaged."""
    try:
        with noted.open("rb") as file:
            told = json.loads(file.read(1_000))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(told, dict) or told.get("checks") != _CHECKS:
        return None
    sha256 = told.get("sha256")
    return sha256 if isinstance(sha256, str) and _SHA256.fullmatch(sha256) else None


def _remember(noted: Path, path: Path) -> str:
    """Works out a file's SHA-256, for the stored version that the note is of; the file is looked over too."""
    noted.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{noted}.lock"):
        _check(path)
        sha256 = sha256_of(path)
        partial = noted.with_suffix(".partial")
        partial.write_text(json.dumps({"sha256": sha256, "checks": _CHECKS}))
        partial.replace(noted)
    return sha256


def _check(path: Path) -> None:
    """Raises UsageError where a file is not a `.nemo` of a CTC model for 16 kHz: said before anything is started."""
    try:
        config = read_config(path)
    except UsageError as problem:
        raise UsageError(f"model.name: {path}: {problem}") from None
    target, preprocessor = config.get("target"), config.get("preprocessor", {})
    kind = target.rsplit(".", 1)[-1] if isinstance(target, str) and target else "model of unknown kind"
    if kind not in ("EncDecCTCModel", "EncDecCTCModelBPE"):
        said = kind if " " in kind else shown(kind)
        raise UsageError(f"model.name: {path} is a {said}; a CTC model is needed (Citrinet)")
    if not isinstance(preprocessor, dict):
        raise UsageError(f"model.name: {path}: its preprocessor is {shown(preprocessor)}, and should be settings")
    rate = preprocessor.get("sample_rate", SAMPLE_RATE)
    if rate != SAMPLE_RATE:
        raise UsageError(f"model.name: {path} wants audio at {shown(rate)} Hz, and this job makes {SAMPLE_RATE} Hz")
