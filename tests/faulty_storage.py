"""A proxy before an S3 server that goes wrong on demand."""

import http.client
import socket
import struct
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

from loopback import Loopback

CODES = {503: "SlowDown", 500: "InternalError", 403: "AccessDenied", 400: "ExpiredToken"}

#: (method, path with query, how many requests came before) -> a status of CODES, "reset", "truncate", "stall" or None
Fault = Callable[[str, str, int], int | str | None]


class FaultyStorage:
    """Passes requests on to `upstream`, but for those that `fault` names. `url` is where it listens, on loopback."""

    def __init__(self, upstream: str) -> None:
        self.fault: Fault = lambda method, path, number: None
        self.requests = list[tuple[str, str]]()
        self.stalls_s = 60.0
        self._upstream = urlsplit(upstream).netloc
        self._ended = threading.Event()
        self._server = Loopback(self._handle)
        self.url = self._server.url

    def close(self) -> None:
        self._ended.set()
        self._server.close()

    def _handle(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        number = len(self.requests)
        self.requests.append((request.command, request.path))
        fault = self.fault(request.command, request.path, number)
        if fault == "stall":
            self._ended.wait(self.stalls_s)
            request.close_connection = True
        elif isinstance(fault, int):
            self._refuse(request, fault)
        else:
            self._pass_on(request, body, fault)

    def _refuse(self, request: BaseHTTPRequestHandler, status: int) -> None:
        text = f"<?xml version='1.0'?><Error><Code>{CODES[status]}</Code><Message>on purpose</Message></Error>".encode()
        request.send_response(status)
        request.send_header("Content-Type", "application/xml")
        request.send_header("Content-Length", str(len(text)))
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(text)

    def _pass_on(self, request: BaseHTTPRequestHandler, body: bytes, fault: str | int | None) -> None:
        upstream = http.client.HTTPConnection(self._upstream, timeout=60)
        upstream.putrequest(request.command, request.path, skip_host=True, skip_accept_encoding=True)
        for name, value in request.headers.items():  # the host too, for it is signed
            upstream.putheader(name, value)
        upstream.endheaders(body or None)
        answer = upstream.getresponse()
        content = answer.read()
        upstream.close()
        if fault and not content:  # done, and the answer is lost
            request.close_connection = True
            return
        request.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                request.send_header(name, value)
        length = answer.getheader("Content-Length") if request.command == "HEAD" else str(len(content))
        request.send_header("Content-Length", length or "0")
        request.end_headers()
        if request.command == "HEAD":
            return
        if fault in ("reset", "truncate"):
            request.wfile.write(content[: len(content) // 2])
            request.wfile.flush()
            request.close_connection = True
            if fault == "reset":
                time.sleep(0.05)
                request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                request.connection.close()
        else:
            request.wfile.write(content)
