"""Reading assets over real HTTP: signed, tried again, failing with a name and without secrets."""

import logging
import pickle
import traceback
from datetime import UTC, datetime, timedelta

import numpy as np
import odc.stac
import pytest
from odc.geo.geobox import GeoBox
from odc.loader import RasterLoadParams, RasterSource
from servers.faults import Faults
from servers.files import RangeServer

from acquire.scenery import SCENES, geobox, make_item, write_raster
from glaciercube.acquire import access, failures, reader
from glaciercube.acquire.access import Access
from glaciercube.acquire.patience import Patience
from glaciercube.acquire.reader import KNOWN, ItemDriver, Place, ReadError, patiently
from glaciercube.acquire.tokens import Tokens
from glaciercube.errors import AcquireError

QUICK = Patience(pause_s=0.01, timeout_s=1.0, connect_s=1.0)
SHIFTED = GeoBox.from_bbox((600_003, 5_000_007, 600_600, 5_000_600), "EPSG:32632", resolution=17)
GRIDS = {"pasted": (geobox(), "nearest"), "warped": (SHIFTED, "bilinear")}


@pytest.fixture(autouse=True)
def nothing_known():
    KNOWN.clear()


@pytest.fixture
def folder(tmp_path):
    """Return a folder of an image of noise, and of things that are none."""
    numbers = np.random.default_rng(0).integers(1, 9000, (64, 64)).astype(np.uint16)
    write_raster(tmp_path / "a.tif", numbers, 10)
    whole = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "half.tif").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.tif").write_bytes(b"")
    (tmp_path / "page.tif").write_text("<!doctype html><html>please log in</html>" * 20)
    (tmp_path / "vrt.tif").write_text(
        '<VRTDataset rasterXSize="64" rasterYSize="64"><VRTRasterBand dataType="UInt16" band="1">'
        f"<SimpleSource><SourceFilename>{tmp_path}/a.tif</SourceFilename></SimpleSource>"
        "</VRTRasterBand></VRTDataset>"
    )
    return tmp_path


def read(address, where="pasted", driver=None, **options):
    box, resampling = GRIDS[where]
    driver = driver or ItemDriver(QUICK)
    state = driver.new_load(box)
    with driver.restore_env(driver.capture_env(), state) as context:
        source = RasterSource(address, driver_data={"item": "scene", "band": "B04"})
        config = RasterLoadParams("uint16", 0, resampling=resampling, **options)
        return driver.open(source, context).read(config, box)[1]


@pytest.mark.parametrize("where", GRIDS)
def test_the_same_pixels_over_http_as_from_disk(folder, where):
    with RangeServer(folder) as server:
        np.testing.assert_array_equal(
            read(server.url("a.tif"), where), read(str(folder / "a.tif"), where)
        )
        assert server.answers[206] > 0


@pytest.mark.parametrize("where", GRIDS)
@pytest.mark.parametrize("kind", ["500", "429", "reset", "slow", "truncated"])
def test_a_fault_that_passes_leaves_no_trace(folder, kind, where):
    """Each range fails four times, then never again."""
    faults = Faults(1.0, (kind,), stall_s=0.5, in_all=4)
    limits = Patience(
        pause_s=0.001, longest_s=0.01, timeout_s=0.25, connect_s=1, requests=0, tries=16
    )
    with RangeServer(folder, faults) as server:
        seen = read(server.url("a.tif"), where, ItemDriver(limits))
    np.testing.assert_array_equal(seen, read(str(folder / "a.tif"), where))
    assert faults.injected[kind] >= 4


def test_gdal_forgets_what_it_kept_of_a_failure(folder, monkeypatch):
    """Without that, GDAL answers every further try from its cache: this test can fail."""
    once = Faults(1.0, ("500",))
    with RangeServer(folder, once) as server:
        limits = Patience(pause_s=0.001, requests=0, tries=5)
        monkeypatch.setattr(reader, "_clear", None)
        monkeypatch.setattr(reader, "diagnose", lambda e, a, t: reader.Diagnosis("transient", "?"))
        with pytest.raises(ReadError):
            read(server.url("a.tif"), driver=ItemDriver(limits))
        assert server.requests["a.tif"] == 1


CASES = {
    "gone.tif": ("missing", "HTTP response code: 404"),
    "page.tif": ("not a raster", "the file is text"),
    "vrt.tif": ("not a raster", "the file is text"),
    "empty.tif": ("not a raster", "the file is empty"),
}


@pytest.mark.parametrize("where", GRIDS)
@pytest.mark.parametrize("name", CASES)
def test_what_no_try_can_change_fails_at_once(folder, name, where):
    kind, cause = CASES[name]
    with RangeServer(folder) as server:
        with pytest.raises(ReadError, match=f"cannot read http.*{name}.*B04.*{cause}") as raised:
            read(server.url(name), where)
        before = server.requests.total()
        with pytest.raises(ReadError) as again:
            read(server.url(name), where)
        assert server.requests.total() == before
    assert (raised.value.failure.kind, raised.value.failure.tries) == (kind, 1)
    assert again.value.failure.tries == 0
    assert raised.value.failure.item == "scene"
    assert raised.value.failure.window.startswith("EPSG:32632")


@pytest.mark.parametrize("where", GRIDS)
def test_a_truncated_remote_file_is_damaged_and_soon_given_up(folder, where):
    with RangeServer(folder) as server:
        with pytest.raises(ReadError, match=r"half.tif .*\(8 tries\): damaged: ") as raised:
            read(server.url("half.tif"), where)
        assert "TIFF" in raised.value.failure.cause
        with pytest.raises(ReadError, match=r"\(2 tries\): damaged"):
            read(server.url("half.tif"), where)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("gone.tif", "missing"), ("half.tif", "damaged"), ("page.tif", "not a raster")],
)
def test_local_files_are_tried_once(folder, name, kind):
    with pytest.raises(ReadError, match=rf"{name}.*\(1 tries\): {kind}"):
        read(str(folder / name))


def test_a_server_that_never_recovers_is_given_up(folder, monkeypatch):
    monkeypatch.setattr("servers.faults.IN_A_ROW", 10**9)
    with RangeServer(folder, Faults(1.0, ("500",))) as server:
        with pytest.raises(ReadError, match=r"\(8 tries\): transient: HTTP response code: 500"):
            read(server.url("a.tif"))


def test_the_time_is_bounded_too(folder, monkeypatch):
    monkeypatch.setattr("servers.faults.IN_A_ROW", 10**9)
    limits = Patience(pause_s=0.2, total_s=0.1, requests=0)
    with RangeServer(folder, Faults(1.0, ("500",))) as server:
        with pytest.raises(ReadError, match=r"\(1 tries\)"):
            read(server.url("a.tif"), driver=ItemDriver(limits))


def test_a_pause_that_the_server_asks_for_is_kept(folder, monkeypatch):
    waited = []
    monkeypatch.setattr(reader.time, "sleep", waited.append)
    with RangeServer(folder, Faults(1.0, ("429",))) as server:
        server.retry_after = "7"
        limits = Patience(pause_s=0.001, requests=0, tries=2)
        with pytest.raises(ReadError, match="429"):
            read(server.url("a.tif"), driver=ItemDriver(limits))
    assert waited == [7.0]


@pytest.fixture
def signing(monkeypatch):
    """Return a function that makes a server's address one that needs its token."""

    def sign(server, lasts_minutes=45):
        def fetch(account, container):
            fetched.append(container)
            return f"token={server.token}", datetime.now(UTC) + timedelta(minutes=lasts_minutes)

        fetched = []
        row = Access(name="test", scheme="https", hosts=("127.0.0.1",), token=True)
        monkeypatch.setattr(access, "ROWS", (row,))
        monkeypatch.setattr(access, "TOKENS", Tokens(fetch))
        return fetched

    return sign


def test_a_token_that_expires_is_renewed_once(folder, signing):
    with RangeServer(folder, tokens=True) as server:
        fetched = signing(server)
        want = read(str(folder / "a.tif"))
        np.testing.assert_array_equal(read(server.url("a.tif")), want)
        np.testing.assert_array_equal(read(server.url("a.tif")), want)
        assert len(fetched) == 1
        server.rotate()
        reader._forget(f"{server.url('a.tif')}")
        np.testing.assert_array_equal(read(server.url("a.tif")), want)
        assert len(fetched) == 2


def test_a_server_that_refuses_every_token_is_forbidden(folder, signing):
    with RangeServer(folder, tokens=True) as server:
        signing(server)
        server.token = None
        with pytest.raises(ReadError, match="forbidden: HTTP response code: 403") as raised:
            read(server.url("a.tif"))
    assert raised.value.failure.tries <= reader.RENEWALS + 1


def test_nobody_to_ask_for_a_token_is_forbidden_at_once(folder):
    with RangeServer(folder, tokens=True) as server:
        with pytest.raises(ReadError, match=r"\(1 tries\): forbidden: HTTP response code: 403"):
            read(server.url("a.tif"))


@pytest.mark.parametrize("name", ["gone.tif", "half.tif", "page.tif", "a.tif"])
def test_no_token_is_ever_told(folder, signing, caplog, name):
    caplog.set_level(logging.DEBUG)
    with RangeServer(folder, Faults(0.5, ("500", "reset"), seed=3), tokens=True) as server:
        signing(server)
        driver = ItemDriver(QUICK)
        try:
            read(server.url(name), driver=driver)
            said = ""
        except ReadError as error:
            again = pickle.loads(pickle.dumps(error))
            told = (error, error.__cause__, error.__context__, again)
            said = "".join(f"{one!r}{one}" for one in told)
            said += "".join(traceback.format_exception(error)) + repr(error.failure.as_dict())
    said += repr(driver) + caplog.text + repr(access.TOKENS) + str(pickle.dumps(driver))
    assert any("token=secret" in line for line in server.log)
    assert "secret" not in said


def test_the_driver_serves_odc_stac_as_it_stands(tmp_path, caplog):
    item = make_item(SCENES[0], tmp_path)
    with RangeServer(tmp_path) as server:
        for asset in item.assets.values():
            asset.href = server.url(asset.href)
        item.assets["red"].href = server.url("gone.tif")
        options = {"geobox": geobox(), "driver": pickle.loads(pickle.dumps(ItemDriver(QUICK)))}
        cube = odc.stac.load([item], bands=["green"], chunks={}, **options)
        assert "127.0.0.1" not in repr(cube)
        assert int(cube.green.compute().max()) > 0
        with pytest.raises(ReadError, match=r"gone.tif .*missing"):
            odc.stac.load([item], bands=["red"], **options)
        KNOWN.clear()
        with failures.collected() as failed:
            hole = odc.stac.load([item], bands=["red"], fail_on_error=False, **options)
    assert not (hole.red.fillna(0) > 0).any()
    assert [one.kind for one in failed] == ["missing"]
    assert "Failed to load" not in caplog.text


def test_a_failed_read_travels_between_processes():
    with pytest.raises(ReadError) as raised:
        read("/nowhere/a.tif")
    again = pickle.loads(pickle.dumps(raised.value))
    assert again.failure == raised.value.failure
    assert str(again) == str(raised.value)


def test_a_read_that_failed_is_an_error_of_acquiring():
    assert issubclass(ReadError, AcquireError)
    with pytest.raises(AcquireError, match="cannot read /nowhere/a.tif"):
        patiently("/nowhere/a.tif", lambda path: open_raster(path), Place())


def open_raster(path):
    with reader.rasterio.open(path):
        pass
