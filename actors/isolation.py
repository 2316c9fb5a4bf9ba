"""Calls in a child process, for recordings that may crash the process that handles them."""

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
STARTUP_S = 600.0  # to fetch and load a model
_PROGRAM = "from actors.isolation import serve; serve()"


class NotCreated(Exception):
    """A function could not be created in its process, so nothing is known of any recording."""


class Isolated:
    """A function that runs in a child process, which calls `make` once to create it. A call that crashes the child, or
    takes longer than `patience_s`, raises RecordingError (crashed), and the next call starts a new child. Creating the
    function has a longer limit, because it may load a model."""

    def __init__(self, make: Callable[[], Callable[[Any], Any]], patience_s: float) -> None:
        self._make, self._patience_s = make, patience_s
        self._child: subprocess.Popen[bytes] | None = None

    def __call__(self, argument: Any) -> Any:
        """Returns or raises what the function does. Raises NotCreated."""
        if self._child is None:
            self._child = self._start()
            try:
                self._call(self._make, max(self._patience_s, STARTUP_S))
            except Exception as problem:
                self.close()
                raise NotCreated(f"in a process of its own: {type(problem).__name__}: {problem}") from problem
        return self._call(argument, self._patience_s)

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

    def _call(self, message: Any, patience_s: float) -> Any:
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
            timed_out = not timer.is_alive()
            self.close()
            why = f"did not finish within {patience_s:g} s" if timed_out else f"ended with status {status}"
            raise RecordingError(ErrorKind.CRASHED, f"the process that handled it alone {why}") from None
        finally:
            timer.cancel()
        if isinstance(answer, BaseException):
            raise answer
        return answer


def serve() -> None:
    """The child's main loop: creates the function from the first message, and calls it with each further one, until the
    parent exits."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print goes to standard error
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
        except Exception as problem:  # noqa: BLE001 - raised in the parent
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
