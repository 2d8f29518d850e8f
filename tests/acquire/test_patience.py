"""How often and how long a read is tried."""

import pytest
import rasterio
from odc.loader import RioDriver

from glaciercube.acquire.patience import PREFIX, Patience, gdal_options, patience
from glaciercube.errors import AcquireError


def test_pauses_grow_by_chance_and_are_bounded():
    limits = Patience(pause_s=1.0, longest_s=20.0)
    for attempt in range(1, 12):
        pauses = {limits.pause(attempt) for _ in range(20)}
        low = min(2.0 ** (attempt - 1), 20.0)
        assert all(low <= pause <= min(1.5 * low, 20.0) for pause in pauses)
    assert len({limits.pause(1) for _ in range(20)}) > 1
    assert limits.pause(1, asked_s=7.0) == 7.0
    assert limits.pause(1, asked_s=3600.0) == 20.0


def test_the_environment_of_the_worker_counts(monkeypatch):
    assert patience() == Patience()
    monkeypatch.setenv(f"{PREFIX}TRIES", "3")
    monkeypatch.setenv(f"{PREFIX}PAUSE_S", "0.01")
    assert patience() == Patience(tries=3, pause_s=0.01)


@pytest.mark.parametrize(("name", "text"), [("TRIES", "many"), ("TRIES", "1.5"), ("TOTAL_S", "")])
def test_only_numbers_are_limits(monkeypatch, name, text):
    monkeypatch.setenv(f"{PREFIX}{name}", text)
    with pytest.raises(AcquireError, match=f"{PREFIX}{name} needs a number, found '{text}'"):
        patience()


def test_senseless_limits_are_refused():
    with pytest.raises(AcquireError, match=r"one try or more.*tries=0"):
        Patience(tries=0)


def test_gdal_waits_as_long_as_the_reader():
    options = gdal_options(Patience(timeout_s=5.0, connect_s=0.5, requests=1))
    assert options["GDAL_HTTP_TIMEOUT"] == "5"
    assert options["GDAL_HTTP_CONNECTTIMEOUT"] == "0.5"
    assert options["GDAL_HTTP_MAX_RETRY"] == "1"
    assert options["GDAL_DISABLE_READDIR_ON_OPEN"] == "EMPTY_DIR"
    with rasterio.Env(**options):
        assert rasterio.env.getenv()["GDAL_HTTP_TIMEOUT"] == "5"


def test_what_the_user_set_is_kept(monkeypatch):
    monkeypatch.setenv("GDAL_CACHEMAX", "64")
    with rasterio.Env(GDAL_HTTP_MAX_RETRY="5", GDAL_HTTP_TIMEOUT="3"):
        options = gdal_options(Patience())
    assert not {"GDAL_CACHEMAX", "GDAL_HTTP_MAX_RETRY", "GDAL_HTTP_TIMEOUT"} & set(options)


def test_what_odc_loader_sets_by_itself_is_not():
    driver = RioDriver()
    with driver.restore_env(driver.capture_env(), driver.new_load(None)):
        assert gdal_options(Patience(requests=2))["GDAL_HTTP_MAX_RETRY"] == "2"
