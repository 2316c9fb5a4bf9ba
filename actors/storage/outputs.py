"""Safe access to the job's own files below an output.

Others who can write below an output may put anything there. So `Place` joins paths such that they remain below the
output; only files and folders with the job's own names are read or deleted; and links are refused.
"""

import os

from actors.foreign.errors import InvalidData
from actors.schema import UsageError
from actors.storage.answers import FileTooLarge, NotRegularFile
from actors.storage.place import Place

OUTPUT = "output.uri"
STATE_FOLDERS = ("_commits", "_emissions", "_pieces", "_runs")


def check_folders(output: Place, key: str = OUTPUT) -> None:
    """Raises UsageError, which names the configuration's key, if an output, or one of the job's own folders in it,
    exists and is not a folder.

    The output itself may be a link to a folder; the folders in it may not, since a link's target may not belong to the
    output.
    """
    if output.is_local and os.path.lexists(output.path) and not os.path.isdir(output.path):
        raise UsageError(f"{key}: {output.uri} is not a folder; give another path")
    for name in STATE_FOLDERS:
        check_folder(output / name, key)


def check_folder(folder: Place, key: str = OUTPUT) -> None:
    """Raises UsageError if a folder exists and is a link, or not a folder."""
    refuse_link(folder, key)
    if folder.is_local and os.path.lexists(folder.path) and not os.path.isdir(folder.path):
        raise UsageError(f"{key}: {folder.uri} is not a folder, but must be one; remove it")


def refuse_link(place: Place, key: str = OUTPUT) -> None:
    """Raises UsageError if a place is a link."""
    if place.is_link():
        raise UsageError(
            f"{key}: {place.uri} is a link, which is not followed; replace it by a folder or file, or remove it"
        )


def read(file: Place, max_bytes: int) -> bytes:
    """Reads a file of at most `max_bytes`. Raises InvalidData if it is larger, or a link; FileNotFoundError."""
    if file.is_link():
        raise InvalidData("it is a link, which is not followed")
    try:
        return file.read(max_bytes)
    except FileTooLarge:
        raise InvalidData(f"it has more than {max_bytes:,} bytes") from None
    except (NotRegularFile, IsADirectoryError):
        raise InvalidData("it is not a regular file") from None
