"""Patience with object stores, and texts without secrets."""

import asyncio

import pytest

from glaciercube.errors import StoreError
from glaciercube.store import clients

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(clients, "FIRST_PAUSE_S", 0.0)


class Failing:
    """A request that fails some times, then answers."""

    def __init__(self, *errors):
        self.errors, self.calls = list(errors), 0

    def __call__(self):
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "answer"

    async def later(self):
        return self()


def explained(error):
    return StoreError(f"explained: {error}")


def test_what_may_pass_is_tried_again():
    request = Failing(OSError("status code: 503"), OSError("connection reset by peer"))
    assert clients.patiently(request, explained) == "answer"
    assert request.calls == 3
    request = Failing(OSError("timed out"))
    assert asyncio.run(clients.patiently_async(request.later, explained)) == "answer"


@pytest.mark.parametrize("asynchronous", [False, True])
def test_what_does_not_pass_is_explained_at_once(asynchronous):
    request = Failing(OSError("status code: 403 hush"))

    def ask():
        if asynchronous:
            return asyncio.run(clients.patiently_async(request.later, explained))
        return clients.patiently(request, explained)

    with pytest.raises(StoreError, match="explained: status code: 403") as caught:
        ask()
    assert request.calls == 1
    assert caught.value.__context__ is None


def test_patience_ends():
    request = Failing(*[OSError("status code: 500")] * 50)
    with pytest.raises(StoreError, match="status code: 500"):
        clients.patiently(request, explained)
    assert request.calls == clients.TRIES


def test_patience_ends_with_time(monkeypatch):
    monkeypatch.setattr(clients, "PATIENCE_S", 0.0)
    request = Failing(*[OSError("status code: 500")] * 50)
    with pytest.raises(StoreError, match="status code: 500"):
        clients.patiently(request, explained)
    assert request.calls == 1


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("Server returned status code: 429 Too Many", True),
        ("error sending request", True),
        ("I/O error", True),
        ("request timeout", True),
        ("a setting such as retry_timeout: 90s", False),
        ("I/O error: No space left on device", False),
        ("status code: 404 Not Found", False),
    ],
)
def test_some_failures_pass(text, passes):
    assert clients.may_pass(OSError(text)) == passes


def test_a_missing_key_does_not_appear_by_waiting():
    assert not clients.may_pass(FileNotFoundError("timed out"))
    assert not clients.may_pass(StoreError("timed out"))


def test_a_text_holds_no_secret(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush1")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "hush2")
    monkeypatch.setenv("AZURE_STORAGE_SAS_KEY", "hush3")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "shown")
    text = clients.redacted(
        "GET https://me:hush4@host/a?sig=hush5&x=1 failed: hush1 hush2 hush3 shown\n\nSource: hush6"
    )
    assert text == "GET https://...host/a... failed: *** *** *** shown"
    assert len(clients.redacted("x" * 10_000)) < 520


@pytest.mark.parametrize(
    "address", ["s3://me:hush@bucket/x", "s3://bucket/x?sig=hush", "s3://bucket/x#hush"]
)
def test_an_address_with_a_secret_is_refused(address):
    with pytest.raises(StoreError, match="no more, found one with a password or a query") as caught:
        clients.require_plain(address)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("address", ["s3://", "s3://bucket/../x", "s3://bucket//x", "s3:///."])
def test_an_address_stays_within_its_folder(address):
    with pytest.raises(StoreError, match="the address of a store is s3://name/folder, found"):
        clients.require_plain(address)


def test_plain_http_is_for_this_machine_unless_told(monkeypatch):
    monkeypatch.delenv("AWS_ALLOW_HTTP", raising=False)
    assert clients.is_plain_http("http://localhost:9000")
    assert not clients.is_plain_http("http://minio.example.org")
    assert not clients.is_plain_http("https://127.0.0.1")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    assert clients.is_plain_http("http://minio.example.org")


def test_another_environment_is_another_client(monkeypatch):
    found = clients.Clients()
    made = []

    def make(address):
        made.append(address)
        return object()

    monkeypatch.setenv("AWS_SESSION_TOKEN", "one")
    first = found.client("s3://bucket/x", make)
    assert found.client("s3://bucket/x", make) is first
    monkeypatch.setenv("AWS_SESSION_TOKEN", "two")
    assert found.client("s3://bucket/x", make) is not first
    assert len(made) == 2
    assert len(found) == 1
    assert "two" not in str(dict(found))
    found.drop("s3://bucket/x")
    assert not found
