"""Reading assets: signing, trying again, failing with a name."""

import pickle
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
from odc.loader import RasterLoadParams, RasterSource, RioReader

from acquire.scenery import geobox, write_raster
from glaciercube.acquire import reader
from glaciercube.acquire.reader import TRIES, ItemDriver, plain, signed
from glaciercube.errors import AcquireError

REMOTE = "https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/B04.tif"


@pytest.fixture
def path(tmp_path):
    write_raster(tmp_path / "a.tif", np.full((64, 64), 7, np.uint16), 10)
    return str(tmp_path / "a.tif")


@pytest.fixture
def read():
    """Return a function that reads an address on the whole grid."""

    def read_address(address):
        driver = pickle.loads(pickle.dumps(ItemDriver()))
        state = driver.new_load(geobox())
        with driver.restore_env(driver.capture_env(), state) as context:
            opened = driver.open(RasterSource(address), context)
            return opened.read(RasterLoadParams(dtype="uint16", fill_value=0), geobox())[1]

    return read_address


@pytest.fixture
def pauses(monkeypatch):
    """Return the pauses that were made, none of them waited for."""
    made = []
    monkeypatch.setattr(reader.time, "sleep", made.append)
    return made


def failing(monkeypatch, message, times):
    """Let the first reads fail."""
    left = [times]
    whole = RioReader.read

    def read(self, *args, **kwargs):
        if left[0] > 0:
            left[0] -= 1
            raise rasterio.errors.RasterioIOError(message)
        return whole(self, *args, **kwargs)

    monkeypatch.setattr(RioReader, "read", read)


def test_pixels_are_read(read, path, pauses):
    np.testing.assert_array_equal(read(path), 7)
    assert pauses == []


@pytest.mark.parametrize(
    "message",
    [
        "HTTP response code: 503",
        "HTTP error code : 429",
        "Operation timed out",
        "CURL error: reset",
    ],
)
def test_a_fault_that_may_pass_is_tried_again(read, path, pauses, monkeypatch, message):
    failing(monkeypatch, message, TRIES - 1)
    np.testing.assert_array_equal(read(path), 7)
    assert len(pauses) == TRIES - 1
    assert pauses[1] > pauses[0] * 4 / 3
    assert sum(pauses) < 15


def test_but_not_for_ever(read, path, pauses, monkeypatch):
    failing(monkeypatch, "HTTP response code: 500 for x.tif?sig=secret", TRIES)
    with pytest.raises(
        AcquireError, match=r"cannot read .*a.tif on EPSG:32632.*\(4 tries\): HTTP"
    ) as e:
        read(path)
    assert "secret" not in str(e.value)


def test_what_is_not_there_fails_at_once(read, tmp_path, pauses):
    with pytest.raises(AcquireError, match=r"cannot read .*gone.tif .*\(1 tries\)"):
        read(str(tmp_path / "gone.tif"))
    assert pauses == []


def test_addresses_are_signed_when_they_are_opened(read, path, monkeypatch):
    asked = []

    def sign_url(address):
        asked.append(address)
        return path

    monkeypatch.setattr(reader.optional, "load", lambda name: SimpleNamespace(sign_url=sign_url))
    np.testing.assert_array_equal(read(REMOTE), 7)
    np.testing.assert_array_equal(read(REMOTE), 7)
    assert asked == [REMOTE, REMOTE]


def test_only_hosts_that_need_it_and_once(monkeypatch):
    monkeypatch.setattr(reader.optional, "load", lambda name: pytest.fail("was signed"))
    for address in ("a.tif", "s3://bucket/a.tif", "https://example.org/a.tif", f"{REMOTE}?sig=1"):
        assert signed(address) == address


def test_a_missing_package_names_the_install_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "planetary_computer", None)
    with pytest.raises(ImportError, match=r"pip install 'glaciercube\[pc\]'"):
        signed(REMOTE)


def test_no_query_is_shown():
    assert plain("https://x.org/a.tif?sig=1 and 'b.tif?c=2'") == "https://x.org/a.tif and 'b.tif'"
