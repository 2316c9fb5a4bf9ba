"""Secrets: they may not stand on a command line, which others of the machine can read, nor in a log."""

import re
import unicodedata
from collections.abc import Iterator
from typing import Any

from actors.foreign.escape import without_credentials

#: In names of options and headers whose values give access, written without dashes and in lower case. Values of such
#: names may stand on a command line only as env:NAME.
SECRET_WORDS = (
    *("key", "secret", "token", "password", "passwd", "passphrase", "passcode", "pwd", "credential", "private"),
    *("auth", "bearer", "cookie", "signature", "connectionstring", "connstr", "sas", "jwt"),
)
#: Likewise names as a whole, for as a part of one they are harmless.
SECRET_NAMES = ("pass", "sig", "dsn", "pw", "pin", "otp", "cred", "creds")

#: Names with such words that are known to be harmless: they name a file, a version, a person or a way to encrypt.
_HARMLESS = re.compile(
    r"\w*keyfile(name)?|\w*keypath|\w*kmskey(id|name)|signatureversion|authtype|author|authority(host)?|keepalive\w*"
)
_NAMED = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*")
_SPOKEN = re.compile(r"(?i:bearer|basic|digest|negotiate|token|apikey)\s+\S|-----BEGIN ")  # as headers and keys begin
_PAIR = re.compile(r"([A-Za-z][\w.-]*)[\"']?\s*[:=]\s*(?=\S)")  # in `AccountKey=…;`, `Authorization: …`, JSON
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")
_LOGIN = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+:)?/{0,2}[^/\s:@]+:[^/\s:@]+@[^/\s@]")  # a URL that was written wrong


def is_secret_name(name: str) -> bool:
    """Whether what is called that gives access: `aws_secret_access_key`, `X-Auth-Token`, `AccountKey`."""
    plain = re.sub(r"[^a-z0-9]", "", unicodedata.normalize("NFKD", name).lower())
    if _HARMLESS.fullmatch(plain):
        return False
    return plain in SECRET_NAMES or any(word in plain for word in SECRET_WORDS)


def has_secret(path: list[str], value: Any) -> bool:
    """Whether the value of a key, which is the path to it, holds a secret as it is: anywhere a URL with credentials,
    and in storage options the value of a secret name. env:NAME is none."""
    return any(_gives_access(names, leaf) for names, leaf in leaves(path, value))


def _gives_access(names: list[str], leaf: Any) -> bool:
    if leaf is None or isinstance(leaf, bool) or leaf == "":
        return False
    text = str(leaf)
    if _NAMED.fullmatch(text):
        return False
    if _LOGIN.match(text) or any(_is_signed(url) for url in _URL.findall(text)):
        return True
    if "storage_options" not in names:
        return False
    options = names[names.index("storage_options") + 1 :]
    spoken = _SPOKEN.match(text) or any(is_secret_name(pair[1]) for pair in _PAIR.finditer(text))
    return bool(spoken) or any(map(is_secret_name, options))


def _is_signed(url: str) -> bool:
    """Whether a URL has a password, or a query that is signed."""
    bare, place = without_credentials(url), re.split("[?#]", url, maxsplit=1)[0]
    if bare not in (url, place):
        return True
    _, *said = re.split("[?#;]", url, maxsplit=1)
    return any(is_secret_name(pair[1]) for each in said for pair in _PAIR.finditer(each))


def leaves(names: list[str], value: Any) -> Iterator[tuple[list[str], Any]]:
    """The values within a value, each with the names that lead to it. Headers are often lists of a name and a value, or
    mappings of both: so a secret name among such values leads to the others too."""
    if isinstance(value, dict):
        inside = [(str(key), inner) for key, inner in value.items()]
        called = [inner for key, inner in inside if key in ("name", "header")]
    elif isinstance(value, list):
        inside, called = [("", inner) for inner in value], value
    else:
        yield names, value
        return
    secret = [each for each in called if isinstance(each, str) and is_secret_name(each)]
    for key, inner in inside:
        yield from leaves([*names, key, *(each for each in secret if each is not inner)], inner)
