"""Resolves a model's name to its SHA-256 and to a `.nemo` file on this machine, fetched once per machine.

A name is a path, any fsspec URL, or a hub's "organisation/model". The hash of a stored version of a file is cached, by
URI and ETag or by hub revision, so that a run with nothing to do fetches nothing; with it, why the fused engine cannot
run the model, if it cannot. A cached hash only identifies the model; before a file is used, its content is hashed
(`fetch`).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from filelock import FileLock

from actors.engine.citrinet.archive import WEIGHTS, check_supported, read_outline
from actors.engine.citrinet.tokens import check_classes, from_json, to_json, vocabulary_of
from actors.engine.vocabulary import Vocabulary
from actors.foreign.errors import one_line
from actors.foreign.escape import describe
from actors.schema import SAMPLE_RATE, MachineError, UsageError
from actors.storage.answers import FileTooLarge
from actors.storage.cache import cache_folder, is_intact, new_file, sha256_of
from actors.storage.fetched import fetch_once
from actors.storage.place import Place
from actors.storage.urls import without_signatures
from actors.units import digest

#: organisation/model, which on the hub start with a letter or digit; the hub's library makes paths of these names.
_HUB_NAME = re.compile(r"(?!.*(\.\.|--))[A-Za-z0-9_][\w.-]{0,95}/[A-Za-z0-9_][\w.-]{0,95}", re.ASCII)
_REVISION = re.compile(r"(?!.*\.\.)[A-Za-z0-9_][\w./-]{0,200}", re.ASCII)  # a branch, a tag, or a commit
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CHECK_VERSION = 4  # version of `_check` and of the fused engine's: hashes cached after an older one are computed again
_MAX_KNOWN_BYTES = 10_000  # of its file in the cache
MAX_FILE_BYTES = 8_000_000_000  # of a `.nemo`; Citrinet-1024 has 0.6 GB


@dataclass(frozen=True)
class ModelFile:
    """The model that a run was planned with. `revision` is a hub's commit, `etag` a stored file's version.

    `place` is where a stored file lies, whatever folder a worker runs in; None for a hub's.
    """

    name: str
    sha256: str
    revision: str | None = None
    etag: str | None = None
    place: Place | None = field(default=None, repr=False)


@dataclass(frozen=True)
class _Known:
    """What is known of a model's file: its SHA-256, and why the fused engine cannot run it, or None."""

    sha256: str
    unsupported: str | None


def is_hub_name(name: str) -> bool:
    return bool(_HUB_NAME.fullmatch(name)) and not name.endswith(".nemo") and not Path(name).exists()


def resolve(
    name: str, revision: str | None, storage_options: Mapping[str, object], is_fused: bool = False
) -> ModelFile:
    """Resolves a name to the current version of its model.

    Raises UsageError if it does not exist or is not usable; `is_fused`: by the fused engine, as far as can be told
    without the numbers of its weights.
    """
    if is_hub_name(name):
        path = _fetch_from_hub(name, revision)
        revision = path.parent.name  # the hub's cache lays files out as snapshots/<commit>/<file>
        known_path = _known_path(digest([name, revision]))
        known = _known(known_path) or _examine(name, known_path, path)
        model = ModelFile(name, known.sha256, revision)
    else:
        place = Place.at(name, storage_options)
        etag = _stored_version(name, place)
        known_path = _known_path(digest([place.uri, etag]))
        # A cached copy without a hash may differ from the stored file.
        known = _known(known_path) or _examine(name, known_path, _fetch_from_storage(name, place, etag, expected=""))
        model = ModelFile(name, known.sha256, None, etag, place)
    if is_fused and known.unsupported is not None:
        raise UsageError(f"model.name: {without_signatures(name)}: {known.unsupported}")
    return model


def locate(model: ModelFile, expected: str | None = None) -> Path:
    """The path of the model's file on this machine, which is fetched if it is missing or its SHA-256 is not `expected`.

    Without `expected` the content is not checked. Raises UsageError if the model does not exist.
    """
    if model.place is None:
        return _fetch_from_hub(model.name, model.revision)
    return _fetch_from_storage(model.name, model.place, _stored_version(model.name, model.place), expected)


def fetch(model: ModelFile) -> Path:
    """The path of the planned model's file on this machine. Raises UsageError if its content is not as planned."""
    path = locate(model, model.sha256)
    try:
        found = sha256_of(path)
    except OSError as problem:
        raise UsageError(f"model.name: {path} cannot be read: {problem.strerror}") from None
    if found != model.sha256:
        raise UsageError(f"model.name: the weights of {model.name} are not those that the run was planned with")
    return path


def read_vocabulary(model: ModelFile) -> Vocabulary:
    """The vocabulary of a model. It is cached by the file's SHA-256: a gzipped file would be unpacked to find it.

    Raises UsageError if the model's content is not as planned.
    """
    path = _vocabulary_path(model.sha256)
    return from_json(path.read_bytes()) if is_intact(path) else _keep(_check(fetch(model)), model.sha256)


def _vocabulary_path(sha256: str) -> Path:
    return cache_folder() / "vocabularies" / f"{sha256}-{_CHECK_VERSION}.json"


def _keep(vocabulary: Vocabulary, sha256: str) -> Vocabulary:
    path = _vocabulary_path(sha256)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"), new_file(path, with_digest=True) as partial:
        partial.write_text(to_json(vocabulary), encoding="utf-8")
    return vocabulary


def _stored_version(name: str, place: Place) -> str:
    try:
        return place.info().version
    except FileNotFoundError:
        hint = "a path or URL of a .nemo file, or a hub name such as nvidia/stt_zh_citrinet_1024_gamma_0_25"
        raise UsageError(f"model.name: there is no file {name!r}; give {hint}") from None


def _fetch_from_storage(name: str, place: Place, etag: str, expected: str | None) -> Path:
    """The file itself if it is local, else its copy in the cache; a copy whose hash is not `expected` is replaced."""
    if place.is_local:
        return Path(place.path)
    target = cache_folder() / "models" / digest([place.uri, etag]) / "model.nemo"
    try:
        return fetch_once(place, target, MAX_FILE_BYTES, lambda copy: copy.exists() and _is(copy, expected))
    except FileTooLarge:
        raise UsageError(f"model.name: {name} has more than the limit of {MAX_FILE_BYTES:,} bytes") from None


def _is(copy: Path, expected: str | None) -> bool:
    return expected is None or sha256_of(copy) == expected


def _fetch_from_hub(name: str, revision: str | None) -> Path:
    """Fetches a hub's `.nemo` by NeMo's naming rule, as from_pretrained does: organisation/model/model.nemo."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    if revision is not None and not _REVISION.fullmatch(revision):
        raise UsageError(f"model.revision: {describe(revision)} is not a branch, tag or commit of a hub")
    file = name.split("/")[1] + ".nemo"
    try:
        return Path(hf_hub_download(name, file, revision=revision))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as problem:
        reason = f"{type(problem).__name__}: {one_line(problem)}"
        raise UsageError(
            f"model.name: {name} could not be fetched from the hub ({reason}). Without access to it, download {file}"
            " elsewhere and set model.name to its path or URL. HF_ENDPOINT names a mirror."
        ) from None


def _known_path(key: str) -> Path:
    """The cache file of what is known of a stored version of a file."""
    return cache_folder() / "hashes" / f"{key}.json"


def _known(path: Path) -> _Known | None:
    """What a cache file says; None if there is none, or it is not valid."""
    try:
        with path.open("rb") as file:
            cached = json.loads(file.read(_MAX_KNOWN_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(cached, dict) or cached.get("checks") != _CHECK_VERSION:
        return None
    sha256, unsupported = cached.get("sha256"), cached.get("unsupported")
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256) or not isinstance(unsupported, str | None):
        return None
    return _Known(sha256, unsupported)


def _examine(name: str, known_path: Path, path: Path) -> _Known:
    """Checks a model's file, computes its SHA-256, and caches what is known then. Raises UsageError."""
    known_path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{known_path}.lock"):
        try:
            vocabulary = _check(path)
            unsupported = _reason_against(path)
        except UsageError as problem:
            raise UsageError(f"model.name: {without_signatures(name)}: {problem}") from None
        known = _Known(sha256_of(path), unsupported)
        _keep(vocabulary, known.sha256)
        with new_file(known_path) as partial:
            partial.write_text(json.dumps({"checks": _CHECK_VERSION} | asdict(known)), encoding="utf-8")
    return known


def _reason_against(path: Path) -> str | None:
    """Why the fused engine cannot run a model; None if it can. Raises MachineError."""
    try:
        check_supported(path)
    except MachineError:
        raise  # not the model's fault, so not to be remembered of it
    except UsageError as problem:
        return str(problem)
    return None


def _check(path: Path) -> Vocabulary:
    """The vocabulary of a model. Raises UsageError if its file is not a `.nemo` of a CTC model for 16 kHz with a
    vocabulary that can be decoded, which both engines need."""
    config, tokenizer, has_weights = read_outline(path)
    target = config.get("target")
    kind = target.rsplit(".", 1)[-1] if isinstance(target, str) and target else "model of unknown kind"
    if kind not in ("EncDecCTCModel", "EncDecCTCModelBPE"):
        raise UsageError(f"it is a {kind if ' ' in kind else describe(kind)}; a CTC model is needed (Citrinet)")
    rate = _mapping(config, "preprocessor").get("sample_rate", SAMPLE_RATE)
    if rate != SAMPLE_RATE:
        raise UsageError(f"it expects audio at {describe(rate)} Hz, but this job produces {SAMPLE_RATE} Hz")
    _mapping(config, "encoder")
    decoder = _mapping(config, "decoder")
    if not has_weights:
        raise UsageError(f"it is not a .nemo file: it holds no {WEIGHTS}")
    vocabulary, tokens = vocabulary_of(config, tokenizer), decoder.get("num_classes")
    if type(tokens) is int and tokens > 0:  # else NeMo counts the vocabulary
        check_classes(vocabulary, tokens + 1)
    return vocabulary


def _mapping(config: dict[str, object], part: str) -> dict[str, object]:
    settings = config.get(part)
    if not isinstance(settings, dict):
        raise UsageError(f"its {part} is {describe(settings)}, and should be a mapping")
    return settings
