"""A model's name to a `.nemo` file on this machine, fetched once per machine, and its SHA-256.

A name is a path, any fsspec URL, or a hub's "organisation/model". What was learned of a stored version of a file (its
hash) is remembered in the cache folder, by URI and ETag or by hub revision, so that a run with nothing to do fetches
nothing. The cache is `$CITRASCRIBE_CACHE`, by default `citrascribe` under the user's cache folder.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import platformdirs
from filelock import FileLock

from actors import storage
from actors.citrinet.archive import read_config
from actors.schema import SAMPLE_RATE, UsageError
from actors.units import digest

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class ModelFile:
    """A model that a run was planned with. `revision` is a hub's commit, `etag` a stored file's version."""

    name: str
    sha256: str
    revision: str | None = None
    etag: str | None = None
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)


def cache_folder() -> Path:
    return Path(os.environ.get("CITRASCRIBE_CACHE") or platformdirs.user_cache_dir("citrascribe"))


def is_hub_name(name: str) -> bool:
    return bool(_HUB_NAME.fullmatch(name)) and not name.endswith(".nemo") and not Path(name).exists()


def resolve(name: str, revision: str | None, storage_options: Mapping[str, Any]) -> ModelFile:
    """The model of that name as it is now. Raises UsageError, with what to do, where it is not there or of no use."""
    if is_hub_name(name):
        path = _fetch_from_hub(name, revision)
        revision = path.parent.name  # the hub's cache lays files out as snapshots/<commit>/<file>
        return ModelFile(name, _remembered_sha256(digest([name, revision]), path), revision)
    etag = _stored_version(name, storage_options)
    noted = cache_folder() / "hashes" / f"{digest([_uri(name, storage_options), etag])}.json"
    if noted.exists():
        return ModelFile(name, json.loads(noted.read_text())["sha256"], None, etag, storage_options)
    path = _fetch_from_storage(name, etag, storage_options)
    return ModelFile(name, _remembered_sha256(noted.stem, path), None, etag, storage_options)


def fetch(model: ModelFile) -> Path:
    """The planned model's file on this machine. Raises UsageError where it is no longer the one that was planned."""
    if model.etag is None:
        path = _fetch_from_hub(model.name, model.revision)
        key = digest([model.name, str(model.revision)])
    else:
        etag = _stored_version(model.name, model.storage_options)
        path = _fetch_from_storage(model.name, etag, model.storage_options)
        key = digest([_uri(model.name, model.storage_options), etag])
    if _remembered_sha256(key, path) != model.sha256:
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


def _fetch_from_storage(name: str, etag: str, options: Mapping[str, Any]) -> Path:
    filesystem, path = storage.connect(name, options)
    if storage.is_local(filesystem):
        return Path(path)
    target = cache_folder() / "models" / digest([storage.canonical(filesystem, path), etag]) / os.path.basename(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):  # of many actors that start at once, one fetches
        if not target.exists():
            partial = target.with_suffix(".partial")
            with filesystem.open(path, "rb") as source, partial.open("wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 24)
            partial.replace(target)
    return target


def _fetch_from_hub(name: str, revision: str | None) -> Path:
    """A hub's `.nemo` by NeMo's naming rule, which from_pretrained follows too: organisation/model/model.nemo."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    file = name.split("/")[1] + ".nemo"
    try:
        return Path(hf_hub_download(name, file, revision=revision))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as problem:
        reason = str(problem).strip().splitlines()[0]
        raise UsageError(
            f"model.name: {name} could not be fetched from the hub ({type(problem).__name__}: {reason}). Without a way"
            f" there, download {file} elsewhere and set model.name to its path or URL. HF_ENDPOINT names a mirror."
        ) from None


def _remembered_sha256(key: str, path: Path) -> str:
    """A file's SHA-256, worked out once for the stored version that the key stands for; the file is looked over too."""
    noted = cache_folder() / "hashes" / f"{key}.json"
    noted.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{noted}.lock"):
        if not noted.exists():
            _check(path)
            with path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            partial = noted.with_suffix(".partial")
            partial.write_text(json.dumps({"sha256": sha256, "file": str(path)}))
            partial.replace(noted)
    return str(json.loads(noted.read_text())["sha256"])


def _check(path: Path) -> None:
    """Raises UsageError where a file is not a `.nemo` of a CTC model for 16 kHz: said before anything is started."""
    try:
        config = read_config(path)
    except UsageError as problem:
        raise UsageError(f"model.name: {path}: {problem}") from None
    kind = str(config.get("target", "")).rsplit(".", 1)[-1]
    if kind not in ("EncDecCTCModel", "EncDecCTCModelBPE"):
        raise UsageError(f"model.name: {path} is a {kind or 'model of unknown kind'}; a CTC model is needed (Citrinet)")
    preprocessor = config.get("preprocessor")
    rate = preprocessor.get("sample_rate", SAMPLE_RATE) if isinstance(preprocessor, dict) else None
    if rate != SAMPLE_RATE:
        raise UsageError(f"model.name: {path} wants audio at {rate} Hz, and this job makes {SAMPLE_RATE} Hz")
