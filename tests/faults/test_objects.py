"""Object stores whose requests fail, and servers that die: the same cube bit for bit."""

import json
import threading
import time
from functools import cache

import numpy as np
import pytest
import requests
from servers.faults import Faults
from servers.objects import ObjectServer
from servers.relay import KINDS, Relay, s3_environment

from faults.victims import THREADS, Model, do, files, logged
from glaciercube.errors import StoreError
from glaciercube.store import clients, object_clients
from glaciercube.store.places import place_of
from glaciercube.store.reading import read
from glaciercube.store.verification import verify

pytestmark = pytest.mark.slow

OLD, NEW = Model((0, 2)), Model((0, 2, 3, 7))
BUCKET = "survivors"


@pytest.fixture(scope="module")
def server():
    pytest.importorskip("obstore")
    with ObjectServer() as running:
        requests.put(f"http://{running.host}/{BUCKET}", timeout=10).raise_for_status()
        yield running


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch, fresh):
    for module in (clients, object_clients):
        monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.01)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Return the files of stores on a disk: of one that is written, and of one that has grown."""
    folder = tmp_path_factory.mktemp("undisturbed")
    do("write", NEW, folder / "write.zarr")
    do("write", OLD, folder / "append.zarr")
    do("append", NEW, folder / "append.zarr")
    return {verb: files(folder / f"{verb}.zarr") for verb in ("write", "append")}


def objects_of(address):
    """Return the content of each key of a store, durations in the ledger apart."""
    place = place_of(address)
    found = {key: place.read(key) for key in place.keys()}
    for key in found:
        if "/ledger/" in key:
            record = json.loads(found[key])
            found[key] = {name: value for name, value in record.items() if name != "seconds"}
    return found


def require_values(address, model):
    found = read(address).sortby("time")
    for index, day in enumerate(model.days):
        np.testing.assert_array_equal(found["sample"][index], model.whole("sample", day))
    np.testing.assert_array_equal(found["height"], model.whole("height", -1))


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("verb", ["write", "append"])
def test_three_of_ten_requests_fail(verb, seed, server, undisturbed, tell):
    address = f"s3://{BUCKET}/{verb}-{seed}.zarr"
    faults = Faults(share=0.3, kinds=KINDS, seed=seed)
    with Relay(server.host, faults=faults) as relay, s3_environment(relay.host):
        if verb == "append":
            do("write", OLD, address)
        report = do(verb, NEW, address)
        assert report.failed == ()
        assert verify(address).sound
        require_values(address, NEW)
    asked, injected = sum(relay.requests.values()), sum(faults.injected.values())
    assert set(faults.injected) == set(KINDS)
    assert injected > 0.2 * asked
    with s3_environment(server.host):
        assert objects_of(address) == undisturbed[verb]
    tell(f"{injected} of {asked} requests failed: {dict(faults.injected)}")


class Outage:
    """A server that is dead from the request of a number on, until it is mended."""

    def __init__(self, number):
        self.left, self.dead, self.lost = number, False, 0
        self._lock = threading.Lock()

    def draw(self, key):
        with self._lock:
            self.left -= 1
            self.dead = self.dead or self.left == 0
            self.lost += self.dead
            return "reset" if self.dead else None

    def mend(self):
        self.dead, self.left = False, 0


@pytest.mark.filterwarnings("ignore:the store .* is incomplete")
@pytest.mark.parametrize("verb", ["write", "append"])
@pytest.mark.parametrize("share", [0.6, 0.95])
def test_a_server_that_dies(verb, share, server, undisturbed, tmp_path, monkeypatch, tell):
    for module in (clients, object_clients):
        monkeypatch.setattr(module, "TRIES", 2)
        monkeypatch.setattr(module, "PATIENCE_S", 0.5)
    address = f"s3://{BUCKET}/dies-{verb}-{share}.zarr"
    log = tmp_path / "log"
    with s3_environment(server.host):
        if verb == "append":
            do("write", OLD, address)
    asked = requests_of(verb, server)
    outage, model = Outage(int(share * asked)), Model(NEW.days, log=str(log))
    with Relay(server.host, faults=outage) as relay, s3_environment(relay.host):
        started = time.monotonic()
        with pytest.raises(StoreError, match=f"{address}'?"):
            do(verb, model, address)
        assert time.monotonic() - started < 60
        assert outage.dead
        before = logged(log).total()
        outage.mend()
        do(verb, model, address)  # whose note nobody could remove
        assert verify(address).sound
        require_values(address, NEW)
        assert objects_of(address) == undisturbed[verb]
    blocks = NEW.blocks - (OLD.blocks if verb == "append" else 0)
    again = logged(log).total() - blocks
    assert again <= 2 * THREADS, f"{again} blocks were computed again"
    tell(
        f"dead at request {int(share * asked)} of {asked}, {before} of {blocks} blocks computed "
        f"then, {again} of them again"
    )


@cache
def requests_of(verb, server):
    """Return how many requests a verb makes where nothing fails."""
    address = f"s3://{BUCKET}/{verb}-counted.zarr"
    with Relay(server.host) as relay, s3_environment(relay.host):
        if verb == "append":
            do("write", OLD, address)
        before = sum(relay.requests.values())
        do(verb, NEW, address)
        return sum(relay.requests.values()) - before
