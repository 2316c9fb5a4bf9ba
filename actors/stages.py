"""The three stages of the graph as Ray Data calls them: block in, block out."""

import platform
import time
from collections.abc import Callable
from functools import partial

import pyarrow as pa

from actors.blocks import advance
from actors.engine.interface import EngineSettings
from actors.engine.models import ModelFile
from actors.outcomes import Committed, Kept
from actors.parts.kept import is_kept
from actors.pieces import Piece
from actors.reader import read_piece
from actors.schema import SPEECH_SCHEMA, MachineError
from actors.sources.objects import ReadSettings
from actors.storage.encoding import check_names
from actors.storage.place import Place
from actors.transcriber import Transcriber
from actors.writer import Writer, WriteSettings

SLOWLY_S = 15.0  # for a piece, two at once: a run whose only actor it is ends after 20 of them


class ReadBlock:
    """Reads and decodes pieces; one that an earlier run kept is not read again."""

    def __init__(self, settings: ReadSettings, output: Place) -> None:
        self._settings, self._output = settings, output

    def __call__(self, block: pa.Table) -> pa.Table:
        return advance(block, self._read)

    def _read(self, piece: Piece, _: pa.Table) -> pa.Table:
        _check_names(piece, self._output)
        is_done = is_kept(piece, self._output)
        return SPEECH_SCHEMA.empty_table() if is_done else read_piece(piece, self._settings)


class HearBlock:
    """Hears pieces, in an actor that holds one engine.

    Where the engine cannot be loaded, as on a GPU that stays sick, the actor cannot start, and the run ends if it is
    the first time. Ray Data never replaces one that had been at work before; and if it was the only one, waited for it
    for ever. So that one lives on, to say so: of each piece, but slowly, since others may hear it.
    """

    def __init__(self, model: ModelFile, engine: EngineSettings, has_restarted: Callable[[], bool]) -> None:
        self._transcriber: Callable[[pa.Table], pa.Table]
        try:
            self._transcriber = Transcriber(model, engine)
        except Exception as problem:
            if not has_restarted():
                raise
            self._transcriber = partial(_fail_slowly, f"{type(problem).__name__}: {problem}")

    def __call__(self, block: pa.Table) -> pa.Table:
        return advance(block, lambda _, speech: self._transcriber(speech))


class CommitBlock:
    """Says what was heard of pieces, commits it, and returns their outcomes."""

    def __init__(self, settings: WriteSettings, output: Place, attempt: str) -> None:
        self._write, self._output = Writer(settings, output, attempt), output

    def __call__(self, block: pa.Table) -> pa.Table:
        return advance(block, self._commit)

    def _commit(self, piece: Piece, emissions: pa.Table) -> Committed | Kept:
        _check_names(piece, self._output)
        return self._write(piece, emissions)


def _fail_slowly(problem: str, _: pa.Table) -> pa.Table:
    time.sleep(SLOWLY_S)
    raise MachineError(f"the model cannot be loaded again on {platform.node()}, where its process ended: {problem}")


def _check_names(piece: Piece, output: Place) -> None:
    """Raises UsageError if the piece concerns files on disks, whose names this worker reads as no key has them: its
    locale may be another one than the driver's."""
    sources = [*piece.objects, *(each.source for each in piece.carried if each.source)]
    if output.is_local or any(each.uri.startswith("file:") for each in sources):
        check_names()
