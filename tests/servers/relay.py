"""A relay before an HTTP server on the loopback address, that injects faults on the way."""

import http.client
import os
import socket
import struct
import threading
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KINDS = ("500", "503", "reset", "lost", "truncated")
"""Server error, slow down, a connection reset before the request is served, one reset after it was
(the answer is lost), half a body."""


class Relay:
    """Hands requests on to a server, from `with` to its end.

    Parameters
    ----------
    host : str
        "127.0.0.1:port" of the server.
    faults : Faults, optional
        Which requests fail; its kinds are of KINDS.
    ignore : sequence of str
        Headers of requests that the relay drops, as a server that does not know them would.
    refuse : sequence of str
        Headers of requests that it answers with 501, as another such server would.
    """

    def __init__(self, host, faults=None, ignore=(), refuse=()):
        self.target = host
        self.faults = faults
        self.ignore = tuple(name.lower() for name in ignore)
        self.refuse = tuple(refuse)
        self.requests = Counter()
        """By method."""
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(
            ("127.0.0.1", 0), type("Bound", (_Handler,), {"relay": self})
        )
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def host(self):
        return f"127.0.0.1:{self._server.server_address[1]}"

    def count(self, method):
        with self._lock:
            self.requests[method] += 1

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


@contextmanager
def s3_environment(host):
    """Let clients of this process and its children find a server."""
    kept = dict(os.environ)
    for name in list(os.environ):
        if name.startswith("AWS_"):
            del os.environ[name]
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://{host}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing-secret",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    try:
        yield
    finally:
        os.environ.clear()
        os.environ |= kept


class _Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    relay: Relay

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Stay silent."""

    def _answer(self):
        relay = self.relay
        relay.count(self.command)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        key = (self.command, self.path, self.headers.get("Range"))
        kind = relay.faults.draw(key) if relay.faults else None
        if any(self.headers.get(name) for name in relay.refuse):
            return self._say(501, [], b"<Error><Code>NotImplemented</Code></Error>")
        if kind in ("500", "503"):
            return self._say(int(kind), [("Content-Type", "text/plain")], b"injected")
        if kind == "reset":
            return self._reset()
        status, headers, content = self._ask(body)
        if kind == "lost":
            return self._reset()
        return self._say(status, headers, content, half=kind == "truncated")

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer

    def _ask(self, body):
        """Return status, headers and body of the server's own answer."""
        headers = {
            name: value
            for name, value in self.headers.items()
            if name.lower() not in (*self.relay.ignore, "connection")
        }
        connection = http.client.HTTPConnection(self.relay.target, timeout=30)
        try:
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _say(self, status, headers, content, half=False):
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        length = str(len(content))
        if self.command == "HEAD":
            length = dict((name.lower(), value) for name, value in headers).get(
                "content-length", "0"
            )
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if half else content)
        self.close_connection = half or self.close_connection

    def _reset(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.shutdown(socket.SHUT_RD)
        os.close(self.connection.detach())
        self.close_connection = True
        self.wfile = _Nowhere()

    def handle(self):
        try:
            super().handle()
        except OSError:
            self.close_connection = True

    def finish(self):
        try:
            super().finish()
        except OSError:
            pass


class _Nowhere:
    """A connection that is gone."""

    closed = True

    def flush(self):
        """Do nothing."""

    def close(self):
        """Do nothing."""
