"""An S3 endpoint (moto) in a process of its own; prints its port, ends with its standard input."""

import sys
import threading

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

PAID = "usgs-landsat"
"""Bucket whose reader must say that he pays; moto itself lets everybody read."""

REFUSAL = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


def guarded(app):
    """Return an application that refuses to read the bucket unless the caller pays."""

    def answer(environ, start_response):
        reads = environ["REQUEST_METHOD"] in ("GET", "HEAD")
        payer = environ.get("HTTP_X_AMZ_REQUEST_PAYER")
        if reads and environ["PATH_INFO"].startswith(f"/{PAID}/") and payer != "requester":
            start_response("403 Forbidden", [("Content-Type", "application/xml")])
            return [REFUSAL]
        return app(environ, start_response)

    return answer


class Silent(WSGIRequestHandler):
    """Says nothing of requests."""

    def log(self, *_):
        """Do nothing."""


def main():
    """Serve until the standard input is closed."""
    app = guarded(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Silent)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
