"""URLs of the web: as they are requested, and as they are stored and shown, without secrets.

A signed URL is a secret for as long as it is valid, and another one for the same file has another signature. So a file
is known by its URL without the signature. https://www.rfc-editor.org/rfc/rfc3986
"""

import hashlib
import re
from collections.abc import Iterable
from urllib.parse import quote, unquote

from actors.foreign.secret_names import is_secret_name

_URL = re.compile(r"https?://[^\s\"'<>\\]+", re.IGNORECASE)
_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_PLAIN = re.compile(r"[A-Za-z0-9_~-]", re.ASCII)  # means the same when escaped; a dot, too, but ".." is watched for
_SAFE = "%/:?@!$&'()*+,;=[]~"  # brackets, because they are part of globs
_PATH_PARAMETER = re.compile(r";([^;/=]+)=[^;/]*")
_FILE_NAME = re.compile(r".+\.[A-Za-z0-9]{2,5}", re.ASCII)

#: Parameters that are part of a signature, but not secret by their names: of AWS, Google, Azure, Alibaba, Tencent,
#: CloudFront.
_OF_SIGNATURES = re.compile(
    r"x-(amz|goog|oss|ms|cos|obs)-.*|q-.*|expires?|exp|policy|googleaccessid|s[vrpet]|ss|srt|spr|sip|si|sdd|saoid|suoid"
    r"|scid|skoid|sktid|sk[tesv]",
    re.IGNORECASE,
)


def normal_url(url: str) -> str:
    """A URL as it is requested: without a fragment, the host in lower case, and what no URL can hold escaped.

    Escapes remain, because %2F is not a slash, except those of letters and digits.
    """
    protocol, _, rest = url.partition("://")
    authority, slash, path = rest.partition("#")[0].partition("/")
    user, at, host = authority.rpartition("@")
    path = quote(_LONE_PERCENT.sub("%25", path), safe=_SAFE, errors="surrogateescape")
    return f"{protocol.lower()}://{user}{at}{host.lower()}{slash}{_ESCAPE.sub(_normal_escape, path)}"


def public_url(url: str) -> str:
    """A URL by which a file is known: normal, without a user, a password, and the parameters of a signature."""
    protocol, _, rest = normal_url(url).partition("://")
    address, _, query = rest.partition("?")
    authority, slash, path = address.partition("/")
    path = _PATH_PARAMETER.sub(lambda match: "" if is_secret_name(unquote(match[1])) else match[0], path)
    parameters = query.split("&") if query else []
    if any(map(_is_secret, parameters)):
        names = [each.partition("=")[0] for each in parameters]
        is_kept = [not _OF_SIGNATURES.fullmatch(unquote(name)) for name in names]
        parameters = [each for each, kept in zip(parameters, is_kept, strict=True) if kept and not _is_secret(each)]
    host = authority.rpartition("@")[2]
    return f"{protocol}://{host}{slash}{path}" + (f"?{'&'.join(parameters)}" if parameters else "")


def is_web(uri: str) -> bool:
    """Whether a URI is a URL of the web."""
    return uri[:1] in "hH" and uri[:8].lower().startswith(("http://", "https://"))


def is_signed(uri: str) -> bool:
    """Whether a URI is a URL of the web that needs more to be fetched than is known of it in public."""
    return is_web(uri) and public_url(uri) != normal_url(uri)


class Signatures:
    """Signed URLs by their public forms. The signature of a folder's URL is also for what is below it.

    It prints without them, and briefly: fsspec compares filesystems by what their options print.
    """

    def __init__(self, urls: Iterable[str] = ()) -> None:
        self._urls = {public_url(each).rstrip("/"): normal_url(each) for each in urls}
        self._digest = hashlib.sha256("\n".join(self._urls.values()).encode()).hexdigest()

    def __repr__(self) -> str:
        return f"Signatures({self._digest})"

    def __contains__(self, url: str) -> bool:
        return self._urls.get(public_url(url).rstrip("/")) == normal_url(url)

    def sign(self, url: str) -> str:
        """A normal URL with its signature, if it has one."""
        folder = url.rstrip("/") if self._urls else ""
        while "/" in folder:
            if folder in self._urls:
                address, mark, query = self._urls[folder].partition("?")
                return f"{address.rstrip('/')}{address_of(url)[len(address_of(folder)) :]}{mark}{query}"
            folder = folder.rpartition("/")[0]
        return url


def without_signatures(text: str) -> str:
    """A text whose URLs have no users, passwords and signatures; all else remains."""
    if "://" not in text:
        return text
    return _URL.sub(lambda match: public_url(match[0]) if is_signed(match[0]) else match[0], text)


def join_url(folder: str, reference: str) -> str:
    """The URL of a file that is named relative to a folder's URL: by a path, or by one from the server's root.

    In a path, "?" and "#" are part of a name, unless a query such as "?id=1" follows.
    """
    name, mark, query = reference.partition("?")
    if "=" not in query:
        name, mark, query = reference.replace("?", "%3F"), "", ""
    reference = f"{name}{mark}{query}".replace("#", "%23")
    if not reference.startswith("/"):
        return f"{folder.rstrip('/')}/{reference}"
    protocol, _, rest = folder.partition("://")
    return f"{protocol}://{rest.partition('/')[0]}{reference}"


def address_of(url: str) -> str:
    """A URL without its query."""
    return url.partition("?")[0]


def _normal_escape(match: re.Match[str]) -> str:
    character = chr(int(match[0][1:], 16))
    return character if _PLAIN.fullmatch(character) else match[0].upper()


def _is_secret(parameter: str) -> bool:
    name, _, value = parameter.partition("=")
    if name.lower().endswith("key") and _FILE_NAME.fullmatch(unquote(value)):
        return False  # the key of an object
    return is_secret_name(unquote(name))
