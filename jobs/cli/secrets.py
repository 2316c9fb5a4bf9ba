"""Detects secrets, and takes them from the environment.

They must not be on a command line, readable by all users of the machine, nor in a log.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping

from actors.foreign.escape import without_credentials
from actors.foreign.secret_names import is_secret_name
from jobs.cli.errors import ConfigError

REDACTED = "(secret)"
MAX_ITEMS = 100  # of a list that is shown
_FROM_ENVIRONMENT = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*")
#: How the values of authorization headers, and private keys, begin.
_CREDENTIAL = re.compile(r"(?i:bearer|basic|digest|negotiate|token|apikey)\s+\S|-----BEGIN ")
_PAIR = re.compile(r"([A-Za-z][\w.-]*)[\"']?\s*[:=]\s*(?=\S)")  # in `AccountKey=…;`, `Authorization: …`, JSON
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")
_LOGIN = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+:)?/{0,2}[^/\s:@]+:[^/\s:@]+@[^/\s@]")  # also in malformed URLs
_LATE_LOGIN = re.compile(r"//[^/\s:@]+:[^/\s:@]+@")  # behind a protocol that is none


def has_credentials(text: str) -> bool:
    """Whether a text that is no URL has what is secret in one: a login, or a signed query."""
    has_login = _LOGIN.match(text) or _LATE_LOGIN.search(text)
    return bool(has_login) or _has_secret_parameter(text.split("?", maxsplit=1)[1:])


def has_secret(path: list[str], value: object) -> bool:
    """Whether the value of the key at `path` contains a secret in clear text.

    That is a URL with credentials anywhere, or in storage options the value of a secret name. env:NAME is not secret.
    """
    return any(_is_secret(names, leaf) for names, leaf in leaves(path, value))


def _is_secret(names: list[str], leaf: object) -> bool:
    if leaf is None or isinstance(leaf, bool) or leaf == "":
        return False
    text = str(leaf)
    if _FROM_ENVIRONMENT.fullmatch(text):
        return False
    if _LOGIN.match(text) or any(_is_signed(url) for url in _URL.findall(text)):
        return True
    if "storage_options" not in names:
        return False
    options = names[names.index("storage_options") + 1 :]
    is_credential = _CREDENTIAL.match(text) or any(is_secret_name(pair[1]) for pair in _PAIR.finditer(text))
    return bool(is_credential) or any(map(is_secret_name, options))


def _is_signed(url: str) -> bool:
    """Whether a URL has a password or a signed query."""
    stripped, address = without_credentials(url), re.split("[?#]", url, maxsplit=1)[0]
    if stripped not in (url, address):
        return True
    _, *parameters = re.split("[?#;]", url, maxsplit=1)
    return _has_secret_parameter(parameters)


def _has_secret_parameter(parameters: Iterable[str]) -> bool:
    return any(is_secret_name(pair[1]) for each in parameters for pair in _PAIR.finditer(each))


def leaves(names: list[str], value: object) -> Iterator[tuple[list[str], object]]:
    """Yields the values within a nested value, each with the names on its path.

    Headers are often lists of a name and a value, or mappings with both, so a secret name among such values counts as
    on the path to the others.
    """
    if isinstance(value, dict):
        items = [(str(key), inner) for key, inner in value.items()]
        candidates = [inner for key, inner in items if key in ("name", "header")]
    elif isinstance(value, list):
        items, candidates = [("", inner) for inner in value], value
    else:
        yield names, value
        return
    secret_names = [each for each in candidates if isinstance(each, str) and is_secret_name(each)]
    for key, inner in items:
        yield from leaves([*names, key, *(each for each in secret_names if each is not inner)], inner)


def with_secrets(options: Mapping[str, object], key: str) -> dict[str, object]:
    """Storage options with every "env:NAME" replaced by that environment variable. Raises ConfigError if it is not
    set."""

    def fill(value: object) -> object:
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


def without_secrets(names: list[str], value: object) -> object:
    """The value of the key at `names` as it may be shown and stored; of a long list the beginning.

    Storage options may hold a secret under any name, so of them only what names an environment variable is kept. A URL
    is shown without credentials, and not at all if it is so malformed that these cannot be told.
    """
    if names and names[-1] == "storage_options":
        return _references(value) or {}
    if isinstance(value, dict):
        return {key: without_secrets([*names, str(key)], inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        more = [f"… and {len(value) - MAX_ITEMS:,} more"] if len(value) > MAX_ITEMS else []
        return [without_secrets(names, inner) for inner in value[:MAX_ITEMS]] + more
    if isinstance(value, str):
        shown = without_credentials(value)
        return REDACTED if has_secret(names, shown) else shown
    return value


def _references(value: object) -> object:
    """What is env:NAME within a value, without what else is there; empty if nothing is."""
    if isinstance(value, dict):
        return {name: kept for name, inner in value.items() if (kept := _references(inner))}
    if isinstance(value, list):
        return [kept for inner in value if (kept := _references(inner))]
    return value if isinstance(value, str) and _FROM_ENVIRONMENT.fullmatch(value) else None
