"""Tokens of the Planetary Computer: one per container, renewed in time, never told."""

import json
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from glaciercube.acquire import tokens
from glaciercube.acquire.tokens import Tokens, fetched
from glaciercube.errors import AcquireError


def counted(minutes):
    def fetch(account, container):
        made.append(container)
        return f"sig=secret{len(made)}", datetime.now(UTC) + timedelta(minutes=minutes)

    made = []
    return made, Tokens(fetch)


def test_a_token_is_kept_while_it_lasts():
    made, held = counted(45)
    assert held.get("a", "one") == held.get("a", "one") == "sig=secret1"
    assert held.get("a", "two") == "sig=secret2"
    assert made == ["one", "two"]


def test_and_renewed_before_it_expires():
    made, held = counted(4)
    held.get("a", "one")
    held.get("a", "one")
    assert len(made) == 2


def test_many_threads_with_the_same_stale_token_fetch_one():
    made, held = counted(45)
    stale = held.get("a", "one")
    threads = [threading.Thread(target=held.get, args=("a", "one", stale)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 2


@pytest.fixture
def service(monkeypatch):
    """Return a token service on the loopback address: what it answers, and what it was asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, self.headers.get("Ocp-Apim-Subscription-Key")))
            status, body = answer
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Stay silent."""

    answer, asked = [200, b""], []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    monkeypatch.setattr(tokens, "SERVICE", f"http://127.0.0.1:{server.server_address[1]}/token")
    yield answer, asked
    server.shutdown()
    server.server_close()
    thread.join(5)


def test_the_service_is_asked_as_it_documents(service, monkeypatch):
    answer, asked = service
    told = {"token": "st=1&sig=secret", "msft:expiry": "2031-01-02T03:04:05Z"}
    answer[1] = json.dumps(told).encode()
    monkeypatch.setenv(tokens.KEY, "subscribed")
    assert fetched("acc", "box") == ("st=1&sig=secret", datetime(2031, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert asked == [("/token/acc/box", "subscribed")]


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [(503, b"", "503"), (200, b"<html>", "JSONDecodeError"), (200, b"{}", "KeyError")],
)
def test_no_token_is_an_error_of_acquiring(service, status, body, why):
    service[0][:] = [status, body]
    with pytest.raises(AcquireError, match=f"no token for container acc/box: .* answered {why}"):
        fetched("acc", "box")
