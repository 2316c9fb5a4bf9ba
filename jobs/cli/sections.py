"""What sections of the configuration are made of: their base classes and the types of values."""

import os
import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from actors.storage.connect import file_url, protocol_of, url_mistake
from jobs.cli.secrets import has_credentials, with_secrets

Auto = Literal["auto"]
Positive = Annotated[float, Field(gt=0, le=1e9)]  # seconds, hours, megabytes: more makes no sense, and no time or size
Share = Annotated[float, Field(ge=0, le=1)]
_PATH = re.compile(r"[.~]|/(?!/)")  # how a text begins that can only be a path


def _located(text: str) -> str:
    """A path or a URL as it is used. Raises ValueError for a mistyped URL: taken as a path, a login or a signature in
    it would be shown."""
    if mistake := url_mistake(text):
        raise ValueError(mistake)
    if protocol_of(text) is None and not _PATH.match(text) and has_credentials(text):
        raise ValueError("holds credentials as a URL may, but is none; give PROTOCOL://… (or, for a local file, ./…)")
    return file_url(os.path.expanduser(text))


Location = Annotated[str, AfterValidator(_located)]  # "~" is the home folder
StorageOptions = Annotated[dict[str, Any], Field(repr=False)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), use_attribute_docstrings=True)
    later: ClassVar[frozenset[str]] = frozenset()  # keys added after the first outputs were made

    def recipe(self) -> dict[str, object]:
        """The section's values as part of a recipe. A later key at its default is left out, as it was before the key
        existed, so outputs made then still match."""
        fields = type(self).model_fields
        return self.model_dump(exclude={key for key in self.later if getattr(self, key) == fields[key].default})


class Stored(Section):
    """A section with a key `storage_options`."""

    def options(self) -> dict[str, object]:
        """`storage_options` with the secrets that they name. Raises ConfigError."""
        return with_secrets(self.model_dump()["storage_options"], f"{type(self).__name__.lower()}.storage_options")
