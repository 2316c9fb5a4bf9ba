"""Work done recording by recording in a process of its own, where a recording is suspected of ending its process."""

import os
import pickle
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import IO, Any

from actors.schema import ErrorKind, RecordingError

_SIZE = struct.Struct("<Q")
_MAKING_S = 600.0  # for a model to be fetched and loaded
_PROGRAM = "from actors.isolation import serve; serve()"


class Isolated:
    """A function that is made and called in a child process. A call that ends the child, or takes too long, raises
    RecordingError (crashed), and the next one has a new child. Making it may take its own time: where a model has to be
    loaded first, that is no fault of the recording's."""

    def __init__(self, make: Callable[[], Callable[[Any], Any]], patience_s: float) -> None:
        self._make, self._patience_s = make, patience_s
        self._child: subprocess.Popen[bytes] | None = None

    def __call__(self, argument: Any) -> Any:
        """What the function returns or raises."""
        if self._child is None:
            self._child = self._start()
            self._ask(self._make, max(self._patience_s, _MAKING_S))
        return self._ask(argument, self._patience_s)

    def close(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            for pipe in (self._child.stdin, self._child.stdout):
                if pipe:
                    pipe.close()
            self._child = None

    def _start(self) -> subprocess.Popen[bytes]:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        return subprocess.Popen(
            [sys.executable, "-c", _PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )

    def _ask(self, message: Any, patience_s: float) -> Any:
        child = self._child
        assert child
        assert child.stdin
        assert child.stdout
        timer = threading.Timer(patience_s, child.kill)
        timer.start()
        try:
            _send(child.stdin, message)
            answer = _receive(child.stdout)
        except (EOFError, BrokenPipeError):
            status = child.wait()
            late = not timer.is_alive()
            self.close()
            why = f"did not end within {patience_s:g} s" if late else f"ended with status {status}"
            raise RecordingError(ErrorKind.CRASHED, f"the process that worked on it alone {why}") from None
        finally:
            timer.cancel()
        if isinstance(answer, BaseException):
            raise answer
        return answer


def serve() -> None:
    """The child: makes the function of the first message, calls it with each further one, until its parent is gone."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints goes where it does no harm
    function: Callable[[Any], Any] | None = None
    while True:
        try:
            message = _receive(sys.stdin.buffer)
        except EOFError:
            return
        try:
            if function is None:
                function, answer = message(), None
            else:
                answer = function(message)
        except Exception as problem:  # noqa: BLE001 - the parent raises it
            answer = problem
        _send(answers, answer)


def _send(pipe: IO[bytes], message: Any) -> None:
    data = pickle.dumps(message)
    pipe.write(_SIZE.pack(len(data)) + data)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> Any:
    header = pipe.read(_SIZE.size)
    if len(header) < _SIZE.size:
        raise EOFError
    (size,) = _SIZE.unpack(header)
    data = pipe.read(size)
    if len(data) < size:
        raise EOFError
    return pickle.loads(data)
