"""The three stages of the graph as Ray Data calls them: block in, block out."""

import platform
import threading
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
from actors.schema import SPEECH_SCHEMA, MachineError, UsageError
from actors.sources.objects import ReadSettings
from actors.storage.encoding import check_names
from actors.storage.place import Place
from actors.transcriber import Transcriber
from actors.writer import Writer, WriteSettings

SLOWLY_S = 10.0  # for a piece; a run of which nothing else is heard ends after 20 of them


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

    Where the engine cannot be loaded when an actor starts for the first time, the run ends, if the model is at fault or
    the actor is the only one (`is_alone`). Any other one lives on (`LateTranscriber`): Ray Data ends the run where a
    first start fails, and never replaces an actor that had been at work before.
    """

    def __init__(
        self, model: ModelFile, engine: EngineSettings, is_alone: bool, has_restarted: Callable[[], bool]
    ) -> None:
        load = partial(Transcriber, model, engine)
        self._transcriber: Callable[[pa.Table], pa.Table]
        try:
            self._transcriber = load()
        except Exception as problem:
            if (is_alone or isinstance(problem, UsageError)) and not has_restarted():
                raise
            self._transcriber = LateTranscriber(load)

    def __call__(self, block: pa.Table) -> pa.Table:
        return advance(block, lambda _, speech: self._transcriber(speech))


class LateTranscriber:
    """A transcriber whose engine could not be loaded, as on a GPU that is sick or whose memory is still another's.

    It is tried anew for each piece, slowly, since others may hear the pieces that fail here meanwhile.
    """

    def __init__(self, load: Callable[[], Transcriber]) -> None:
        self._load, self._lock = load, threading.Lock()
        self._loaded: Transcriber | None = None

    def __call__(self, speech: pa.Table) -> pa.Table:
        """Raises MachineError as long as the engine cannot be loaded."""
        with self._lock:
            if self._loaded is None:
                time.sleep(SLOWLY_S)
                try:
                    self._loaded = self._load()
                except Exception as problem:
                    raise MachineError(
                        f"the model cannot be loaded on {platform.node()}: {type(problem).__name__}: {problem}"
                    ) from problem
        return self._loaded(speech)


class CommitBlock:
    """Says what was heard of pieces, commits it, and returns their outcomes."""

    def __init__(self, settings: WriteSettings, output: Place, attempt: str) -> None:
        self._write, self._output = Writer(settings, output, attempt), output

    def __call__(self, block: pa.Table) -> pa.Table:
        return advance(block, self._commit)

    def _commit(self, piece: Piece, emissions: pa.Table) -> Committed | Kept:
        _check_names(piece, self._output)
        return self._write(piece, emissions)


def _check_names(piece: Piece, output: Place) -> None:
    """Raises UsageError if the piece concerns files on disks, whose names this worker reads as no key has them: its
    locale may be another one than the driver's."""
    sources = [*piece.objects, *(each.source for each in piece.carried if each.source)]
    if output.is_local or any(each.uri.startswith("file:") for each in sources):
        check_names()
