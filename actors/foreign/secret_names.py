"""Tells by its name whether an option, a header or a parameter of a URL is secret."""

import re
import unicodedata

#: Parts of names of options and headers whose values are secret, without separators and in lower case. On a command
#: line, such values must be given as env:NAME.
SECRET_WORDS = (
    *("key", "secret", "token", "password", "passwd", "passphrase", "passcode", "pwd", "credential", "private"),
    *("auth", "bearer", "cookie", "signature", "connectionstring", "connstr", "sas", "jwt"),
)
#: Likewise, but only as the whole name: as a part of one they are harmless.
SECRET_NAMES = ("pass", "sig", "dsn", "pw", "pin", "otp", "cred", "creds")

#: Names with such words that are harmless: of a file, a version, a person or a kind of encryption.
_HARMLESS = re.compile(
    r"\w*keyfile(name)?|\w*keypath|\w*kmskey(id|name)|signatureversion|authtype|author|authority(host)?|keepalive\w*"
)


def is_secret_name(name: str) -> bool:
    """Whether values of this name are secret: `aws_secret_access_key`, `X-Auth-Token`, `AccountKey`."""
    normalised = re.sub(r"[^a-z0-9]", "", unicodedata.normalize("NFKD", name).lower())
    if _HARMLESS.fullmatch(normalised):
        return False
    return normalised in SECRET_NAMES or any(word in normalised for word in SECRET_WORDS)
