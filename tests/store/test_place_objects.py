"""Stores in buckets: credentials, faults, conditional writes, processes."""

import json
import multiprocessing
import os
import pickle
import warnings
from contextlib import contextmanager

import numpy as np
import obstore
import pytest
import requests
import xarray as xr
import zarr
from servers.faults import Faults
from servers.objects import ObjectServer
from servers.relay import Relay, s3_environment

from glaciercube.errors import GlacierCubeWarning, StoreError
from glaciercube.store import dates, object_clients, place_objects, writing
from glaciercube.store.places import place_of

pytestmark = pytest.mark.slow

SPAWN = multiprocessing.get_context("spawn")
HEADER = "_glaciercube/store.json"
SECRET = "hush-hush-secret"


@pytest.fixture(scope="module")
def objects():
    with ObjectServer() as server:
        requests.put(f"http://{server.host}/cubes", timeout=10).raise_for_status()
        yield server


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr(object_clients, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(place_objects, "_refuses", {})


@pytest.fixture
def s3(objects):
    with s3_environment(objects.host):
        os.environ["AWS_SECRET_ACCESS_KEY"] = SECRET
        yield objects


@contextmanager
def relayed(objects, **options):
    """Give a relay before the server, and let clients find it."""
    with Relay(objects.host, **options) as relay, s3_environment(relay.host):
        yield relay


def test_the_keys_lie_below_the_prefix(s3):
    place_of("s3://cubes/a/b.zarr").write(HEADER, b"{}")
    assert list(place_of("s3://cubes/a").keys()) == [f"b.zarr/{HEADER}"]
    assert not place_of("s3://cubes/a/b").exists()
    assert place_of("s3://cubes/a/b.zarr/") == place_of("s3://cubes/a/b.zarr")
    assert place_of("s3://cubes/a/b.zarr").name == "b.zarr"


def test_a_missing_bucket_is_named(s3):
    place = place_of("s3://no-such-bucket/x")
    calls = (
        place.exists,
        lambda: place.read(HEADER),
        lambda: place.write(HEADER, b"{}"),
        lambda: place.create(HEADER, b"{}"),
        lambda: list(place.names("_glaciercube")),
    )
    for call in calls:
        with pytest.raises(StoreError, match="s3://no-such-bucket/x.*bucket does not exist"):
            call()


def test_missing_credentials_are_named(objects, monkeypatch):
    # The address of the service that gives machines their credentials is one that refuses.
    with s3_environment(objects.host), Relay(objects.host, refuse=("Host",)) as machine:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", f"http://{machine.host}")
        monkeypatch.setattr(object_clients, "TRIES", 1)
        monkeypatch.setattr("glaciercube.store.clients.TRIES", 1)
        with pytest.raises(StoreError, match=r"s3://cubes/x.*set AWS_ACCESS_KEY_ID and") as caught:
            place_of("s3://cubes/x").read(HEADER)
        assert caught.value.__context__ is None


def test_denied_access_is_named(s3):
    requests.put(f"http://{s3.host}/usgs-landsat", timeout=10).raise_for_status()
    place = place_of("s3://usgs-landsat/x")
    with pytest.raises(StoreError, match=r"s3://usgs-landsat/x/_gl.*access is denied") as caught:
        place.read(HEADER)
    assert SECRET not in str(caught.value)
    with pytest.raises(StoreError, match="access is denied"):
        zarr.open_group(place.zarr(), mode="r")


def test_an_endpoint_without_encryption_must_be_meant(monkeypatch):
    with s3_environment("minio.invalid:9000"), pytest.raises(StoreError, match="AWS_ALLOW_HTTP"):
        place_of("s3://cubes/x").read(HEADER)


def test_an_azure_account_must_be_named(monkeypatch):
    for name in list(os.environ):
        if name.startswith("AZURE_"):
            monkeypatch.delenv(name)
    with pytest.raises(StoreError, match="az://container/x: .* set AZURE_STORAGE_ACCOUNT_NAME"):
        place_of("az://container/x").exists()


@pytest.mark.parametrize("address", ["gs://cubes/x", "gcs://cubes/x", "az://cubes/x"])
def test_other_services_have_clients(address, monkeypatch):
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "c2VjcmV0")
    assert place_of(address).client.prefix == "x"


def test_no_secret_leaves_the_process(s3):
    place = place_of("s3://cubes/secret")
    dataset = xr.Dataset({"v": (("y", "x"), np.ones((4, 4), "uint8"))}).chunk(y=2)
    with dates.quiet():
        dataset.to_zarr(place.zarr(writable=True), zarr_format=3)
        lazy = xr.open_zarr(place.zarr(), chunks={"y": 2})
    array = zarr.open_array(place.zarr(), path="v")
    for one in (place, place.zarr(), array, lazy, lazy["v"].data.__dask_graph__()):
        assert SECRET.encode() not in pickle.dumps(one)
        assert SECRET not in repr(one)
    assert SECRET not in str(vars(place)) + str([*object_clients._clients])


def test_the_error_of_a_server_is_told_without_secrets(objects, monkeypatch):
    monkeypatch.setattr("glaciercube.store.clients.TRIES", 1)
    monkeypatch.setattr(object_clients, "TRIES", 0)
    faults = Faults(share=1, kinds=("500",))
    with relayed(objects, faults=faults):
        os.environ["AWS_SECRET_ACCESS_KEY"] = "injected"  # as the server's text is
        with pytest.raises(StoreError, match=r"cannot be read or written: .*500.*\*\*\*") as caught:
            place_of("s3://cubes/x").read(HEADER)
        assert "injected" not in str(caught.value)
        assert caught.value.__context__ is None
        assert caught.value.__cause__ is None


def test_new_credentials_are_taken_up(objects):
    with s3_environment(objects.host):
        place = place_of("s3://cubes/new")
        first = place.client
        assert place.client is first
        os.environ["AWS_SESSION_TOKEN"] = "another"
        assert place.client is not first


def test_an_answer_that_was_lost_is_not_another_writer(objects):
    faults = Faults(share=0.5, kinds=("lost",), seed=1)
    with relayed(objects, faults=faults):
        place = place_of("s3://cubes/lost")
        for number in range(12):
            key = f"_glaciercube/writers/{number}.json"
            assert place.create(key, b"{}")
            assert not place.create(key, b"{}")
    assert faults.injected["lost"] > 5


@pytest.mark.parametrize("option", ["ignore", "refuse"])
def test_a_service_without_conditional_writes_is_told_of_once(objects, option):
    with relayed(objects, **{option: ("If-None-Match",)}):
        place = place_of(f"s3://cubes/{option}")
        with pytest.warns(GlacierCubeWarning, match=f"s3://cubes/{option} does not know condit"):
            assert place.create(HEADER, b'{"by": 1}')
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert not place.create(HEADER, b'{"by": 2}')
            assert place.create("_glaciercube/other.json", b"{}")
        assert place.read(HEADER) == b'{"by": 1}'


def test_a_service_with_conditional_writes_is_asked_once(objects):
    with relayed(objects) as relay:
        place = place_of("s3://cubes/honest")
        assert place.create(HEADER, b"{}")
        before = relay.requests["PUT"]
        assert place.create("_glaciercube/other.json", b"{}")
        assert relay.requests["PUT"] == before + 1


def test_large_shards_are_written_in_parts(s3, monkeypatch):
    monkeypatch.setattr("glaciercube.store.object_zarr.WHOLE_PUT", 5 << 20)
    place = place_of("s3://cubes/large")
    values = np.random.default_rng(0).integers(0, 255, (12 << 20,), dtype="uint8")
    array = zarr.create_array(
        place.zarr(writable=True), name="v", shape=values.shape, chunks=values.shape,
        dtype="uint8", compressors=None,
    )  # fmt: skip
    array[:] = values
    np.testing.assert_array_equal(zarr.open_array(place.zarr(), path="v")[:], values)


def test_zarr_tells_of_keys_as_it_does_of_files(s3):
    place = place_of("s3://cubes/keys")
    group = zarr.create_group(place.zarr(writable=True))
    group.create_array("v", shape=(4,), chunks=(2,), dtype="uint8")[:] = 1
    store = place.zarr(writable=True)
    assert sorted(name for name, _ in zarr.open_group(store).members()) == ["v"]
    assert store == place.zarr(writable=True)
    assert store != place.zarr()
    assert store.with_read_only(True) == place.zarr()
    assert str(store) == "s3://cubes/keys"
    del group["v"]
    assert set(place.keys()) == {"zarr.json"}


def test_zarr_and_xarray_read_it_without_this_package(s3, lazy_cube):
    writing.write(lazy_cube, "s3://cubes/plain")
    client = obstore.store.from_url("s3://cubes/plain", client_options={"allow_http": True})
    seen = xr.open_zarr(zarr.storage.ObjectStore(client, read_only=True), decode_coords="all")
    xr.testing.assert_equal(seen["valid"].astype(bool), lazy_cube["valid"].compute())
    assert "spatial_ref" in seen.coords


def write_here(address, number):
    place = place_of(address)
    place.write(f"_glaciercube/ledger/0.0.{number}.json", json.dumps(number).encode())


def test_another_process_writes_to_the_same_place(s3):
    place = place_of("s3://cubes/processes")
    processes = [SPAWN.Process(target=write_here, args=(str(place), one)) for one in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    assert set(place.names("_glaciercube/ledger")) == {"0.0.0.json", "0.0.1.json"}


def use(place, queue):
    try:
        queue.put(str(place.exists()))
    except StoreError as error:
        queue.put(str(error))


def test_a_forked_process_is_told_that_it_cannot(s3):
    place = place_of("s3://cubes/forked")
    place.exists()
    fork = multiprocessing.get_context("fork")
    queue = fork.Queue()
    process = fork.Process(target=use, args=(place, queue))
    process.start()
    text = queue.get(timeout=60)
    process.join(60)
    assert "s3://cubes/forked cannot be used in process" in text
    assert "forked from one that had used an object store; start processes with 'spawn'" in text


def test_memory_is_shared_within_a_process():
    place = place_of("memory://shared")
    place.write(HEADER, b"{}")
    assert pickle.loads(pickle.dumps(place)).read(HEADER) == b"{}"
    os.environ["AWS_REGION"], kept = "elsewhere", os.environ.get("AWS_REGION")
    try:
        assert place_of("memory://shared").read(HEADER) == b"{}"
    finally:
        os.environ.pop("AWS_REGION")
        if kept is not None:
            os.environ["AWS_REGION"] = kept
    assert not place_of("memory://other").exists()


def test_memory_is_not_another_process_s(monkeypatch):
    content = pickle.dumps(place_of("memory://mine"))
    monkeypatch.setattr(place_objects, "_HERE", "another process")
    with pytest.raises(StoreError, match="memory://mine lies in the memory of another process"):
        pickle.loads(content)


def test_a_bucket_cannot_be_replaced_in_one_step(s3):
    with pytest.raises(StoreError, match="s3://cubes/x cannot be replaced in one step"):
        place_of("s3://cubes/x").beside("mark")
