"""A folder over HTTP/1.1 with range requests, tokens on request, and faults on request."""

import itertools
import os
import socket
import struct
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit


class RangeServer:
    """Serves a folder on a free port of the loopback address, from `with` to its end.

    Parameters
    ----------
    folder : Path
    faults : Faults, optional
        Which requests fail.
    tokens : bool
        Whether a request needs "?token=" with the token of the moment, else it gets 403.
    """

    def __init__(self, folder, faults=None, tokens=False):
        self.folder = Path(folder).resolve()
        self.faults = faults
        self.tokens = tokens
        self.requests = Counter()
        """By path."""
        self.answers = Counter()
        """By status; 0 where the connection was reset."""
        self.log = []
        """Request lines as they came."""
        self.retry_after = "0"
        self._count = itertools.count(1)
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(
            ("127.0.0.1", 0), type("Bound", (_Handler,), {"served": self})
        )
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self.rotate()

    @property
    def address(self):
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def url(self, path):
        """Return the address of a file of the folder."""
        inside = Path(path).resolve().relative_to(self.folder) if Path(path).is_absolute() else path
        return f"{self.address}/{Path(inside).as_posix()}"

    def rotate(self):
        """Let the token of the moment expire."""
        with self._lock:
            self.token = f"secret{next(self._count)}"
        return self.token

    def count(self, path, status, line):
        with self._lock:
            self.requests[path] += 1
            self.answers[status] += 1
            self.log.append(line)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


class _Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    served: RangeServer

    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self._answer(body=False)

    def do_GET(self):
        self._answer(body=True)

    def log_message(self, *_):
        """Stay silent."""

    def _answer(self, body):
        parts = urlsplit(self.path)
        path = unquote(parts.path).lstrip("/")
        span = self.headers.get("Range")
        kind = self.served.faults.draw((path, span)) if self.served.faults else None
        if kind == "expired":
            self.served.rotate()
        if kind in ("500", "429"):
            return self._error(path, int(kind))
        if kind == "reset":
            return self._reset(path)
        if self.served.tokens and parse_qs(parts.query).get("token") != [self.served.token]:
            return self._error(path, 403)
        file = self.served.folder / path
        if self.served.folder not in file.resolve().parents or not file.is_file():
            return self._error(path, 404)
        return self._file(path, file, body, kind)

    def _error(self, path, status):
        self.served.count(path, status, self.requestline)
        text = f"<html>{status}</html>".encode()
        self.send_response(status)
        if status == 429:
            self.send_header("Retry-After", self.served.retry_after)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(text)

    def _reset(self, path):
        self.served.count(path, 0, self.requestline)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.shutdown(socket.SHUT_RD)
        os.close(self.connection.detach())
        self.close_connection = True
        self.wfile = _Nowhere()

    def _file(self, path, file, body, kind):
        size = file.stat().st_size
        first, last = _span(self.headers.get("Range"), size)
        if first >= size:
            self.served.count(path, 416, self.requestline)
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{size}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        partial = self.headers.get("Range") is not None
        self.served.count(path, 206 if partial else 200, self.requestline)
        self.send_response(206 if partial else 200)
        html = path.endswith(".html")
        self.send_header("Content-Type", "text/html" if html else "image/tiff")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(last - first + 1))
        if partial:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.end_headers()
        if not body:
            return None
        with file.open("rb") as opened:
            opened.seek(first)
            return self._send(opened.read(last - first + 1), kind)

    def _send(self, content, kind):
        if kind not in ("truncated", "slow"):
            self.wfile.write(content)
            return
        self.wfile.write(content[: len(content) // 2])
        self.wfile.flush()
        if kind == "slow":
            threading.Event().wait(self.served.faults.stall_s)
            self.wfile.write(content[len(content) // 2 :])
        self.close_connection = kind == "truncated"

    def handle(self):
        try:
            super().handle()
        except (ConnectionError, TimeoutError, OSError):
            self.close_connection = True

    def finish(self):
        try:
            super().finish()
        except (ConnectionError, OSError):
            pass


class _Nowhere:
    """A connection that is gone."""

    closed = True

    def flush(self):
        """Do nothing."""

    def close(self):
        """Do nothing."""


def _span(header, size):
    """Return the first and last byte of a range header."""
    if not header:
        return 0, size - 1
    first, _, last = header.removeprefix("bytes=").partition("-")
    if not first:
        return max(size - int(last), 0), size - 1
    return int(first), min(int(last), size - 1) if last else size - 1
